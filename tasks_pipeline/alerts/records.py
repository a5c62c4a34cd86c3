"""Alerts and what rules remember, in the state database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, String, and_, func, select

from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import alerts, rule_states
from tasks_pipeline.storage.state.wanted import wanted

StateKey = tuple[int, str, str]
"""(project id, rule, thread)"""


def known_keys(connection: Connection, keys: Iterable[str]) -> set[str]:
    """Those of the keys that fired already."""
    found: set[str] = set()
    for chunk in chunks(sorted(set(keys))):
        found.update(connection.execute(select(alerts.c.key).where(alerts.c.key.in_(chunk))).scalars())
    return found


def insert_alerts(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Record alerts, whose keys are new; gives the id of each by its key."""
    ids: dict[str, int] = {}
    for chunk in chunks(rows):
        connection.execute(alerts.insert(), [dict(row) for row in chunk])
        keys = [row["key"] for row in chunk]
        for row in connection.execute(select(alerts.c.id, alerts.c.key).where(alerts.c.key.in_(keys))):
            ids[row.key] = row.id
    return ids


def recent_alerts(connection: Connection, project_id: int, rule: str, since: datetime) -> int:
    """How many alerts of a rule were recorded since a moment, recoveries apart."""
    query = select(func.count()).where(
        alerts.c.project_id == project_id,
        alerts.c.rule == rule,
        alerts.c.at > since,
        alerts.c.status == "firing",
    )
    return int(connection.execute(query).scalar_one())


def alerts_by_status(state: StateDatabase, since: datetime) -> dict[str, int]:
    """How many alerts of each status were recorded since a moment, of all projects."""
    query = select(alerts.c.status, func.count()).where(alerts.c.at >= since).group_by(alerts.c.status)
    with state.read() as connection:
        return {status: int(count) for status, count in connection.execute(query)}


def fired_rules(connection: Connection, group_id: int, incident_id: int | None) -> set[str]:
    """Names of the rules that fired for an incident, or for a group when there is none."""
    query = select(alerts.c.rule).where(alerts.c.group_id == group_id, alerts.c.status == "firing").distinct()
    if incident_id is not None:
        query = query.where(alerts.c.incident_id == incident_id)
    return set(connection.execute(query).scalars())


def rule_state_rows(connection: Connection, keys: Iterable[StateKey]) -> dict[StateKey, dict[str, Any]]:
    """What rules remember: status, fired_at, changed_at, data."""
    found: dict[StateKey, dict[str, Any]] = {}
    r = rule_states.c
    for chunk in chunks(sorted(set(keys))):
        w = wanted(connection, chunk, project_id=BigInteger(), rule=String(), thread=String())
        same = and_(r.project_id == w.c.project_id, r.rule == w.c.rule, r.thread == w.c.thread)
        for row in connection.execute(select(rule_states).join_from(w, rule_states, same)):
            found[row.project_id, row.rule, row.thread] = dict(row._mapping)
    return found


def set_rule_states(
    state: StateDatabase, connection: Connection, rows: Mapping[StateKey, Mapping[str, Any]]
) -> None:
    """Remember status, fired_at, changed_at and data by project, rule and thread."""
    values = [
        {"project_id": project_id, "rule": rule, "thread": thread, **row}
        for (project_id, rule, thread), row in sorted(rows.items())
    ]
    insert = state.insert(rule_states)
    update = insert.on_conflict_do_update(
        index_elements=list(rule_states.primary_key.columns),
        set_={name: insert.excluded[name] for name in ("status", "fired_at", "changed_at", "data")},
    )
    for chunk in chunks(values):
        connection.execute(update, list(chunk))


def list_alerts(
    state: StateDatabase,
    *,
    since: datetime,
    project_id: int | None = None,
    rule: str | None = None,
    limit: int = 200,
) -> list[dict[str, Any]]:
    """Alerts as rows of the table, newest first."""
    query = select(alerts).where(alerts.c.at >= since)
    if project_id is not None:
        query = query.where(alerts.c.project_id == project_id)
    if rule is not None:
        query = query.where(alerts.c.rule == rule)
    with state.read() as connection:
        rows = connection.execute(query.order_by(alerts.c.at.desc(), alerts.c.id.desc()).limit(limit))
        return [dict(row._mapping) for row in rows]
