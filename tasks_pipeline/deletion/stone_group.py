"""The stone of groups: SQLite gives the number of the newest row again when that is deleted, and figures and facts that stay would
then tell of another group. A row that nobody sees keeps the numbers of groups and of entries of their log used up."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, delete, func, select

from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import group_actions, groups

OF_NOBODY = 0
"""The project of stones: none has this number."""


def set_stone_group(state: StateDatabase, connection: Connection) -> None:
    """Put a stone above all groups that there are, before some of them go; those before it are not needed any more."""
    if not state.is_sqlite:
        return
    former = list(connection.execute(select(groups.c.id).where(groups.c.project_id == OF_NOBODY)).scalars())
    now = datetime.now(UTC)
    highest = connection.execute(select(func.coalesce(func.max(groups.c.id), 0))).scalar_one()
    stone = connection.execute(
        groups.insert()
        .values(
            project_id=OF_NOBODY, short_id=highest + 1, title="", culprit="", level="", platform="", type="", metadata={}, algorithm="",
            created_at=now,
        )
        .returning(groups.c.id)
    ).scalar_one()  # fmt: skip
    entry = {
        "project_id": OF_NOBODY,
        "group_id": stone,
        "action": "delete",
        "data": {},
        "actor": "",
        "at": now,
    }
    connection.execute(group_actions.insert().values(entry))
    connection.execute(delete(group_actions).where(group_actions.c.group_id.in_(former)))
    connection.execute(delete(groups).where(groups.c.id.in_(former)))
