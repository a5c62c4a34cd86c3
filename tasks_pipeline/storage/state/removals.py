"""Removals: days of which retention took rows of the lake. Noted before the rows go, so that nobody counts a day again from less."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import retention_removals

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


def removed_days(connection: Connection, table: str) -> RemovedDays:
    """The days of which rows of a table of the lake were taken."""
    found: dict[date, set[int]] = {}
    query = select(_r.day, _r.project_id).where(_r.name == table)
    for day, project_id in connection.execute(query):
        found.setdefault(day, set()).add(project_id)
    return RemovedDays(found)


def removed_at(connection: Connection, day: date, tables: Collection[str]) -> datetime | None:
    """When rows of one of these tables were last taken of a day; None when none were."""
    query = select(_r.removed_at).where(_r.day == day, _r.name.in_(tables))
    return max(connection.execute(query).scalars(), default=None)


def note_removals(
    state: StateDatabase, connection: Connection, rows: Sequence[Mapping[str, Any]], now: datetime
) -> None:
    """Note that rows are about to go: day, name, project_id, rows and reason of each. Those of later add up."""
    if rows:
        state.put(connection, _noted, [{**row, "removed_at": now} for row in rows])


def _noted(state: StateDatabase) -> Any:
    insert = state.insert(retention_removals)
    new = insert.excluded
    added = {"rows": retention_removals.c.rows + new.rows, "reason": new.reason, "removed_at": new.removed_at}
    return insert.on_conflict_do_update(index_elements=["day", "name", "project_id"], set_=added)


def were_removed(connection: Connection, day: date, project_id: int, tables: Collection[str]) -> bool:
    """Whether rows of one of these tables were taken of a day and a project."""
    of_project = _r.project_id.in_((ALL_PROJECTS, project_id))
    query = select(_r.day).where(_r.day == day, _r.name.in_(tables), of_project)
    return connection.execute(query.limit(1)).first() is not None


def forget_removals(connection: Connection, day: date, project_id: int, tables: Collection[str]) -> None:
    """Have nothing be taken of tables of a day and a project: all of it is back."""
    gone = _r.day == day, _r.name.in_(tables), _r.project_id == project_id
    connection.execute(delete(retention_removals).where(*gone))
