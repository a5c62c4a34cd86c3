"""Old runs are removed, and what the UI says of partitions stays; on both databases of Dagster."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from tasks_pipeline import old_runs
from tasks_pipeline.home import Home
from tasks_pipeline.old_runs import drop_old_runs, shown_by_partitions
from tasks_pipeline.service.dagster_home import dagster_environment, write_dagster_home

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
    old = [run(instance, events, "2026-11-01") for _ in range(3)]
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


def test_the_disk_space_is_given_back(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_runs, "WORTH_BYTES", 1)
    write_dagster_home(home)
    index = home.dagster_home / "history" / "runs" / "index.db"
    with dg.DagsterInstance.from_config(str(home.dagster_home)) as instance:
        for _ in range(8):
            run(instance, events, "2026-11-01")
        before = index.stat().st_size
        assert len(drop_old_runs(instance, now())) == 7
    with closing(sqlite3.connect(index)) as connection:
        assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert index.stat().st_size < before


def test_runs_at_work_are_left_alone(instance: dg.DagsterInstance) -> None:
    job = dg.Definitions(assets=[outbox]).resolve_implicit_global_asset_job_def()
    created = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    run(instance, outbox)
    assert drop_old_runs(instance, now()) == []
    assert instance.has_run(created.run_id)


def _files_of(instance: dg.DagsterInstance, run_id: str) -> list[Path]:
    return [path for path in Path(instance.storage_directory()).parent.rglob("*") if run_id in path.name]
