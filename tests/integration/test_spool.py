"""The spool's promises, the same for both back ends: order, no gaps, durability, one writer to a part."""

from __future__ import annotations

import os
import random
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks_pipeline.home import Home
from tasks_pipeline.storage.spool.interface import (
    PartTotals,
    Receipt,
    Spool,
    SpoolError,
    SpoolWriter,
    Waiting,
)
from tasks_pipeline.storage.spool.open import open_spool
from tasks_pipeline.storage.spool.postgres import PostgresSpool

NOON = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
DAY = NOON.date()
TEMPLATE = Receipt(
    received_at=NOON,
    project_id=1,
    public_key="a" * 32,
    event_id="b" * 32,
    encoding="gzip",
    items=1,
    body=b"body",
    meta={"client": "sentry.python/2.75.0", "refused": ["session"]},
)
Writers = Callable[[], SpoolWriter]


@pytest.fixture
def spool(any_home: Home) -> Iterator[Spool]:
    with closing(open_spool(any_home)) as spool:
        yield spool


@pytest.fixture
def writers(spool: Spool) -> Iterator[Writers]:
    """A function that gives a new writer, which is closed with the test."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(spool.writer()))


def receipt(number: int, **changes: Any) -> Receipt:
    """A receipt that can be told from others by its body."""
    return replace(TEMPLATE, body=b"%08d" % number, received_at=NOON + timedelta(seconds=number), **changes)


def bodies(spool: Spool, part: str = "r0", day: date = DAY, after: int = 0) -> list[bytes]:
    return [spooled.receipt.body for spooled in spool.read(day, part, after)]


# ── reading what was written


def test_a_receipt_comes_back_as_it_was(spool: Spool, writers: Writers) -> None:
    hostile = replace(
        TEMPLATE,
        received_at=datetime(2026, 11, 23, 1, 0, 0, 1, tzinfo=timezone(timedelta(hours=2))),
        project_id=2**53,
        event_id=None,
        encoding="",
        items=0,
        body=bytes(range(256)),
        meta={"user_agent": "\x00'; DROP TABLE envelopes; -- %s :x \U0001f600", "nested": {"a": [1, None]}},
    )
    assert writers().append([hostile, replace(TEMPLATE, body=b"")]) == [(DAY, 1), (DAY, 2)]
    first, second = spool.read(DAY, "r0", 0)
    assert first.receipt == hostile
    assert first.receipt.received_at.utcoffset() == timedelta(0)
    assert (first.day, first.part, first.position) == (DAY, "r0", 1)
    assert second.receipt.body == b""


def test_an_empty_spool_reads_as_empty(spool: Spool) -> None:
    assert spool.days() == []
    assert spool.totals(DAY) == {}
    assert spool.waiting(DAY, "r0", 0) == Waiting(0, 0, None)
    assert spool.read(DAY, "r0", 0) == []
    assert spool.last_position(DAY, "r0", 7, max_envelopes=1, max_bytes=1) == 7
    assert spool.drop_day(DAY) == 0


def test_receipts_go_to_the_utc_day_of_their_receipt(spool: Spool, writers: Writers) -> None:
    late = replace(TEMPLATE, received_at=datetime(2026, 11, 22, 23, 59, 59, 999999, tzinfo=UTC))
    early = replace(TEMPLATE, received_at=datetime(2026, 11, 23, tzinfo=UTC))
    tomorrow = DAY + timedelta(days=1)
    assert writers().append([early, late, early]) == [(tomorrow, 1), (DAY, 1), (tomorrow, 2)]
    assert spool.days() == [DAY, tomorrow]
    assert spool.totals(DAY)["r0"].envelopes == 1
    assert spool.totals(tomorrow)["r0"].envelopes == 2


def test_appending_nothing_stores_nothing(spool: Spool, writers: Writers) -> None:
    assert writers().append([]) == []
    assert spool.days() == []


def test_many_days_in_one_append_and_again(spool: Spool, writers: Writers) -> None:
    writer = writers()
    week = [replace(TEMPLATE, received_at=NOON + timedelta(days=n)) for n in range(7)]
    assert {position for _, position in writer.append(week)} == {1}
    assert {position for _, position in writer.append(week)} == {2}
    assert [spool.totals(day)["r0"].last_position for day in spool.days()] == [2] * 7


def test_limits_of_read(spool: Spool, writers: Writers) -> None:
    writers().append([receipt(n) for n in range(1, 11)])  # 8 bytes each

    def positions(after: int, **limits: int) -> list[int]:
        return [spooled.position for spooled in spool.read(DAY, "r0", after, **limits)]

    assert positions(0, max_envelopes=3) == [1, 2, 3]
    assert positions(8) == [9, 10]
    assert positions(10) == []
    assert positions(2, through=4) == [3, 4]
    assert positions(2, through=2) == []
    assert positions(5, through=3) == []
    assert positions(0, max_bytes=16) == [1, 2]
    assert positions(0, max_bytes=23) == [1, 2]
    assert positions(4, max_bytes=1) == [5], "the first is returned however large"


def test_a_part_name_is_never_a_path(home: Home) -> None:
    spool = open_spool(home)
    with pytest.raises(ValueError, match="part"):
        spool.read(DAY, "../../etc/r0", 0)


_RECEIPTS = st.builds(
    lambda body, items, second: replace(
        TEMPLATE, body=body, items=items, received_at=NOON + timedelta(seconds=second)
    ),
    st.binary(max_size=40),
    st.integers(0, 200),
    st.integers(-3600, 3600),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_appends_and_reads_equal_a_list(spool: Spool, data: st.DataObject) -> None:
    spool.drop_day(DAY)
    model: list[Receipt] = []
    writer = spool.writer()
    try:
        for batch in data.draw(st.lists(st.lists(_RECEIPTS, max_size=6), max_size=5)):
            places = writer.append(batch)
            model += batch
            assert places == [(DAY, len(model) - len(batch) + n + 1) for n in range(len(batch))]
            after = data.draw(st.integers(0, len(model) + 1))
            max_envelopes = data.draw(st.integers(1, 8))
            max_bytes = data.draw(st.integers(0, 100))
            read = spool.read(DAY, writer.part, after, max_envelopes=max_envelopes, max_bytes=max_bytes)
            taken = [spooled.receipt for spooled in read]
            assert [spooled.position for spooled in read] == list(range(after + 1, after + 1 + len(read)))
            assert taken == model[after : after + len(taken)]
            assert len(taken) <= max_envelopes
            if after < len(model):
                assert taken, "a reader makes progress"
            assert len(taken) <= 1 or sum(len(r.body) for r in taken) <= max_bytes
            following = model[after + len(taken) : after + len(taken) + 1]
            if following and len(taken) < max_envelopes:
                assert sum(len(r.body) for r in (*taken, *following)) > max_bytes, "limits are used up"
            end = spool.last_position(
                DAY, writer.part, after, max_envelopes=max_envelopes, max_bytes=max_bytes
            )
            assert end == after + len(read)
            behind = model[after:]
            assert spool.waiting(DAY, writer.part, after) == Waiting(
                len(behind), sum(r.items for r in behind), behind[0].received_at if behind else None
            )
        expected = PartTotals(
            envelopes=len(model),
            items=sum(r.items for r in model),
            bytes=sum(len(r.body) for r in model),
            last_position=len(model),
            last_received_at=model[-1].received_at if model else None,
        )
        assert spool.totals(DAY).get("r0", PartTotals(0, 0, 0, 0, None)) == expected
    finally:
        writer.close()


# ── waiting for more


def test_whoever_waits_is_told_of_the_next_append(spool: Spool, writers: Writers) -> None:
    writer = writers()
    writer.append([receipt(1)])
    assert spool.await_growth(DAY, 0, 1, 60) == 1, "what is there already is not waited for"
    assert spool.await_growth(DAY, 1, 1, 0) == 1
    with ThreadPoolExecutor(1) as pool:
        one = pool.submit(spool.await_growth, DAY, 1, 1, 60)
        writer.append([receipt(2), replace(TEMPLATE, received_at=NOON + timedelta(days=1))])
        assert one.result() == 2
        two = pool.submit(spool.await_growth, DAY, 2, 2, 60)
        writer.append([receipt(3)])
        assert not two.done()
        writer.append([receipt(4)])
        assert two.result() == 4
    spool.drop_day(DAY)
    assert spool.await_growth(DAY, 4, 1, 60) == 0


def test_whoever_waits_on_postgres_asks_nothing(postgres_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables are out of the question here: only a notification can tell."""
    with closing(open_spool(postgres_home)) as spool, closing(spool.writer()) as writer:
        writer.append([receipt(1)])
        assert spool.await_growth(DAY, 0, 1, 60) == 1
        monkeypatch.setattr("tasks_pipeline.storage.spool.postgres_listener.ASK_SECONDS", 3600)
        monkeypatch.setattr(PostgresSpool, "totals", lambda *_: pytest.fail("the tables were asked"))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(spool.await_growth, DAY, 1, 4, 60)
            with closing(spool.writer()) as other:
                for number in range(2):
                    writer.append([receipt(number)])
                    other.append([receipt(number)])
            assert waiting.result() == 5


