"""Slack: blocks (https://api.slack.com/reference/block-kit/blocks)."""

from __future__ import annotations

from typing import Any

from tasks_pipeline.config.channels import SlackChannel
from tasks_pipeline.notifications.channels.http import Shape
from tasks_pipeline.notifications.channels.shapes.parts import cut, frame_text, group_text, line, posted
from tasks_pipeline.notifications.message import Message

_HEADER = 150
_TEXT = 2900  # of 3,000
_FIELD = 1900  # of 2,000
_FIELDS = _ELEMENTS = 10


def shape(channel: SlackChannel) -> Shape:
    """Its URL is the secret."""
    return posted(channel.url.get_secret_value(), document)


def document(message: Message) -> dict[str, Any]:
    """Blocks, with a text for notifications.

    What strangers send is plain text: mrkdwn has no escape for its stars, backticks and emoji. Only commands, links and the
    fences around code are ours to mark up.
    """
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(message.subject, _HEADER)},
        _section(_plain(message.title + line(message.culprit) + line(message.changed))),
    ]
    fields = [_plain(f"{name}\n{value}", _FIELD) for name, value in message.facts]
    if fields:
        blocks.append({"type": "section", "fields": fields[:_FIELDS]})
    blocks += [_section(_mrkdwn(f"```{_code(frame_text(frame))}```")) for frame in message.frames[:3]]
    blocks += [_section(_plain(group_text(g))) for g in message.groups[:25]]
    if message.more_groups:
        blocks.append(_section(_plain(f"and {message.more_groups:,} more")))
    if message.links:
        links = " · ".join(f"<{_escaped(url)}|{_escaped(label)}>" for label, url in message.links)
        blocks.append(_section(_mrkdwn(links)))
    hints = [_mrkdwn("\n".join(f"`{_code(command)}`" for command in message.commands), _FIELD)]
    hints += [_plain(note, _FIELD) for note in message.notes]
    if hints := [hint for hint in hints if hint["text"]]:
        blocks.append({"type": "context", "elements": hints[:_ELEMENTS]})
    summary = _plain(message.summary)["text"]
    return {"text": summary, "mrkdwn": False, "blocks": blocks[:50]}


def _section(text: dict[str, Any]) -> dict[str, Any]:
    return {"type": "section", "text": text}


def _plain(text: str, limit: int = _TEXT) -> dict[str, Any]:
    """A text that is shown as it is."""
    return {"type": "plain_text", "text": cut(_escaped(cut(text, limit)), limit) or "–", "emoji": False}


def _mrkdwn(text: str, limit: int = _TEXT) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": cut(text, limit)}


def _code(text: str) -> str:
    """A text for the inside of code, short enough for what closes it."""
    return cut(_escaped(text).replace("`", "ˋ"), _TEXT - 100)


def _escaped(text: str) -> str:
    """Slack's three characters; without `<` there are no mentions and no links."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
