"""compute_health: the tables `release_health` and `session_users` of a day, from the rows of sessions that began on it.

What is read of them (lists, adoption, reports) does not belong here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from tasks_pipeline.releases.durations import BUCKET
from tasks_pipeline.releases.fold import RANKS, STATES, folded
from tasks_pipeline.releases.health_days import (
    HealthDay,
    health_day,
    note_computed,
    receipt_days,
)
from tasks_pipeline.releases.spans import DAY, PLACES, SLOT, SLOT_SQL, begin_of, is_final
from tasks_pipeline.storage.lake.tables import RELEASE_HEALTH, SESSION_USERS
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.day_changes import note_day_changes
from tasks_pipeline.storage.state.erasures import DeletedMeanwhile, generation, refuse_other
from tasks_pipeline.storage.state.removals import removed_days

if TYPE_CHECKING:  # the lake's libraries take half a second to import
    from tasks_pipeline.storage.lake.lake import Lake

SLICE_ROWS = 1_000_000  # of sessions that are folded at once: the state of an aggregate stays in memory
NAMES_BYTES = 64  # of release and environment of a row; so many more weigh as much as another row
TRIES = 5
"""A deletion may take rows while they are read."""
PIECE_ROWS = 50_000  # of a table that are written at once
TABLES = (RELEASE_HEALTH.name, SESSION_USERS.name)

ROWS_OF_DAY = (
    "SELECT * FROM lake.sessions WHERE day BETWEEN $first AND $last AND (session_id IS NULL OR session_id IN ("
    "SELECT session_id FROM lake.sessions WHERE day BETWEEN $first AND $last AND started >= $begin AND started < $end))"
)
"""Rows that may be of sessions that began on a day: all of a session of which one says so, since the first decides."""
_SLICE = f"{ROWS_OF_DAY} AND hash(session_id) % $slices = $slice"
_OF_DAY = f"SELECT * FROM ({folded(_SLICE)}) WHERE started >= $begin AND started < $end"
_KEY = "project_id, release, environment"
_HEALTH = (
    f"SELECT $day::DATE AS day, time_bucket({SLOT_SQL}, started) AS slot, {_KEY}, "
    "sum(quantity)::BIGINT AS sessions, "
    + ", ".join(
        f"coalesce(sum(quantity) FILTER (rank = {rank}), 0)::BIGINT AS {name}"
        for rank, name in zip(RANKS, STATES, strict=True)
    )
    + f", count(DISTINCT user_hash) AS users, coalesce(histogram({BUCKET}), MAP {{}})::MAP(INTEGER, BIGINT) AS durations, "
    # In whole microseconds: a sum of fractions depends on their order.
    "coalesce(sum(round(duration_s * 1e6)::BIGINT), 0)::DOUBLE / 1e6 AS duration_sum_s, max(duration_s) AS duration_max_s "
    f"FROM folded_sessions GROUP BY slot, {_KEY} ORDER BY {_KEY}, slot"
)
_USERS = (
    f"SELECT $day::DATE AS day, {_KEY}, user_hash, list_sort(list(slot * {PLACES} + rank)) AS states FROM ("
    f"SELECT {_KEY}, user_hash, (date_diff('second', $begin::TIMESTAMPTZ, started) // {SLOT.seconds})::INTEGER AS slot, max(rank)::INTEGER AS rank "
    f"FROM folded_sessions WHERE user_hash IS NOT NULL GROUP BY slot, {_KEY}, user_hash) "
    f"GROUP BY {_KEY}, user_hash ORDER BY {_KEY}, user_hash"
)


class SessionsGone(Exception):
    """Rows of sessions that a day was made of are not in the lake any more: computing it again would lose them."""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What was computed of a day: `rows` of sessions were read, `late` of them more than the last time; sessions that crashed,
    distinct users, sessions by hour of their begin; `final`: nothing more can come; `written` are rows by table."""

    day: date
    rows: int
    late: int
    final: bool
    written: dict[str, int]
    sessions: int = 0
    crashed: int = 0
    users: int = 0
    hours: list[int] = field(default_factory=lambda: [0] * 24)


def compute_health(lake: Lake, state: StateDatabase, day: date, now: datetime | None = None) -> HealthReport:
    """Fold the sessions that began on a UTC day, and put what they come to in the place of what the tables hold of it.

    The same rows give the same tables, and dying at any step leaves the former ones or the new ones; what changes meanwhile
    leaves the day due. Raises SessionsGone, and then the day stays as it is and is not due any more.
    """
    for _ in range(TRIES - 1):
        with suppress(DeletedMeanwhile):
            return _compute_health(lake, state, day, now)
    return _compute_health(lake, state, day, now)


