"""What groups were at a moment: their status, since when they were open, who had them. By the log, never by what they are today.

Each entry of the log says what status and assignee a group has from then on (`groups/decisions.py:log_action`); a group without
one is unresolved since it was made, and nobody's. A question looks the last entries of each group up by an index, so that it
costs the same however long the log is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, String, bindparam, text

from tasks_pipeline.analytics.statistics.visible import VISIBLE_SQL
from tasks_pipeline.groups.lifecycle import Status
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import UtcDateTime

OPEN = (str(Status.UNRESOLVED), str(Status.REGRESSED))
"""Statuses of groups that wait for somebody: the backlog."""
PAGE = 5_000  # groups that are asked for at once

_OPEN_SQL = ", ".join(f"'{status}'" for status in OPEN)


def _last(condition: str) -> str:
    return (
        f"(SELECT a.id FROM group_actions a WHERE a.group_id = g.id AND {condition} AND a.at < :at "
        "ORDER BY a.at DESC, a.id DESC LIMIT 1)"
    )


def _value(column: str, number: str) -> str:
    """A column of an entry: looked up for each, where a join would have Postgres read the whole log."""
    return f"(SELECT v.{column} FROM group_actions v WHERE v.id = {number})"


def _query(which: str, rest: str = "") -> Any:
    found = (
        "SELECT g.id, g.project_id, g.created_at, "
        f"{_last('a.status IS NOT NULL')} AS last_status, "
        f"{_last(f'a.status IS NOT NULL AND a.status NOT IN ({_OPEN_SQL})')} AS last_left, "
        f"{_last('a.assignee IS NOT NULL')} AS last_assignee "
        f"FROM (SELECT id, project_id, created_at FROM groups WHERE {which} AND created_at < :at AND {VISIBLE_SQL} {rest}) g"
    )
    dated = f"SELECT n.*, {_value('at', 'n.last_left')} AS left_at FROM ({found}) n"
    opened = (
        f"(SELECT min(a.at) FROM group_actions a WHERE a.group_id = f.id AND a.status IS NOT NULL AND a.status IN ({_OPEN_SQL}) "
        "AND a.at >= f.left_at AND a.at < :at AND (a.at > f.left_at OR a.id > f.last_left))"
    )
    sql = text(
        f"SELECT f.id, f.project_id, f.created_at, {_value('status', 'f.last_status')} AS status, "
        f"CASE WHEN f.last_left IS NULL THEN f.created_at ELSE {opened} END AS opened_at, "
        f"{_value('assignee', 'f.last_assignee')} AS assignee FROM ({dated}) f ORDER BY f.id"
    )
    return sql.bindparams(bindparam("at", type_=UtcDateTime())).columns(
        id=BigInteger(), project_id=BigInteger(), created_at=UtcDateTime(), status=String(), opened_at=UtcDateTime(), assignee=String(),
    )  # fmt: skip


_PAGE = _query("id > :after", "ORDER BY id LIMIT :page")
_NAMED = _query("id IN :ids").bindparams(bindparam("ids", expanding=True))


@dataclass(frozen=True, slots=True)
class Standing:
    """A group at a moment. `status` is `merged` while it is part of another; `opened_at`: when it last became open, None where
    it is not; `assignee`: empty for nobody."""

    group_id: int
    project_id: int
    status: str
    opened_at: datetime | None
    assignee: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it waits for somebody."""
        return self.status in OPEN

    def after(self, status: str | None, assignee: str | None, at: datetime) -> Standing:
        """The group after an entry of the log. One that becomes regressed while it is unresolved stays open since it was."""
        status = self.status if status is None else status
        opened = (self.opened_at if self.is_open else at) if status in OPEN else None
        assignee = self.assignee if assignee is None else assignee
        return Standing(self.group_id, self.project_id, status, opened, assignee)


def standings(connection: Connection, at: datetime) -> Iterator[Standing]:
    """All groups that were made before a moment, as they were then."""
    after = -1
    while True:
        rows = connection.execute(_PAGE, {"at": at, "after": after, "page": PAGE}).all()
        yield from map(_standing, rows)
        if len(rows) < PAGE:
            return
        after = rows[-1].id


def standings_of(connection: Connection, at: datetime, group_ids: Collection[int]) -> dict[int, Standing]:
    """The same of some groups; those that were made later are left out."""
    found: dict[int, Standing] = {}
    for some in chunks(sorted(group_ids)):
        rows = connection.execute(_NAMED, {"at": at, "ids": list(some)})
        found |= {row.id: _standing(row) for row in rows}
    return found


def _standing(row: Any) -> Standing:
    status = row.status or OPEN[0]
    opened = row.opened_at if status in OPEN else None
    return Standing(row.id, row.project_id, status, opened, row.assignee or "")
