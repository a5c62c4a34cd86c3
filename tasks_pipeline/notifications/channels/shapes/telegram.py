"""Telegram: Bot API, parse mode HTML."""

from __future__ import annotations

import html

from tasks_pipeline.config.channels import TelegramChannel
from tasks_pipeline.notifications.channels.http import Request, Shape
from tasks_pipeline.notifications.channels.shapes.parts import cut, disarmed, encoded, frame_text, group_text
from tasks_pipeline.notifications.message import Message

_TEXT = 3500  # of 4,096


def shape(channel: TelegramChannel) -> Shape:
    """A message with bold title and code."""
    token = channel.bot_token.get_secret_value()
    url = f"{channel.url.rstrip('/')}/bot{token}/sendMessage"

    def request(message: Message, _address: str, _key: str) -> Request:
        parts = [f"<b>{_text(message.summary)}</b>"]
        parts += [_text(t) for t in (message.culprit, message.changed, *message.notes) if t]
        parts += [f"{_text(n)}: {_text(v)}" for n, v in message.facts]
        parts += [f"<pre>{_text(frame_text(f))}</pre>" for f in message.frames[:2]]
        parts += [_text(group_text(g)) for g in message.groups]
        parts += [f'<a href="{html.escape(url)}">{html.escape(label)}</a>' for label, url in message.links]
        text = ""
        for part in parts:
            if len(text) + len(part) > _TEXT:
                break
            text += f"{part}\n"
        document = {
            "chat_id": channel.chat_id,
            "text": text or _text(cut(message.summary, 100)),
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": True},
        }
        return Request(url, encoded(document), secrets=(token,))

    return request


def _text(text: str) -> str:
    """A text that is shown as it is. Telegram looks for names and addresses to link in whatever is sent."""
    return disarmed(html.escape(text, quote=False))
