"""Shapes: what a message looks like to each service that takes one HTTP request. Limits are those of the services' documentation."""

from __future__ import annotations

import hashlib
import hmac
import html
import json
import re
import time
from collections.abc import Callable
from typing import Any

from tasks_pipeline.config.channels import (
    AnyChannel,
    DiscordChannel,
    NtfyChannel,
    OpsgenieChannel,
    PagerDutyChannel,
    SlackChannel,
    TeamsChannel,
    TelegramChannel,
    WebhookChannel,
)
from tasks_pipeline.notifications.channels.http import Request, Shape
from tasks_pipeline.notifications.message import Frame, GroupLine, Message

COLOURS = {"critical": 0xC0392B, "warning": 0xD68910, "info": 0x2E86C1}
RECOVERED = 0x239B56
WEBHOOK_VERSION = 1
_SLACK_TEXT = 2900  # of 3,000
_SLACK_FIELDS = 10
_DISCORD_DESCRIPTION = 3500  # of 4,096; an embed holds 6,000 in all
_TELEGRAM_TEXT = 3500  # of 4,096
_NTFY_TEXT = 3500  # bytes beyond 4,096 would become an attachment
_PAGERDUTY_SUMMARY = 1024
_OPSGENIE_MESSAGE, _OPSGENIE_DESCRIPTION = 130, 10_000


def shape_of(channel: AnyChannel) -> Shape:
    """The shape of a configured channel, with its address and secrets."""
    match channel:
        case WebhookChannel():
            return webhook(channel)
        case SlackChannel():
            return _posted(channel.url.get_secret_value(), slack)
        case TeamsChannel():
            return _posted(channel.url.get_secret_value(), teams)
        case DiscordChannel():
            return _posted(channel.url.get_secret_value(), discord)
        case PagerDutyChannel():
            return pagerduty(channel)
        case OpsgenieChannel():
            return opsgenie(channel)
        case TelegramChannel():
            return telegram(channel)
        case NtfyChannel():
            return ntfy(channel)
        case _:
            raise ValueError(f"channels of type {channel.type} are no HTTP request")


def encoded(document: Any) -> bytes:
    """A document as compact JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _posted(url: str, document: Callable[[Message], dict[str, Any]]) -> Shape:
    """One whose URL is the secret."""

    def shape(message: Message, _address: str, _key: str) -> Request:
        return Request(url, encoded(document(message)), secrets=(url, url.partition("://")[2]))

    return shape


# ── webhook


def webhook(channel: WebhookChannel) -> Shape:
    """Our own document, signed as docs/webhooks.md says."""
    secret = channel.secret.get_secret_value().encode() if channel.secret else None
    headers = {name: value.get_secret_value() for name, value in channel.headers.items()}

    def shape(message: Message, _address: str, key: str) -> Request:
        body = encoded(webhook_document(message))
        signed = {"X-Tasks-Pipeline-Signature": signature(secret, body, int(time.time()))} if secret else {}
        return Request(
            channel.url, body, {**headers, "Idempotency-Key": key, **signed}, secrets=tuple(headers.values())
        )

    return shape


def webhook_document(message: Message) -> dict[str, Any]:
    """What a webhook gets; fields are only ever added to a version."""
    return {
        "version": WEBHOOK_VERSION,
        "id": message.key,
        "type": message.type,
        "status": message.status,
        "severity": message.severity,
        "thread": message.thread,
        "project": message.project,
        "rule": message.rule,
        "subject": message.subject,
        "title": message.title,
        "culprit": message.culprit,
        "changed": message.changed,
        "facts": dict(message.facts),
        "frames": [
            {
                "file": frame.file,
                "line": frame.line,
                "function": frame.function,
                "source": [{"line": n, "code": code, "failed": failed} for n, code, failed in frame.lines],
            }
            for frame in message.frames
        ],
        "groups": [
            {
                "short_id": g.short_id, "title": g.title, "culprit": g.culprit, "note": g.note,
                "events": g.events, "events_before": g.before, "users": g.users,
            }
            for g in message.groups
        ],
        "links": [{"label": label, "url": url} for label, url in message.links],
        "commands": list(message.commands),
        "notes": list(message.notes),
        "data": dict(message.data),
        "text": message.text(),
    }  # fmt: skip


def signature(secret: bytes, body: bytes, at: int) -> str:
    """`t=SECONDS,v1=HEX`: HMAC-SHA256 over the time, a dot and the body."""
    mac = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


# ── Slack (https://api.slack.com/reference/block-kit/blocks)


def slack(message: Message) -> dict[str, Any]:
    """Blocks, with a text for notifications."""
    blocks: list[dict[str, Any]] = [
        {
            "type": "header",
            "text": {"type": "plain_text", "text": _cut(_slack(message.subject), 150), "emoji": False},
        },
        _slack_section(
            f"*{_slack(message.title)}*" + _line(_slack(message.culprit)) + _line(_slack(message.changed))
        ),
    ]
    fields = [
        {"type": "mrkdwn", "text": _cut(f"*{_slack(name)}*\n{_slack(value)}", 1900)}
        for name, value in message.facts
    ]
    if fields:
        blocks.append({"type": "section", "fields": fields[:_SLACK_FIELDS]})
    blocks += [
        _slack_section(f"```{_slack(_frame_text(frame)).replace('```', 'ˋˋˋ')}```")
        for frame in message.frames[:3]
    ]
    blocks += [_slack_section(_slack(_group_text(g))) for g in message.groups[:25]]
    if message.more_groups:
        blocks.append(_slack_section(f"and {message.more_groups:,} more"))
    if message.links:
        blocks.append(
            _slack_section(" · ".join(f"<{_slack(url)}|{_slack(label)}>" for label, url in message.links))
        )
    hints = [*(f"`{_slack(command)}`" for command in message.commands), *map(_slack, message.notes)]
    if hints:
        blocks.append(
            {"type": "context", "elements": [{"type": "mrkdwn", "text": _cut("\n".join(hints), 1900)}]}
        )
    return {"text": _cut(_slack(message.summary), _SLACK_TEXT), "blocks": blocks[:50]}


def _slack_section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": _cut(text, _SLACK_TEXT)}}


def _slack(text: str) -> str:
    """Slack's three characters; without `<` there are no mentions and no links."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# ── Microsoft Teams (Adaptive Cards 1.4 in a workflow's message)


