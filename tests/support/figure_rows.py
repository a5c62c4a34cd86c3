"""Tables of figures written into the lake from plain facts, counted in Python, for tests of what reads them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from tasks_pipeline.storage.lake.tables import DERIVED_TABLES, STATISTICS_TABLES
from tasks_pipeline.storage.state.removals import ALL_PROJECTS, note_removals
from tasks_pipeline.storage.state.tables import statistics_days
from tasks_pipeline.stores import Stores
from tests.support.health_rows import bucket

SLOT = timedelta(minutes=15)
OPEN = ("unresolved", "regressed")


@dataclass(frozen=True)
class Error:
    """An event that was received: of a group and a user (numbers)."""

    at: datetime
    group: int = 1
    user: int | None = None
    project: int = 1
    release: str = ""
    new: bool = False


@dataclass(frozen=True)
class Move:
    """Something that became of a group."""

    at: datetime
    group: int
    move: str
    status: str
    by: str = "system"
    project: int = 1
    assignee: str | None = None


@dataclass(frozen=True)
class Timed:
    """A transaction."""

    at: datetime
    ms: float
    name: str = "GET /"
    failed: bool = False
    project: int = 1
    threshold: float = 300


@dataclass
class Facts:
    """What happened."""

    errors: list[Error] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    timed: list[Timed] = field(default_factory=list)
    outcomes: list[tuple[datetime, str, str, int]] = field(default_factory=list)
    """(at, category, outcome, quantity) beside those of errors and transactions."""
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Rows of other tables, as they are."""


def write_figures(
    stores: Stores,
    facts: Facts,
    days: Iterable[date],
    *,
    now: datetime,
    cause: str = "batch",
    closed: bool = True,
) -> None:
    """Make this the figures of these days, in a new version where they differ."""
    for day in sorted(set(days)):
        tables = _tables(facts, day)
        with stores.lake.writing(day, "test") as files, stores.lake.lock():
            filled = {
                name: pa.Table.from_pylist(rows, DERIVED_TABLES[name].arrow)
                for name, rows in tables.items()
                if rows
            }
            if filled:
                files.add(filled)
            stores.lake.replace_derived(day, STATISTICS_TABLES, files.finish())
        # What they are of is not there: as where retention took it.
        gone = {"day": day, "name": "events", "project_id": ALL_PROJECTS, "rows": 0, "reason": "test"}
        with stores.state.write() as connection:
            note_removals(stores.state, connection, [gone], now)
        _version(stores, day, hashlib.sha256(repr(tables).encode()).hexdigest(), now, cause, closed)


def _version(stores: Stores, day: date, digest: str, now: datetime, cause: str, closed: bool) -> None:
    s = statistics_days
    with stores.state.write() as connection:
        newest = connection.execute(
            s.select().where(s.c.day == day).order_by(s.c.version.desc()).limit(1)
        ).first()
        if newest is not None and newest.digest == digest:
            connection.execute(
                s.update()
                .where(s.c.day == day, s.c.version == newest.version)
                .values(checked_at=now, closed=closed)
            )
            return
        row = {
            "day": day, "version": 1 if newest is None else newest.version + 1, "digest": digest, "tables": {},
            "causes": [cause], "seen": {}, "computed_at": now, "checked_at": now, "closed": closed,
        }  # fmt: skip
        connection.execute(s.insert().values(**row))


def slot_of(at: datetime) -> datetime:
    return at - (at - datetime(1970, 1, 1, tzinfo=UTC)) % SLOT


def number_of(at: datetime) -> int:
    return (at - datetime(at.year, at.month, at.day, tzinfo=UTC)) // SLOT


def _tables(facts: Facts, day: date) -> dict[str, list[dict[str, Any]]]:
    errors = [e for e in facts.errors if e.at.date() == day]
    timed = [t for t in facts.timed if t.at.date() == day]
    found = {
        "event_stats": _event_stats(day, errors),
        "event_users": _event_users(day, errors),
        "group_stats": _group_stats(day, errors),
        "group_moves": [r for r in _moves(facts.moves) if r["day"] == day],
        "transaction_stats": _transactions(day, timed),
        "outcome_stats": _outcomes(day, errors, timed, facts),
    }
    for name, rows in facts.rows.items():
        found.setdefault(name, []).extend(r for r in rows if r["day"] == day)
    return found


