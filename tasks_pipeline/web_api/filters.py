"""What the parameters of a list ask for: query, projects, environments, a period. An unknown filter is refused: whoever is not told that
a filter was left out takes what comes first for what was meant."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tasks_pipeline.groups.short_id import ShortIdError, parse_short_id
from tasks_pipeline.reading.filtered import Period
from tasks_pipeline.reading.parse import parse_query
from tasks_pipeline.reading.tree import EVERYTHING, Filter, Node, both
from tasks_pipeline.web_api.calls import ApiError, Call, find_project

OPEN = "is:unresolved"
"""What is meant where no query is given."""
ALL_PROJECTS = "-1"
PRESENTATION = frozenset(
    "collapse expand referrer utc useRpc sampling groupStatsPeriod format llmFormat allowAggregateConditions savedSearch searchId "
    "interval seerQuery forceCacheRefresh unselectedSeries partial sampleMode caseInsensitive".split()
)
"""Parameters that change nothing of what is meant."""
PAGING = frozenset("cursor per_page limit sort".split())
NARROWING = frozenset("query project environment statsPeriod start end".split())
MOST_VALUES = 100
_SPAN = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=3660)


@dataclass(frozen=True, slots=True)
class Asking:
    """A tree with everything that narrows, and the period where one is given."""

    tree: Node
    period: Period | None


def check_parameters(call: Call, allowed: Collection[str]) -> None:
    """Raises ApiError (400) for a parameter that would narrow the list and is not known."""
    known = PRESENTATION | PAGING | frozenset(allowed)
    for name in call.query:
        if name not in known:
            raise ApiError(400, f"{name[:80]}: no such filter; allowed are {', '.join(sorted(allowed))}")


def asking(call: Call, default: str, *, period: Period | None) -> Asking:
    """What a call asks for. `default` is the query where none is given. Raises QueryError and ApiError."""
    text = call.query.get("query", default)
    tree = EVERYTHING if text is None else parse_query(text.strip())
    if (short_id := call.query.get("shortId")) is not None:
        tree = _by_short_id(short_id)
    elif call.query.get("shortIdLookup") in ("1", "true") and is_short_id(text):
        tree = _by_short_id(text.strip())
    return Asking(both(tree, _projects(call), _environments(call)), period)


def period_of(call: Call) -> Period | None:
    """The time that statsPeriod, or start and end, name; None where nothing does. Raises ApiError (400)."""
    now = call.asked.now
    start, end = call.query.get("start"), call.query.get("end")
    if start or end:
        until = moment("end", end) if end else now
        since = moment("start", start) if start else until - _LONGEST
        if since >= until:
            raise ApiError(400, "start: it is not before end")
        return Period(since, until)
    span = call.query.get("statsPeriod")
    return Period(now - span_of("statsPeriod", span), now + timedelta(minutes=1)) if span else None


def span_of(name: str, text: str) -> timedelta:
    """A length of time, as 14d. Raises ApiError (400)."""
    match = _SPAN.fullmatch(text)
    span = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta(0)
    if not span:
        raise ApiError(
            400, f"{name}: {text[:20]!r} is no time; allowed are a number and s, m, h, d or w, as 14d"
        )
    return min(span, _LONGEST)


def is_short_id(text: str) -> bool:
    """Whether a query is nothing but the short id of a group."""
    try:
        parse_short_id(text)
    except ShortIdError:
        return False
    return ":" not in text and " " not in text.strip()


def chosen_projects(call: Call) -> list[int] | None:
    """The numbers of the projects that a call names, in its path or by `project`; None for all. Raises ApiError (404)."""
    if "project" in call.params:
        return [call.project().id]
    named = _values(call, "project")
    if not named or ALL_PROJECTS in named:
        return None
    return [find_project(call.config, name).id for name in named]


def _projects(call: Call) -> Node:
    numbers = chosen_projects(call)
    return EVERYTHING if numbers is None else _any("project", [str(number) for number in numbers])


def _environments(call: Call) -> Node:
    return _any("environment", _values(call, "environment"))


def _any(key: str, values: Sequence[str]) -> Node:
    return Filter(key, tuple((value,) for value in values)) if values else EVERYTHING


def _values(call: Call, name: str) -> list[str]:
    found = [value for value in dict.fromkeys(call.query.getlist(name)) if value]
    if len(found) > MOST_VALUES:
        raise ApiError(400, f"{name}: at most {MOST_VALUES} may be given")
    return found


def _by_short_id(text: str) -> Node:
    if not is_short_id(text):
        raise ApiError(400, f"shortId: {text[:80]!r} is none; one looks like SHOP-3F")
    return Filter("issue", ((text,),))


def moment(name: str, text: str) -> datetime:
    """A time, without a zone of UTC; seconds since 1970, too. Raises ApiError (400)."""
    try:
        if re.fullmatch(r"[0-9]{1,11}(\.[0-9]{1,9})?", text):
            return datetime.fromtimestamp(float(text), UTC)
        found = datetime.fromisoformat(text.replace(" ", "+") if re.search(r" [0-9:]{4,5}$", text) else text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        if not 1 < found.year < 9999:
            raise ValueError(text)
    except (ValueError, OverflowError):
        raise ApiError(400, f"{name}: {text[:40]!r} is no time; allowed are 2026-11-22T14:00:00Z, without Z too, and seconds since 1970") from None  # fmt: skip
    return found
