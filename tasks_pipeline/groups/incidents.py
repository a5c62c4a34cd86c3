"""Groups of incidents: those that no event makes, but a monitor. They begin, come back and end with its incidents."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from tasks_pipeline.facts.record import record
from tasks_pipeline.facts.types import GroupCreated
from tasks_pipeline.groups.assign import NewGroup, create_group, known_keys
from tasks_pipeline.groups.decisions import lifecycle_columns, log_action, status_of
from tasks_pipeline.groups.lifecycle import Lifecycle, Status, resolve
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import (
    group_hashes,
    groups,
    incidents,
    monitor_environments,
    monitors,
)


def count_incident(
    state: StateDatabase,
    connection: Connection,
    new: NewGroup,
    slug: str,
    owner: str | None,
    now: datetime,
) -> tuple[Row[Any], str]:
    """The group that knows the one key of `new`, made when there is none, counted once more, and what happened to it: new_group
    or regression. A new one is its `owner`'s.

    In the caller's transaction, which holds the lock `group_hashes` from its beginning.
    """
    place = (new.project_id, new.keys[0])
    state.serialise(connection, "group_hashes")
    group_id = known_keys(connection, [place]).get(place)
    kind = "regression" if group_id is not None else "new_group"
    if group_id is None:
        group_id = create_group(state, connection, new, slug)
        row = {"project_id": new.project_id, "key": new.keys[0], "group_id": group_id, "created_at": now}
        connection.execute(group_hashes.insert().values(**row))
    group = _row(connection, group_id)
    values: dict[str, Any] = {
        "culprit": new.culprit,
        "times_seen": group.times_seen + 1,
        "first_seen": group.first_seen or now,
        "last_seen": now,
    }
    if owner and group.assignee is None and kind == "new_group":
        values["assignee"] = owner
        log_action(state, connection, new.project_id, group_id, "assign", {"assignee": owner}, assignee=owner)
    if group.status == Status.RESOLVED:
        values |= lifecycle_columns(Lifecycle(Status.REGRESSED, now))
        status = status_of(group, Status.REGRESSED)
        log_action(state, connection, new.project_id, group_id, "regress", before=group, status=status)
    connection.execute(update(groups).where(groups.c.id == group_id).values(**values))
    if kind == "new_group":
        fact = GroupCreated(group=group_id, level=new.level, platform=new.platform)
        record(state, connection, fact, at=now, project_id=new.project_id)
    return _row(connection, group_id), kind


def end_incident(
    state: StateDatabase, connection: Connection, group_id: int, by: str, now: datetime
) -> Row[Any]:
    """Resolve the group of an incident that is over, unless somebody ignores or discards it; gives its row as it was. `by` says
    in the group's log what ended it."""
    group = _row(connection, group_id)
    if group.status not in (Status.IGNORED, Status.DISCARDED):
        connection.execute(
            update(groups).where(groups.c.id == group_id).values(**lifecycle_columns(resolve(now)))
        )
        status, said = status_of(group, Status.RESOLVED), {"by": by}
        log_action(
            state, connection, group.project_id, group_id, "resolve", said, before=group, status=status
        )
    return group


def monitor_of_group(state: StateDatabase, group_id: int) -> dict[str, str] | None:
    """`slug` and `environment` of the monitor whose incidents make a group; None where events do."""
    newest = select(incidents.c.environment_id).where(incidents.c.group_id == group_id)
    e, m = monitor_environments.c, monitors.c
    with state.read() as connection:
        environment_id = connection.execute(newest.order_by(incidents.c.id.desc()).limit(1)).scalar()
        if environment_id is None:
            return None
        named = select(m.slug, e.environment).join_from(monitor_environments, monitors, m.id == e.monitor_id)
        found = connection.execute(named.where(e.id == environment_id)).first()
    return None if found is None else dict(found._mapping)


def _row(connection: Connection, group_id: int) -> Row[Any]:
    return connection.execute(select(groups).where(groups.c.id == group_id)).one()
