"""What shapes share: JSON, and how frames, groups and markup are written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tasks_pipeline.notifications.channels.http import Request, Shape
from tasks_pipeline.notifications.message import Frame, GroupLine, Message

COLOURS = {"critical": 0xC0392B, "warning": 0xD68910, "info": 0x2E86C1}
RECOVERED = 0x239B56


def encoded(document: Any) -> bytes:
    """A document as compact JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def posted(url: str, document: Callable[[Message], dict[str, Any]]) -> Shape:
    """One whose URL is the secret."""

    def shape(message: Message, _address: str, _key: str) -> Request:
        return Request(url, encoded(document(message)), secrets=(url, url.partition("://")[2]))

    return shape


def frame_text(frame: Frame) -> str:
    """Where a frame is, and its lines; the one that failed is marked."""
    lines = [f"{'>' if failed else ' '} {code}" for _, code, failed in frame.lines]
    return cut("\n".join([f"{frame.place} in {frame.function}", *lines]), 900)


def group_text(group: GroupLine) -> str:
    """A group in one line."""
    return cut(f"{group.title} ({group.counts})", 400)


def code(text: str) -> str:
    """A text that neither ends its block of code nor mentions anybody."""
    return text.replace("```", "ˋˋˋ").replace("@", "@\u200b")


def line(text: str) -> str:
    """A text on a line of its own; nothing for an empty one."""
    return f"\n{text}" if text else ""


_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~<>&]|^\s*-|^\s*\d{1,9}(?=\.))", re.MULTILINE)
_WWW = re.compile(r"(?<!\w)www\.", re.IGNORECASE)


def markdown(text: str) -> str:
    """A text in which Markdown means nothing, which calls nobody and links nowhere."""
    return disarmed(_MARKDOWN.sub(_escaped, text))


def _escaped(found: re.Match[str]) -> str:
    mark = found[0]
    if mark[-1].isdigit():  # a number at the beginning of a line is one of a list with the dot behind it
        return f"{mark}\\"
    return f"{mark[:-1]}\\{mark[-1]}"


def disarmed(text: str) -> str:
    """A text that calls nobody and links nowhere by itself."""
    return _WWW.sub("www\u200b.", text.replace("@", "@\u200b").replace("://", ":\u200b//"))


def cut(text: str, limit: int) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
