"""Removals: days of which retention took rows of the lake. Noted before the rows go, so that nobody counts a day again from less."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import retention_removals
from tasks_pipeline.words import counted

ALL_PROJECTS = 0
_r = retention_removals.c


@dataclass(frozen=True, slots=True)
class RemovedDays:
    """Of which days rows of a table were taken, by project."""

    projects: Mapping[date, Collection[int]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.projects)

    def has(self, day: date, project_id: int) -> bool:
        """Whether rows of the project were taken of the day."""
        found = self.projects.get(day, ())
        return ALL_PROJECTS in found or project_id in found


def removed_days(
    connection: Connection, table: str, first: date, last: date, since: datetime | None = None
) -> RemovedDays:
    """Of days from the first to the last those of which rows of a table of the lake were taken; some of them since a moment, where one is
    given. The notes of all days grow for ever."""
    found: dict[date, set[int]] = {}
    query = select(_r.day, _r.project_id).where(_r.day.between(first, last), _r.name == table)
    if since is not None:
        query = query.where(_r.removed_at >= since)
    for day, project_id in connection.execute(query):
        found.setdefault(day, set()).add(project_id)
    return RemovedDays(found)


def removed_at(connection: Connection, day: date, tables: Collection[str]) -> datetime | None:
    """When rows of one of these tables were last taken of a day; None when none were."""
    query = select(_r.removed_at).where(_r.day == day, _r.name.in_(tables))
    return max(connection.execute(query).scalars(), default=None)


@dataclass(frozen=True, slots=True)
class Removed:
    """Rows of a table of the lake that were taken of a day: how many, why, and when last."""

    name: str
    rows: int
    reason: str
    at: datetime

    def __str__(self) -> str:
        rows = f"{counted(self.rows, 'row')} of {self.name} {'was' if self.rows == 1 else 'were'}"
        return f"{rows} {WHY.get(self.reason, 'removed by retention')} on {self.at:%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class RemovedRows:
    """Rows of a table and day that went on purpose, and why, in words."""

    day: date
    table: str
    rows: int
    why: str


def removed_on_purpose(connection: Connection, since: datetime, most: int) -> list[RemovedRows]:
    """What was taken on purpose since a moment, of all projects together, by day and table; of not more than so many the newest."""
    rows = func.sum(_r.rows).label("rows")
    query = (
        select(_r.day, _r.name, _r.reason, rows)
        .where(_r.reason.in_(WHY), _r.removed_at >= since)
        .group_by(_r.day, _r.name, _r.reason)
        .order_by(_r.day.desc(), _r.name)
    )
    found = connection.execute(query.limit(most))
    return [RemovedRows(day, name, int(count), WHY[reason]) for day, name, reason, count in found]


WHY = {"privacy": "deleted for privacy", "deleted": "deleted by a person"}
"""Reasons that are not retention, in words."""


def removed_of(connection: Connection, day: date, tables: Collection[str]) -> list[Removed]:
    """What was taken of tables of a day, of all projects together; the newest first."""
    found: dict[tuple[str, str], Removed] = {}
    query = select(_r.name, _r.rows, _r.reason, _r.removed_at).where(_r.day == day, _r.name.in_(tables))
    for name, rows, reason, at in connection.execute(query):
        known = found.get((name, reason), Removed(name, 0, reason, at))
        found[name, reason] = Removed(name, known.rows + rows, reason, max(known.at, at))
    return sorted(found.values(), key=lambda each: (each.at, each.name), reverse=True)


@dataclass(frozen=True, slots=True)
class LastNoted:
    """The rows of a table, day and project that were noted last, and one of them, by which somebody can see whether they went."""

    day: date
    name: str
    project_id: int
    reason: str
    rows: int
    witness: str


def last_noted(connection: Connection, day: date, tables: Collection[str], reason: str) -> list[LastNoted]:
    """What was last noted of tables of a day, for a reason, where a witness can tell whether it went."""
    query = select(_r.day, _r.name, _r.project_id, _r.reason, _r.last_rows, _r.witness)
    query = query.where(_r.day == day, _r.name.in_(tables), _r.reason == reason, _r.witness != "")
    return [LastNoted(*row) for row in connection.execute(query)]


def take_back(connection: Connection, noted: LastNoted) -> None:
    """Have rows not be noted that did not go, unless somebody else took them back, or noted others since."""
    key = _r.day == noted.day, _r.name == noted.name, _r.project_id == noted.project_id
    same = *key, _r.reason == noted.reason, _r.witness == noted.witness, _r.last_rows == noted.rows
    left = {"rows": _r.rows - noted.rows, "last_rows": 0, "witness": ""}
    connection.execute(update(retention_removals).where(*same).values(left))


def note_removals(
    state: StateDatabase, connection: Connection, rows: Sequence[Mapping[str, Any]], now: datetime
) -> None:
    """Note that rows are about to go: day, name, project_id, rows, reason and, where one is known, witness of each. Those of later add up."""
    if rows:
        noted = [{"witness": "", **row, "last_rows": row["rows"], "removed_at": now} for row in rows]
        state.put(connection, _noted, noted)


def _noted(state: StateDatabase) -> Any:
    insert = state.insert(retention_removals)
    new = insert.excluded
    added = {
        "rows": retention_removals.c.rows + new.rows, "last_rows": new.last_rows, "witness": new.witness,
        "removed_at": new.removed_at,
    }  # fmt: skip
    return insert.on_conflict_do_update(index_elements=["day", "name", "project_id", "reason"], set_=added)


def were_removed(connection: Connection, day: date, project_id: int, tables: Collection[str]) -> bool:
    """Whether rows of one of these tables were taken of a day and a project."""
    of_project = _r.project_id.in_((ALL_PROJECTS, project_id))
    query = select(_r.day).where(_r.day == day, _r.name.in_(tables), of_project)
    return connection.execute(query.limit(1)).first() is not None


def forget_removals(connection: Connection, day: date, project_id: int, tables: Collection[str]) -> None:
    """Have nothing be taken of tables of a day and a project: all of it is back."""
    gone = _r.day == day, _r.name.in_(tables), _r.project_id == project_id
    connection.execute(delete(retention_removals).where(*gone))
