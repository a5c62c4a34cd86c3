"""The tail: small batches lie in the state database, are read as if they lay in the lake, and get there whole."""

from __future__ import annotations

import signal
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from tasks_pipeline.groups.merging import merge_groups
from tasks_pipeline.processing import reprocess
from tasks_pipeline.processing.recompute import recompute_day
from tasks_pipeline.processing.replacements import open_replacement
from tasks_pipeline.storage.lake import compaction, tail
from tasks_pipeline.storage.lake.arrow import to_arrow
from tasks_pipeline.storage.lake.events import find_event, newest_events, payloads_of
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.mirror import Mirror
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.storage.lake.tail_json import decode_rows, encode_rows, with_times
from tasks_pipeline.storage.ledger.drains import end_drains_of_run
from tasks_pipeline.storage.state.tables import tail_payloads, tail_rows, tail_segments
from tests.support.crash import (
    DRAIN_MOMENTS,
    FLUSH_MOMENTS,
    MERGE_MOMENTS,
    RUN,
    Moment,
    at,
    compact_and_die,
    compact_tables,
    drain_and_die,
    flush_and_die,
    nothing_is_small,
    run_in_process,
)
from tests.support.day import Day
from tests.support.events import event, item


class Crash(Exception):
    """Raised in the middle of something."""


def crash() -> None:
    raise Crash


def test_derived_tables_are_read_without_the_tail(day: Day) -> None:
    day.send(event("A"))
    day.drain()
    with patch.object(Mirror, "refresh") as refresh:
        day.stores.lake.query("SELECT * FROM lake.release_health JOIN lake.session_users USING (day)")
        assert not refresh.called
        day.stores.lake.query("SELECT * FROM lake.release_health JOIN lake.events USING (day)")
        assert refresh.called
    assert (
        len(day.stores.lake.query("SELECT event_id FROM lake.events WHERE project_id = ?", [day.project]))
        == 1
    )


def files_of(day: Day) -> list[Path]:
    """Every Parquet file of the day on disk, known to the catalog or not."""
    return [
        p for p in Path(day.stores.home.lake_files).rglob("*.parquet") if p.parent.name == f"day={day.date}"
    ]


def in_tail(day: Day) -> int:
    """Rows of the day's texts and payloads in the state database."""
    with day.stores.state.read() as connection:
        return sum(
            len(connection.execute(select(table.c.day).where(table.c.day == day.date)).all())
            for table in (tail_rows, tail_payloads)
        )


def varied(day: Day) -> list[str]:
    """Events and other items with all that rows can hold; gives the ids of the events."""
    rich = event(
        "A",
        user={"id": "ü1", "email": "a@b.example"},
        tags={"k": "v", "ключ": "значение \u0001"},
        release="app@1.0",
    )
    rich["fingerprint"] = ["one", "two"]
    plain = event("B", level="fatal")
    plain.pop("user", None)
    session = {
        "sid": "5e2b5b5e-1111-4e4e-8e8e-000000000001",
        "started": day.at(-60).isoformat(),
        "status": "crashed",
        "attrs": {"release": "app@1.0"},
    }
    day.spool(
        day.receipt(rich, item("attachment", b"log", filename="log.txt")),
        day.receipt(plain),
        day.receipt(item("session", session)),
        day.receipt(item("event", b"{broken")),
    )
    return [rich["event_id"], plain["event_id"]]


def test_rows_are_the_same_in_the_tail_and_in_files(day: Day) -> None:
    flush(day.stores.state, day.stores.lake)  # what other tests left
    ids = varied(day)
    day.drain()
    assert files_of(day) == []
    before = day.lake(), [find_event(day.stores.state, day.stores.lake, i) for i in ids]
    assert len(before[0]["sessions"]) == len(before[0]["attachments"]) == len(before[0]["dead_letters"]) == 1
    day.assert_stored_once(ids)

    assert flush(day.stores.state, day.stores.lake) == len({p.parent.parent.name for p in files_of(day)}) > 0
    assert in_tail(day) == 0
    assert (day.lake(), [find_event(day.stores.state, day.stores.lake, i) for i in ids]) == before
    day.assert_stored_once(ids)


