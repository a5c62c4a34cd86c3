"""From tables of figures to data frames: bounded queries, and columns of types that stay what they are. No figure is defined here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa

from tasks_pipeline.analytics.figures import Figures
from tasks_pipeline.config.projects import project_name
from tasks_pipeline.releases.spans import DAY, SLOT, begin_of, days_between

MOST_ROWS = 1_000_000
"""Of more rows no frame is made, unless more are asked for: a frame is for what fits into memory several times."""
SLOTS_A_DAY = DAY // SLOT
_NULLABLE = {
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}
Projects = Collection[int | str] | None
"""Projects by number or slug; None for all."""


class TooManyRows(ValueError):
    """The frame would have more rows than asked for at most; the message says what makes it smaller."""


class Asked(Protocol):
    """A lake that answers: that of open stores, or that of a home opened to read."""

    def arrow(self, sql: str, parameters: Any = ()) -> pa.Table:
        """Rows of a query as one Arrow table."""
        ...

    def query(self, sql: str, parameters: Any = ()) -> list[dict[str, Any]]:
        """Rows of a query as dicts."""
        ...


class Readable(Protocol):
    """What frames are read from: open stores (`stores.open_stores`) or `frames.open_home`."""

    @property
    def lake(self) -> Asked:
        """The lake."""
        ...

    @property
    def slugs(self) -> dict[int, str]:
        """Slug of each configured project by its number."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` up to `end`, in UTC; whole slots unless it is of moments."""

    start: datetime
    end: datetime

    @classmethod
    def of(cls, start: datetime, end: datetime, *, slots: bool = True) -> Span:
        """Checked. Raises ValueError for times without a zone, in the wrong order, or between two slots."""
        for name, moment in (("start", start), ("end", end)):
            if not isinstance(moment, datetime) or moment.tzinfo is None:
                raise ValueError(
                    f"{name}: found {moment!r}, wanted is a datetime with a zone, as datetime(2026, 11, 16, tzinfo=ZoneInfo('Europe/Berlin'))"
                )
            if slots and (moment.astimezone(UTC) - begin_of(moment.astimezone(UTC).date())) % SLOT:
                raise ValueError(f"{name}: {moment} lies between two slots of 15 minutes")
        if end < start:
            raise ValueError(f"the end {end} is before the start {start}")
        return cls(_plain(start), _plain(end))

    @property
    def days(self) -> str:
        """A condition that chooses the days, and with them the files."""
        return days_between(self.start, self.end) if self.start < self.end else "false"

    def between(self, column: str) -> str:
        """The same with a condition on a column of times."""
        bounds = [f"TIMESTAMPTZ '{moment.isoformat()}'" for moment in (self.start, self.end)]
        return f'{self.days} AND "{column}" >= {bounds[0]} AND "{column}" < {bounds[1]}'

    @property
    def borders(self) -> dict[date, tuple[int, int]]:
        """Days that it covers in part: numbers of the first slot and of the one after the last."""
        found: dict[date, tuple[int, int]] = {}
        if self.start < self.end:
            last = (self.end - timedelta(microseconds=1)).date()
            first_slot = (self.start - begin_of(self.start.date())) // SLOT
            end_slot = (self.end - begin_of(last)) // SLOT
            for day in {self.start.date(), last}:
                slots = (
                    first_slot if day == self.start.date() else 0,
                    end_slot if day == last else SLOTS_A_DAY,
                )
                if slots != (0, SLOTS_A_DAY):
                    found[day] = slots
        return found

    def is_in(self, slot: str) -> str:
        """SQL: whether the slot of that number, on `day`, lies in it."""
        cases = "".join(
            f" WHEN DATE '{day.isoformat()}' THEN {slot} >= {first} AND {slot} < {end}"
            for day, (first, end) in sorted(self.borders.items())
        )
        return f"CASE day{cases} ELSE true END" if cases else "true"

    @property
    def whole_day(self) -> str:
        """SQL: whether all slots of `day` lie in it."""
        days = ", ".join(f"DATE '{day.isoformat()}'" for day in sorted(self.borders))
        return f"day NOT IN ({days})" if days else "true"


def _plain(moment: datetime) -> datetime:
    """A pandas Timestamp is a datetime, but one that counts nanoseconds."""
    if isinstance(moment, pd.Timestamp):
        moment = moment.to_pydatetime()
    return moment.astimezone(UTC)


