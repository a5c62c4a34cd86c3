"""Telegram: Bot API, parse mode HTML."""

from __future__ import annotations

import html

from tasks_pipeline.config.channels import TelegramChannel
from tasks_pipeline.notifications.channels.http import Request, Shape
from tasks_pipeline.notifications.channels.shapes.parts import cut, encoded, frame_text, group_text
from tasks_pipeline.notifications.message import Message

_TEXT = 3500  # of 4,096


def shape(channel: TelegramChannel) -> Shape:
    """A message with bold title and code."""
    token = channel.bot_token.get_secret_value()
    url = f"{channel.url.rstrip('/')}/bot{token}/sendMessage"

    def request(message: Message, _address: str, _key: str) -> Request:
        parts = [f"<b>{html.escape(message.summary, quote=False)}</b>"]
        parts += [
            html.escape(t, quote=False) for t in (message.culprit, message.changed, *message.notes) if t
        ]
        parts += [f"{html.escape(n, quote=False)}: {html.escape(v, quote=False)}" for n, v in message.facts]
        parts += [f"<pre>{html.escape(frame_text(f), quote=False)}</pre>" for f in message.frames[:2]]
        parts += [html.escape(group_text(g), quote=False) for g in message.groups]
        parts += [f'<a href="{html.escape(url)}">{html.escape(label)}</a>' for label, url in message.links]
        text = ""
        for part in parts:
            if len(text) + len(part) > _TEXT:
                break
            text += f"{part}\n"
        document = {
            "chat_id": channel.chat_id,
            "text": text or cut(html.escape(message.summary, quote=False), 100),
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": True},
        }
        return Request(url, encoded(document), secrets=(token,))

    return request