def teams(message: Message) -> dict[str, Any]:
    """A message with one Adaptive Card."""
    colour = (
        "good"
        if message.status == "recovered"
        else {"critical": "attention", "warning": "warning"}.get(message.severity, "accent")
    )
    body: list[dict[str, Any]] = [
        {
            "type": "TextBlock",
            "text": _markdown(message.subject),
            "weight": "bolder",
            "size": "large",
            "color": colour,
            "wrap": True,
        },
        {"type": "TextBlock", "text": _markdown(message.title), "wrap": True},
    ]
    body += [
        {"type": "TextBlock", "text": _markdown(text), "isSubtle": True, "wrap": True}
        for text in (message.culprit, message.changed, *message.notes) if text
    ]  # fmt: skip
    if message.facts:
        body.append(
            {
                "type": "FactSet",
                "facts": [{"title": _markdown(n), "value": _markdown(v)} for n, v in message.facts],
            }
        )
    body += [
        {
            "type": "TextBlock",
            "text": _markdown(_frame_text(f)),
            "fontType": "monospace",
            "wrap": True,
        }
        for f in message.frames[:3]
    ]
    body += [
        {"type": "TextBlock", "text": _markdown(_group_text(g)), "wrap": True} for g in message.groups[:25]
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


# ── Discord (https://discord.com/developers/docs/resources/webhook)


def discord(message: Message) -> dict[str, Any]:
    """One embed; nobody is mentioned whatever the texts say."""
    parts = [_markdown(text) for text in (message.culprit, message.changed) if text]
    parts += [f"```\n{_code(_frame_text(f))}\n```" for f in message.frames[:3]]
    parts += [_markdown(_group_text(g)) for g in message.groups]
    parts += [f"[{_markdown(label)}]({url})" for label, url in message.links]
    parts += [f"`{command.replace('`', 'ˋ')}`" for command in message.commands]
    parts += [_markdown(note) for note in message.notes]
    description = ""
    for part in parts:  # whole parts only, so that no block of code stays open
        if len(description) + len(part) > _DISCORD_DESCRIPTION:
            break
        description += f"{part}\n"
    fields = [
        {"name": _cut(_markdown(n), 250), "value": _cut(_markdown(v), 200) or "–", "inline": True}
        for n, v in message.facts
    ]
    colour = RECOVERED if message.status == "recovered" else COLOURS.get(message.severity, COLOURS["info"])
    embed = {
        "title": _cut(_markdown(message.summary), 250),
        "description": description,
        "color": colour,
        "fields": fields[:9],
    }
    return {"embeds": [embed], "allowed_mentions": {"parse": []}}


# ── PagerDuty (Events API v2)


def pagerduty(channel: PagerDutyChannel) -> Shape:
    """Alerts trigger, recoveries resolve; messages of a thread are one incident."""
    key = channel.routing_key.get_secret_value()

    def shape(message: Message, _address: str, _key: str) -> Request:
        document: dict[str, Any] = {
            "routing_key": key,
            "event_action": "resolve" if message.status == "recovered" else "trigger",
            "dedup_key": message.thread[:255],
        }
        if message.status != "recovered":
            document |= {
                "payload": {
                    "summary": _cut(message.summary, _PAGERDUTY_SUMMARY),
                    "source": message.project or "tasks-pipeline",
                    "severity": message.severity if message.severity in COLOURS else "info",
                    "class": message.rule,
                    "custom_details": {**dict(message.facts), "text": _cut(message.text(), 8000)},
                },
                "links": [{"href": url, "text": label} for label, url in message.links],
                "client": "Tasks Pipeline",
            }
        return Request(channel.url, encoded(document), secrets=(key,))

    return shape


# ── Opsgenie (Alert API)


def opsgenie(channel: OpsgenieChannel) -> Shape:
    """Alerts are created under the thread as alias, recoveries close it."""
    key = channel.api_key.get_secret_value()
    headers = {"Authorization": f"GenieKey {key}"}
    base = channel.url.rstrip("/")

    def shape(message: Message, _address: str, _key: str) -> Request:
        alias = re.sub(r"[^A-Za-z0-9_.-]", "_", message.thread)[:500]
        if message.status == "recovered":
            body = encoded({"source": "Tasks Pipeline", "note": _cut(message.summary, 20_000)})
            return Request(
                f"{base}/v2/alerts/{alias}/close?identifierType=alias", body, headers, secrets=(key,)
            )
        document = {
            "message": _cut(message.summary, _OPSGENIE_MESSAGE),
            "alias": alias,
            "description": _cut(message.text(), _OPSGENIE_DESCRIPTION),
            "priority": {"critical": "P1", "warning": "P3"}.get(message.severity, "P5"),
            "source": "Tasks Pipeline",
            "tags": [t for t in (message.project, message.rule) if t],
            "details": {name: value[:1000] for name, value in message.facts},
        }
        return Request(f"{base}/v2/alerts", encoded(document), headers, secrets=(key,))

    return shape


# ── Telegram (Bot API, parse mode HTML)


def telegram(channel: TelegramChannel) -> Shape:
    """A message with bold title and code."""
    token = channel.bot_token.get_secret_value()
    url = f"{channel.url.rstrip('/')}/bot{token}/sendMessage"

    def shape(message: Message, _address: str, _key: str) -> Request:
        parts = [f"<b>{html.escape(message.summary, quote=False)}</b>"]
        parts += [
            html.escape(t, quote=False) for t in (message.culprit, message.changed, *message.notes) if t
        ]
        parts += [f"{html.escape(n, quote=False)}: {html.escape(v, quote=False)}" for n, v in message.facts]
        parts += [f"<pre>{html.escape(_frame_text(f), quote=False)}</pre>" for f in message.frames[:2]]
        parts += [html.escape(_group_text(g), quote=False) for g in message.groups]
        parts += [f'<a href="{html.escape(url)}">{html.escape(label)}</a>' for label, url in message.links]
        text = ""
        for part in parts:
            if len(text) + len(part) > _TELEGRAM_TEXT:
                break
            text += f"{part}\n"
        document = {
            "chat_id": channel.chat_id,
            "text": text or _cut(html.escape(message.summary, quote=False), 100),
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": True},
        }
        return Request(url, encoded(document), secrets=(token,))

    return shape


# ── ntfy (JSON publishing)


def ntfy(channel: NtfyChannel) -> Shape:
    """A message of the topic."""
    token = channel.token.get_secret_value() if channel.token else ""
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    def shape(message: Message, _address: str, _key: str) -> Request:
        document: dict[str, Any] = {
            "topic": channel.topic,
            "title": _cut(message.subject, 200),
            "message": message.text(frames=False).encode()[:_NTFY_TEXT].decode("utf-8", "ignore"),
            "priority": {"critical": 5, "warning": 4}.get(message.severity, 3),
            "tags": ["white_check_mark" if message.status == "recovered" else "rotating_light"],
        }
        if message.links:
            document["click"] = message.links[0][1]
        return Request(channel.url, encoded(document), headers, secrets=(token,))

    return shape


# ── parts


def _frame_text(frame: Frame) -> str:
    place = f":{frame.line}" if frame.line is not None else ""
    lines = [f"{'>' if failed else ' '} {code}" for _, code, failed in frame.lines]
    return _cut("\n".join([f"{frame.file}{place} in {frame.function}", *lines]), 900)


def _group_text(group: GroupLine) -> str:
    return _cut(f"{group.title} ({group.counts})", 400)


def _code(text: str) -> str:
    """A text that neither ends its block of code nor mentions anybody."""
    return text.replace("```", "ˋˋˋ").replace("@", "@\u200b")


def _line(text: str) -> str:
    return f"\n{text}" if text else ""


_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~<>])")


def _markdown(text: str) -> str:
    """A text in which Markdown means nothing, and no `@` mentions anybody."""
    return _MARKDOWN.sub(r"\\\1", text).replace("@", "@\u200b").replace("://", ":\u200b//")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
