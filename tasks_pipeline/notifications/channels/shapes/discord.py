"""Discord: an embed (https://discord.com/developers/docs/resources/webhook)."""

from __future__ import annotations

from typing import Any

from tasks_pipeline.config.channels import DiscordChannel
from tasks_pipeline.notifications.channels.http import Shape
from tasks_pipeline.notifications.channels.shapes.parts import (
    COLOURS,
    RECOVERED,
    code,
    cut,
    frame_text,
    group_text,
    markdown,
    posted,
)
from tasks_pipeline.notifications.message import Message

_DESCRIPTION = 3500  # of 4,096; an embed holds 6,000 in all


def shape(channel: DiscordChannel) -> Shape:
    """Its URL is the secret."""
    return posted(channel.url.get_secret_value(), document)


def document(message: Message) -> dict[str, Any]:
    """One embed; nobody is mentioned whatever the texts say."""
    parts = [_text(text) for text in (message.culprit, message.changed) if text]
    parts += [f"```\n{code(frame_text(f))}\n```" for f in message.frames[:3]]
    parts += [_text(group_text(g)) for g in message.groups]
    parts += [f"[{_text(label)}]({url})" for label, url in message.links]
    parts += [f"`{command.replace('`', 'ˋ')}`" for command in message.commands]
    parts += [_text(note) for note in message.notes]
    description = ""
    for part in parts:  # whole parts only, so that no block of code stays open
        if len(description) + len(part) > _DESCRIPTION:
            break
        description += f"{part}\n"
    fields = [
        {"name": cut(_text(n), 250), "value": cut(_text(v), 200) or "–", "inline": True}
        for n, v in message.facts
    ]
    colour = RECOVERED if message.status == "recovered" else COLOURS.get(message.severity, COLOURS["info"])
    embed = {
        "title": cut(_text(message.summary), 250),
        "description": description,
        "color": colour,
        "fields": fields[:9],
    }
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


def _text(text: str) -> str:
    """A text that is shown as it is: `:wave:` is no picture either."""
    return markdown(text).replace(":", "\\:")
