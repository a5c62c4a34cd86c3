"""How values are shown: numbers, times, ages, sizes, and texts of strangers without what nobody sees."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from tasks_pipeline.texts import clean

LONGEST = 100_000
"""Characters of one text, whoever forgot to cut it."""


def harmless(value: Any) -> Any:
    """Any text that comes into a page: no control characters, none that hide or turn others, no half of a character. Escaping is
    done behind this."""
    if not isinstance(value, str) or isinstance(
        value, Markup
    ):  # what a macro made, of texts that came through here
        return value
    if value.isascii() and value.isprintable():
        return value if len(value) <= LONGEST else f"{value[:LONGEST]}…"
    return clean(value, LONGEST, lines=True)


def cut(value: object, limit: int = 200) -> str:
    """A text on one line, of so many characters at most."""
    return clean(value, limit)


def number(value: float) -> str:
    """`1,204`, also of 1204.0."""
    return f"{int(value) if isinstance(value, float) and value.is_integer() else value:,}"


def iso(moment: datetime) -> str:
    """A moment for programs, to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def utc(moment: datetime) -> str:
    """A moment for people."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def age(moment: datetime, now: datetime) -> str:
    """How long ago that was, in one unit: `5 min`, `3 d`."""
    seconds = max(0, round((now - moment).total_seconds()))
    for limit, unit, name in (
        (90, 1, "s"),
        (3_600, 60, "min"),
        (172_800, 3_600, "h"),
        (63_072_000, 86_400, "d"),
    ):
        if seconds < limit:
            return f"{seconds // unit} {name}"
    return f"{seconds // 31_536_000} y"


def size(number_of_bytes: int) -> str:
    """`12.4 kB`."""
    value = float(number_of_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1_000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1_000
    return ""


def status_told(group: Mapping[str, Any]) -> str:
    """A group's status with what ends it, as words; empty for what is unresolved as ever."""
    status = str(group["status"])
    if status == "unresolved":
        return ""
    if group["merged_into"] is not None:
        return "merged"
    if group["ignored_until"] is not None:
        return f"ignored until {group['ignored_until']:%Y-%m-%d %H:%M} UTC"
    if (until := group["ignored_until_times_seen"]) is not None:
        return f"ignored until {until:,} events, {max(0, until - group['times_seen']):,} to go"
    if (until := group["ignored_until_users"]) is not None:
        return f"ignored until {until:,} users, {max(0, until - group['users']):,} to go"
    match group["resolution"]:
        case "in_release":
            return f"resolved in {group['resolved_in_release']}"
        case "next_release":
            return f"resolved in the release after {group['resolved_in_release']}"
        case "in_commit":
            return f"resolved by commit {str(group['resolved_in_commit'])[:12]}"
    return f"{status} for good" if status == "ignored" else status
