"""What must hold of the health of a day, counted from its tables and once more from the rows they are made of, in other ways
than the tables were. Whether that is a failure is said by the checks (`checks/releases.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from tasks_pipeline.releases.fold import STATES
from tasks_pipeline.releases.health import ROWS_OF_DAY, bounds, days_gone
from tasks_pipeline.releases.health_days import health_day
from tasks_pipeline.releases.spans import SLOT_SQL
from tasks_pipeline.storage.state.database import StateDatabase

if TYPE_CHECKING:
    from tasks_pipeline.storage.lake.lake import Lake

_TABLES = (
    f"SELECT count(*) AS rows, count(*) FILTER ({' + '.join(STATES)} <> sessions) AS uneven, "
    f"count(*) FILTER (least({', '.join(STATES)}) < 0 OR sessions < 1 OR crashed > sessions) AS impossible, "
    f"count(*) FILTER (slot <> time_bucket({SLOT_SQL}, slot)) AS between_slots, "
    "count(*) - count(DISTINCT (slot, project_id, release, environment)) AS doubled, "
    "coalesce(sum(sessions), 0)::BIGINT AS sessions, "
    "coalesce(sum(sessions) FILTER (slot >= $begin AND slot < $end), 0)::BIGINT AS in_hours "
    "FROM lake.release_health WHERE day = $day"
)
_SESSIONS = "SELECT project_id, sum(sessions)::BIGINT AS sessions FROM lake.release_health WHERE day = $day GROUP BY ALL"
_USERS = (
    "SELECT project_id, max(users) FILTER (release IS NULL) AS users, max(users) FILTER (release IS NOT NULL) AS of_a_release "
    "FROM (SELECT project_id, release, count(DISTINCT user_hash) AS users FROM lake.session_users WHERE day = $day "
    "GROUP BY GROUPING SETS ((project_id), (project_id, release))) GROUP BY project_id"
)
_RECOUNT = (
    "SELECT project_id, sum(quantity)::BIGINT AS sessions, coalesce(sum(quantity) FILTER (known), 0)::BIGINT AS with_user FROM ("
    f"WITH own AS ({ROWS_OF_DAY}) "
    "SELECT project_id, min({'seq': seq, 'at': received_at, 'part': part, 'position': position, 'item': item, 's': started}).s "
    "AS started, bool_or(user_hash IS NOT NULL) AS known, 1::BIGINT AS quantity "
    "FROM own WHERE session_id IS NOT NULL GROUP BY project_id, session_id "
    "UNION ALL SELECT project_id, started, user_hash IS NOT NULL, quantity FROM own WHERE session_id IS NULL"
    ") WHERE started >= $begin AND started < $end GROUP BY project_id"
)


@dataclass(frozen=True, slots=True)
class Proof:
    """Figures of a day. `stored`, `recounted`, `with_user` (sessions), `users` and `of_a_release` (those of its largest) are by
    project; `provable` is False when rows of sessions are gone, and `due` when some came since the day was
    computed, or it was computed meanwhile."""

    day: date
    rows: int
    uneven: int
    impossible: int
    between_slots: int
    doubled: int
    sessions: int
    in_hours: int
    stored: dict[int, int]
    recounted: dict[int, int]
    with_user: dict[int, int]
    users: dict[int, int]
    of_a_release: dict[int, int]
    due: bool
    provable: bool


def prove(lake: Lake, state: StateDatabase, day: date) -> Proof:
    """Count what the tables hold of a day, and what the rows say."""
    with state.read() as connection:
        before = health_day(connection, day)
    of_day = bounds(day)
    span = {name: of_day[name] for name in ("begin", "end")}
    (tables,) = lake.query(_TABLES, {"day": day, **span})
    stored = lake.query(_SESSIONS, {"day": day})
    users = lake.query(_USERS, {"day": day})
    recounted = lake.query(_RECOUNT, of_day)
    with (
        state.read() as connection
    ):  # what came, or was computed, meanwhile is in some of these and not in others
        known = health_day(connection, day)
    return Proof(
        day,
        **tables,
        stored=_by_project(stored, "sessions"),
        recounted=_by_project(recounted, "sessions"),
        with_user=_by_project(recounted, "with_user"),
        users=_by_project(users, "users"),
        of_a_release=_by_project(users, "of_a_release"),
        due=known.is_due or known != before,
        provable=not days_gone(lake, state, day, known),
    )


def _by_project(rows: list[dict[str, Any]], name: str) -> dict[int, int]:
    return {row["project_id"]: row[name] for row in rows}
