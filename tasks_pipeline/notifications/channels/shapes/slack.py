"""Slack: blocks (https://api.slack.com/reference/block-kit/blocks)."""

from __future__ import annotations

from typing import Any

from tasks_pipeline.config.channels import SlackChannel
from tasks_pipeline.notifications.channels.http import Shape
from tasks_pipeline.notifications.channels.shapes.parts import cut, frame_text, group_text, line, posted
from tasks_pipeline.notifications.message import Message

_TEXT = 2900  # of 3,000
_FIELDS = 10


def shape(channel: SlackChannel) -> Shape:
    """Its URL is the secret."""
    return posted(channel.url.get_secret_value(), document)


def document(message: Message) -> dict[str, Any]:
    """Blocks, with a text for notifications."""
    blocks: list[dict[str, Any]] = [
        {
            "type": "header",
            "text": {"type": "plain_text", "text": cut(_escaped(message.subject), 150), "emoji": False},
        },
        _section(
            f"*{_escaped(message.title)}*" + line(_escaped(message.culprit)) + line(_escaped(message.changed))
        ),
    ]
    fields = [
        {"type": "mrkdwn", "text": cut(f"*{_escaped(name)}*\n{_escaped(value)}", 1900)}
        for name, value in message.facts
    ]
    if fields:
        blocks.append({"type": "section", "fields": fields[:_FIELDS]})
    blocks += [
        _section(f"```{_escaped(frame_text(frame)).replace('```', 'ˋˋˋ')}```") for frame in message.frames[:3]
    ]
    blocks += [_section(_escaped(group_text(g))) for g in message.groups[:25]]
    if message.more_groups:
        blocks.append(_section(f"and {message.more_groups:,} more"))
    if message.links:
        blocks.append(
            _section(" · ".join(f"<{_escaped(url)}|{_escaped(label)}>" for label, url in message.links))
        )
    hints = [*(f"`{_escaped(command)}`" for command in message.commands), *map(_escaped, message.notes)]
    if hints:
        blocks.append(
            {"type": "context", "elements": [{"type": "mrkdwn", "text": cut("\n".join(hints), 1900)}]}
        )
    return {"text": cut(_escaped(message.summary), _TEXT), "blocks": blocks[:50]}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": cut(text, _TEXT)}}


def _escaped(text: str) -> str:
    """Slack's three characters; without `<` there are no mentions and no links."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
