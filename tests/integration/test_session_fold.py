"""The fold of sessions against a model of its rules, and that no order, division or repetition changes the tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks_pipeline.home import Home
from tasks_pipeline.releases.fold import folded
from tasks_pipeline.stores import Stores, open_stores
from tests.support.day import Day
from tests.support.session_cases import Tables, compute_due
from tests.support.sessions import session

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
RANKS = {"crashed": 5, "abnormal": 4, "unhandled": 3, "errored": 2}
Row = Mapping[str, Any]

_rows = st.lists(
    st.fixed_dictionaries(
        {
            "project_id": st.sampled_from((1, 2)),
            "session_id": st.sampled_from(("a", "b", None)),
            "seq": st.sampled_from((0, 1, 2)),
            "received_at": st.integers(0, 3),
            "status": st.sampled_from(("ok", "exited", "crashed", "abnormal", "unhandled", "errored")),
            "errors": st.sampled_from((0, 1)),
            "release": st.sampled_from(("r1", "r2")),
            "environment": st.sampled_from(("prod", None)),
            "started": st.integers(0, 2),
            "user_hash": st.sampled_from((-1, 7, None)),
            "duration_s": st.sampled_from((None, 1.5, 2.5)),
        }
    ),
    max_size=8,
)
TYPES = {
    "project_id": "BIGINT", "session_id": "VARCHAR", "seq": "BIGINT", "received_at": "BIGINT", "part": "VARCHAR",
    "position": "BIGINT", "item": "INTEGER", "status": "VARCHAR", "errors": "BIGINT", "release": "VARCHAR",
    "environment": "VARCHAR", "started": "BIGINT", "user_hash": "BIGINT", "duration_s": "DOUBLE", "quantity": "BIGINT",
}  # fmt: skip


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE rows ({', '.join(f'{n} {t}' for n, t in TYPES.items())})")
        yield connection


def fold(duck: duckdb.DuckDBPyConnection, rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    duck.execute("DELETE FROM rows")
    if rows:
        duck.executemany(
            f"INSERT INTO rows VALUES ({', '.join('?' * len(TYPES))})",
            [[row[n] for n in TYPES] for row in rows],
        )
    return sorted(duck.execute(folded("SELECT * FROM rows")).fetchall(), key=repr)


def model(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """The rules of docs/health.md, said once more."""
    sessions: dict[Any, list[Row]] = {}
    for number, row in enumerate(rows):
        key = (row["project_id"], row["session_id"]) if row["session_id"] else number
        sessions.setdefault(key, []).append(row)
    found = []
    for updates in sessions.values():
        ordered = sorted(updates, key=lambda r: (r["seq"], r["received_at"], r["position"]))
        first = ordered[0]
        rank = max(RANKS.get(r["status"], 2 if r["errors"] else 1) for r in updates)
        users = [r["user_hash"] for r in ordered if r["user_hash"] is not None]
        durations = [r["duration_s"] for r in updates if r["status"] == "exited" and r["duration_s"]]
        found.append(
            (
                first["project_id"], first["release"], first["environment"] or "", first["started"], rank,
                users[-1] if users else None, max(durations, default=None) if rank <= 2 else None,
                first["quantity"] if first["session_id"] is None else 1,
            )
        )  # fmt: skip
    return sorted(found, key=repr)


def placed(rows: Sequence[Row]) -> list[Row]:
    return [{**row, "part": "p", "position": n, "item": 0, "quantity": 1 + n} for n, row in enumerate(rows)]


@settings(max_examples=300)
@given(rows=_rows)
def test_the_fold_follows_its_rules(duck: duckdb.DuckDBPyConnection, rows: list[Row]) -> None:
    assert fold(duck, placed(rows)) == model(placed(rows))


@settings(max_examples=200)
@given(rows=_rows, data=st.data())
def test_rows_of_sessions_in_any_order_and_twice_are_the_same(
    duck: duckdb.DuckDBPyConnection, rows: list[Row], data: st.DataObject
) -> None:
    sent = [row for row in placed(rows) if row["session_id"]]
    again = data.draw(st.permutations(sent + sent[:3]))
    assert fold(duck, again) == fold(duck, sent)


# ── the whole way


_days = itertools.count(0, 10)
_updates = st.lists(
    st.fixed_dictionaries(
        {
            "number": st.sampled_from((1, 2, 3)),
            "status": st.sampled_from(("ok", "exited", "crashed", "abnormal", "unhandled", "errored")),
            "errors": st.sampled_from((0, 2)),
            "release": st.sampled_from(("shop@1", "shop@2")),
            "began": st.sampled_from((0, 950, 43_150)),  # the last is shortly before midnight
        },
        optional={
            "seq": st.sampled_from((0, 1, 5)),
            "init": st.just(True),
            "did": st.sampled_from(("a", "b")),
            "duration": st.sampled_from((0.0004, 0.5, 33.3)),
        },
    ),
    min_size=1,
    max_size=7,
)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Home]) -> Iterator[Stores]:
    with open_stores(new_home(tmp_path_factory.mktemp("fold"))) as opened:
        yield opened


def process(day: Day, sent: Sequence[tuple[int, Row]], cuts: set[int]) -> Tables:
    """Process updates in this order, a batch up to each of the cuts, an hour between neighbours; `sent` names the hour in
    which each was received."""
    for place, (hour, update) in enumerate(sent):
        fields = {name: value for name, value in update.items() if name != "number"}
        of_day = day
        while day.at(hour * 3600 + 43_200) >= of_day.next().at(-43_200 + 43_200):
            of_day = of_day.next()
        seconds = (day.at(43_200 + hour * 3600) - of_day.at()).total_seconds()
        of_day.spool(of_day.receipt(session(day, update["number"], **fields), seconds=seconds))
        if place in cuts or place == len(sent) - 1:
            for each in (day, day.next(), day.next().next()):
                each.drain()
            compute_due(day.stores)
    return Tables.read(day.stores, [day.project])


def without_project(tables: Tables) -> list[Any]:
    """Users hash differently in each project: how many there are of each kind is the same."""
    health = [{n: v for n, v in row.items() if n != "project_id"} for row in tables.health]
    users = [{n: v for n, v in row.items() if n not in ("project_id", "user_hash")} for row in tables.users]
    return [sorted(health, key=repr), sorted(users, key=repr)]


@settings(max_examples=12)
@given(updates=_updates, data=st.data())
def test_no_order_division_or_repetition_changes_the_tables(
    stores: Stores, updates: list[Row], data: st.DataObject
) -> None:
    number = next(_days)
    day = Day(stores, date(2021, 1, 1) + timedelta(days=number), 10_000 + number)
    other = Day(stores, day.date, day.project + 1)
    sent = list(enumerate(updates))
    first = process(day, sent, set())
    again = data.draw(st.permutations(sent + sent[:2]))
    cuts = data.draw(st.sets(st.integers(0, len(again) - 1)))
    assert without_project(process(other, again, cuts)) == without_project(first)
