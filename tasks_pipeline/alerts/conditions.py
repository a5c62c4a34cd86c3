"""Conditions of alert rules, applied to an event and what is known of its group."""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from tasks_pipeline.config.alerts import _COMPARISON, _LEVEL, LEVELS, Condition, Conditions

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
_TEXT_LENGTH = 2000  # of a text that globs are applied to


def matches(
    conditions: Conditions,
    event: Mapping[str, Any],
    facts: Mapping[str, Any],
    now: datetime,
    latest_release: Callable[[], str | None],
) -> bool:
    """Whether conditions hold for an event (a row of the lake's `events`, or the facts themselves) and its group.

    `facts` as in `Firing.data`. What an event does not have matches no condition. `latest_release` is asked for when a
    condition needs it.
    """

    def holds(condition: Condition) -> bool:
        return _holds(condition, event, facts, now, latest_release)

    return (
        all(map(holds, conditions.all))
        and (not conditions.any or any(map(holds, conditions.any)))
        and not any(map(holds, conditions.none))
    )


def _holds(
    condition: Condition,
    event: Mapping[str, Any],
    facts: Mapping[str, Any],
    now: datetime,
    latest_release: Callable[[], str | None],
) -> bool:
    subject = condition.subject
    wanted = getattr(condition, subject)
    match subject:
        case "level":
            return _level_holds(wanted, event.get("level") or facts.get("level"))
        case "tag":
            value = tags_of(event).get(wanted.name)
            return value is not None and _any_glob(wanted.value, value)
        case "release":
            return _release_holds(wanted, event.get("release"), latest_release)
        case "times_seen" | "users":
            return _compares(wanted, facts.get(subject))
        case "age_minutes":
            first_seen = facts.get("first_seen")
            age = (now - _time(first_seen)).total_seconds() / 60 if first_seen else None
            return _compares(wanted, age)
        case "assigned_to":
            return _assigned(wanted, facts.get("assignee"))
        case "error_type":
            return _any_glob(wanted, event.get("exception_type"))
        case "message":
            return _any_glob(wanted, event.get("title") or facts.get("title"))
        case "category":
            return _any_glob(wanted, facts.get("category", "error"))
        case _:
            return _any_glob(wanted, event.get(subject))


def tags_of(event: Mapping[str, Any]) -> dict[str, str]:
    """The tags of an event row, which are pairs before they are stored, and an object afterwards."""
    tags = event.get("tags") or {}
    return dict(tags)


def _level_holds(wanted: str, level: object) -> bool:
    parsed = _LEVEL.fullmatch(wanted)
    if parsed is None or level not in LEVELS:
        return False
    compare = _OPERATORS[parsed[1] or "="]
    return compare(LEVELS.index(str(level)), LEVELS.index(parsed[2]))


def _compares(wanted: str, value: object) -> bool:
    parsed = _COMPARISON.fullmatch(wanted)
    if parsed is None or not isinstance(value, int | float):
        return False
    return _OPERATORS[parsed[1] or "="](value, float(parsed[2]))


def _release_holds(wanted: Iterable[str], release: object, latest_release: Callable[[], str | None]) -> bool:
    if not isinstance(release, str) or not release:
        return False
    globs = tuple(wanted)
    if "latest" in globs and release == latest_release():
        return True
    return _any_glob([glob for glob in globs if glob != "latest"], release)


def _assigned(wanted: Iterable[str], assignee: object) -> bool:
    if not isinstance(assignee, str) or not assignee:
        return "nobody" in wanted
    return "anybody" in wanted or _any_glob([w.removeprefix("member:") for w in wanted], assignee)


def _any_glob(globs: Iterable[str], value: object) -> bool:
    return isinstance(value, str) and any(_glob(glob)(value[:_TEXT_LENGTH]) for glob in globs)


@lru_cache(maxsize=4096)
def _glob(pattern: str) -> Callable[[str], bool]:
    """Case matters not. Runs of stars are one: each further one would cost time and match the same."""
    compiled = re.compile(fnmatch.translate(re.sub(r"\*+", "*", pattern)), re.IGNORECASE)
    return lambda text: compiled.match(text) is not None


def _time(value: object) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
