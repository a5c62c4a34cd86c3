"""The lake's promises: files are whole, commits are whole, a day is replaced at once, and anybody can read it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from tasks_pipeline.home import Home
from tasks_pipeline.releases.health import compute_health
from tasks_pipeline.storage.lake.arrow import to_arrow
from tasks_pipeline.storage.lake.files import LakeFile
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.reader import open_reader
from tasks_pipeline.storage.lake.tables import LAKE_TABLES, LakeTable
from tasks_pipeline.storage.lake.tail import add_rows
from tasks_pipeline.storage.state.tables import tail_rows
from tasks_pipeline.stores import open_stores
from tests.support.crash import nothing_is_small
from tests.support.day import Day
from tests.support.events import event
from tests.support.health_rows import Seen, write_day

DAY = date(2020, 1, 1)


@pytest.fixture
def lake(day: Day) -> Iterator[Lake]:
    """A lake of one's own on the shared home, as another process would have."""
    with closing(Lake(day.stores.home, day.stores.state)) as lake:
        yield lake


def letters(day: date, part: str, positions: range, reason: str = "old") -> dict[str, list[dict[str, Any]]]:
    """Rows of the smallest table."""
    common = {"day": day, "part": part, "item": 0, "project_id": 1, "item_type": "event", "reason": reason}
    return {"dead_letters": [{**common, "position": position} for position in positions]}


def written(lake: Lake, day: Day, rows: dict[str, list[dict[str, Any]]]) -> list[LakeFile]:
    with lake.writing(day.date, "test") as files:
        files.add(to_arrow(rows))
        finished = files.finish()[:]
        files.finished.clear()
    return finished


def stored(day: Day) -> list[tuple[str, int, str]]:
    return [(row["part"], row["position"], row["reason"]) for row in day.rows("dead_letters")]


def test_rows_are_visible_once_they_are_registered(lake: Lake, day: Day) -> None:
    files = written(lake, day, letters(day.date, "r0", range(1, 3)))
    assert stored(day) == []
    with lake.lock():
        lake.register(files)
    assert stored(day) == [("r0", 1, "old"), ("r0", 2, "old")]


def test_all_files_become_visible_or_none(lake: Lake, day: Day) -> None:
    (good,) = written(lake, day, letters(day.date, "r0", range(1, 3)))
    with lake.lock():
        with pytest.raises(duckdb.Error):
            lake.register([good, LakeFile("dead_letters", f"{good.path}.gone", 1)])
        assert stored(day) == []
        lake.register([good])
    assert len(stored(day)) == 2


def test_replacing_keeps_to_the_day_and_to_the_bounds_of_each_part(lake: Lake, day: Day) -> None:
    tomorrow = day.next()
    rows = [
        *letters(day.date, "r0", range(1, 5))["dead_letters"],
        *letters(day.date, "r1", range(1, 3))["dead_letters"],
    ]
    rows += letters(day.date, "r2", range(1, 2))["dead_letters"]
    with lake.lock():
        lake.register(written(lake, day, {"dead_letters": rows}))
        lake.register(written(lake, tomorrow, letters(tomorrow.date, "r0", range(1, 2))))
        new = written(lake, day, letters(day.date, "r0", range(1, 2), "new"))
        lake.replace(day.date, {"r0": 3, "r1": 2}, new)
    assert stored(day) == [("r0", 1, "new"), ("r0", 4, "old"), ("r2", 1, "old")]
    assert stored(tomorrow) == [("r0", 1, "old")]


def test_a_replacement_that_fails_leaves_the_day_as_it_was(lake: Lake, day: Day) -> None:
    with lake.lock():
        lake.register(written(lake, day, letters(day.date, "r0", range(1, 4))))
        with pytest.raises(duckdb.Error):
            lake.replace(day.date, {"r0": 3}, [LakeFile("dead_letters", "/nowhere.parquet", 1)])
    assert len(stored(day)) == 3


def test_readers_see_the_old_day_or_the_new_one(lake: Lake, day: Day) -> None:
    """A reader that counts all the time never finds a day without rows, half of it, or both."""
    sizes = (5, 3)
    with lake.lock():
        lake.register(written(lake, day, letters(day.date, "r0", range(1, sizes[0] + 1))))
    seen: set[int] = set()
    started, over = threading.Event(), threading.Event()

    def keep_counting() -> None:
        with closing(open_reader(day.stores.home)) as reader:
            while not over.is_set():
                query = "SELECT count(*) FROM lake.dead_letters WHERE day = ?"
                seen.update(reader.execute(query, [day.date]).fetchall()[0])
                started.set()

    counter = threading.Thread(target=keep_counting)
    counter.start()
    try:
        assert started.wait(120)
        for size in (*reversed(sizes), *reversed(sizes)):
            files = written(lake, day, letters(day.date, "r0", range(1, size + 1)))
            with lake.lock():
                lake.replace(day.date, {"r0": 9}, files)
    finally:
        over.set()
        counter.join()
    assert seen
    assert seen <= set(sizes)


def test_people_read_lake_and_state_together_and_change_neither(day: Day) -> None:
    day.send(event("A"), event("A"))
    day.drain()
    with closing(open_reader(day.stores.home)) as reader:
        found = reader.execute(
            "SELECT g.times_seen, count(*) FROM events e JOIN groups g ON g.id = e.group_id "
            "WHERE e.day = ? GROUP BY ALL",
            [day.date],
        ).fetchall()
        assert found == [(2, 2)]
        for statement in (
            "DELETE FROM lake.events",
            "UPDATE groups SET title = 'x'",
            "DROP TABLE lake.events",
        ):
            with pytest.raises(duckdb.Error):
                reader.execute(statement)
    assert len(day.ids()) == 2


