"""Old runs are removed, and what the UI says of partitions stays; on both databases of Dagster."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus

from tasks_pipeline import old_runs
from tasks_pipeline.home import Home
from tasks_pipeline.old_runs import drop_old_runs, prune, shown_by_partitions
from tasks_pipeline.service.dagster_home import dagster_environment, write_dagster_home
from tasks_pipeline.storage import sqlite_space

DAYS = dg.StaticPartitionsDefinition(["2026-11-01", "2026-11-02"])


@dg.asset(partitions_def=DAYS)
def events() -> dg.MaterializeResult[None]:
    """A table by day."""
    print("captured")
    return dg.MaterializeResult(metadata={"rows": 1})


@dg.asset
def outbox() -> dg.MaterializeResult[None]:
    """A table as a whole."""
    return dg.MaterializeResult()


@dg.asset_check(asset=outbox)
def sound() -> dg.AssetCheckResult:
    """A check of it."""
    return dg.AssetCheckResult(passed=True)


@pytest.fixture
def instance(any_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """Dagster as homes of each kind configure it."""
    write_dagster_home(any_home)
    for name, value in dagster_environment(any_home).items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.from_config(str(any_home.dagster_home)) as opened:
        yield opened


def run(instance: dg.DagsterInstance, asset: dg.AssetsDefinition, day: str | None = None) -> str:
    return dg.materialize([asset], instance=instance, partition_key=day).run_id


def now() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=5)


def test_runs_go_and_what_partitions_say_stays(instance: dg.DagsterInstance) -> None:
    old = [run(instance, events, "2026-11-01") for _ in range(2)]
    kept = [run(instance, events, day) for day in ("2026-11-01", "2026-11-02")]
    old.append(run(instance, outbox))
    kept.append(run(instance, outbox))
    assert shown_by_partitions(instance) == set(kept)
    assert drop_old_runs(instance, now() - timedelta(days=1)) == []
    assert drop_old_runs(instance, now(), dry_run=True) == old
    assert drop_old_runs(instance, now(), most=2) == old[:2]  # interrupted: the next one goes on
    assert drop_old_runs(instance, now()) == old[2:]
    assert {record.dagster_run.run_id for record in instance.get_run_records()} == set(kept)
    assert all(_files_of(instance, run_id) for run_id in kept)  # of SQLite, and captured output
    assert not any(_files_of(instance, run_id) for run_id in old)
    found = instance.fetch_materializations(events.key, limit=100).records
    assert {record.run_id for record in found} == set(kept[:2])
    assert instance.get_materialized_partitions(events.key) == {"2026-11-01", "2026-11-02"}
    newest = instance.get_latest_materialization_event(outbox.key)
    assert newest is not None
    assert newest.run_id == kept[-1]


def test_what_else_grows_goes_too(instance: dg.DagsterInstance) -> None:
    """Steps of runs that stay, results of checks, what sensors reported, ticks, captured output."""
    kept = run(instance, events, "2026-11-01")
    for _ in range(2):
        dg.materialize([outbox, sound], instance=instance)
    for number in range(3):
        instance.report_runless_asset_event(
            dg.AssetMaterialization("events", metadata={"rows": number}, partition="2026-11-02")
        )
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(asset_key=outbox.key, check_name="reported", passed=number < 2)
        )
    for age, status in ((31, "SUCCESS"), (2, "SKIPPED"), (2, "SUCCESS"), (0, "SKIPPED")):
        at = (datetime.now(UTC) - timedelta(days=age)).timestamp()
        instance.create_tick(
            TickData("gone", "sensor", InstigatorType.SENSOR, TickStatus(status), at, run_ids=[])
        )
    output = Path(instance.storage_directory()) / "location" / "sensor" / "7.err"
    output.parent.mkdir(parents=True)
    output.write_text("said")

    early = prune(instance, now() - timedelta(days=1), now())
    assert (early.runs, early.thinned, early.events, early.check_results) == ([], 0, 0, 0)
    assert early.ticks == 2
    assert output.exists()
    pruned = prune(instance, now(), now())
    assert (len(pruned.runs), pruned.thinned, pruned.check_results) == (1, 2, 3)
    assert pruned.events == 2 + 3, "results of checks have a table of their own"
    assert not output.exists()
    again = prune(instance, now(), now())
    assert (again.runs, again.thinned, again.events, again.check_results) == ([], 0, 0, 0)

    assert instance.get_run_by_id(kept) is not None
    assert not _files_of(instance, kept)
    assert instance.get_materialized_partitions(events.key) == {"2026-11-01", "2026-11-02"}
    rows = [
        record.asset_materialization.metadata["rows"].value
        for record in instance.fetch_materializations(events.key, limit=5).records
        if record.asset_materialization is not None
    ]
    assert rows == [2, 1]
    wanted = [dg.AssetCheckKey(outbox.key, name) for name in ("sound", "reported")]
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(wanted)
    assert {key.name: record.status.value for key, record in found.items()} == {
        "sound": "SUCCEEDED",
        "reported": "FAILED",
    }


def test_the_newest_superseded_runs_stay_and_others_go_early(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(old_runs, "KEPT_RUNS", 1)
    write_dagster_home(home)
    with dg.DagsterInstance.from_config(str(home.dagster_home)) as instance:
        runs = [run(instance, outbox) for _ in range(3)]
        assert drop_old_runs(instance, now() - timedelta(days=1)) == runs[:1]


def test_a_kill_while_a_run_is_removed_costs_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dagster_home(home)
    with dg.DagsterInstance.from_config(str(home.dagster_home)) as instance:
        old, kept = (run(instance, outbox) for _ in range(2))

        def dies() -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(instance.run_storage, "connect", dies)
            patched.setattr(old_runs, "shown_by_partitions", lambda _instance: {kept})
            patched.setattr(old_runs, "_ended", lambda _instance, _before: [old])
            patched.setattr(old_runs, "_superseded", lambda _instance, _kept: [])
            with pytest.raises(KeyboardInterrupt):
                drop_old_runs(instance, now())
        assert drop_old_runs(instance, now()) == [old]
        assert not _files_of(instance, old)
        assert instance.has_run(kept)


def test_the_disk_space_is_given_back(home: Home) -> None:
    write_dagster_home(home)
    index = home.dagster_home / "history" / "runs" / "index.db"
    with dg.DagsterInstance.from_config(str(home.dagster_home)) as instance:
        run(instance, events, "2026-11-01")
        with closing(sqlite3.connect(index, isolation_level=None)) as connection:
            connection.execute("CREATE TABLE large (bytes BLOB)")
            connection.execute("INSERT INTO large VALUES (zeroblob(2000000))")
            connection.execute("DROP TABLE large")
        pruned = prune(instance, now(), now())
        assert pruned.bytes > 1_000_000
        run(instance, events, "2026-11-01")
    assert sqlite_space.free_bytes(index) == 0
    assert sqlite_space.can_be_shortened(index)


def test_runs_at_work_are_left_alone(instance: dg.DagsterInstance) -> None:
    job = dg.Definitions(assets=[outbox]).resolve_implicit_global_asset_job_def()
    created = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    run(instance, outbox)
    assert drop_old_runs(instance, now()) == []
    assert instance.has_run(created.run_id)


def _files_of(instance: dg.DagsterInstance, run_id: str) -> list[Path]:
    return [path for path in Path(instance.storage_directory()).parent.rglob("*") if run_id in path.name]
