"""GET …/sessions/: figures of sessions over time, as Sentry's API gives them. What they are is in releases/health_figures.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import Response

from tasks_pipeline.config import Project
from tasks_pipeline.releases.fold import STATES
from tasks_pipeline.releases.health_figures import (
    PERCENTS,
    SHOWN_DAYS,
    Cell,
    Durations,
    Figures,
    Sessions,
    Span,
    health_figures,
)
from tasks_pipeline.releases.spans import DAY, HOUR, MOST_DAYS, Queried
from tasks_pipeline.web_api.calls import ApiError, Call, answer

MOST_POINTS = 10_000
"""Groups times intervals of an answer."""
MOST_VALUES = 100
"""Values of a parameter that may be repeated."""
MOST_GROUPS_READ = 10_000
"""Of more groups, those with the fewest sessions are left out before they are ordered."""
STATUS = "session.status"
_COLUMNS = {"project": "project_id", "release": "release", "environment": "environment"}
_GROUPS = (*_COLUMNS, STATUS)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INTERVALS = {f"{n}h": n * HOUR for n in (1, 2, 3, 4, 6, 8, 12, 24)} | {"1d": DAY}
_UNITS = {"m": timedelta(minutes=1), "h": HOUR, "d": DAY, "w": 7 * DAY}
_PERIOD = re.compile(r"([0-9]{1,5})([mhdw])")
_TERM = re.compile(r'\s*(?P<key>[a-z.]+):(?P<value>"[^"]*"|\[(?:"[^"]*"|[^"\]])*\]|[^\s"\[\]]+)(?=\s|$)')
_ONE_OF = re.compile(r'\s*"(?P<quoted>[^"]*)"\s*(?:,|$)|(?P<plain>[^",]*)(?:,|$)')
_QUERIED = ("release", "environment", "project", STATUS)


# ── fields


@dataclass(frozen=True, slots=True)
class _Field:
    """One figure: how it is read, and what it needs. `by_status`: whether it can be told of one status alone."""

    read: Callable[[Figures, Sequence[int]], float | None]
    users: bool = False
    durations: bool = False
    by_status: bool = False


def _milliseconds(read: Callable[[Durations], float]) -> _Field:
    def of_group(figures: Figures, _statuses: Sequence[int]) -> float | None:
        return None if figures.durations is None else round(read(figures.durations) * 1000, 3)

    return _Field(of_group, durations=True)


def _percentile(percent: int) -> _Field:
    return _milliseconds(lambda durations: durations.percentiles[percent])


def _crash_rate(crashed: int, of: int) -> float | None:
    return crashed / of if of else None


FIELDS: Mapping[str, _Field] = {
    "sum(session)": _Field(lambda f, of: sum(f.sessions[n] for n in of), by_status=True),
    "count_unique(user)": _Field(lambda f, of: sum(f.users[n] for n in of), users=True, by_status=True),
    "crash_rate(session)": _Field(lambda f, _: _crash_rate(f.crashed, f.all_sessions)),
    "crash_rate(user)": _Field(lambda f, _: _crash_rate(f.crashed_users, f.all_users), users=True),
    "crash_free_rate(session)": _Field(lambda f, _: f.crash_free_sessions),
    "crash_free_rate(user)": _Field(lambda f, _: f.crash_free_users, users=True),
    "avg(session.duration)": _milliseconds(lambda durations: durations.mean),
    **{f"p{percent}(session.duration)": _percentile(percent) for percent in PERCENTS},
    "max(session.duration)": _milliseconds(lambda durations: durations.max),
}


# ── what is asked


@dataclass(frozen=True, slots=True)
class Asked:
    """A call as it is understood. `statuses` are places in STATES."""

    fields: tuple[str, ...]
    group_by: tuple[str, ...]
    span: Span
    every: timedelta
    order: tuple[str, bool] | None
    sessions: Sessions
    statuses: tuple[int, ...]
    totals: bool
    series: bool
    groups: int

    @property
    def level(self) -> tuple[str, ...]:
        """What figures are told apart by."""
        return tuple(_COLUMNS[name] for name in self.group_by if name in _COLUMNS)

    @property
    def by_status(self) -> bool:
        """Whether each status is a group."""
        return STATUS in self.group_by

    def figures(self, lake: Queried, sessions: Sessions, **more: Any) -> dict[Cell, Figures]:
        """What is asked for of these sessions, users and durations only where a field needs them."""
        users = any(FIELDS[name].users for name in self.fields)
        durations = any(FIELDS[name].durations for name in self.fields)
        return health_figures(
            lake, self.span, sessions, [self.level], users=users, durations=durations, **more
        )


def sessions(call: Call) -> Response:
    """Figures of a time, whole and in intervals, by what they are grouped by."""
    asked = understood(call, datetime.now(UTC))
    groups = _groups(call.lake, asked)
    return answer(
        {
            "start": asked.span.since,
            "end": asked.span.until,
            "query": call.query.get("query", ""),
            "intervals": _intervals(asked),
            "groups": groups,
        }
    )


def understood(call: Call, now: datetime) -> Asked:
    """What a call asks for. Raises ApiError (400) that says what is allowed."""
    fields = _several(call, "field", FIELDS)
    if not fields:
        raise _mistake("field", "name at least one", FIELDS)
    group_by = _several(call, "groupBy", _GROUPS)
    every = _interval(call)
    span = _span(call, every, now)
    searched = _searched(call.query.get("query", ""))
    totals, series = (_flag(call, name) for name in ("includeTotals", "includeSeries"))
    statuses = _statuses(searched.get(STATUS))
    apart = [name for name in fields if not FIELDS[name].by_status]
    if apart and (STATUS in group_by or statuses is not None):
        allowed = [name for name, field in FIELDS.items() if field.by_status]
        raise _mistake("field", f"{apart[0]} cannot be told by {STATUS}", allowed)
    number = len(STATES) if STATUS in group_by else 1
    return Asked(
        fields, group_by, span, every, _order(call, fields), _which(call, searched),
        tuple(range(len(STATES))) if statuses is None else statuses, totals, series,
        _per_page(call, (span.until - span.since) // every if series else 1, number),
    )  # fmt: skip


def _mistake(name: str, what: str, allowed: Sequence[str] | Mapping[str, object] = ()) -> ApiError:
    return ApiError(400, f"{name}: {what}" + (f"; allowed are {', '.join(allowed)}" if allowed else ""))


def _several(call: Call, name: str, allowed: Sequence[str] | Mapping[str, object]) -> tuple[str, ...]:
    """The values of a parameter that may be repeated, each once."""
    values = tuple(dict.fromkeys(value for value in call.query.getlist(name) if value))
    for value in values:
        if value not in allowed:
            raise _mistake(name, f"{value[:80]!r} is none", allowed)
    return values


def _interval(call: Call) -> timedelta:
    text = call.query.get("interval") or "1h"
    if text not in _INTERVALS:
        raise _mistake("interval", f"{text[:80]!r} is none", _INTERVALS)
    return _INTERVALS[text]


def _span(call: Call, every: timedelta, now: datetime) -> Span:
    """The asked time in whole intervals, which begin with the UTC day. Raises ApiError (400)."""
    period, start, end = (call.query.get(name) or "" for name in ("statsPeriod", "start", "end"))
    if period and (start or end):
        raise _mistake("statsPeriod", "say either it, or start and end")
    if bool(start) != bool(end):
        raise _mistake("end" if start else "start", "start and end belong together")
    try:
        if start:
            first, last = _moment("start", start), _moment("end", end)
            if last <= first:
                raise _mistake("end", "must be later than start")
            span = Span(_floor(first, every), _ceiling(last, every))
        else:
            until = _ceiling(now, every)
            span = Span(until - -(-_period(period or f"{SHOWN_DAYS}d") // every) * every, until)
    except OverflowError:
        raise _mistake("start", "is beyond all times") from None
    if span.until - span.since > MOST_DAYS * DAY:
        raise _mistake("start" if start else "statsPeriod", f"at most {MOST_DAYS} days can be asked for")
    if (points := (span.until - span.since) // every) > MOST_POINTS:
        raise _mistake(
            "interval", f"{points:,} intervals are too many, {MOST_POINTS:,} are allowed: take a longer one"
        )
    return span


def _period(text: str) -> timedelta:
    match = _PERIOD.fullmatch(text)
    if match is None or not int(match[1]):
        raise _mistake("statsPeriod", f"{text[:80]!r} is none; allowed are lengths such as 24h, 14d, 2w")
    return int(match[1]) * _UNITS[match[2]]


def _moment(name: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise _mistake(
            name, f"{text[:80]!r} is no time; allowed are those such as 2026-11-22T12:00:00Z"
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _floor(moment: datetime, every: timedelta) -> datetime:
    return moment - (moment - _EPOCH) % every


def _ceiling(moment: datetime, every: timedelta) -> datetime:
    return moment + (_EPOCH - moment) % every


def _flag(call: Call, name: str) -> bool:
    text = call.query.get(name) or "1"
    if text not in ("0", "1"):
        raise _mistake(name, f"{text[:80]!r} is none", ("0", "1"))
    return text == "1"


def _order(call: Call, fields: Sequence[str]) -> tuple[str, bool] | None:
    """The field to order by, and whether the greatest comes first."""
    text = call.query.get("orderBy") or ""
    if not text:
        return None
    if text.removeprefix("-") not in fields:
        raise _mistake("orderBy", f"{text[:80]!r} is not among the fields", [f"[-]{name}" for name in fields])
    return text.removeprefix("-"), text.startswith("-")


def _per_page(call: Call, intervals: int, statuses: int) -> int:
    """How many groups there may be."""
    most = MOST_POINTS // intervals
    text = call.query.get("per_page") or ""
    if not text:
        return max(1, most // statuses * statuses)
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and 1 <= int(text) <= most):
        what = f"{text[:80]!r} is not from 1 to {most:,}: groups times {intervals:,} intervals are at most {MOST_POINTS:,}"
        raise _mistake("per_page", what)
    return int(text)


def _searched(query: str) -> dict[str, list[str]]:
    """The values that a search asks for by key: `release:a environment:[b, c] project:"d"`. All keys must hold, of each any value."""
    found: dict[str, list[str]] = {}
    place, query = 0, query.strip()
    while place < len(query):
        match = _TERM.match(query, place)
        if match is None or match["key"] not in _QUERIED:
            wrong = query[place:].strip()[:80]
            raise _mistake("query", f"{wrong!r} is not understood", [f"{key}:value" for key in _QUERIED])
        if match["key"] in found:
            raise _mistake("query", f"{match['key']} is there twice; several values are [a, b]")
        value, place = match["value"], match.end()
        found[match["key"]] = _values(value[1:-1]) if value.startswith("[") else [value.strip('"')]
        if len(found[match["key"]]) > MOST_VALUES:
            raise _mistake("query", f"of {match['key']} at most {MOST_VALUES} values can be asked for")
    return found


def _values(text: str) -> list[str]:
    """The values in a list: `a, "b, c"` are two, each once."""
    found: dict[str, None] = {}
    place = 0
    while place < len(text):
        match = _ONE_OF.match(text, place)
        if match is None:
            raise _mistake("query", f"{text[place:].strip()[:80]!r} is not understood in a list of values")
        if match["quoted"] is not None:
            found[match["quoted"]] = None
        elif plain := match["plain"].strip():
            found[plain] = None
        place = match.end()
    return [*found]


def _statuses(named: Sequence[str] | None) -> tuple[int, ...] | None:
    """Places in STATES, in its order."""
    if named is None:
        return None
    for name in named:
        if name not in STATES:
            raise _mistake("query", f"{STATUS}:{name[:80]!r} is none", STATES)
    return tuple(n for n, state in enumerate(STATES) if state in named)


def _which(call: Call, searched: Mapping[str, list[str]]) -> Sessions:
    """Projects and environments of parameters, and what of them a search asks for."""
    projects = _projects(call, call.query.getlist("project"))
    if "project" in searched:
        named = _projects(call, searched["project"])
        projects = [project for project in projects if project in named]
    environments = list(dict.fromkeys(call.query.getlist("environment"))) or None
    if "environment" in searched:
        asked = searched["environment"]
        environments = [name for name in asked if environments is None or name in environments]
    if len(environments or ()) > MOST_VALUES:
        raise _mistake("environment", f"at most {MOST_VALUES} can be named")
    return Sessions(
        [project.id for project in projects], versions=searched.get("release"), environments=environments
    )


def _projects(call: Call, named: Sequence[str]) -> list[Project]:
    """The projects with these slugs or numbers; all for -1, and where none is named. Raises ApiError (400)."""
    everything = list(call.config.projects)
    if not named or "-1" in named:
        return everything
    for name in named:
        if not any(name in (project.slug, str(project.id)) for project in everything):
            slugs = [project.slug for project in everything]
            raise _mistake("project", f"there is no {name[:80]!r}", [*slugs, "their numbers", "-1"])
    return [project for project in everything if project.slug in named or str(project.id) in named]


# ── the answer


@dataclass(frozen=True, slots=True)
class _Group:
    """A group of the answer: its cell, and the places in STATES whose sessions it counts."""

    cell: Cell
    figures: Figures
    statuses: tuple[int, ...]


def _groups(lake: Queried, asked: Asked) -> list[dict[str, Any]]:
    found = asked.figures(lake, asked.sessions, most=MOST_GROUPS_READ)
    if not asked.level:
        found.setdefault(Cell(), Figures())
    chosen = _ordered(asked, found)[: asked.groups]
    parts = _parts(lake, asked, chosen) if asked.series else {}
    return [_group_json(asked, group, parts) for group in chosen]


def _ordered(asked: Asked, found: Mapping[Cell, Figures]) -> list[_Group]:
    """All groups, by the field that is asked for, else those with most sessions first; statuses from good to bad."""
    most_first = sorted(found.items(), key=lambda entry: (-entry[1].all_sessions, _names(entry[0])))
    groups = [
        _Group(cell, figures, statuses)
        for cell, figures in most_first
        for statuses in ([(n,) for n in range(len(STATES))] if asked.by_status else [asked.statuses])
        if not asked.by_status or statuses[0] in asked.statuses
    ]
    if asked.order is None:
        return groups
    name, descending = asked.order

    def place(group: _Group) -> tuple[bool, float]:
        value = FIELDS[name].read(group.figures, group.statuses)
        return value is None, 0 if value is None else -value if descending else value

    return sorted(groups, key=place)


def _names(cell: Cell) -> tuple[Any, ...]:
    return cell.project_id or 0, cell.release or "", cell.environment or ""


def _parts(lake: Queried, asked: Asked, chosen: Sequence[_Group]) -> dict[Cell, Figures]:
    """The figures of each interval, of the chosen groups."""
    narrowed = asked.sessions.narrowed([asked.level], {group.cell for group in chosen})
    return asked.figures(lake, narrowed, every=asked.every)


def _group_json(asked: Asked, group: _Group, parts: Mapping[Cell, Figures]) -> dict[str, Any]:
    found: dict[str, Any] = {"by": _by(asked, group)}
    if asked.totals:
        found["totals"] = {name: FIELDS[name].read(group.figures, group.statuses) for name in asked.fields}
    if asked.series:
        numbers = range((asked.span.until - asked.span.since) // asked.every)
        figures = [parts.get(group.cell._replace(interval=number), _NOTHING) for number in numbers]
        found["series"] = {
            name: [FIELDS[name].read(of_part, group.statuses) for of_part in figures] for name in asked.fields
        }
    return found


_NOTHING = Figures()


def _by(asked: Asked, group: _Group) -> dict[str, Any]:
    values = {
        "project": group.cell.project_id,
        "release": group.cell.release,
        "environment": group.cell.environment,
    }
    values[STATUS] = STATES[group.statuses[0]] if asked.by_status else None
    return {name: values[name] for name in asked.group_by}


def _intervals(asked: Asked) -> list[datetime]:
    count = (asked.span.until - asked.span.since) // asked.every
    return [asked.span.since + number * asked.every for number in range(count)]