def _event_stats(day: date, errors: Sequence[Error]) -> list[dict[str, Any]]:
    cells: defaultdict[tuple[Any, ...], list[Error]] = defaultdict(list)
    for e in errors:
        cells[slot_of(e.at), e.project, e.release].append(e)
    return [
        {
            "day": day, "slot": slot, "project_id": project, "release": release, "environment": "production",
            "level": "error", "handled": None, "events": len(these), "new_groups": sum(e.new for e in these),
            "payload_bytes": 1000 * len(these),
        }
        for (slot, project, release), these in sorted(cells.items())
    ]  # fmt: skip


def _event_users(day: date, errors: Sequence[Error]) -> list[dict[str, Any]]:
    slots: defaultdict[tuple[Any, ...], set[int]] = defaultdict(set)
    for e in errors:
        if e.user is not None:
            slots[e.project, e.release, e.user].add(number_of(e.at))
    return [
        {
            "day": day, "project_id": project, "release": release, "environment": "production",
            "user_hash": project * 1_000_000 + user, "slots": sorted(found),
        }
        for (project, release, user), found in sorted(slots.items())
    ]  # fmt: skip


def _group_stats(day: date, errors: Sequence[Error]) -> list[dict[str, Any]]:
    groups: defaultdict[tuple[int, int], list[Error]] = defaultdict(list)
    for e in errors:
        groups[e.project, e.group].append(e)
    rows = []
    for (project, group), these in sorted(groups.items()):
        users: defaultdict[int, set[int]] = defaultdict(set)
        for e in these:
            if e.user is not None:
                users[project * 1_000_000 + e.user].add(number_of(e.at))
        rows.append(
            {
                "day": day, "project_id": project, "group_id": group, "events": len(these), "user_count": len(users),
                "slots": sorted(Counter(number_of(e.at) for e in these).items()),
                "users": [(user, sorted(slots)) for user, slots in sorted(users.items())],
            }
        )  # fmt: skip
    return rows


def _moves(moves: Sequence[Move]) -> list[dict[str, Any]]:
    status: dict[int, str] = {}
    opened: dict[int, datetime] = {}
    has: dict[int, str | None] = {}
    rows = []
    for number, m in enumerate(sorted(moves, key=lambda m: m.at)):
        before = status.get(m.group)
        has[m.group] = m.assignee if m.move in ("assign", "unassign") else has.get(m.group)
        rows.append(
            {
                "day": m.at.date(), "project_id": m.project, "group_id": m.group, "at": m.at, "move": m.move,
                "status_from": before, "status_to": m.status, "by": m.by,
                "opened_at": opened.get(m.group) if before in OPEN else None, "assignee": has[m.group],
                "action_id": None if m.move == "created" else number + 1,
            }
        )  # fmt: skip
        if m.status in OPEN and before not in OPEN:
            opened[m.group] = m.at
        status[m.group] = m.status
    return rows


def _transactions(day: date, timed: Sequence[Timed]) -> list[dict[str, Any]]:
    cells: defaultdict[tuple[Any, ...], list[Timed]] = defaultdict(list)
    for t in timed:
        cells[slot_of(t.at), t.project, t.name].append(t)
    return [
        {
            "day": day, "slot": slot, "project_id": project, "name": name, "op": "http.server", "release": "",
            "environment": "", "count": len(these), "failed": sum(t.failed for t in these),
            "satisfied": sum(t.ms <= t.threshold for t in these),
            "tolerable": sum(t.threshold < t.ms <= 4 * t.threshold for t in these), "users": 0,
            "sum_ms": sum(t.ms for t in these), "max_ms": max(t.ms for t in these),
            "durations": sorted(Counter(bucket(t.ms / 1000) for t in these).items()),
        }
        for (slot, project, name), these in sorted(cells.items())
    ]  # fmt: skip


def _outcomes(
    day: date, errors: Sequence[Error], timed: Sequence[Timed], facts: Facts
) -> list[dict[str, Any]]:
    counts: Counter[tuple[Any, ...]] = Counter()
    for e in errors:
        counts[slot_of(e.at), e.project, "error", "stored"] += 1
    for t in timed:
        counts[slot_of(t.at), t.project, "transaction", "stored"] += 1
    for at, category, outcome, quantity in facts.outcomes:
        if at.date() == day:
            counts[slot_of(at), 1, category, outcome] += quantity
    return [
        {
            "day": day, "slot": slot, "project_id": project, "public_key": "k" * 32, "category": category,
            "outcome": outcome, "reason": "", "quantity": quantity,
        }
        for (slot, project, category, outcome), quantity in sorted(counts.items())
    ]  # fmt: skip