def test_a_lost_listener_is_made_again(postgres_home: Home) -> None:
    with closing(open_spool(postgres_home)) as spool, closing(spool.writer()) as writer:
        assert spool.await_growth(DAY, 0, 1, 0) == 0
        with (
            closing(psycopg2.connect(postgres_home.database_url)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
            )
            assert cursor.fetchall() == [(True,)]
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(spool.await_growth, DAY, 0, 1, 60)
            writer.append([receipt(1)])
            assert waiting.result() == 1


# ── claims


def test_writers_have_different_parts_and_free_names_are_taken_again(spool: Spool, writers: Writers) -> None:
    first, second = writers(), writers()
    assert (first.part, second.part) == ("r0", "r1")
    first.append([receipt(1)])
    second.append([receipt(2)])
    assert set(spool.totals(DAY)) == {"r0", "r1"}
    assert (bodies(spool, "r0"), bodies(spool, "r1")) == ([b"00000001"], [b"00000002"])
    first.close()
    third = writers()
    assert third.part == "r0"
    assert third.append([receipt(3)]) == [(DAY, 2)], "a part goes on where its last writer ended"


def test_a_closed_writer_refuses(writers: Writers) -> None:
    writer = writers()
    writer.close()
    writer.close()
    with pytest.raises(SpoolError, match="closed"):
        writer.append([receipt(1)])


def test_threads_share_a_writer(spool: Spool, writers: Writers) -> None:
    writer = writers()
    with ThreadPoolExecutor(4) as pool:
        places = list(pool.map(lambda number: writer.append([receipt(number)])[0], range(40)))
    assert sorted(position for _, position in places) == list(range(1, 41))
    stored = bodies(spool)
    assert all(stored[position - 1] == b"%08d" % number for number, (_, position) in enumerate(places))


def test_several_writers_start_on_a_new_day_at_once(any_home: Home) -> None:
    """Each with a spool of its own, as several receivers have, on a store that is not set up yet."""
    together = threading.Barrier(4)

    def write(_: int) -> tuple[str, list[tuple[date, int]]]:
        together.wait()
        with closing(open_spool(any_home)) as spool, closing(spool.writer()) as writer:
            places = writer.append([receipt(n) for n in range(5)])
            together.wait()  # all hold their claims until all have written
            return writer.part, places

    with ThreadPoolExecutor(4) as pool:
        results = dict(pool.map(write, range(4)))
    assert results == {part: [(DAY, n) for n in range(1, 6)] for part in ("r0", "r1", "r2", "r3")}


def test_readers_run_beside_the_writer(spool: Spool, writers: Writers) -> None:
    """Two readers follow a writer to the end; each sees every envelope once, in order."""
    writer = writers()
    total = 300

    def follow(_: int) -> list[bytes]:
        seen: list[bytes] = []
        while len(seen) < total:
            seen += [spooled.receipt.body for spooled in spool.read(DAY, "r0", len(seen), max_envelopes=50)]
        return seen

    with ThreadPoolExecutor(2) as pool:
        followers = pool.map(follow, range(2))
        for start in range(0, total, 20):
            writer.append([receipt(n) for n in range(start, start + 20)])
        assert list(followers) == [[b"%08d" % n for n in range(total)]] * 2


# ── failures


def test_a_failed_append_leaves_nothing(spool: Spool, writers: Writers) -> None:
    writer = writers()
    writer.append([receipt(1)])
    unusable = [
        replace(TEMPLATE, meta={"x": object()}),
        replace(TEMPLATE, project_id=2**70),
        replace(TEMPLATE, received_at=NOON.replace(tzinfo=None)),
    ]
    for bad in unusable:
        with pytest.raises((SpoolError, TypeError, ValueError)):
            writer.append([receipt(2), bad, receipt(3)])
        assert bodies(spool) == [b"00000001"]
    assert writer.append([receipt(4)]) == [(DAY, 2)]
    assert bodies(spool) == [b"00000001", b"00000004"]
    assert spool.totals(DAY)[writer.part].envelopes == 2


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As on a full disk, files of this process cannot grow beyond a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_fails_the_append_and_nothing_else(home: Home) -> None:
    spool = open_spool(home)
    with closing(spool.writer()) as writer:
        writer.append([receipt(1)])
        with largest_file(200_000), pytest.raises(SpoolError):
            writer.append([receipt(2), replace(TEMPLATE, body=bytes(1_000_000))])
        assert bodies(spool) == [b"00000001"]
        assert writer.append([receipt(3)]) == [(DAY, 2)]
        with largest_file(0), pytest.raises(SpoolError):
            writer.append([replace(TEMPLATE, received_at=NOON + timedelta(days=1))])
        assert writer.append([receipt(4)]) == [(DAY, 3)]
    assert bodies(spool) == [b"00000001", b"00000003", b"00000004"]


def _backend(url: str) -> int:
    """The server process of the connection that holds the only claim."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory'")
        [(pid,)] = cursor.fetchall()
        return int(pid)


def _terminate(url: str, pid: int) -> None:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
        assert cursor.fetchone() == (True,)


def test_a_lost_connection_fails_one_append_and_is_claimed_again(postgres_home: Home) -> None:
    url = postgres_home.database_url
    with closing(open_spool(postgres_home)) as spool, closing(spool.writer()) as writer:
        writer.append([receipt(1)])
        _terminate(url, _backend(url))
        with pytest.raises(SpoolError):
            writer.append([receipt(2)])
        assert writer.append([receipt(3)]) == [(DAY, 2)]
        assert writer.part == "r0"
        assert bodies(spool) == [b"00000001", b"00000003"]


def test_a_writer_that_lost_its_claim_never_shares_the_part(postgres_home: Home) -> None:
    url = postgres_home.database_url
    with closing(open_spool(postgres_home)) as spool, closing(spool.writer()) as old:
        old.append([receipt(1)])
        _terminate(url, _backend(url))
        with closing(spool.writer()) as new:
            assert new.part == "r0"
            assert new.append([receipt(2)]) == [(DAY, 2)]
            with pytest.raises(SpoolError):
                old.append([receipt(3)])
            assert old.append([receipt(4)]) == [(DAY, 1)]
            assert old.part == "r1"
        assert bodies(spool, "r0") == [b"00000001", b"00000002"]
        assert bodies(spool, "r1") == [b"00000004"]


def test_a_database_that_is_away_is_a_spool_error() -> None:
    with pytest.raises(SpoolError):
        PostgresSpool("postgresql+psycopg2://nobody@127.0.0.1:1/nothing", "/nowhere")


# ── dropping days


def test_a_dropped_day_is_gone_and_its_disk_space_too(spool: Spool, any_home: Home, writers: Writers) -> None:
    writer = writers()
    tomorrow = DAY + timedelta(days=1)
    writer.append([receipt(1), receipt(2), replace(TEMPLATE, received_at=NOON + timedelta(days=1))])
    assert spool.drop_day(DAY) == 2
    assert spool.days() == [tomorrow]
    assert spool.totals(DAY) == {}
    assert spool.read(DAY, "r0", 0) == []
    assert spool.waiting(DAY, "r0", 0) == Waiting(0, 0, None)
    assert spool.drop_day(DAY) == 0
    if any_home.embedded:
        assert not list(any_home.spool_dir.glob(f"*{DAY}*"))
    else:
        with closing(psycopg2.connect(any_home.database_url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'envelopes_2026_11_22%'")
            assert cursor.fetchone() == (0,)


def test_a_writer_does_not_lose_what_comes_after_a_drop(spool: Spool, writers: Writers) -> None:
    writer = writers()
    writer.append([receipt(1), receipt(2)])
    assert bodies(spool)
    spool.drop_day(DAY)
    assert writer.append([receipt(3)]) == [(DAY, 1)]
    assert bodies(spool) == [b"00000003"]
    writer.close()
    assert bodies(spool) == [b"00000003"]
    assert writers().append([receipt(4)]) == [(DAY, 2)]


def test_drops_and_appends_at_once_account_for_every_envelope(spool: Spool, writers: Writers) -> None:
    """Whatever an append has acknowledged was either removed by a drop that counted it, or is still there."""
    writer = writers()
    done = threading.Event()

    def drop() -> int:
        removed = 0
        while not done.is_set():
            removed += spool.drop_day(DAY)
        return removed

    with ThreadPoolExecutor(1) as pool:
        dropped = pool.submit(drop)
        try:
            for number in range(60):
                writer.append([receipt(number)])
        finally:
            done.set()
        removed = dropped.result()
    assert removed + len(bodies(spool)) == 60


# ── killed processes

_CHILD = """
import sys
from itertools import count
from datetime import UTC, datetime
from pathlib import Path
from tasks_pipeline.home import Home
from tasks_pipeline.storage.spool.interface import Receipt
from tasks_pipeline.storage.spool.open import open_spool
root, url, size = sys.argv[1:]
now = datetime(2026, 11, 22, 12, tzinfo=UTC)
writer = open_spool(Home(root=Path(root), database_url=url)).writer()
print(writer.part, flush=True)
for number in count(0, int(size)):
    numbers = range(number, number + int(size))
    places = writer.append([Receipt(now, 1, "key", None, "", 1, b"%08d" % n) for n in numbers])
    print(places[-1][1], flush=True)
"""


@dataclass
class Child:
    """A process that appends until it is killed."""

    process: subprocess.Popen[str]
    part: str
    acknowledged: int = 0

    @classmethod
    def start(cls, home: Home, size: int) -> Child:
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(home.root), home.database_url, str(size)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        return cls(process, process.stdout.readline().strip())

    def kill_after(self, commits: int) -> None:
        assert self.process.stdout is not None
        for _ in range(commits):
            self.acknowledged = int(self.process.stdout.readline())
        self.process.kill()
        for line in self.process.stdout:  # acknowledged between the last line read and the kill
            if line.endswith("\n"):
                self.acknowledged = int(line)
        self.process.wait()
        self.process.stdout.close()


@pytest.mark.slow
def test_kill_9_loses_nothing_acknowledged(any_home: Home) -> None:
    chance = random.Random(2026)
    before = 0
    for _ in range(4):
        size = chance.choice([1, 3, 20])
        child = Child.start(any_home, size)
        assert child.part == "r0", "the kernel, or the server, has freed the claim"
        child.kill_after(chance.randrange(1, 60))
        with closing(open_spool(any_home)) as spool:
            stored = spool.read(DAY, "r0", 0, max_envelopes=100_000)
            totals = spool.totals(DAY)["r0"]
        assert [spooled.position for spooled in stored] == list(range(1, len(stored) + 1))
        assert len(stored) >= child.acknowledged
        assert (len(stored) - before) % size == 0, "an append is there whole or not at all"
        fresh = [spooled.receipt.body for spooled in stored[before:]]
        assert fresh == [b"%08d" % n for n in range(len(fresh))]
        assert (totals.envelopes, totals.last_position) == (len(stored), len(stored))
        assert totals.bytes == 8 * len(stored)
        before = len(stored)


# ── the embedded files


def test_only_the_owner_can_read_the_files(home: Home) -> None:
    before = os.umask(0)
    try:
        with closing(open_spool(home).writer()) as writer:
            writer.append([receipt(1)])
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.spool_dir.iterdir()}
    finally:
        os.umask(before)
    assert {name.partition("r0")[2] or name for name in modes} == {
        ".lock",
        ".sqlite",
        ".sqlite-wal",
        ".sqlite-shm",
        "days.lock",
    }
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(home.spool_dir.stat().st_mode) == 0o700


def test_leftovers_of_a_crash_while_a_day_was_made_do_no_harm(home: Home) -> None:
    """Half a new file under its temporary name, and the WAL of a file of the same name that is no more."""
    spool = open_spool(home)
    with closing(spool.writer()) as writer:
        writer.append([receipt(1), receipt(2)])
        day_file = next(home.spool_dir.glob("*.sqlite"))
        wal = day_file.with_name(f"{day_file.name}-wal").read_bytes()
    day_file.unlink()
    day_file.with_name(f"{day_file.name}-wal").write_bytes(wal)
    day_file.with_name(f".{day_file.name}.new").write_bytes(b"half a header")
    assert spool.totals(DAY) == {}
    with closing(spool.writer()) as writer:
        assert writer.append([receipt(3)]) == [(DAY, 1)]
        assert bodies(spool) == [b"00000003"]


def test_a_drop_that_was_killed_half_way_can_be_done_again(home: Home) -> None:
    """The database went first; its WAL still holds what people sent."""
    spool = open_spool(home)
    with closing(spool.writer()) as writer:
        writer.append([receipt(1)])
        next(home.spool_dir.glob("*.sqlite")).unlink()
    assert spool.read(DAY, "r0", 0) == []
    assert spool.days() == [DAY], "still listed, so that cleanup comes by again"
    assert spool.drop_day(DAY) == 0
    assert spool.days() == []
    assert not list(home.spool_dir.glob(f"*{DAY}*"))


def test_files_do_not_stay_open(home: Home) -> None:
    """Reading and writing many days leaves a bounded number of descriptors open."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("no /proc here")
    spool = open_spool(home)
    with closing(spool.writer()) as writer:
        before = len(list(descriptors.iterdir()))
        for n in range(20):
            writer.append([replace(TEMPLATE, received_at=NOON + timedelta(days=n))])
        for day in spool.days() * 3:
            assert spool.read(day, "r0", 0)
        # Two days of three files, and for each the descriptor of a reader, which SQLite keeps while its locks live.
        assert len(list(descriptors.iterdir())) - before <= 8


# ── the tables in Postgres


def test_bodies_are_stored_out_of_the_row_and_days_apart(postgres_home: Home) -> None:
    with closing(open_spool(postgres_home)) as spool, closing(spool.writer()) as writer:
        writer.append([receipt(n) for n in range(3)])
    with closing(psycopg2.connect(postgres_home.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, a.attstorage FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
            "WHERE c.relname LIKE 'envelopes\\_2%' AND c.relkind = 'r' AND a.attname = 'body'"
        )
        assert cursor.fetchall() == [("envelopes_2026_11_22", "e")]
        cursor.execute("SELECT count(*) FROM spool.envelopes WHERE day = '2026-11-22'")
        assert cursor.fetchone() == (3,)


def test_what_is_larger_than_buffers_goes_in_one_append(postgres_home: Home) -> None:
    with closing(open_spool(postgres_home)) as spool, closing(spool.writer()) as writer:
        large = [replace(TEMPLATE, body=bytes([n]) * 3_000_000) for n in range(3)]
        writer.append([receipt(1), *large, receipt(2)])
        assert bodies(spool) == [b"00000001", *(each.body for each in large), b"00000002"]


def test_somebodys_open_query_does_not_hold_up_a_new_day(postgres_home: Home) -> None:
    with closing(open_spool(postgres_home)) as spool, closing(spool.writer()) as writer:
        writer.append([receipt(1)])
        with closing(psycopg2.connect(postgres_home.database_url)) as person, person.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM spool.envelopes")  # and the transaction stays open
            writer.append([replace(TEMPLATE, received_at=NOON + timedelta(days=1))])
        assert len(spool.days()) == 2
