"""Raw envelopes of finished days in files, out of Postgres: nobody notices, whatever is killed, erased, appended or backed up meanwhile."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg2
import pytest

from tasks_pipeline.backup import restore
from tasks_pipeline.backup.create import create_backup
from tasks_pipeline.backup.target import Target
from tasks_pipeline.home import Home
from tasks_pipeline.privacy.delete import delete_person
from tasks_pipeline.privacy.identity import Identity
from tasks_pipeline.processing.drain import DrainReport
from tasks_pipeline.retention.spool import drop_expired_days, move_finished_days
from tasks_pipeline.storage.sizes import raw_by_place
from tasks_pipeline.storage.spool import copies, moved, moving, postgres_tables
from tasks_pipeline.storage.spool.interface import Receipt, Rewritten, Spool, SpoolError, Waiting
from tasks_pipeline.storage.spool.open import open_spool
from tasks_pipeline.storage.spool.postgres import PostgresSpool
from tasks_pipeline.storage.spool.sqlite import SqliteSpool
from tasks_pipeline.stores import Stores, open_stores
from tasks_pipeline.upkeep.volumes import volumes
from tasks_pipeline.watch.prometheus import render
from tests.integration.test_pseudonyms import test_a_day_of_theirs_that_is_computed_again_comes_out_the_same  # noqa: F401
from tests.support.crash import Moment, at, die, run_in_process
from tests.support.day import Day
from tests.support.events import event
from tests.support.s3 import BUCKET, Fault, FaultyProxy, reached_s3

NOON = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
DAY = NOON.date()
SMALL = 7
MOMENTS = {
    "row and file are there, not kept": Moment(moved.MovedFiles, "write"),
    "kept, not committed": Moment(moving, "mark"),
    "one piece kept": Moment(moving, "_move_piece"),
    "dropped, not committed": Moment(moving, "_drop_moved"),
}


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "PIECE_ENVELOPES", SMALL)


class Moves(Day):
    """A day that is moved as soon as it is processed."""

    def drain(self, **options: Any) -> DrainReport:
        report = super().drain(**options)
        assert self.stores.spool.move_day(self.date)
        return report


@pytest.fixture
def alone(stores: Stores) -> Day:
    """For tests of privacy that are imported here: all of it holds for days that were moved."""
    return Moves(stores, date(2020, 1, 1), 1000)


@pytest.fixture
def spool(postgres_home: Home) -> Iterator[PostgresSpool]:
    with closing(open_spool(postgres_home)) as opened:
        assert isinstance(opened, PostgresSpool)
        yield opened


@pytest.fixture
def stores(postgres_home: Home) -> Iterator[Stores]:
    with open_stores(postgres_home) as opened:
        yield opened


def receipt(number: int) -> Receipt:
    return Receipt(
        NOON + timedelta(seconds=number), 1, "a" * 32, f"{number:032x}", "gzip", number % 3, b"body-%06d" % number,
        {"client": f"sdk/{number}"},
    )  # fmt: skip


def append(spool: Spool, first: int, last: int) -> None:
    with closing(spool.writer()) as writer:
        writer.append([receipt(number) for number in range(first, last + 1)])


def bodies(spool: Spool, **limits: int) -> list[bytes]:
    return [found.receipt.body for found in spool.read(DAY, "r0", 0, **limits)]


def _all(spool: Spool, after: int = 0, **limits: int) -> Iterator[Any]:
    while found := spool.read(DAY, "r0", after, **limits):
        yield from found
        after = found[-1].position


def table_rows(home: Home) -> int | None:
    """Envelopes in the partition of the day; None when there is none."""
    with closing(psycopg2.connect(home.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s)", (postgres_tables.partition_of(DAY),))
        if cursor.fetchone() == (None,):
            return None
        cursor.execute(f"SELECT count(*) FROM {postgres_tables.partition_of(DAY)}")
        return int((cursor.fetchone() or (0,))[0])


def named(home: Home) -> dict[str, str]:
    """State of each file that a row names."""
    with closing(psycopg2.connect(home.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT name, state FROM spool.moved")
        return dict(cursor.fetchall())


def files(home: Home) -> set[str]:
    root = Path(home.raw_url)
    return {str(path.relative_to(root)) for path in root.glob("*/*.parquet")}


def assert_tidy(home: Home) -> None:
    """Rows and files are the same, and nothing else lies about."""
    assert set(named(home).values()) <= {"kept"}
    assert files(home) == set(named(home))


def test_a_moved_day_reads_as_one_that_never_was(spool: PostgresSpool, tmp_path: Path) -> None:
    """Against the embedded spool, which moves nothing: any order of appends, moves, erasures and rewriting."""
    other, chance, last = SqliteSpool(tmp_path / "spool"), random.Random(2026), 0
    for turn in range(24):
        act = chance.choice(["append", "move", "erase", "rewrite"]) if turn else "append"
        for each in (spool, other):
            if act == "append":
                append(each, last + 1, last + 9)
            elif act == "move":
                assert each.move_day(DAY) == (each is spool)
        last += 9 if act == "append" else 0
        first = chance.randint(1, last)
        if act == "erase":
            ranges = [(first, first + chance.randint(0, 12)), (chance.randint(1, last), 0)]
            ranges[1] = (ranges[1][0], ranges[1][0])
            for each in (spool, other):
                each.erase_ranges(DAY, "r0", ranges)
        elif act == "rewrite":
            for each in (spool, other):
                new = Rewritten("", b"other-%d" % turn, {"new": turn})
                there = {found.position for found in _all(each)}
                each.rewrite(DAY, "r0", {n: new for n in (first, min(last, first + 8)) if n in there})
        after, most, size = chance.randint(0, last), chance.randint(1, 20), chance.randint(1, 200)
        assert spool.totals(DAY) == other.totals(DAY)
        assert list(_all(spool)) == list(_all(other))
        wanted = list(_all(other, after, through=after + most))
        assert list(_all(spool, after, through=after + most)) == wanted
        for place in (-1, 0, first, last - 1, last, last + 1, *chance.sample(range(last), 6)):
            assert spool.waiting(DAY, "r0", place) == other.waiting(DAY, "r0", place)
        end = spool.last_position(DAY, "r0", after, max_envelopes=most, max_bytes=size)
        whole = other.last_position(DAY, "r0", after, max_envelopes=most, max_bytes=size)
        assert after < end <= whole or end == whole == after, "at the end of a file a piece may end earlier"
    assert spool.moved()
    assert other.moved() == []


def test_a_moved_day_is_out_of_the_database_and_can_be_computed_again(stores: Stores) -> None:
    home, day = stores.home, Day(stores, DAY, 1)
    ids = day.send(*(event(f"E{n}") for n in range(20)))
    day.drain()
    rows = {table: day.rows(table) for table in ("events", "event_payloads", "outcomes")}
    found = move_finished_days(stores, DAY + timedelta(days=5))
    assert (found.could_not, [each.envelopes for each in found.days]) == ({}, [20])
    assert table_rows(home) is None
    assert_tidy(home)
    day.assert_balanced()
    day.recompute()
    day.assert_stored_once(ids)
    unlike = {"position", "batch_id"}
    for table, former in rows.items():
        assert [{k: v for k, v in row.items() if k not in unlike} for row in day.rows(table)] == [
            {k: v for k, v in row.items() if k not in unlike} for row in former
        ]
    assert raw_by_place(stores.state) == {"database": (0, 0), "files": (1, found.days[0].bytes)}
    assert b'tasks_pipeline_raw_days{where="files"} 1.0' in render(stores.state, datetime.now(UTC))
    (volume,) = (v for v in volumes(stores) if (v.store, v.table, v.files) == ("spool", "envelopes", 3))
    assert (volume.rows, volume.oldest) == (20, DAY)
    assert volume.bytes == sum((Path(home.raw_url) / name).stat().st_size for name in files(home))


def test_what_a_deleted_person_sent_is_gone_from_files_too(alone: Day) -> None:
    hers, others = (
        event("A", user={"email": "ann@example.com"}),
        event("B", user={"email": "bob@example.com"}),
    )
    alone.send(hers, others)
    alone.drain()
    before = files(alone.stores.home)
    done = delete_person(alone.stores, Identity.of(emails=["ann@example.com"]), "tester")
    assert {each.where: each.rows for each in done.erased}["spool"] == 1
    assert len(before) == len(files(alone.stores.home)) == 1
    assert not before & files(alone.stores.home)
    (left,) = alone.stores.spool.read(alone.date, "r0", 0)
    assert left.receipt.event_id == others["event_id"]
    assert_tidy(alone.stores.home)
    alone.assert_balanced()


def test_days_that_are_young_or_wait_stay(stores: Stores) -> None:
    for number in range(3):
        of_day = Day(stores, DAY + timedelta(days=number), 1)
        of_day.send(event("A"))
        if number:
            of_day.drain()
    today = DAY + timedelta(days=3)
    assert [each.day for each in move_finished_days(stores, today).days] == [DAY + timedelta(days=1)]
    Day(stores, DAY, 1).drain()
    assert len(move_finished_days(stores, today).days) == 2
    assert [each.day for each in move_finished_days(stores, today).days] == [
        DAY,
        DAY + timedelta(days=1),
    ], "moving again changes nothing"


def test_what_comes_after_all_is_appended_behind_what_was_moved(
    spool: PostgresSpool, postgres_home: Home
) -> None:
    append(spool, 1, 10)
    assert spool.move_day(DAY)
    append(spool, 11, 12)
    assert table_rows(postgres_home) == 2
    assert bodies(spool) == [b"body-%06d" % n for n in range(1, 8)], "a file at a time"
    assert [found.position for found in spool.read(DAY, "r0", 10)] == [11, 12]
    assert spool.waiting(DAY, "r0", 9) == Waiting(3, 10 % 3 + 11 % 3 + 12 % 3, receipt(10).received_at)
    assert spool.move_day(DAY)
    assert table_rows(postgres_home) is None
    assert [each.envelopes for each in spool.moved()] == [12]


def move_and_die(home: Home, moment: str) -> None:
    with (
        closing(open_spool(home)) as spool,
        patch.object(moving, "PIECE_ENVELOPES", SMALL),
        at(MOMENTS[moment], die),
    ):
        spool.move_day(DAY)


def test_a_kill_at_any_moment_loses_nothing_and_leaves_nothing(
    spool: PostgresSpool, postgres_home: Home
) -> None:
    append(spool, 1, 20)
    sent = [found.receipt for found in spool.read(DAY, "r0", 0)]
    for moment in MOMENTS:
        assert run_in_process(move_and_die, postgres_home, moment) == -signal.SIGKILL, moment
        assert [found.receipt for found in _all(spool)] == sent, moment
    left = [name for name, state in named(postgres_home).items() if state == "writing"]
    assert left, "a kill between file and transaction leaves one that is no part of the spool"
    assert spool.sweep() == 0, "somebody may be writing it"
    draft = Path(postgres_home.raw_url) / ".drafts" / "of-a-killed-process"
    draft.touch()
    os.utime(draft, (0, 0))
    assert spool.move_day(DAY)
    assert spool._files.sweep(timedelta(0)) == len(left)
    assert not draft.exists()
    assert_tidy(postgres_home)
    assert [found.receipt for found in _all(spool)] == sent
    assert table_rows(postgres_home) is None


def test_who_was_taken_for_dead_cannot_make_his_file_part_of_the_spool(spool: PostgresSpool) -> None:
    append(spool, 1, 3)
    write = moved.MovedFiles.write

    def swept(self: moved.MovedFiles, *args: Any) -> moved.Piece:
        piece = write(self, *args)
        assert self.sweep(timedelta(0)) == 1
        return piece

    with (
        patch.object(moved.MovedFiles, "write", swept),
        pytest.raises(SpoolError, match="taken for left behind"),
    ):
        spool.move_day(DAY)
    assert len(bodies(spool)) == 3


@pytest.mark.parametrize("what", ["erase", "rewrite", "append"])
def test_what_changes_while_it_is_moved_is_changed_in_the_file_too(
    spool: PostgresSpool, postgres_home: Home, what: str
) -> None:
    append(spool, 1, 10)
    changes: dict[str, Callable[[], object]] = {
        "erase": lambda: spool.erase(DAY, "r0", 2, 8),
        "rewrite": lambda: spool.rewrite(DAY, "r0", {2: Rewritten("", b"other", {})}),
        "append": lambda: append(spool, 11, 12),
    }
    moment = (
        Moment(moving, "_drop_moved", after=False) if what == "append" else Moment(moved.MovedFiles, "write")
    )
    with at(moment, changes[what]):
        assert spool.move_day(DAY) == (what != "append")
    numbers = [1, *range(9, 11)] if what == "erase" else list(range(1, 13 if what == "append" else 11))
    wanted = [b"other" if what == "rewrite" and n == 2 else b"body-%06d" % n for n in numbers]
    assert [found.receipt.body for found in _all(spool)] == wanted
    assert spool.move_day(DAY)
    spool.sweep()
    assert [found.receipt.body for found in _all(spool)] == wanted
    assert_tidy(postgres_home)


def test_what_is_erased_is_in_no_file(spool: PostgresSpool, postgres_home: Home) -> None:
    append(spool, 1, 20)
    spool.move_day(DAY)
    before = files(postgres_home)
    spool.erase_ranges(DAY, "r0", [(3, 9), (12, 12)])
    assert_tidy(postgres_home)
    assert len(before - files(postgres_home)) == 2, "the file without any of them is the same"
    for path in Path(postgres_home.raw_url).rglob("*.parquet"):
        rows = moved.pq.read_table(path).to_pylist()
        for row in rows:
            is_erased = row["position"] in {*range(3, 10), 12}
            assert (row["body"] is None, row["event_id"] is None, row["meta"] == "{}") == (is_erased,) * 3
    assert [found.position for found in _all(spool)] == [1, 2, 10, 11, *range(13, 21)]
    assert spool.totals(DAY)["r0"].envelopes == 20
    after = files(postgres_home)
    spool.erase(DAY, "r0", 3, 9)
    assert files(postgres_home) == after, "erasing again changes nothing"


def test_a_damaged_file_is_named_and_the_others_are_read(stores: Stores) -> None:
    spool = stores.spool
    append(spool, 1, 21)
    spool.move_day(DAY)
    assert list(spool.look_at_moved(1, 10**9)) == ["", "", ""]
    first, second, third = sorted(files(stores.home))
    (Path(stores.home.raw_url) / second).unlink()
    path = Path(stores.home.raw_url) / third
    data = bytearray(path.read_bytes())
    data[data.index(b"body-000015") + 3] ^= 1
    path.write_bytes(data)
    wrong = sorted(filter(None, spool.look_at_moved(1, 10**9)))
    assert wrong[0] == f"raw/{second}: is not there"
    assert wrong[1].startswith(f"raw/{third}: cannot be read")
    assert len(wrong) == 2
    assert len(spool.read(DAY, "r0", 0)) == SMALL
    for after in (SMALL, 2 * SMALL):
        with pytest.raises(SpoolError):
            spool.read(DAY, "r0", after)
    assert first in files(stores.home)


def test_readers_find_either_form_while_a_day_moves_and_is_erased(spool: PostgresSpool) -> None:
    append(spool, 1, 60)
    over, wrong = threading.Event(), list[Any]()

    def read() -> None:
        while not over.is_set():
            try:
                found = [each.position for each in _all(spool)]
            except SpoolError as error:
                wrong.append(error)
                return
            if found[0] != 1 or found[-1] != 60 or len(found) < 50:
                wrong.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert spool.move_day(DAY)
        for number in range(2, 11):
            spool.erase(DAY, "r0", number, number)
    finally:
        over.set()
        reader.join()
    assert not wrong


def test_a_dropped_day_takes_its_files_along_but_not_from_a_backup(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_tables, "DROP_WAIT_SECONDS", 0.2)
    day = Day(stores, DAY, 1)
    day.send(event("A"))
    day.drain()
    assert stores.spool.move_day(DAY)
    late = DAY + timedelta(days=60)
    with stores.state.read() as connection:
        copies.keep_tables(connection)
        assert drop_expired_days(stores, late) == {}
        frozen = copies.freeze_tables(connection, stores.home.raw_url)
        assert sum(len(rows) for rows in frozen.parts[DAY, "r0"]()) == 1
    assert drop_expired_days(stores, late) == {DAY: 1}
    assert (files(stores.home), named(stores.home), stores.spool.days()) == (set(), {}, [])


def test_a_backup_has_moved_days_and_puts_them_into_an_empty_spool(
    stores: Stores, tmp_path: Path, postgres_url: str
) -> None:
    append(stores.spool, 1, 10)
    stores.spool.erase(DAY, "r0", 2, 3)
    stores.spool.move_day(DAY)
    stores.spool.erase(DAY, "r0", 5, 5)
    append(stores.spool, 11, 12)
    made = create_backup(stores, str(tmp_path / "to"))
    assert made.problems == ()
    manifest = Target(str(tmp_path / "to")).manifest(made.name)
    assert sum(file.rows or 0 for file in manifest.of("spool")) == 12
    new = Home(root=tmp_path / "new", database_url=postgres_url)
    for _ in restore._restore_spool(new, Target(str(tmp_path / "to")), manifest.of("spool")):
        pass
    with closing(open_spool(new)) as restored:
        assert restored.totals(DAY) == stores.spool.totals(DAY)
        assert list(_all(restored)) == list(_all(stores.spool))
        assert restored.move_day(DAY)
        assert list(_all(restored)) == list(_all(stores.spool))


def test_a_role_makes_no_tables_and_says_who_does(tmp_path: Path, postgres_url: str) -> None:
    role = Home(root=tmp_path, database_url=postgres_url, migrates=False)
    with pytest.raises(SpoolError, match=r"no spool\.\w+.*: run `tasks-pipeline migrate`"):
        open_spool(role)
    with closing(psycopg2.connect(postgres_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'spool'")
        assert cursor.fetchone() == (0,)
    open_spool(replace(role, migrates=True)).close()
    open_spool(role).close()


def test_a_database_of_an_earlier_version_gets_what_it_lacks(postgres_url: str, tmp_path: Path) -> None:
    home = Home(root=tmp_path, database_url=postgres_url)
    with closing(open_spool(home)) as spool:
        append(spool, 1, 2)
    with closing(psycopg2.connect(postgres_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE spool.moved")
    from tasks_pipeline.storage.spool import postgres

    postgres._set_up.clear()
    with closing(open_spool(home)) as spool:
        assert len(bodies(spool)) == 2
        assert spool.move_day(DAY)


def test_files_of_a_day_that_an_earlier_version_dropped_are_swept(
    spool: PostgresSpool, postgres_home: Home
) -> None:
    append(spool, 1, 2)
    spool.move_day(DAY)
    assert spool.sweep() == 0
    with (
        closing(psycopg2.connect(postgres_home.database_url)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("DELETE FROM spool.totals")
    assert spool.sweep() == 1
    assert (files(postgres_home), named(postgres_home)) == (set(), {})


# ── in object storage


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyProxy]:
    with reached_s3(tmp_path_factory.mktemp("s3")) as found:
        yield found


def test_a_day_in_object_storage(proxy: FaultyProxy, postgres_home: Home) -> None:
    home = replace(postgres_home, data_url=f"s3://{BUCKET}/moved")
    with ExitStack() as stack:
        spool = stack.enter_context(closing(open_spool(home)))
        append(spool, 1, 14)
        with proxy.failing(Fault("403 AccessDenied", frozenset({"PUT"}))), pytest.raises(SpoolError):
            spool.move_day(DAY)
        assert len(bodies(spool)) == 14
        begin = len(proxy.log)
        assert spool.move_day(DAY)
        asked = [(method, kind) for method, path, kind in proxy.log[begin:] if "/moved/raw/" in path]
        assert asked == [("PUT", "")] * 2, "one request for a file, and no renaming"
        assert [found.position for found in _all(spool)] == list(range(1, 15))
        spool.erase(DAY, "r0", 1, 3)
        assert [found.position for found in _all(spool)] == list(range(4, 15))
        with proxy.failing(Fault("403 AccessDenied", frozenset({"DELETE"}))):
            with pytest.raises(SpoolError):
                spool.erase(DAY, "r0", 9, 9)
            assert sorted(named(home).values()) == ["gone", "kept", "kept"]
        spool.erase(DAY, "r0", 9, 9)
        assert sorted(named(home).values()) == ["kept", "kept"], "asked again it is done"
        tree = moved.Tree(home.raw_url)
        assert tree.find() == sorted(named(home))
        tree.remove(min(named(home)))
        stack.enter_context(closing(fresh := open_spool(home)))
        with pytest.raises(SpoolError, match="it is not there"):
            fresh.read(DAY, "r0", 0)
        assert fresh.read(DAY, "r0", 7)
        assert fresh.drop_day(DAY) == 14
        assert tree.find() == []


def test_the_step_says_what_it_moved(stores: Stores) -> None:
    assert move_finished_days(stores, date(2026, 11, 30)).days == []
