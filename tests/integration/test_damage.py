"""One thing that is broken costs itself alone: a part of the spool, a file of the home, a probe, a channel. And it is told."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg2
import pytest
from click.testing import CliRunner

from tasks_pipeline.alerts.windows import evaluate_windows
from tasks_pipeline.cli import main
from tasks_pipeline.home import Home
from tasks_pipeline.monitors.check import check_monitors
from tasks_pipeline.retention.spool import drop_expired_days
from tasks_pipeline.storage.ledger.backlog import backlog, backlogs, day_may_run
from tasks_pipeline.storage.ledger.failures import MAX_REASON
from tasks_pipeline.stores import Stores, open_stores
from tasks_pipeline.watch import probes
from tasks_pipeline.watch.facts import DagsterFacts
from tasks_pipeline.watch.watching import watch_pipeline
from tests.integration.test_watch import watched
from tests.support.day import Day
from tests.support.events import event
from tests.support.outside import http_receiver
from tests.support.receiver import configure

TODAY = datetime.now(UTC).date()
DAYS_AGO = timedelta(days=2)


def spool_file(home: Home, day: date, part: str) -> Path:
    return home.spool_dir / f"{day}-{part}.sqlite"


def junk(path: Path) -> None:
    path.write_bytes(b"no database at all " * 500)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def cut_off(path: Path) -> None:
    checkpointed(path)
    path.write_bytes(path.read_bytes()[:5000])


def other_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE envelopes RENAME COLUMN received_at TO came_at")


def other_values(path: Path) -> None:
    """What reads without an error of SQLite, and is no time."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE envelopes SET received_at = 9000000000000000000")
        connection.commit()