def sums_by(
    stores: Readable,
    figures: Figures,
    span: Span,
    by: Sequence[str] | None,
    projects: Projects,
    limit: int,
) -> pd.DataFrame:
    """A row for each combination of the columns in `by` (all: slot and keys) with what adds up and what is greatest.

    Raises ValueError for columns that do not tell rows apart, and TooManyRows.
    """
    keys = chosen(by, ("slot", *figures.keys))
    columns = [
        *keys,
        *(_sum(name, figures.type_of(name)) for name in figures.sums),
        *(f"max({name}) AS {name}" for name in figures.greatest),
    ]
    sql = f"SELECT {', '.join(columns)} FROM lake.{figures.table.name} WHERE {span.between('slot')}"
    condition, parameters = of_projects(stores, projects)
    return bounded(stores, f"{sql}{condition}{grouped(keys)}", parameters, limit)


def grouped(keys: Sequence[str]) -> str:
    """The end of a query that tells rows apart by these columns, in their order; without any, all rows are one."""
    return f" GROUP BY ALL ORDER BY {', '.join(keys)}" if keys else ""


def _sum(name: str, type: str) -> str:
    """Of whole numbers DuckDB makes 128 bits, which pandas takes for fractions."""
    return f"coalesce(sum({name}), 0)::{type} AS {name}"


def chosen(by: Sequence[str] | None, allowed: Sequence[str]) -> list[str]:
    """The columns to tell rows apart by, in the order of the table; all when none are named."""
    if by is None:
        return list(allowed)
    names = [by] if isinstance(by, str) else list(by)
    if unknown := [name for name in names if name not in allowed]:
        raise ValueError(f"by: found {unknown[0]!r}, allowed are {', '.join(allowed)}")
    return [name for name in allowed if name in names]


def of_projects(stores: Readable, projects: Projects) -> tuple[str, dict[str, Any]]:
    """A condition on `project_id`, with a leading AND, and its parameters. Raises ValueError for a slug that nobody has."""
    if projects is None:
        return "", {}
    return " AND list_contains($projects, project_id)", {"projects": numbers(stores, projects)}


def numbers(stores: Readable, projects: Projects) -> list[int]:
    """Numbers of projects; of all that are configured when none are named."""
    known = {slug: number for number, slug in stores.slugs.items()}
    if projects is None:
        return sorted(stores.slugs)
    named = [projects] if isinstance(projects, str) else list(projects)
    if unknown := [each for each in named if isinstance(each, str) and each not in known]:
        raise ValueError(f"no project is called {unknown[0]!r}; configured are {', '.join(sorted(known))}")
    return sorted({known[each] if isinstance(each, str) else int(each) for each in named})


def bounded(
    stores: Readable,
    sql: str,
    parameters: Mapping[str, Any],
    limit: int,
    *,
    null: Iterable[str] = ("handled",),
) -> pd.DataFrame:
    """The frame of a query; `null` names whole numbers and truths that may be missing. Raises TooManyRows."""
    table = stores.lake.arrow(f"{sql} LIMIT {int(limit) + 1}", parameters)
    if table.num_rows > limit:
        raise TooManyRows(
            f"more than {limit:,} rows; name fewer columns in `by`, fewer projects or a shorter span, or raise `limit`"
        )
    return with_projects(typed(table, null), stores.slugs)


def typed(table: pa.Table, null: Iterable[str] = ()) -> pd.DataFrame:
    """Rows as a frame: times are in UTC; whole numbers stay whole, in the columns of `null` also beside missing ones (Int64)."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=_NULLABLE.get)
    missing = set(null)
    for field in table.schema:
        if field.type == pa.int64() and field.name not in missing:
            frame[field.name] = frame[field.name].astype("int64")
    return frame


def with_projects(frame: pd.DataFrame, slugs: Mapping[int, str]) -> pd.DataFrame:
    """The frame with the column `project` beside `project_id`, where it has that: what people call it."""
    if "project_id" in frame.columns:
        names = {number: project_name(slugs, number) for number in frame["project_id"].unique()}
        place = list(frame.columns).index("project_id") + 1
        frame.insert(place, "project", frame["project_id"].map(names).astype(str))
    return frame