def _compute_health(lake: Lake, state: StateDatabase, day: date, now: datetime | None) -> HealthReport:
    now = now or datetime.now(UTC)
    with state.read() as connection:  # before the rows are read: it may count fewer changes than they show
        known = health_day(connection, day)
        since = generation(connection)
    rows, weight = _rows_of(lake, state, day, known, now)
    with _kept_sessions(lake, day, weight), lake.writing(day, "health") as files:
        for table, sql in zip((RELEASE_HEALTH, SESSION_USERS), (_HEALTH, _USERS), strict=True):
            for piece in lake.pieces(sql, _used(sql, day), rows=PIECE_ROWS):
                files.add_piece(table.name, piece.cast(table.arrow))
        files.finish()
        with lake.lock():
            with state.read() as connection:  # users who were deleted meanwhile would be among them again
                refuse_other(connection, since)
            lake.replace_derived(day, TABLES, files.finished)
            # Still under the lock: of two that compute a day at once, the one whose rows lie there has the last word.
            with state.write() as connection:
                note_computed(state, connection, day, known.changes, rows, now)
                note_day_changes(state, connection, [day], "sessions", now)
    written = {name: sum(f.rows for f in files.finished if f.table == name) for name in TABLES}
    late = rows - known.rows_read
    return HealthReport(day, rows, late, is_final(day, now.date()), written, **figures_of_day(lake, day))


@contextmanager
def _kept_sessions(lake: Lake, day: date, weight: int) -> Iterator[None]:
    """The folded sessions of a day as a table of the lake's connection, folded in slices."""
    slices = max(1, -(-weight // SLICE_ROWS))
    each = ({**bounds(day), "slices": slices, "slice": number} for number in range(slices))
    with lake.kept("folded_sessions", _OF_DAY, each):
        yield


def bounds(day: date) -> dict[str, Any]:
    """Parameters of queries about a day: first and last day of receipt, begin and end of the day."""
    first, last = receipt_days(day)
    return {"first": first, "last": last, "begin": begin_of(day), "end": begin_of(day) + DAY}


def _used(sql: str, day: date) -> dict[str, Any]:
    """DuckDB refuses parameters that a query does not have."""
    return {name: value for name, value in {"day": day, **bounds(day)}.items() if f"${name}" in sql}


def _rows_of(lake: Lake, state: StateDatabase, day: date, known: HealthDay, now: datetime) -> tuple[int, int]:
    """How many rows there are of sessions that began on a day, and what these weigh, in rows with names of usual length: what
    strangers call a release is held for each session. Raises SessionsGone."""
    gone = days_gone(lake, state, day, known)
    if gone:
        with state.write() as connection:  # or it would be asked for every night
            note_computed(state, connection, day, known.changes, known.rows_read, known.computed_at or now)
        raise SessionsGone(
            f"rows of sessions received on {', '.join(map(str, gone))} are gone (their retention is over): the health of {day} "
            "stays as it is"
        )
    (row,) = lake.query(
        "SELECT count(*) FILTER (started >= $begin AND started < $end) AS rows, "
        f"sum(greatest(0, strlen(release) + strlen(coalesce(environment, '')) - {NAMES_BYTES})) AS more "
        "FROM lake.sessions WHERE day BETWEEN $first AND $last",
        bounds(day),
    )
    return int(row["rows"]), int(row["rows"]) + int(row["more"] or 0) // NAMES_BYTES


def days_gone(lake: Lake, state: StateDatabase, day: date, known: HealthDay) -> list[date]:
    """Days of receipt of which sessions were taken since the day was over (before, its health is counted from what is left), or that stored some once, as their outcomes say, and hold none. Rows that a
    rule keeps out today are not gone: storing a day again changes its outcomes too."""
    first, last = receipt_days(day)
    with state.read() as connection:
        taken = removed_days(connection, "sessions", first, last, begin_of(day) + DAY).projects
    if taken:
        return sorted(taken)
    rows = lake.query(
        "SELECT day, coalesce(sum(quantity) FILTER (outcome = 'stored' AND reason = ''), 0)::BIGINT AS stored "
        "FROM lake.outcomes WHERE day BETWEEN $first AND $last AND category = 'session' GROUP BY day ORDER BY day",
        {"first": first, "last": last},
    )
    there = lake.query(
        "SELECT DISTINCT day FROM lake.sessions WHERE day BETWEEN $first AND $last",
        {"first": first, "last": last},
    )
    with_rows = {row["day"] for row in there}
    if not rows and not with_rows and known.rows_read:
        return [first, last]  # their outcomes are gone as well
    return [row["day"] for row in rows if row["stored"] and row["day"] not in with_rows]


def figures_of_day(lake: Lake, day: date) -> dict[str, Any]:
    """Sessions, those that crashed, distinct users, and sessions by hour, as the tables have them."""
    hours = [0] * 24
    crashed = 0
    for row in lake.query(
        "SELECT hour(slot) AS hour, sum(sessions)::BIGINT AS sessions, sum(crashed)::BIGINT AS crashed "
        "FROM lake.release_health WHERE day = ? GROUP BY ALL",
        [day],
    ):
        hours[row["hour"]] = row["sessions"]
        crashed += row["crashed"]
    # A user is one of a project.
    (row,) = lake.query(
        "SELECT count(DISTINCT (project_id, user_hash)) AS users FROM lake.session_users WHERE day = ?", [day]
    )
    return {"sessions": sum(hours), "crashed": crashed, "users": row["users"], "hours": hours}
