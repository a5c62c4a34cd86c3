"""Rows of release health written into the lake as they would be computed, for tests of what reads them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from tasks_pipeline.releases.known import Heard, note_releases
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.tables import DERIVED_TABLES
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import health_days

STATES = ("healthy", "errored", "unhandled", "abnormal", "crashed")
SLOT = timedelta(minutes=15)


@dataclass(frozen=True)
class Seen:
    """Sessions of one kind: how many began at a moment, how each ended, whose they were (a number), how long they lasted."""

    started: datetime
    release: str
    environment: str = "production"
    project: int = 1
    state: str = "healthy"
    user: int | None = None
    seconds: float | None = None
    sessions: int = 1


def write_health(
    state: StateDatabase, lake: Lake, seen: Iterable[Seen], *, computed_at: datetime | None = None
) -> None:
    """Make this the health of all days it is about."""
    days: defaultdict[date, list[Seen]] = defaultdict(list)
    for one in seen:
        days[one.started.date()].append(one)
    for day, of_day in days.items():
        write_day(state, lake, day, of_day, computed_at=computed_at)


def write_day(
    state: StateDatabase,
    lake: Lake,
    day: date,
    seen: Iterable[Seen],
    *,
    computed_at: datetime | None = None,
    releases: bool = True,
) -> None:
    """Make this the health of a day, of releases that came to be known by it unless `releases` is false."""
    seen = list(seen)
    tables = {"release_health": _health(day, seen), "session_users": _users(day, seen)}
    with lake.writing(day, "test") as files, lake.lock():
        files.add(
            {name: pa.Table.from_pylist(rows, DERIVED_TABLES[name].arrow) for name, rows in tables.items()}
        )
        lake.replace_derived(day, DERIVED_TABLES, files.finish())
    at = computed_at or datetime.now(UTC)
    values = {"changed_at": at, "computed_at": at}
    more = {name: 1 for name in ("changes", "computed") if name in health_days.c}
    statement = state.insert(health_days).values(day=day, rows_read=0, **values, **more)
    with state.write() as connection:
        connection.execute(statement.on_conflict_do_update(index_elements=["day"], set_=values))
        for project in {one.project for one in seen} if releases else ():
            heard = {one.release: Heard(one.started) for one in seen if one.project == project}
            note_releases(state, connection, project, heard)


def _slot(moment: datetime) -> datetime:
    return moment - (moment - datetime(1970, 1, 1, tzinfo=UTC)) % SLOT


def _health(day: date, seen: list[Seen]) -> list[dict[str, Any]]:
    cells: defaultdict[tuple[Any, ...], list[Seen]] = defaultdict(list)
    for one in seen:
        cells[_slot(one.started), one.project, one.release, one.environment].append(one)
    rows = []
    for (slot, project, release, environment), these in cells.items():
        states = Counter[str]()
        for one in these:
            states[one.state] += one.sessions
        lasting = [(one.seconds, one.sessions) for one in these if one.seconds is not None]
        durations = Counter[int]()
        for seconds, sessions in lasting:
            durations[bucket(seconds)] += sessions
        rows.append(
            {
                "day": day, "slot": slot, "project_id": project, "release": release, "environment": environment,
                "sessions": sum(states.values()), **{name: states[name] for name in STATES},
                "users": len({one.user for one in these} - {None}), "durations": list(durations.items()),
                "duration_sum_s": float(sum(seconds * sessions for seconds, sessions in lasting)),
                "duration_max_s": max((float(seconds) for seconds, _ in lasting), default=None),
            }
        )  # fmt: skip
    return rows


def _users(day: date, seen: list[Seen]) -> list[dict[str, Any]]:
    worst: defaultdict[tuple[Any, ...], dict[int, int]] = defaultdict(dict)
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    for one in seen:
        if one.user is not None:
            slot, rank = (one.started - begin) // SLOT, STATES.index(one.state) + 1
            ranks = worst[one.project, one.release, one.environment, one.user]
            ranks[slot] = max(rank, ranks.get(slot, 0))
    return [
        {
            "day": day, "project_id": project, "release": release, "environment": environment, "user_hash": user,
            "states": [slot * 8 + rank for slot, rank in sorted(ranks.items())],
        }
        for (project, release, environment, user), ranks in worst.items()
    ]  # fmt: skip


def bucket(seconds: float) -> int:
    """The bucket of a duration: of growing width, 0 up to a millisecond."""
    return max(0, math.ceil(math.log(max(seconds * 1000, 1e-9)) / math.log(1.02)))


def hours_of(case: Mapping[str, Any], project: int = 1) -> list[Seen]:
    """The hours of a case about adoption, each in the second of its quarters."""
    return [
        Seen(
            datetime.fromisoformat(hour["hour"]) + timedelta(minutes=20),
            release, environment=hour["environment"], project=project, sessions=sessions,
        )
        for hour in case["hours"]
        for release, sessions in hour["sessions"].items()
    ]  # fmt: skip
