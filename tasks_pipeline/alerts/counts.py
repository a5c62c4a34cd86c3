"""Counts over windows of time, for alert rules: of groups, of sessions, of projects. Read from the lake."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, select

from tasks_pipeline.releases.fold import AHEAD, CRASHED, folded
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import groups
from tasks_pipeline.stores import Stores

EVENTS_LOOKED_AT = 100  # of a group: conditions are applied to so many of its newest
LEAST_EVENTS_LOOKED_AT = 5  # of a group, where many groups are looked at
ROWS_LOOKED_AT = 5000  # of all groups together: each becomes a dict
GROUPS_LOOKED_AT = 1000
_LOOKED_AT = (
    "group_id, day, part, position, item, event_id, received_at, timestamp, title, culprit, level, platform, type, "
    "release, environment, exception_type, tags"
)
"""What conditions and messages say of an event; its other columns are most of it."""

_FACTS = ("title", "culprit", "level", "platform", "type", "times_seen", "users", "assignee", "short_id")


@dataclass(slots=True)
class Window:
    """Events and users of a group within a window, and its newest events (columns of `events`, those that
    conditions and messages name)."""

    count: int
    users: int
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sessions that began in a window, how many crashed, and the same of users."""

    sessions: int
    crashed: int
    users: int
    crashed_users: int


def events_in_window(
    stores: Stores,
    project_id: int,
    since: datetime,
    until: datetime,
    *,
    least_events: int = 1,
    least_users: int = 0,
    groups: Collection[int] | None = None,
) -> dict[int, Window]:
    """Groups with at least so many events (and users) received in [since, until), the largest first, at most GROUPS_LOOKED_AT."""
    bounds = {
        "project": project_id,
        "since": since,
        "until": until,
        "first": since.date(),
        "last": until.date(),
    }
    where = "day BETWEEN $first AND $last AND project_id = $project AND received_at >= $since AND received_at < $until"
    if groups is not None:
        where += " AND group_id IN (SELECT unnest($groups))"
        bounds["groups"] = list(groups)
    rows = stores.lake.query(
        f"SELECT group_id, count(*) AS events, count(DISTINCT user_key) AS users FROM lake.events WHERE {where} "
        f"GROUP BY group_id HAVING count(*) >= $least AND count(DISTINCT user_key) >= $users "
        f"ORDER BY events DESC, group_id LIMIT {GROUPS_LOOKED_AT}",
        {**bounds, "least": least_events, "users": least_users},
    )
    found = {row["group_id"]: Window(row["events"], row["users"]) for row in rows}
    if found:
        bounds["groups"] = list(found)
        if groups is None:
            where += " AND group_id IN (SELECT unnest($groups))"
        newest = stores.lake.query(
            f"SELECT {_LOOKED_AT} FROM lake.events WHERE {where} "
            "QUALIFY row_number() OVER (PARTITION BY group_id ORDER BY received_at DESC) <= "
            f"{min(EVENTS_LOOKED_AT, max(LEAST_EVENTS_LOOKED_AT, ROWS_LOOKED_AT // len(found)))}",
            bounds,
        )
        for event in newest:
            found[event["group_id"]].events.append(event)
    return found


SLICE_ROWS = 500_000  # of sessions that are folded at once: the state of an aggregate stays in memory
_RECEIVED = (
    "SELECT * FROM lake.sessions WHERE day BETWEEN $first AND $last AND project_id = $project "
    "AND received_at >= $received AND ($as_of IS NULL OR received_at < $as_of)"
)
_SESSIONS = (
    f"SELECT quantity, rank, user_hash FROM ({folded(f'{_RECEIVED} AND hash(session_id) % $slices = $slice')}) "
    "WHERE started >= $since AND started < $until AND ($environment IS NULL OR environment = $environment)"
)


def sessions_in_window(
    stores: Stores,
    project_id: int,
    since: datetime,
    until: datetime,
    environment: str | None = None,
    *,
    as_of: datetime | None = None,
) -> Sessions:
    """Sessions of a project that began in [since, until), by the fold that also makes the tables of release health; with
    `as_of` as they were at that moment."""
    received = since - AHEAD
    rows = {
        "project": project_id,
        "received": received,
        "as_of": as_of,
        "first": received.date(),
        "last": as_of.date() if as_of else date.max,
    }
    (counted,) = stores.lake.query(f"SELECT count(*) AS n FROM ({_RECEIVED})", rows)
    slices = max(1, -(-counted["n"] // SLICE_ROWS))
    window = {**rows, "since": since, "until": until, "environment": environment, "slices": slices}
    each = ({**window, "slice": number} for number in range(slices))
    with stores.lake.kept("window_sessions", _SESSIONS, each):
        (row,) = stores.lake.query(
            "SELECT coalesce(sum(quantity), 0)::BIGINT AS sessions, "
            f"coalesce(sum(quantity) FILTER (rank = {CRASHED}), 0)::BIGINT AS crashed, "
            f"count(DISTINCT user_hash) AS users, count(DISTINCT user_hash) FILTER (rank = {CRASHED}) AS crashed_users "
            "FROM window_sessions"
        )
    return Sessions(row["sessions"], row["crashed"], row["users"], row["crashed_users"])


def error_count(
    stores: Stores, project_id: int, since: datetime, until: datetime, environment: str | None = None
) -> int:
    """Events of a project received in [since, until)."""
    (row,) = stores.lake.query(
        "SELECT count(*) AS events FROM lake.events WHERE day BETWEEN ? AND ? AND project_id = ? AND received_at >= ? "
        "AND received_at < ? AND (? IS NULL OR environment = ?)",
        [since.date(), until.date(), project_id, since, until, environment, environment],
    )
    return int(row["events"])


def group_facts(connection: Connection, group_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """What `Firing.data` holds of groups that people want to hear of: those that are unresolved or back."""
    found: dict[int, dict[str, Any]] = {}
    for chunk in chunks(sorted(set(group_ids))):
        columns = (groups.c[name] for name in ("id", "status", *_FACTS, "first_seen", "last_seen"))
        query = select(*columns).where(groups.c.id.in_(chunk))
        for row in connection.execute(query):
            if row.status in ("unresolved", "regressed"):
                times = {
                    n: getattr(row, n).isoformat() for n in ("first_seen", "last_seen") if getattr(row, n)
                }
                found[row.id] = {n: getattr(row, n) for n in _FACTS} | times | {"category": "error"}
    return found
