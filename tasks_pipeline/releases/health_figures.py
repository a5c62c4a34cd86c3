"""Figures of release health, as lists, pages and the Web API read them: sessions by state, users, durations, of any span.

Whatever is shown of health comes from here, so that no two pages disagree. Users are counted, never added up: those of
releases, environments and days are more together than those of all. Percentiles are read from added histograms. What is
computed of a day is no matter of this module.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from tasks_pipeline.releases.durations import percentile
from tasks_pipeline.releases.fold import RANKS, STATES
from tasks_pipeline.releases.spans import DAY, PLACES, SLOT, Queried, begin_of, days_between, is_final

PERCENTS = (50, 75, 90, 95, 99)
SHOWN_DAYS = 14
"""So many days are shown where nobody says how many."""
_SLOTS_A_DAY = DAY // SLOT
_TYPES = {"project_id": "BIGINT", "release": "VARCHAR", "environment": "VARCHAR"}
_COLUMNS = (*_TYPES, "interval")

Level = tuple[str, ...]
"""What figures are told apart by: some of project_id, release, environment; none of them for all together."""
RELEASE: Level = ("project_id", "release")
RELEASE_AND_ENVIRONMENT: Level = ("project_id", "release", "environment")


@dataclass(frozen=True, slots=True)
class Span:
    """From one moment up to another, both on the begin of a slot of 15 minutes: sessions that began in it."""

    since: datetime
    until: datetime

    @property
    def is_whole_days(self) -> bool:
        """Whether it begins and ends at midnight."""
        return self.since == begin_of(self.since.date()) and self.until == begin_of(self.until.date())

    def is_final(self, now: datetime) -> bool:
        """Whether nothing of it can change any more: sessions of a day are received up to five days later."""
        last = (self.until - timedelta(microseconds=1)).date()
        return is_final(last, now.astimezone(UTC).date())


def last_days(days: int, now: datetime) -> Span:
    """The last so many UTC days, today among them."""
    tomorrow = begin_of(now.astimezone(UTC).date()) + DAY
    return Span(tomorrow - timedelta(days=days), tomorrow)


def span_since(since: datetime, now: datetime) -> Span:
    """From the slot in which a moment lies up to now, the slot of now among it."""
    return Span(_slot(since), _slot(max(since, now)) + SLOT)


def _slot(moment: datetime) -> datetime:
    return moment - (moment - begin_of(moment.date())) % SLOT


@dataclass(frozen=True, slots=True)
class Sessions:
    """Which sessions: of these projects; where they are given, of these releases (`named`: project and version; `versions`: in
    any project) and environments (empty: those that named none). `cells`: only of those in them, by the columns of `told_by`."""

    project_ids: Collection[int]
    named: Collection[tuple[int, str]] | None = None
    versions: Collection[str] | None = None
    environments: Collection[str] | None = None
    told_by: Level = ()
    cells: Collection[tuple[Any, ...]] = ()

    def narrowed(self, levels: Sequence[Level], cells: Collection[Cell]) -> Sessions:
        """The sessions of these cells, as far as all levels tell them apart: what is left out is not to be counted either.

        By what they are together: of sets of releases and of environments every pair would be read.
        """
        told_by = tuple(name for name in _TYPES if all(name in level for level in levels))
        named = {tuple(getattr(cell, name) for name in told_by) for cell in cells}
        return replace(self, told_by=told_by, cells=sorted(named))


class Cell(NamedTuple):
    """What figures are of; None for all together. `interval` is the number of a part of the span, from 0."""

    project_id: int | None = None
    release: str | None = None
    environment: str | None = None
    interval: int | None = None


@dataclass(frozen=True, slots=True)
class Durations:
    """How long sessions lasted that ended well, in seconds; `percentiles` by percent, right within 1 %, the others exact."""

    count: int
    mean: float
    max: float
    percentiles: dict[int, float]

    def as_json(self) -> dict[str, float]:
        """`{p50, p75, p90, p95, p99, mean, max}`, to the millisecond."""
        named = {f"p{percent}": value for percent, value in self.percentiles.items()}
        return {
            name: round(value, 3) for name, value in {**named, "mean": self.mean, "max": self.max}.items()
        }


@dataclass(slots=True)
class Figures:
    """Sessions and users by state, in the order of STATES, and durations where they were asked for and there are some."""

    sessions: tuple[int, ...] = (0,) * len(STATES)
    users: tuple[int, ...] = (0,) * len(STATES)
    durations: Durations | None = None
    duration_sum: float = field(default=0.0, repr=False)
    duration_max: float = field(default=0.0, repr=False)

    @property
    def all_sessions(self) -> int:
        """All of them; the states add up to it."""
        return sum(self.sessions)

    @property
    def all_users(self) -> int:
        """Distinct users; by their worst session they add up to it."""
        return sum(self.users)

    @property
    def crashed(self) -> int:
        """Sessions that crashed."""
        return self.sessions[-1]

    @property
    def crashed_users(self) -> int:
        """Users of whom a session crashed."""
        return self.users[-1]

    @property
    def crash_free_sessions(self) -> float | None:
        """The share of sessions that did not crash, 0 to 1; None without sessions, which is neither."""
        return _share(self.all_sessions - self.crashed, self.all_sessions)

    @property
    def crash_free_users(self) -> float | None:
        """The same of users."""
        return _share(self.all_users - self.crashed_users, self.all_users)


def _share(part: int, of: int) -> float | None:
    return part / of if of else None


def health_figures(
    lake: Queried,
    span: Span,
    sessions: Sessions,
    levels: Sequence[Level],
    *,
    every: timedelta | None = None,
    users: bool = True,
    durations: bool = True,
    most: int | None = None,
) -> dict[Cell, Figures]:
    """Figures of a span at each of the levels; with `every` (whole slots) also those of each part of it that is so long. What
    has no sessions is left out, and of more than `most` those with the fewest. One query for sessions, and one each for users and
    durations where they are asked for.
    """
    question = _Question(span, sessions, levels, every, most)
    found = {
        _cell(row): Figures(
            tuple(int(row[state]) for state in STATES),
            duration_sum=row["duration_sum"] or 0.0,
            duration_max=row["duration_max"] or 0.0,
        )
        for row in question.ask(lake, question.sessions())
    }
    if most is not None and len(found) >= most:
        question = replace(question, of=sessions.narrowed(levels, found))
    if users:
        for row in question.ask(lake, question.users()):
            if figures := found.get(_cell(row)):
                figures.users = tuple(int(row[state]) for state in STATES)
    if durations:
        for row in question.ask(lake, question.durations()):
            if figures := found.get(_cell(row)):
                figures.durations = _durations(figures, row)
    return found


def _cell(row: dict[str, Any]) -> Cell:
    return Cell(*(row[name] for name in _COLUMNS))


def _durations(figures: Figures, row: dict[str, Any]) -> Durations:
    longest = figures.duration_max
    read = {percent: percentile({row[f"p{percent}"]: 1}, 100, longest) for percent in PERCENTS}
    count = int(row["count"])
    return Durations(
        count,
        figures.duration_sum / count,
        longest,
        {percent: value or 0.0 for percent, value in read.items()},
    )


@dataclass(frozen=True, slots=True)
class _Question:
    """The SQL of one question. Values of strangers are parameters; times are our own, and constants, since these choose files."""

    span: Span
    of: Sessions
    levels: Sequence[Level]
    every: timedelta | None
    most: int | None = None

    def ask(self, lake: Queried, sql: str) -> list[dict[str, Any]]:
        """Its rows."""
        return lake.query(sql, self._parameters())

    def sessions(self) -> str:
        """Sessions by state, and what else can be added up."""
        states = ", ".join(f"sum({state}) AS {state}" for state in STATES)
        return (
            f"SELECT {self._columns()}, {states}, sum(duration_sum_s) AS duration_sum, max(duration_max_s) AS duration_max "
            f"FROM (SELECT *, {self._interval_of_slot()} AS interval FROM {self._rows('release_health')} WHERE {self._slots()}) "
            f"GROUP BY GROUPING SETS ({self._sets()}) HAVING sum(sessions) > 0"
            + ("" if self.most is None else f" ORDER BY sum(sessions) DESC LIMIT {self.most}")
        )

    def users(self) -> str:
        """Users by their worst session. A user is one of a project, whatever it is told apart by."""
        states = ", ".join(
            f"count(*) FILTER (rank = {rank}) AS {state}" for rank, state in zip(RANKS, STATES, strict=True)
        )
        owner = [] if all("project_id" in level for level in self.levels) else ["owner"]
        worst = (
            f"SELECT {self._columns()}, max(rank) AS rank FROM ({self._ranks()}) "
            f"GROUP BY GROUPING SETS ({self._sets(*owner, 'user_hash')})"
        )
        return f"SELECT {', '.join(_COLUMNS)}, {states} FROM ({worst}) GROUP BY ALL"

    def durations(self) -> str:
        """How many there are, and the bucket of each percentile: the first up to which ceil(p·n) of them lie."""
        columns = ", ".join(_COLUMNS)
        percentiles = ", ".join(
            f"min(bucket) FILTER (upto * 100 >= {percent} * total) AS p{percent}" for percent in PERCENTS
        )
        buckets = (
            f"SELECT project_id, release, environment, {self._interval_of_slot()} AS interval, "
            "unnest(map_keys(durations)) AS bucket, unnest(map_values(durations)) AS n "
            f"FROM {self._rows('release_health')} WHERE {self._slots()}"
        )
        counted = f"SELECT {self._columns()}, bucket, sum(n) AS n FROM ({buckets}) GROUP BY GROUPING SETS ({self._sets('bucket')})"
        placed = (
            f"SELECT *, sum(n) OVER (PARTITION BY {columns} ORDER BY bucket) AS upto, "
            f"sum(n) OVER (PARTITION BY {columns}) AS total FROM ({counted})"
        )
        return f"SELECT {columns}, max(total) AS count, {percentiles} FROM ({placed}) GROUP BY {columns}"

    def _sets(self, *more: str) -> str:
        """Grouping sets: each level, and with parts of the span each level in each part."""
        apart = [()] if self.every is None else [(), ("interval",)]
        return ", ".join(f"({', '.join((*level, *part, *more))})" for level in self.levels for part in apart)

    def _columns(self) -> str:
        """All four; those that no level tells apart are null."""
        apart = {*(name for level in self.levels for name in level), *(["interval"] if self.every else [])}
        return ", ".join(name if name in apart else f"NULL AS {name}" for name in _COLUMNS)

    def _interval_of_slot(self) -> str:
        if self.every is None:
            return "NULL::BIGINT"
        microsecond = timedelta(microseconds=1)
        first = (self.span.since - datetime(1970, 1, 1, tzinfo=UTC)) // microsecond
        return f"(epoch_us(slot) - {first}) // {self.every // microsecond}"

    def _slots(self) -> str:
        condition = f"{days_between(self.span.since, self.span.until)} AND {self._which()}"
        if self.span.is_whole_days:
            return condition
        bounds = (moment.isoformat() for moment in (self.span.since, self.span.until))
        return condition + " AND slot >= TIMESTAMPTZ '{}' AND slot < TIMESTAMPTZ '{}'".format(*bounds)

    def _ranks(self) -> str:
        """A row for each user and what they are told apart by, with the rank of some of their sessions, the worst among them."""
        rows = f"{self._rows('session_users')} WHERE {days_between(self.span.since, self.span.until)} AND {self._which()}"
        columns = "project_id, project_id AS owner, release, environment, user_hash"
        if self.span.is_whole_days and self.every is None:
            worst = f"list_max(list_transform(states, lambda s: s % {PLACES}))"
            return f"SELECT {columns}, NULL::BIGINT AS interval, {worst} AS rank FROM {rows}"
        first = self.span.since.date()
        begin = (self.span.since - begin_of(first)) // SLOT
        end = (self.span.until - begin_of(first)) // SLOT
        interval = "NULL::BIGINT" if self.every is None else f"(slot - {begin}) // {self.every // SLOT}"
        slots = (
            f"SELECT {columns}, state % {PLACES} AS rank, "
            f"(day - DATE '{first.isoformat()}') * {_SLOTS_A_DAY} + state // {PLACES} AS slot "
            f"FROM (SELECT *, unnest(states) AS state FROM {rows})"
        )
        return f"SELECT *, {interval} AS interval FROM ({slots}) WHERE slot >= {begin} AND slot < {end}"

    def _rows(self, table: str) -> str:
        rows = f"lake.{table}"
        if self.of.named is not None:
            named = "SELECT unnest($named::BIGINT[]) AS project_id, unnest($releases::VARCHAR[]) AS release"
            rows += f" JOIN ({named}) USING (project_id, release)"
        if self.of.told_by:
            cells = (f"unnest($of_{name}::{_TYPES[name]}[]) AS {name}" for name in self.of.told_by)
            rows += f" JOIN (SELECT {', '.join(cells)}) USING ({', '.join(self.of.told_by)})"
        return rows

    def _which(self) -> str:
        conditions = ["list_contains($projects, project_id)"]
        if self.of.versions is not None:
            conditions.append("release IN (SELECT unnest($versions::VARCHAR[]))")
        if self.of.environments is not None:
            conditions.append("environment IN (SELECT unnest($environments::VARCHAR[]))")
        return " AND ".join(conditions)

    def _parameters(self) -> dict[str, Any]:
        found: dict[str, Any] = {"projects": list(self.of.project_ids)}
        if self.of.named is not None:
            named = sorted(self.of.named)
            found |= {"named": [p for p, _ in named], "releases": [version for _, version in named]}
        if self.of.versions is not None:
            found["versions"] = list(self.of.versions)
        for place, name in enumerate(self.of.told_by):
            found[f"of_{name}"] = [cell[place] for cell in self.of.cells]
        if self.of.environments is not None:
            found["environments"] = list(self.of.environments)
        return found


def releases_health(
    lake: Queried,
    rows: Sequence[Mapping[str, Any]],
    span: Span,
    *,
    levels: Sequence[Level] = (RELEASE,),
    environments: Collection[str] | None = None,
    durations: bool = False,
) -> dict[tuple[int, str], dict[str | None, Figures]]:
    """Figures of releases (rows with project_id and version), by project and version: by None those of all environments, and with
    RELEASE_AND_ENVIRONMENT among the levels by each its own."""
    if not rows:
        return {}
    named = {(row["project_id"], row["version"]) for row in rows}
    of = Sessions({project_id for project_id, _ in named}, named, environments=environments)
    found: dict[tuple[int, str], dict[str | None, Figures]] = {}
    for cell, figures in health_figures(lake, span, of, levels, durations=durations).items():
        assert cell.project_id is not None
        assert cell.release is not None
        found.setdefault((cell.project_id, cell.release), {})[cell.environment] = figures
    return found
