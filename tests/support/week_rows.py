"""Tables of figures of made-up weeks (benchmarks/weeks.py), row by row from the plan with nothing but Python.

For tests of what reads the tables, and to compare with what is computed from stored rows.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa

from benchmarks.truth import Truth
from benchmarks.weeks import Sent
from tasks_pipeline.protocol.sessions import user_hash
from tasks_pipeline.releases.spans import SLOT, begin_of
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.tables import STATISTICS_TABLES

Rows = dict[str, list[dict[str, Any]]]
KEY = b"a key of tests"
THRESHOLD_MS = 300


def write_figures(lake: Lake, rows: Rows) -> None:
    """Make these rows the figures of all days that they are of."""
    days = sorted({row["day"] for of_table in rows.values() for row in of_table})
    for day in days:
        tables = {
            name: pa.Table.from_pylist(
                [row for row in of_table if row["day"] == day], STATISTICS_TABLES[name].arrow
            )
            for name, of_table in rows.items()
        }
        with lake.writing(day, "test") as files, lake.lock():
            files.add({name: table for name, table in tables.items() if table.num_rows})
            lake.replace_derived(day, list(tables), files.finish())


def rows_of(truth: Truth, groups: Mapping[tuple[int, str], int], key: bytes = KEY) -> Rows:
    """The tables that the plan determines: of events, groups, transactions and moves of groups. `groups` are ids by project and
    problem."""

    def person(one: Sent) -> int | None:
        return None if one.user is None else user_hash(key, one.project.id, f"id:{one.user}")

    errors = [one for one in truth.sent if one.kind == "event"]
    transactions = [one for one in truth.sent if one.kind == "transaction"]
    return {
        "event_stats": _event_stats(truth, errors),
        "event_users": _event_users(errors, person),
        "group_stats": _group_stats(errors, groups, person),
        "group_moves": _group_moves(truth, groups),
        "transaction_stats": _transaction_stats(transactions),
    }


def slot_of(at: datetime) -> datetime:
    """The begin of the 15 minutes."""
    return at - (at - begin_of(at.date())) % SLOT


def number_of(at: datetime) -> int:
    """The number of the slot in its day."""
    return (at - begin_of(at.date())) // SLOT


def bucket(ms: float) -> int:
    """ceil(ln(ms) / ln(1.02)), 0 up to a millisecond."""
    return max(0, math.ceil(math.log(ms) / math.log(1.02))) if ms > 0 else 0


def duration_ms(one: Sent) -> float:
    """How long a transaction took."""
    begin, end = (datetime.fromisoformat(one.payload[name]) for name in ("start_timestamp", "timestamp"))
    return (end - begin) / timedelta(milliseconds=1)


def _event_stats(truth: Truth, errors: Iterable[Sent]) -> list[dict[str, Any]]:
    created = {(move.at, move.project.id) for move in truth.moves if move.move == "created"}
    cells: defaultdict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for one in errors:
        payload = one.payload
        mechanism = payload["exception"]["values"][0].get("mechanism", {})
        cell = (
            slot_of(one.at),
            one.project.id,
            one.release,
            one.environment,
            payload["level"],
            mechanism.get("handled"),
        )
        cells[cell]["events"] += 1
        cells[cell]["new_groups"] += (one.at, one.project.id) in created
    names = ("slot", "project_id", "release", "environment", "level", "handled")
    return [
        {"day": cell[0].date(), **dict(zip(names, cell, strict=True)), "payload_bytes": 0, **counts}
        for cell, counts in cells.items()
    ]


def _event_users(errors: Iterable[Sent], person: Callable[[Sent], int | None]) -> list[dict[str, Any]]:
    cells: defaultdict[tuple[Any, ...], set[int]] = defaultdict(set)
    for one in errors:
        if one.user is not None:
            cells[one.at.date(), one.project.id, one.release, one.environment, person(one)].add(
                number_of(one.at)
            )
    names = ("day", "project_id", "release", "environment", "user_hash")
    return [{**dict(zip(names, cell, strict=True)), "slots": sorted(slots)} for cell, slots in cells.items()]


def _group_stats(
    errors: Iterable[Sent], groups: Mapping[tuple[int, str], int], person: Callable[[Sent], int | None]
) -> list[dict[str, Any]]:
    cells: defaultdict[tuple[date, int, int], list[Sent]] = defaultdict(list)
    for one in errors:
        cells[one.at.date(), one.project.id, groups[one.project.id, one.problem]].append(one)
    rows = []
    for (day, project_id, group_id), these in cells.items():
        users: defaultdict[int | None, set[int]] = defaultdict(set)
        for one in these:
            users[person(one)].add(number_of(one.at))
        users.pop(None, None)
        rows.append(
            {
                "day": day, "project_id": project_id, "group_id": group_id, "events": len(these), "user_count": len(users),
                "slots": sorted(Counter(number_of(one.at) for one in these).items()),
                "users": [(user, sorted(slots)) for user, slots in users.items()],
            }
        )  # fmt: skip
    return rows


def _group_moves(truth: Truth, groups: Mapping[tuple[int, str], int]) -> list[dict[str, Any]]:
    return [
        {
            "day": move.at.date(), "project_id": move.project.id, "group_id": groups[move.project.id, move.problem], "at": move.at,
            "move": move.move, "status_from": move.status_from, "status_to": move.status_to,
            "by": "person" if move.move in ("resolve", "ignore") else "system", "opened_at": move.opened_at, "assignee": None,
            "action_id": None if move.move == "created" else number,
        }
        for number, move in enumerate(truth.moves)
    ]  # fmt: skip


def _transaction_stats(transactions: Iterable[Sent]) -> list[dict[str, Any]]:
    cells: defaultdict[tuple[Any, ...], list[Sent]] = defaultdict(list)
    for one in transactions:
        trace = one.payload["contexts"]["trace"]
        cells[slot_of(one.at), one.project.id, one.problem, trace["op"], one.release, one.environment].append(
            one
        )
    names = ("slot", "project_id", "name", "op", "release", "environment")
    rows = []
    for cell, these in cells.items():
        took = [duration_ms(one) for one in these]
        rows.append(
            {
                "day": cell[0].date(), **dict(zip(names, cell, strict=True)), "count": len(these),
                "failed": sum(one.payload["contexts"]["trace"]["status"] != "ok" for one in these),
                "satisfied": sum(ms <= THRESHOLD_MS for ms in took),
                "tolerable": sum(THRESHOLD_MS < ms <= 4 * THRESHOLD_MS for ms in took),
                "users": len({one.user for one in these} - {None}), "sum_ms": sum(took), "max_ms": max(took),
                "durations": sorted(Counter(map(bucket, took)).items()),
            }
        )  # fmt: skip
    return rows