def test_a_batch_of_many_events_makes_files_at_once(day: Day) -> None:
    ids = day.send(*(event("A") for _ in range(tail.SMALL.events + 1)))
    day.drain()
    assert in_tail(day) == 0
    assert len(files_of(day)) == 3
    day.assert_stored_once(ids)


def test_both_ways_mixed_on_one_day_equal_the_day_recomputed(day: Day) -> None:
    ids = [*day.send(event("A"), event("B"))]
    day.drain()
    with nothing_is_small():
        ids += day.send(event("A"), event("C"))
        day.drain()
    ids += day.send(event("C"))
    day.drain()
    flush(day.stores.state, day.stores.lake)
    ids += day.send(event("B"))
    day.drain()
    day.assert_stored_once(ids)
    live = day.lake(), day.state()
    day.recompute()
    assert (day.lake(), day.state()) == live


@pytest.mark.slow
@pytest.mark.parametrize("moment", FLUSH_MOMENTS)
def test_a_flush_killed_at_any_step_loses_and_doubles_nothing(day: Day, moment: str) -> None:
    ids = varied(day)
    day.drain()
    rows = day.lake()
    assert run_in_process(flush_and_die, day.stores.home, moment) == -signal.SIGKILL
    assert day.lake() == rows
    ids += day.send(event("D"))
    day.drain()
    day.assert_stored_once(ids)
    rows = day.lake()
    flush(day.stores.state, day.stores.lake)
    assert in_tail(day) == 0
    assert day.lake() == rows
    day.assert_stored_once(ids)


@pytest.mark.slow
@pytest.mark.parametrize("moment", MERGE_MOMENTS)
def test_merging_killed_at_any_step_changes_no_row(day: Day, moment: str) -> None:
    ids: list[str] = []
    with nothing_is_small():
        for name in "ABC":
            ids += day.send(event(name))
            day.drain()
    rows = day.lake()
    assert run_in_process(compact_and_die, day.stores.home, day.date, moment) == -signal.SIGKILL
    assert day.lake() == rows
    compact_tables(day.stores.lake, [f for f in day.stores.lake.live_files() if f.day == day.date])
    assert day.lake() == rows
    assert {f.table for f in day.stores.lake.live_files() if f.day == day.date} == {
        "events",
        "event_payloads",
        "outcomes",
    }
    assert len([f for f in day.stores.lake.live_files() if f.day == day.date]) == 3
    day.assert_stored_once(ids)


def test_merged_files_leave_the_disk_with_their_snapshots(day: Day) -> None:
    with nothing_is_small():
        for name in "ABCD":
            day.send(event(name))
            day.drain()
    rows = day.lake()
    compact_tables(day.stores.lake, [f for f in day.stores.lake.live_files() if f.day == day.date])
    assert len(files_of(day)) > 4 * 3, "those of former snapshots are there for readers at work"
    compaction.tidy(day.stores.lake, datetime.now(UTC) + compaction.SNAPSHOTS_FOR)
    assert len(files_of(day)) == 3
    assert day.lake() == rows


def test_files_that_changed_meanwhile_are_not_merged(day: Day) -> None:
    with nothing_is_small():
        for name in "AB":
            day.send(event(name))
            day.drain()
    files = [f for f in day.stores.lake.live_files() if f.day == day.date and f.table == "events"]
    day.recompute()
    before = len(files_of(day))
    assert not compaction.merge_files(day.stores.lake, files)
    assert len(files_of(day)) == before, "the merged file is removed"
    assert [g["times_seen"] for g in day.groups()] == [1, 1]


