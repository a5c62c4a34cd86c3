"""monitor_stats: runs of cron monitors and looks at addresses, by the slot in which they were due.

Looks at addresses are forgotten after some thousand: slots that began before the oldest that is known keep what was counted of
them when more was there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from tasks_pipeline.analytics.statistics.work import Work, counts_map, in_slots, named_map
from tasks_pipeline.monitors.schedules import EARLY
from tasks_pipeline.releases.durations import bucket_of
from tasks_pipeline.releases.spans import DAY, slot_of
from tasks_pipeline.storage.state.database import CHUNK
from tasks_pipeline.storage.state.tables import incidents, monitor_check_ins, monitor_environments, monitors

TABLES = ("monitor_stats",)
STATUSES = ("ok", "error", "missed", "timed_out")
UNKNOWN = "unknown"
"""Status of a run that says nothing: this service was down, or the monitor was taken away meanwhile."""
LATEST = DAY
"""A run that begins so long after it was due is one of its own."""
SEEN_FOR = 2
"""A look tells of the time up to the next one, but of no longer than so many intervals."""
_INTERVAL = 60.0  # seconds between two looks where the monitor's configuration says nothing
_KEY = ("slot", "project_id", "monitor", "kind", "environment")


@dataclass(slots=True)
class _Cell:
    """What is counted of a monitor in an environment and slot."""

    statuses: Counter[str] = field(default_factory=Counter)
    expected: int = 0
    down: float = 0.0
    observed: float = 0.0
    durations: Counter[int] = field(default_factory=Counter)

    def row(self) -> dict[str, Any]:
        """Its columns beside the key."""
        return {
            "expected": self.expected, **{name: self.statuses[name] for name in STATUSES}, "down_seconds": self.down,
            "observed_seconds": self.observed, "durations": counts_map(self.durations),
        }  # fmt: skip


def write(work: Work, wanted: Collection[str]) -> None:
    """Add the rows of the table."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    known_since: dict[tuple[Any, ...], datetime] = {}
    with work.stores.state.read() as connection:
        for some in _environments(connection):
            runs = _runs(work, connection, [row.id for row in some])
            down = _incidents(work, connection, [row.id for row in some])
            oldest = _oldest(connection, [row.id for row in some])
            for row in some:
                place = (row.project_id, row.slug, row.type, row.environment)
                known_since[place] = oldest.get(row.id, work.end)
                for slot, cell in _cells(work, row, runs.get(row.id, ()), down.get(row.id, ())).items():
                    found[slot, *place] = cell.row()
    for key, former in named_map(work.former("monitor_stats"), *_KEY).items():
        forgotten = key[0] < known_since.get(key[1:], work.end)
        if forgotten and former["expected"] > found.get(key, {"expected": 0})["expected"]:
            values = {name: value for name, value in former.items() if name not in _KEY}
            found[key] = values | {"durations": counts_map(former["durations"])}
    work.add_rows("monitor_stats", (dict(zip(_KEY, key, strict=True)) | row for key, row in found.items()))


def _environments(connection: Connection) -> Iterator[Sequence[Row[Any]]]:
    """Monitors in their environments, some at a time."""
    e, m = monitor_environments.c, monitors.c
    query = select(e.id, e.environment, m.project_id, m.slug, m.type, m.config)
    query = query.join(monitors, m.id == e.monitor_id).order_by(e.id).limit(CHUNK)
    after = 0
    while rows := connection.execute(query.where(e.id > after)).all():
        yield rows
        after = rows[-1].id


def _runs(work: Work, connection: Connection, ids: Collection[int]) -> dict[int, list[Row[Any]]]:
    """Runs and looks that may be due on the day, by environment, in their order; of addresses also the last before it."""
    c = monitor_check_ins.c
    columns = [c[name] for name in ("environment_id", "status", "expected_at", "started_at", "duration_s")]
    query = (
        select(*columns)
        .where(
            c.environment_id.in_(ids), c.started_at >= work.begin - EARLY, c.started_at < work.end + LATEST
        )
        .order_by(c.environment_id, c.started_at)
    )
    found: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.environment_id].append(row)
    return found


def _incidents(
    work: Work, connection: Connection, ids: Collection[int]
) -> dict[int, list[tuple[datetime, datetime]]]:
    """When the monitors were down on the day, by environment."""
    i = incidents.c
    query = select(i.environment_id, i.opened_at, i.closed_at).where(
        i.environment_id.in_(ids), i.opened_at < work.end
    )
    found: dict[int, list[tuple[datetime, datetime]]] = defaultdict(list)
    for row in connection.execute(query.where((i.closed_at > work.begin) | i.closed_at.is_(None))):
        end = min(row.closed_at or work.now, work.end)
        found[row.environment_id].append((max(row.opened_at, work.begin), end))
    return found


def _oldest(connection: Connection, ids: Collection[int]) -> dict[int, datetime]:
    """When the oldest run began that is known, by environment."""
    c = monitor_check_ins.c
    found: dict[int, datetime] = {}
    for environment_id in ids:
        first = select(c.started_at).where(c.environment_id == environment_id).order_by(c.started_at).limit(1)
        at = connection.execute(first).scalar()
        if at is not None:
            found[environment_id] = at
    return found


def due_at(expected: datetime | None, started: datetime) -> datetime:
    """When a run was due: by its schedule, unless it is one that nobody expected then."""
    if expected is None or not -EARLY <= started - expected <= LATEST:
        return started
    return expected


def _cells(
    work: Work, environment: Row[Any], runs: Sequence[Row[Any]], down: Sequence[tuple[datetime, datetime]]
) -> dict[datetime, _Cell]:
    cells: dict[datetime, _Cell] = defaultdict(_Cell)
    for run in runs:
        due = due_at(run.expected_at, run.started_at)
        if run.status == UNKNOWN or not work.begin <= due < work.end:
            continue
        cell = cells[slot_of(due)]
        cell.expected += 1
        cell.statuses[run.status] += 1
        if run.duration_s is not None:
            cell.durations[bucket_of(run.duration_s * 1000)] += 1
    if environment.type == "uptime":
        interval = timedelta(seconds=float((environment.config or {}).get("interval_seconds") or _INTERVAL))
        for begin, end in _observed(work, runs, interval):
            for slot, seconds in in_slots(begin, end):
                cells[slot].observed += seconds
            for slot, seconds in _overlaps(begin, end, down):
                cells[slot].down += seconds
    return dict(cells)


def _observed(
    work: Work, runs: Sequence[Row[Any]], interval: timedelta
) -> Iterator[tuple[datetime, datetime]]:
    """Spans of the day that looks tell of: from each to the next one."""
    looks = [run.started_at for run in runs if run.status != UNKNOWN]
    for begin, following in zip(looks, [*looks[1:], None], strict=True):
        end = min(begin + SEEN_FOR * interval, following or work.now, work.end)
        if max(begin, work.begin) < end:
            yield max(begin, work.begin), end


def _overlaps(
    begin: datetime, end: datetime, spans: Sequence[tuple[datetime, datetime]]
) -> Iterator[tuple[datetime, float]]:
    for opened, closed in spans:
        yield from in_slots(max(begin, opened), min(end, closed))
