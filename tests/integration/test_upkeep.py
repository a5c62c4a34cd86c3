"""The store looks after itself: few files, damage that is found and told, what uses the disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from tasks_pipeline.cli import main
from tasks_pipeline.definitions import build_defs
from tasks_pipeline.home import Home
from tasks_pipeline.lanes import LANE_TAG
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.lake import compaction
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.sizes import folder_size
from tasks_pipeline.stores import Stores, open_stores
from tasks_pipeline.upkeep import findings
from tasks_pipeline.upkeep.health import look_at_lake_files, look_at_storage
from tasks_pipeline.upkeep.optimize import STEPS, Optimized, optimize_database
from tasks_pipeline.upkeep.pace import PATIENCE_SECONDS, Pace, Postponed
from tasks_pipeline.upkeep.volumes import COUNTED_BLOBS, bytes_by_store, volumes
from tasks_pipeline.watch.facts import DagsterFacts
from tasks_pipeline.watch.probes import readings
from tests.support.day import Day
from tests.support.events import event, item

TODAY = datetime.now(UTC).date()
NOW = datetime.now(UTC)


@pytest.fixture
def today(home: Home) -> Iterator[Day]:
    with open_stores(home) as stores:
        yield Day(stores, TODAY, 1)


@pytest.fixture
def any_today(any_home: Home) -> Iterator[Day]:
    with open_stores(any_home) as stores:
        yield Day(stores, TODAY, 1)


def store(day: Day, batches: int) -> list[str]:
    """So many files of the day for each table that has rows."""
    ids = []
    for number in range(batches):
        ids += day.send(event(f"E{number}"))
        day.drain()
        flush(day.stores.state, day.stores.lake)
    return ids


def files_of(day: Day, table: str = "events") -> list[Path]:
    return [Path(f.path) for f in day.stores.lake.live_files() if f.table == table]


def probes(stores: Stores) -> dict[str, tuple[str, str]]:
    return {r.name: (r.status, r.detail) for r in readings(stores, DagsterFacts(), NOW)}


def optimized(day: Day, *steps: str) -> Optimized:
    return optimize_database(day.stores, NOW, steps or None, Pace(day.stores, sleep=lambda _s: None))


def test_all_of_it_leaves_every_row_where_it_was(any_today: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    day = any_today
    ids = store(day, 2)
    rows = day.lake()
    assert optimized(day, "merge_small_files").figures["files_merged"] == 0, "few files are left alone"
    monkeypatch.setattr(compaction, "FEW", 1)
    done = optimized(day)
    assert (done.damage, done.failed, done.postponed) == ([], {}, "")
    assert len(files_of(day)) == 1
    assert done.figures["files_merged"] == 6
    assert done.figures["lake_files_after"] < done.figures["lake_files_before"]
    assert done.figures["parquet_files_checked"] >= 3
    assert {f"{name}_seconds" for name in STEPS} <= done.figures.keys()
    assert day.lake() == rows
    day.assert_stored_once(ids)
    found = look_at_storage(day.stores, NOW)
    assert (found.files.missing, found.files.orphans) == ([], [])
    assert {
        name: status
        for name, (status, _) in probes(day.stores).items()
        if name in ("damage", "lake_files", "disk_days")
    } == {
        "damage": "ok",
        "lake_files": "ok",
        "disk_days": "ok",
    }


def test_postgres_says_what_its_tables_take_and_whether_its_indexes_are_sound(postgres_home: Home) -> None:
    with open_stores(postgres_home) as stores:
        day = Day(stores, TODAY, 1)
        day.send(event("A"))
        with stores.state.write() as connection:
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS amcheck"))
        found = {(one.store, one.table): one for one in volumes(stores)}
        assert found["spool", "envelopes"].oldest == TODAY
        assert found["state", "event_ids"].bytes > 0
        assert found["lake", "(catalog)"].bytes > 0
        day.drain()  # upkeep does not begin while something has waited for long
        broken = "UPDATE pg_index SET indisvalid = {} WHERE indexrelid = 'state.drains_pkey'::regclass"
        with stores.state.write() as connection:
            connection.execute(text(broken.format("false")))
        done = optimized(day, "check_integrity")
        assert done.damage == ["index state.drains_pkey is not valid: REINDEX it"]
        assert done.figures["databases_checked"] > 50


def test_a_step_that_fails_keeps_none_of_the_others(today: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(compaction, "tidy", fails)
    done = optimized(today, "trim_catalog", "take_statistics")
    assert list(done.failed) == ["trim_catalog"]
    assert "no space left" in done.failed["trim_catalog"]
    assert "tables_analysed" in done.figures


def test_it_stands_back_while_events_wait_for_long(today: Day) -> None:
    long_ago = Day(today.stores, TODAY - timedelta(days=1), 1)
    long_ago.send(event("A"))
    slept: list[float] = []
    pace = Pace(today.stores, sleep=slept.append)
    with pytest.raises(Postponed, match="events wait"):
        pace()
    assert sum(slept) == PATIENCE_SECONDS
    done = optimize_database(today.stores, NOW, pace=Pace(today.stores, sleep=slept.append))
    assert done.postponed.startswith("merge_small_files: events wait")
    assert done.figures == {"paused_seconds": PATIENCE_SECONDS}

    def drained(_seconds: float) -> None:
        long_ago.drain()

    done = optimize_database(today.stores, NOW, ["take_statistics"], Pace(today.stores, sleep=drained))
    assert not done.postponed


def test_files_that_are_missing_or_cut_are_told(today: Day) -> None:
    day = today
    store(day, 2)
    gone, cut = files_of(day)
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-10])
    found = look_at_storage(day.stores, NOW).files
    assert sorted(found.missing) == sorted(
        [f"events/day={TODAY}/{gone.name}: is not there", f"events/day={TODAY}/{cut.name}: {_of(cut)}"]
    )
    status, detail = probes(day.stores)["lake_files"]
    assert status == "critical"
    assert gone.name in detail


def _of(cut: Path) -> str:
    size = cut.stat().st_size
    return f"has {size:,} bytes, and the catalog says {size + 10:,}"


def test_what_nobody_registered_is_an_orphan_when_it_is_old(today: Day) -> None:
    store(today, 1)
    orphan = files_of(today)[0].with_name("left.parquet")
    orphan.write_bytes(b"left")
    assert look_at_lake_files(today.stores, datetime.now(UTC)).orphans == [], (
        "somebody may be about to register it"
    )
    [found] = look_at_lake_files(today.stores, NOW + timedelta(days=2)).orphans
    assert (found.path, found.size) == (str(orphan), 4)


def test_a_byte_that_changed_is_found(today: Day) -> None:
    day = today
    store(day, 1)
    [payload] = files_of(day, "event_payloads")
    content = bytearray(payload.read_bytes())
    content[len(content) // 4] ^= 1
    payload.write_bytes(content)
    done = optimized(day, "check_integrity")
    assert done.figures["damaged"] == 1
    assert payload.name in done.damage[0]
    assert probes(day.stores)["damage"][0] == "critical"


def test_a_blob_that_is_not_what_its_name_says_is_found(today: Day) -> None:
    shard = f"{NOW.date().toordinal() % 256:02x}"
    digest = shard + "0" * 62
    path = today.stores.home.root / "blobs" / shard / digest
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    assert optimized(today, "check_integrity").damage == [f"blob {digest} is not what its name says"]


def test_what_uses_the_disk_is_all_that_lies_there(today: Day) -> None:
    day, other = today, replace(today, project=2)
    store(day, 2)
    day.spool(day.receipt(item("attachment", b"x" * 5000, filename="a.txt"), event("A")))
    day.drain()
    store(other, 1)
    flush(day.stores.state, day.stores.lake)
    (day.stores.home.root / "somebody's notes").write_bytes(b"n" * 777)
    found = volumes(day.stores)
    assert bytes_by_store(found)["home"] >= 777
    with day.stores.state.read() as connection:
        connection.exec_driver_sql("SELECT 1")
    whole = folder_size(day.stores.home.root)
    assert sum(one.bytes for one in found) == pytest.approx(whole, rel=0.01)
    events = {one.project: one for one in found if (one.store, one.table) == ("lake", "events")}
    assert {project: one.rows for project, one in events.items()} == {1: 3, 2: 1}
    assert all(one.bytes and one.estimate and one.oldest == one.newest == TODAY for one in events.values())
    [envelopes] = [one for one in found if one.table == "envelopes"]
    assert (envelopes.rows, envelopes.files) == (4, 1)


def test_many_blobs_are_not_counted_one_by_one(today: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks_pipeline.upkeep.volumes.COUNTED_BLOBS", 10)
    assert COUNTED_BLOBS > 10
    for number in range(512):
        folder = today.stores.home.root / "blobs" / f"{number % 256:02x}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}").write_bytes(b"x" * 100)
    [blobs] = [one for one in volumes(today.stores) if one.store == "blobs"]
    assert (blobs.bytes, blobs.files, blobs.estimate) == (51_200, 512, True)


def test_the_command_says_it_by_table(today: Day) -> None:
    store(today, 1)
    home = str(today.stores.home.root)
    run = CliRunner().invoke(main, ["--home", home, "storage", "--json"])
    rows = json.loads(run.stdout)
    assert {"store", "table", "project", "bytes", "rows", "files", "oldest", "newest"} <= rows[0].keys()
    assert [row["bytes"] for row in rows] == sorted((row["bytes"] for row in rows), reverse=True)
    [events] = [row for row in rows if row["table"] == "events" and row["store"] == "lake"]
    assert (events["project"], events["rows"], events["oldest"]) == ("shop", 1, TODAY.isoformat())


def test_readings_of_the_disk_are_bounded_and_tell_when_it_is_full(today: Day) -> None:
    state = today.stores.state
    for number in range(findings.READINGS_KEPT + 20):
        kept = findings.note_free_disk(state, 10**12 - number * 10**9, NOW + timedelta(hours=6 * number))
    assert len(kept) == findings.READINGS_KEPT
    assert probes(today.stores)["disk_days"] == ("ok", "the disk will be full in 215 days")
    for number in range(findings.READINGS_KEPT):
        findings.note_free_disk(state, 10**9 * (125 - number), NOW + timedelta(days=90, hours=6 * number))
    assert probes(today.stores)["disk_days"] == ("critical", "the disk will be full in 1 day")


def test_the_ui_shows_what_was_gained_and_files_are_merged_when_it_is_worth_it(
    today: Day, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "FEW", 1)
    resource = StoresResource(home=str(today.stores.home.root))
    defs = build_defs({"stores": resource})
    repository = defs.get_repository_def()

    def tick(instance: dg.DagsterInstance) -> dg.ScheduleExecutionData:
        with dg.build_schedule_context(
            instance, scheduled_execution_time=NOW, repository_def=repository, resources={"stores": resource}
        ) as context:
            return repository.get_schedule_def("optimize_database_schedule").evaluate_tick(context)

    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:

        def shown(job: str, asset: str, config: Any = None) -> dict[str, Any]:
            done = defs.resolve_job_def(job).execute_in_process(run_config=config, instance=instance)
            assert done.success
            [materialised] = done.asset_materializations_for_node(asset)
            return {name: value.value for name, value in materialised.metadata.items()}

        assert tick(instance).skip_message == "nothing was stored since the last look"
        store(today, 2)
        [asked] = tick(instance).run_requests or []
        assert asked.tags[LANE_TAG] == "maintenance"
        assert shown("optimize_database_job", "optimize_database", asked.run_config)["files_merged"] == 6
        assert tick(instance).skip_message == "the files of today are few"
        assert len(files_of(today)) == 1
        assert shown("storage_health_job", "storage_health").keys() >= {
            "lake_bytes",
            "state_bytes",
            "free_bytes",
            "missing_files",
        }
        assert shown("clear_expired_caches_job", "clear_expired_caches")["removed_files"] == 0