def checkpointed(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


SPOOL_DAMAGES = {f.__name__: f for f in (junk, empty, folder, cut_off, other_version, other_values)}


def send_to(day: Day, part: str, *ids: str) -> list[str]:
    """Events through the writer of a part."""
    with ExitStack() as stack:
        while (writer := stack.enter_context(closing(day.stores.spool.writer()))).part != part:
            pass
        events = [event(event_id=event_id) for event_id in ids] or [event()]
        writer.append([day.receipt(e) for e in events])
    return [e["event_id"] for e in events]


def clean_sides(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@pytest.fixture
def stores(home: Home) -> Iterator[Stores]:
    """Embedded stores of one test alone."""
    with open_stores(home) as opened:
        yield opened


@pytest.mark.parametrize("damage", SPOOL_DAMAGES)
@pytest.mark.parametrize(("days_ago", "part"), [(2, "r0"), (0, "r1")])
def test_a_damaged_part_costs_itself_alone(stores: Stores, damage: str, days_ago: int, part: str) -> None:
    today, past = Day(stores, TODAY, 1), Day(stores, TODAY - DAYS_AGO, 1)
    past_ids = send_to(past, "r0")
    past.drain()
    ids = send_to(today, "r0")
    send_to(today, "r1")
    path = spool_file(stores.home, TODAY - timedelta(days=days_ago), part)
    checkpointed(path)
    SPOOL_DAMAGES[damage](path)
    clean_sides(path)

    found = {b.day: b for b in backlogs(stores.state, stores.spool)}
    broken = found[TODAY - timedelta(days=days_ago)]
    assert part in broken.broken
    assert len(broken.broken) <= MAX_REASON
    assert day_may_run(found[TODAY], datetime.now(UTC))

    today.drain()
    assert set(ids) <= set(today.ids())
    assert past.ids() == past_ids
    today.assert_balanced()
    past.assert_balanced()

    check_monitors(stores, datetime.now(UTC))
    evaluate_windows(stores, datetime.now(UTC))
    assert drop_expired_days(stores, TODAY + timedelta(days=400)).keys() == {TODAY, TODAY - DAYS_AGO} - {
        broken.day
    }
    with http_receiver() as http:
        report = watch_pipeline(
            watched(stores, http, ", consecutive_readings: 1"), DagsterFacts(), datetime.now(UTC)
        )
    assert report.statuses["spool"] == "critical"
    assert report.statuses["lag"] == "ok"
    status = CliRunner().invoke(main, ["--home", str(stores.home.root), "status", "--json"])
    assert status.exit_code == 0, status.output
    assert part in json.loads(status.output)["broken"][broken.day.isoformat()]


def test_envelopes_that_were_claimed_and_are_gone_are_told(stores: Stores) -> None:
    """A file without its write-ahead log is good, but older. What comes then has positions that nobody had."""
    today = Day(stores, TODAY, 1)
    writer = stores.spool.writer()
    writer.append([today.receipt(event())])
    path = spool_file(stores.home, TODAY, "r0")
    writer.close()
    checkpointed(path)
    copy = path.read_bytes()
    today.drain()
    kept = today.ids()
    lost = [event(), event()]
    today.spool(*(today.receipt(e, seconds=n) for n, e in enumerate(lost, 1)))
    more = [e["event_id"] for e in lost]
    today.drain()
    path.write_bytes(copy)
    clean_sides(path)
    assert "r0" in backlog(stores.state, stores.spool, TODAY).broken

    late = event()
    today.spool(today.receipt(late, seconds=5))
    new = [late["event_id"]]
    today.drain()
    assert sorted(today.ids()) == sorted(kept + more + new)
    positions = [row["position"] for row in today.rows("events")]
    assert positions == [1, 2, 3, 4]
    today.assert_balanced()
    assert "2 envelopes that were claimed" in backlog(stores.state, stores.spool, TODAY).broken
    assert backlog(stores.state, stores.spool, TODAY).envelopes == 0


def test_names_that_are_no_days_are_passed_over(stores: Stores) -> None:
    today = Day(stores, TODAY, 1)
    ids = today.send(event())
    for name in ("2026-13-45-r0.sqlite", "0000-00-00-r1.sqlite-wal"):
        (stores.home.spool_dir / name).write_bytes(b"")
    assert stores.spool.days() == [TODAY]
    today.drain()
    today.assert_stored_once(ids)


def test_a_broken_partition_costs_its_day_alone(postgres_home: Home) -> None:
    with open_stores(postgres_home) as stores:
        today, past = Day(stores, TODAY, 1), Day(stores, TODAY - DAYS_AGO, 1)
        past.send(event())
        ids = today.send(event())
        with (
            closing(psycopg2.connect(postgres_home.database_url)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(f"DROP TABLE spool.envelopes_{past.date:%Y_%m_%d}")
            connection.commit()
        (broken, fine) = backlogs(stores.state, stores.spool)
        assert (broken.day, fine.day) == (past.date, TODAY)
        assert "r0" in broken.broken
        assert not day_may_run(broken, datetime.now(UTC))
        today.drain()
        today.assert_stored_once(ids)
        assert drop_expired_days(stores, TODAY + timedelta(days=400)).keys() == {TODAY}
        assert watch_pipeline(stores, DagsterFacts(), datetime.now(UTC)).readings[1].status == "critical"


# ── other files of a home


def parquet_files(home: Home, day: date) -> list[Path]:
    return sorted(Path(home.lake_files).glob(f"main/*/day={day}/*.parquet"))


def damaged_past_parquet(home: Home) -> None:
    for path in parquet_files(home, TODAY - DAYS_AGO):
        path.write_bytes(b"PAR1 but not really")


def missing_past_parquet(home: Home) -> None:
    for path in parquet_files(home, TODAY - DAYS_AGO):
        path.unlink()


def damaged_config_in_force(home: Home) -> None:
    (home.root / "config-in-force.yaml").write_bytes(b"\xff\xfe: [")


def no_run_dir(home: Home) -> None:
    shutil.rmtree(home.run_dir)


def damaged_locks(home: Home) -> None:
    for path in home.run_dir.glob("*.lock"):
        path.write_bytes(b"junk")


def cache_is_a_file(home: Home) -> None:
    shutil.rmtree(home.cache_dir, ignore_errors=True)
    home.cache_dir.write_bytes(b"")


def blobs_are_a_file(home: Home) -> None:
    shutil.rmtree(home.blobs_url, ignore_errors=True)
    Path(home.blobs_url).write_bytes(b"")


def chunks_are_a_file(home: Home) -> None:
    shutil.rmtree(home.chunks_url, ignore_errors=True)
    Path(home.chunks_url).write_bytes(b"")


def damaged_side_file(home: Home) -> None:
    (home.spool_dir / "days.lock").write_bytes(b"junk" * 100)


HOME_DAMAGES = {
    f.__name__: f
    for f in (
        damaged_past_parquet,
        missing_past_parquet,
        damaged_config_in_force,
        no_run_dir,
        damaged_locks,
        cache_is_a_file,
        blobs_are_a_file,
        chunks_are_a_file,
        damaged_side_file,
    )
}


@pytest.mark.parametrize("damage", HOME_DAMAGES)
def test_today_is_drained_and_watched_whatever_else_is_damaged(home: Home, damage: str) -> None:
    configure(home)
    with open_stores(home) as stores:
        past = Day(stores, TODAY - DAYS_AGO, 2)
        past.send(event())
        past.drain()
    with open_stores(home) as stores:
        ids = Day(stores, TODAY, 1).send(event())
    HOME_DAMAGES[damage](home)
    with open_stores(home) as stores:
        today = Day(stores, TODAY, 1)
        today.drain()
        today.assert_stored_once(ids)
        report = watch_pipeline(stores, DagsterFacts(), datetime.now(UTC))
        assert set(report.statuses) == set(probes.DESCRIPTIONS)
        assert not {"broken", "critical"} & set(report.statuses.values())
    status = CliRunner().invoke(main, ["--home", str(home.root), "status", "--json"])
    assert status.exit_code == 0, status.output
    assert json.loads(status.output)["difference"] == 0


# ── the watch


@pytest.mark.parametrize("probe", ["backlogs", "channel_figures", "waiting_notifications", "disk_of"])
def test_a_probe_that_raises_costs_itself_alone(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, probe: str
) -> None:
    def raises(*_: object, **__: object) -> None:
        raise RuntimeError("the reason")

    with http_receiver() as http:
        watch = watched(stores, http)
        monkeypatch.setattr(probes, probe, raises)
        report = watch_pipeline(watch, DagsterFacts(), datetime.now(UTC))
        broken = {name for name, status in report.statuses.items() if status == "broken"}
        assert 1 <= len(broken) <= 3
        assert {s for n, s in report.statuses.items() if n not in broken} == {"ok"}
        assert report.worst == "broken"
        assert not report.well
        assert report.fallback.startswith("told on second")
        (said,) = [posted.json["title"] for posted in http.posted]
        assert "RuntimeError: the reason" in said
        assert all(f"{name}: firing critical" not in report.told for name in set(report.statuses) - broken)
        again = watch_pipeline(watch, DagsterFacts(), datetime.now(UTC) + timedelta(minutes=1))
        assert again.fallback == "told already"


def test_a_fallback_channel_that_is_broken_in_its_own_way_does_not_end_the_watch(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(*_: object, **__: object) -> None:
        raise TypeError("of its own")

    with http_receiver() as http:
        monkeypatch.setattr(probes, "backlogs", raises)
        monkeypatch.setattr("tasks_pipeline.watch.watching.open_channel", raises)
        report = watch_pipeline(watched(stores, http), DagsterFacts(), datetime.now(UTC))
        assert report.statuses["lag"] == "broken"
        assert report.fallback == "second failed too: TypeError: of its own"


def test_what_dagster_does_not_say_is_broken(stores: Stores) -> None:
    report = watch_pipeline(stores, DagsterFacts(error="no such table: runs"), datetime.now(UTC))
    assert {n for n, s in report.statuses.items() if s == "broken"} == {
        "failed_runs",
        "failed_ticks",
        "daemons",
    }
