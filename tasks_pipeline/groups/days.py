"""Days of groups: which release a group's first and last events have, by what `group_days` holds of each day of receipt; and
which days tell of a group."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, not_, select, true

from tasks_pipeline.groups.lifecycle import Status
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import group_actions, group_days, groups

Place = tuple[str, int, int]
"""(part, position, item) of an event within its day of receipt."""


@dataclass(frozen=True, slots=True)
class GroupReleases:
    """The release of a group's earliest event, None when that has none; that of its newest event that has one, and when
    that happened."""

    first: str | None = None
    last: str | None = None
    last_at: datetime | None = None

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of groups that hold them."""
        return {"first_release": self.first, "last_release": self.last, "last_release_at": self.last_at}


def place_text(place: Place) -> str:
    """A place as text that sorts, byte by byte, as places of one day do."""
    part, position, item = place
    return f"{part} {_number(position)}{_number(item)}"


def _number(number: int) -> str:
    """A number behind the number of its digits."""
    digits = str(number)
    return f"{len(digits):02}{digits}"


def releases_of_days(
    connection: Connection, group_ids: Collection[int], of_days: ColumnElement[bool] | None = None
) -> dict[int, GroupReleases]:
    """First and last release of groups, from their days: of all, or of those that meet a condition. Groups without such a
    day are left out."""
    d = group_days.c
    found: dict[int, GroupReleases] = {}
    columns = d.group_id, d.first_release, d.last_release, d.last_release_at
    by_first = func.row_number().over(partition_by=d.group_id, order_by=(d.first_seen, d.day))
    newest = d.last_release_at.desc().nulls_last(), d.day.desc()
    by_last = func.row_number().over(partition_by=d.group_id, order_by=newest)
    for chunk in chunks(sorted(group_ids)):
        ranked = (
            select(*columns, by_first.label("by_first"), by_last.label("by_last"))
            .where(d.group_id.in_(chunk), true() if of_days is None else of_days)
            .subquery()
        )
        rows = connection.execute(
            select(ranked).where((ranked.c.by_first == 1) | (ranked.c.by_last == 1))
        ).all()
        last = {row.group_id: (row.last_release, row.last_release_at) for row in rows if row.by_last == 1}
        for row in rows:
            if row.by_first == 1:
                found[row.group_id] = GroupReleases(row.first_release, *last[row.group_id])
    return found


def shown_since(connection: Connection, group_ids: Collection[int]) -> set[date]:
    """Days whose figures of groups tell of these: on which they were made, or decided about. A group that lost all its events
    to others by a change of the past never was there, and one that got some again always was; others stay what they were."""
    found: set[date] = set()
    stays = groups.c.merged_into.is_not(None) | (groups.c.status == Status.DISCARDED)
    for some in chunks(sorted(group_ids)):
        query = select(groups.c.id, groups.c.created_at).where(groups.c.id.in_(some), not_(stays))
        turned = {row.id: row.created_at for row in connection.execute(query)}
        found.update(at.date() for at in turned.values())
        for column in (group_actions.c.status, group_actions.c.assignee):
            told = select(group_actions.c.at).where(group_actions.c.group_id.in_(turned), column.is_not(None))
            found.update(at.date() for at in connection.execute(told).scalars())
    return found
