"""Reading fields of an event that may hold anything: a value of the wrong type counts as absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks_pipeline.recurring import SharedFrames

LISTS = (list, SharedFrames)
"""What lists of an event are."""


def text(holder: Mapping[str, Any], key: str) -> str:
    """The string under `key`, else an empty one."""
    value = holder.get(key)
    return value if isinstance(value, str) else ""


def mapping(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under `key`, else an empty one."""
    value = holder.get(key)
    return value if isinstance(value, dict) else {}


def objects(holder: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects in the list under `key`; anything else in the list is left out."""
    value = holder.get(key)
    if not isinstance(value, LISTS):
        return []
    return [item for item in value if isinstance(item, dict)]


def integer(holder: Mapping[str, Any], key: str) -> int | None:
    """The whole number under `key`, else None."""
    value = holder.get(key)
    return value if type(value) is int else None


def first_line(value: str) -> str:
    """The first line that is not blank, without surrounding blanks."""
    return value.lstrip().split("\n", 1)[0].split("\r", 1)[0].rstrip()


def shorten(value: str, limit: int) -> str:
    """At most `limit` characters, the last three of them dots when something was cut."""
    return value if len(value) <= limit else value[: limit - 3].rstrip() + "..."