def test_a_day_never_has_many_files_however_batches_come(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large and small batches in turn, with limits made small: the way of a long day."""
    monkeypatch.setattr(compaction, "CROWDED", 6)
    monkeypatch.setattr(compaction, "MERGED", 4)
    monkeypatch.setattr("tasks_pipeline.processing.upkeep.CROWDED", 6)
    monkeypatch.setattr("tasks_pipeline.processing.upkeep.MOST", 10)
    monkeypatch.setattr("tasks_pipeline.processing.upkeep.LOOK_AFTER_FILES", 2)
    monkeypatch.setattr(tail, "DUE", tail.Due(rows=6))
    monkeypatch.setattr(tail, "SMALL", tail.Small(events=2))
    ids = day.send(*(event(f"P{n % 3}") for n in range(60)))
    most = 0

    def count(*_: object) -> None:
        nonlocal most
        live = [f.table for f in day.stores.lake.live_files() if f.day == day.date]
        most = max(most, *(live.count(table) for table in RECEIVED_TABLES))

    for size in (1, 3, 2, 3) * 4:
        day.configured(batch_envelopes=size, max_run_seconds=0.001).drain(on_batch=count)
    day.configured(batch_envelopes=3).drain(on_batch=count)
    assert 0 < most <= 10
    day.assert_stored_once(ids)


def test_a_batch_waits_for_a_replacement_that_died_and_heals_it(day: Day) -> None:
    """Counters of the day are to be derived: nothing may be added to them before."""
    day.send(event("A"), event("A"))
    day.drain()
    with day.stores.lake.lock():
        open_replacement(day.stores.state, day.date, 0)
    with day.stores.state.write() as connection:
        connection.exec_driver_sql(f"UPDATE group_days SET times_seen = 99 WHERE day = '{day.date}'")
    day.send(event("A"))
    with at_start_of_batch(day):
        day.drain()
    assert [row[2] for row in day.state()["days"]] == [3]
    assert day.group()["times_seen"] == 3


def at_start_of_batch(day: Day) -> Any:
    """The drain heals what is open when it begins; here the crash comes after that."""

    def again() -> None:
        with day.stores.lake.lock():
            open_replacement(day.stores.state, day.date, 0)

    return at(DRAIN_MOMENTS["event ids and groups committed"], again)


def test_merged_while_a_small_batch_is_on_its_way(day: Day) -> None:
    day.send(event("A"), event("B"))
    day.drain()
    first, second = (g["id"] for g in day.groups())
    ids = day.send(event("B"))
    with at(
        DRAIN_MOMENTS["event ids and groups committed"],
        lambda: merge_groups(day.stores.state, first, [second], "ann"),
    ):
        day.drain()
    assert {row["group_id"] for row in day.rows("events")} == {first}
    assert [g["times_seen"] for g in day.groups() if g["merged_into"] is None] == [3]
    assert ids[0] in day.ids()
    day.assert_balanced()


def test_a_state_database_older_than_the_lake_hides_no_rows(day: Day) -> None:
    """Restored from a copy: the lake knows higher segments than the database will open next."""
    day.send(event("A"))
    day.drain()
    flush(day.stores.state, day.stores.lake)
    with day.stores.state.write() as connection:
        connection.execute(update(tail_segments).values(id=1))
    ids = day.send(event("B"))
    day.drain()
    flush(day.stores.state, day.stores.lake)
    assert ids[0] in day.ids()
    assert len(day.ids()) == 2


def test_the_files_of_a_failed_attempt_are_removed(day: Day) -> None:
    ids = day.send(event("A"))
    for moment in ("half of the files written", "all files written"):
        with at(DRAIN_MOMENTS[moment], crash), pytest.raises(Crash):
            day.drain()
    assert len(files_of(day)) <= 1, "but for one whose writing was never reported"
    day.drain()
    day.assert_stored_once(ids)
    assert len([f for f in day.stores.lake.live_files() if f.day == day.date]) == 3


@pytest.mark.slow
def test_files_of_a_killed_attempt_are_orphans_that_are_removed(day: Day) -> None:
    ids = day.send(event("A"), event("B"), event("C"))
    assert run_in_process(drain_and_die, day.stores.home, day.date, "all files written") == -signal.SIGKILL
    end_drains_of_run(day.stores.state, RUN)
    day.drain()
    known = {f.path for f in day.stores.lake.live_files()}
    assert len([p for p in files_of(day) if str(p) not in known]) == 3
    assert compaction.drop_orphans(day.stores.lake, datetime.now(UTC) + timedelta(days=2)) >= 3
    assert [p for p in files_of(day) if str(p) not in known] == []
    day.assert_stored_once(ids)


def test_readers_never_miss_or_double_a_row_while_segments_are_flushed(day: Day) -> None:
    """A reader counts while batches come, are flushed and removed at once, and files are merged."""
    over, wrong, looks = threading.Event(), [], 0
    committed = 0

    def read() -> None:
        nonlocal looks
        with closing(Lake(day.stores.home, day.stores.state)) as lake:
            while not over.is_set():
                least = committed
                (row,) = lake.query(
                    "SELECT count(*) AS n, count(DISTINCT event_id) AS different FROM lake.events WHERE day = ?",
                    [day.date],
                )
                most = committed + 1  # one may be on its way
                looks += 1
                if not (least <= row["n"] <= most and row["n"] == row["different"]):
                    wrong.append((least, row, most))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(24):
            day.send(event(f"P{number % 3}"))
            day.drain()
            committed += 1
            if number % 3 == 2:
                flush(day.stores.state, day.stores.lake)
            if number % 8 == 7:
                compact_tables(
                    day.stores.lake, [f for f in day.stores.lake.live_files() if f.day == day.date]
                )
    finally:
        over.set()
        reader.join()
    assert looks > 10
    assert wrong == []


def test_duckdb_has_one_thread_where_the_catalog_is_sqlite(day: Day) -> None:
    (row,) = day.stores.lake.query("SELECT current_setting('threads') AS threads")
    assert row["threads"] == (1 if day.stores.home.embedded else 2)


def test_payloads_of_the_tail_are_never_silently_missing(day: Day) -> None:
    day.send(event("A"))
    day.drain()
    query = "SELECT payload FROM lake.event_payloads WHERE day = ?"
    with pytest.raises(Exception, match="not asked for"):
        day.stores.lake.query(query, [day.date])
    assert len(day.stores.lake.query(query, [day.date], payloads=True)) == 1


def test_the_newest_events_come_from_the_newest_days(day: Day) -> None:
    days = [replace(day, date=day.date + timedelta(days=n)) for n in range(3)]
    for one in days:
        one.send(event("A"), event("A"))
        one.drain()
    group_id = day.group()["id"]
    found = newest_events(day.stores.state, day.stores.lake, group_id, limit=3)
    assert [row["received_at"].date() for row in found] == [days[2].date, days[2].date, days[1].date]
    assert len(newest_events(day.stores.state, day.stores.lake, group_id, limit=100)) == 6
    assert newest_events(day.stores.state, day.stores.lake, 10**15) == []


def test_payloads_are_found_by_place_wherever_they_lie(day: Day) -> None:
    day.send(event("A"))
    day.drain()
    flush(day.stores.state, day.stores.lake)
    day.send(event("B"))
    day.drain()
    rows = day.rows("events")
    found = payloads_of(day.stores.state, day.stores.lake, [*rows, {**rows[0], "position": 99}])
    assert [len(payload) > 100 for payload in found.values()] == [True, True]
    assert recompute_day(day.stores, day.date).envelopes == 2


# ── rows as JSON

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_VALUES = {
    "BIGINT": st.integers(-(2**63), 2**63 - 1),
    "INTEGER": st.integers(-(2**31), 2**31 - 1),
    "BOOLEAN": st.booleans(),
    "DOUBLE": st.floats(allow_nan=False, allow_infinity=False),
    "VARCHAR": _TEXT,
    "VARCHAR[]": st.lists(_TEXT, max_size=3),
    "TIMESTAMPTZ": st.datetimes(
        min_value=datetime(1, 1, 2),  # noqa: DTZ001
        max_value=datetime(9999, 12, 30),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
    "MAP(VARCHAR, VARCHAR)": st.dictionaries(_TEXT, _TEXT, max_size=3).map(lambda found: list(found.items())),
}
_DAY = date(2026, 11, 22)


@st.composite
def lake_rows(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]]]:
    """Rows of some table of the lake, columns absent at random."""
    table = draw(st.sampled_from([t for t in RECEIVED_TABLES.values() if t.name != "event_payloads"]))
    own = [c for c in table.columns if c.name not in ("day", "part")]
    rows = draw(
        st.lists(
            st.fixed_dictionaries({}, optional={c.name: _VALUES[c.type] for c in own}), min_size=1, max_size=3
        )
    )
    return table.name, [{"day": _DAY, "part": "r0", **row} for row in rows]


@settings(deadline=None, max_examples=60)
@given(lake_rows())
def test_rows_survive_the_tail(found: tuple[str, list[dict[str, Any]]]) -> None:
    table, rows = found
    text = encode_rows(table, rows)
    again = decode_rows(text, _DAY, "r0")
    assert to_arrow({table: again})[table].to_pylist() == to_arrow({table: rows})[table].to_pylist()
    names = {c.name for c in RECEIVED_TABLES[table].columns}
    for row, read in zip(rows, decode_rows(text, _DAY, "r0"), strict=True):
        whole = with_times(table, read)
        assert whole.keys() == names
        assert all(whole[n] == (dict(v) if n == "tags" else v) for n, v in row.items())


def test_the_views_read_what_was_encoded(day: Day) -> None:
    """DuckDB reads the JSON as Arrow reads it: every type at its edges."""

    @settings(deadline=None, max_examples=25)
    @given(lake_rows())
    def holds(found: tuple[str, list[dict[str, Any]]]) -> None:
        table, rows = found
        rows = [row | {"day": day.date} for row in rows]
        with day.stores.state.write() as connection:
            day.stores.state.serialise(connection, tail.LOCK)
            tail.add_rows(day.stores.state, connection, day.date, "r0", (1, 9), {table: rows})
        try:
            query = f"SELECT * FROM lake.{table} WHERE day = ? ORDER BY ALL"
            in_mirror = day.stores.lake.query(query, [day.date])
            flush(day.stores.state, day.stores.lake)
            assert day.stores.lake.query(query, [day.date]) == in_mirror
        finally:
            with day.stores.lake.lock():
                day.stores.lake.replace(day.date, {"r0": 2**63 - 1}, [])

    holds()


def test_an_event_that_reached_the_tail_while_it_was_looked_for_is_stored_once(day: Day) -> None:
    """Reprocessing reads what the tail holds, and swaps what is in files."""
    ids = day.send(event("A"))
    day.drain()

    def more_comes() -> None:
        ids.extend(day.send(event("A")))
        day.drain()

    with at(Moment(reprocess, "event_places", after=False), more_comes):
        reprocess.reprocess_events(day.stores, day.date)
    day.drain()
    flush(day.stores.state, day.stores.lake)
    day.assert_stored_once(ids)
    assert day.group()["times_seen"] == 2


def test_a_mirror_gives_back_what_it_does_not_need(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks_pipeline.storage.lake.mirror.TRIM_ROWS", 2)
    for number in range(6):
        day.send(event(f"P{number}"))
        day.drain()
        assert day.stores.lake.query("SELECT count(*) AS n FROM lake.events WHERE day = ?", [day.date])[0][
            "n"
        ]
        flush(day.stores.state, day.stores.lake)
    held = day.stores.lake._stored.execute("SELECT count(*) FROM tail.rows").fetchall()
    assert held[0][0] <= 4
    assert len(day.ids()) == 6


def test_rows_of_the_marker_go(day: Day) -> None:
    for name in "ABC":
        day.send(event(name))
        day.drain()
        flush(day.stores.state, day.stores.lake)
    lake = day.stores.lake
    marker = lake.flushed_through()
    compaction.tidy(lake, datetime.now(UTC) + compaction.SNAPSHOTS_FOR)
    compaction.tidy(lake, datetime.now(UTC) + compaction.SNAPSHOTS_FOR)
    assert lake.flushed_through() == marker
    metadata = "__ducklake_metadata_stored" + ("" if day.stores.home.embedded else ".lake")
    (name,) = lake._stored.execute(
        f"SELECT i.table_name FROM {metadata}.ducklake_inlined_data_tables i JOIN {metadata}.ducklake_table t "
        "ON t.table_id = i.table_id WHERE t.table_name = 'flushed_segments'"
    ).fetchone()
    assert lake._stored.execute(f'SELECT count(*) FROM {metadata}."{name}"').fetchone()[0] <= 2
    assert len(day.ids()) == 3
