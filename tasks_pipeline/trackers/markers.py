"""Markers: the texts by which we know again what we wrote, when the answer to the write was lost."""

from __future__ import annotations

import re

_MARKER = re.compile(r"tasks-pipeline:([A-Za-z0-9][A-Za-z0-9:_-]{0,199})")

_LAST_LINE = re.compile(r"(?:<!-- )?tasks-pipeline:[A-Za-z0-9:_-]{1,200}(?: -->)?")


def plain(key: str) -> str:
    """`tasks-pipeline:KEY`, for places where people see it, or that are a field of their own."""
    return f"tasks-pipeline:{key}"


def hidden(key: str) -> str:
    """The same as an HTML comment: GitHub and GitLab show none of it."""
    return f"<!-- {plain(key)} -->"


def marker_in(text: str) -> str | None:
    """The key of the last marker in a text, None without one."""
    found = _MARKER.findall(text or "")
    return found[-1] if found else None


def without_marker(text: str) -> str:
    """A text that we wrote, without its last line when that is its marker."""
    stripped = (text or "").rstrip()
    before, _, last = stripped.rpartition("\n")
    return before.rstrip() if _LAST_LINE.fullmatch(last.strip()) else stripped


def marked(body: str, key: str, *, comment: bool) -> str:
    """A body with the marker as its last line; as it is when there is no key. `comment`: as an HTML comment."""
    if not key:
        return body
    return f"{body.rstrip()}\n\n{hidden(key) if comment else plain(key)}"
