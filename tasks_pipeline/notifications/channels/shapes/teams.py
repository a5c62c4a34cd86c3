"""Microsoft Teams: an Adaptive Card 1.4 in a workflow's message."""

from __future__ import annotations

from typing import Any

from tasks_pipeline.config.channels import TeamsChannel
from tasks_pipeline.notifications.channels.http import Shape
from tasks_pipeline.notifications.channels.shapes.parts import frame_text, group_text, markdown, posted
from tasks_pipeline.notifications.message import Message


def shape(channel: TeamsChannel) -> Shape:
    """Its URL is the secret."""
    return posted(channel.url.get_secret_value(), document)


def document(message: Message) -> dict[str, Any]:
    """A message with one Adaptive Card."""
    colour = (
        "good"
        if message.status == "recovered"
        else {"critical": "attention", "warning": "warning"}.get(message.severity, "accent")
    )
    body: list[dict[str, Any]] = [
        {
            "type": "TextBlock",
            "text": markdown(message.subject),
            "weight": "bolder",
            "size": "large",
            "color": colour,
            "wrap": True,
        },
        {"type": "TextBlock", "text": markdown(message.title), "wrap": True},
    ]
    body += [
        {"type": "TextBlock", "text": markdown(text), "isSubtle": True, "wrap": True}
        for text in (message.culprit, message.changed, *message.notes) if text
    ]  # fmt: skip
    if message.facts:
        body.append(
            {
                "type": "FactSet",
                "facts": [{"title": markdown(n), "value": markdown(v)} for n, v in message.facts],
            }
        )
    body += [
        {
            "type": "TextBlock",
            "text": markdown(frame_text(f)),
            "fontType": "monospace",
            "wrap": True,
        }
        for f in message.frames[:3]
    ]
    body += [
        {"type": "TextBlock", "text": markdown(group_text(g)), "wrap": True} for g in message.groups[:25]
    ]
    actions = [{"type": "Action.OpenUrl", "title": label, "url": url} for label, url in message.links]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": actions,
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}