def test_files_are_plain_parquet(day: Day) -> None:
    """Whoever leaves takes the files along: pyarrow and plain DuckDB read them."""
    sent = event("A", tags={"k": "v"})
    day.send(sent)
    with nothing_is_small():
        day.drain()
    (path,) = Path(day.stores.home.lake_files, "main", "events", f"day={day.date}").glob("*.parquet")
    assert pq.read_table(path).column("event_id").to_pylist() == [sent["event_id"]]
    with duckdb.connect() as plain:
        found = plain.execute("SELECT title, tags['k'] FROM read_parquet(?)", [str(path)]).fetchall()
    assert found == [("A: it went wrong", "v")]
    assert path.stat().st_mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("table", LAKE_TABLES.values(), ids=lambda table: str(table.name))
def test_the_tables_are_as_described(stores: Any, table: LakeTable) -> None:
    rows = stores.lake.query(f"DESCRIBE lake.{table.name}")
    assert [(row["column_name"], row["column_type"]) for row in rows] == [
        (c.name, {"TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE"}.get(c.type, c.type)) for c in table.columns
    ]
    assert table.description.endswith(".")
    assert all(c.description for c in table.columns)


def test_a_registered_batch_is_known_by_its_first_position(day: Day) -> None:
    day.configured(batch_envelopes=2).send(event(), event(), event())
    with nothing_is_small():
        day.configured(batch_envelopes=2).drain()
    held = [day.stores.lake.holds_batch(day.date, "r0", position) for position in range(5)]
    assert held == [False, True, False, True, False]


def test_a_lake_of_an_earlier_version_loses_users_in_the_clear_and_keeps_its_sessions(any_home: Home) -> None:
    """Also those in the tail; they count as sessions of nobody until their day is stored again."""
    started = datetime(2020, 1, 1, 12, tzinfo=UTC)
    row = {
        "day": DAY, "part": "r0", "item": 0, "project_id": 1, "received_at": started, "seq": 0, "init": True, "started": started,
        "timestamp": started, "status": "ok", "errors": 0, "quantity": 1, "release": "shop@1",
    }  # fmt: skip
    with open_stores(any_home) as stores:
        lake = stores.lake
        with lake.lock():
            lake._stored.execute("ALTER TABLE stored.sessions ADD COLUMN did VARCHAR")
            lake._stored.execute("ALTER TABLE stored.sessions DROP COLUMN user_hash")
            lake._stored.execute("ALTER TABLE stored.sessions DROP COLUMN abnormal_mechanism")
            lake._stored.execute(
                "INSERT INTO stored.sessions (day, part, position, item, project_id, received_at, session_id, did, seq, started, "
                "status, errors, quantity, release) VALUES (?, 'r0', 1, 0, 1, ?, ?, 'me@example.com', 0, ?, 'ok', 0, 1, 'shop@1')",
                [DAY, started, "a" * 32, started],
            )
        with stores.state.write() as connection:
            stores.state.serialise(connection, "tail")
            found = {"sessions": [{**row, "position": 2, "session_id": "b" * 32}]}
            add_rows(stores.state, connection, DAY, "r0", (2, 2), found)
            text = connection.execute(select(tail_rows.c.rows)).scalar_one()
            of_before = text.replace('"session_id"', '"did":"me@example.com","session_id"')
            connection.execute(tail_rows.update().values(rows=of_before))
    with open_stores(any_home) as stores:
        rows = stores.lake.query("SELECT * FROM lake.sessions ORDER BY position")
        assert [(r["session_id"][0], r["user_hash"], r["abnormal_mechanism"]) for r in rows] == [
            ("a", None, None), ("b", None, None),
        ]  # fmt: skip
        assert "did" not in rows[0]
        flush(stores.state, stores.lake)
        assert stores.lake.query("SELECT * FROM lake.sessions ORDER BY position") == rows
        report = compute_health(stores.lake, stores.state, DAY)
        assert (report.sessions, report.users) == (2, 0)


def test_columns_of_a_later_version_stay(any_home: Home) -> None:
    """An older version, come back for a while, writes its rows beside them."""
    held = "SELECT day, later FROM stored.release_health ORDER BY day"
    with open_stores(any_home) as stores, stores.lake.lock():
        write = stores.lake._stored.execute
        write("ALTER TABLE stored.release_health ADD COLUMN later VARCHAR")
        write("INSERT INTO stored.release_health (day, later) VALUES (?, 'kept')", [DAY])
    next_day = DAY + timedelta(days=1)
    with open_stores(any_home) as stores:
        write_day(stores.state, stores.lake, next_day, [Seen(datetime(2020, 1, 2, 12, tzinfo=UTC), "shop@1")])
        assert [row["day"] for row in stores.lake.query("SELECT * FROM lake.release_health ORDER BY day")] == [
            DAY, next_day,
        ]  # fmt: skip
        with stores.lake.lock():
            assert stores.lake._stored.execute(held).fetchall() == [(DAY, "kept"), (next_day, None)]


def test_pieces_of_a_query_are_never_all_in_memory(any_home: Home) -> None:
    with open_stores(any_home) as stores:
        lake = stores.lake
        slices = [{"first": n} for n in (0, 100_000)]
        with lake.kept(
            "numbers", "SELECT range AS n FROM range($first::BIGINT, $first::BIGINT + 100000)", slices
        ):
            sizes = [piece.num_rows for piece in lake.pieces("SELECT n FROM numbers ORDER BY n", rows=50_000)]
            assert sum(sizes) == 200_000
            assert max(sizes) <= 60_000
        with pytest.raises(duckdb.Error):
            lake.query("SELECT * FROM numbers")
