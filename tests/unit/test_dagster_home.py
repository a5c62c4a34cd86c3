"""What is written into DAGSTER_HOME."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tasks_pipeline.home import Home
from tasks_pipeline.lanes import LANES
from tasks_pipeline.service.dagster_home import (
    DAGSTER_DATABASE_VARIABLE,
    DagsterHomeError,
    dagster_environment,
    dagster_yaml,
    write_dagster_home,
)

PROJECT = Path(__file__).parents[2]
POSTGRES = "postgresql://tracker:s3cret@db.example:5432/tracker"


def test_the_files_beside_the_package_are_those_written_into_homes() -> None:
    assert (PROJECT / "dagster.yaml").read_text() == dagster_yaml()
    assert (PROJECT / "deploy" / "dagster.yaml").read_text() == dagster_yaml(postgres=True)
    celery = (PROJECT / "deploy" / "dagster-celery.yaml").read_text()
    assert celery == dagster_yaml(postgres=True, queues=True)


def test_every_lane_has_its_limit_and_no_lane_can_starve_another() -> None:
    runs = yaml.safe_load(dagster_yaml())["concurrency"]["runs"]
    limits = {
        limit["value"]: limit["limit"] for limit in runs["tag_concurrency_limits"] if limit["key"] == "lane"
    }
    assert limits == {name: lane.max_concurrent_runs for name, lane in LANES.items()}
    assert runs["max_concurrent_runs"] == sum(limits.values())


def test_dagster_loads_what_is_written(home: Home) -> None:
    from dagster import DagsterInstance

    write_dagster_home(home)
    with DagsterInstance.from_config(str(home.dagster_home)) as instance:
        assert instance.run_coordinator.__class__.__name__ == "LaneRunCoordinator"
        assert instance.get_settings("telemetry") == {"enabled": False}
        assert instance.run_monitoring_enabled
        assert instance.run_retries_enabled
        required = instance.get_required_daemon_types()
        assert ("ASSET" in required, "FRESHNESS_DAEMON" in required) == (
            False,
            True,
        )  # the first costs at rest


def test_dagster_loads_what_is_written_with_a_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the password of the broker is in the environment alone."""
    from dagster import DagsterInstance

    home = Home(root=tmp_path, broker_url="redis://:s3cret@127.0.0.1:1/0")
    monkeypatch.setenv("TASKS_PIPELINE_BROKER", home.broker_url)
    write_dagster_home(home)
    assert "s3cret" not in (home.dagster_home / "dagster.yaml").read_text()
    assert dagster_environment(home)["TASKS_PIPELINE_BROKER"] == home.broker_url
    with DagsterInstance.from_config(str(home.dagster_home)) as instance:
        launcher = instance.run_launcher
        assert launcher.__class__.__name__ == "LaneRunLauncher"
        assert launcher.supports_check_run_worker_health
        assert instance.run_monitoring_poll_interval_seconds == 5


def test_the_workspace_names_the_code_server(home: Home) -> None:
    write_dagster_home(home, ("127.0.0.1", 4321))
    workspace = yaml.safe_load((home.dagster_home / "workspace.yaml").read_text())
    server = {"host": "127.0.0.1", "port": 4321, "location_name": "tasks_pipeline"}
    assert workspace == {"load_from": [{"grpc_server": server}]}


def test_writing_again_changes_nothing_and_repairs_what_was_changed(home: Home) -> None:
    write_dagster_home(home, ("127.0.0.1", 1))
    before = {path.name: path.stat().st_ino for path in home.dagster_home.iterdir()}
    write_dagster_home(home, ("127.0.0.1", 1))
    assert {path.name: path.stat().st_ino for path in home.dagster_home.iterdir()} == before
    (home.dagster_home / "dagster.yaml").write_text("telemetry: {enabled: true}")
    write_dagster_home(home, ("127.0.0.1", 1))
    assert (home.dagster_home / "dagster.yaml").read_text() == dagster_yaml()


def test_others_cannot_read_it(home: Home) -> None:
    write_dagster_home(home, ("127.0.0.1", 1))
    assert all(path.stat().st_mode & 0o077 == 0 for path in [home.dagster_home, *home.dagster_home.iterdir()])


def test_on_postgres_the_password_is_in_the_environment_and_not_in_the_file(tmp_path: Path) -> None:
    home = Home(root=tmp_path, database_url=POSTGRES)
    assert "s3cret" not in dagster_yaml(postgres=True)
    storage = yaml.safe_load(dagster_yaml(postgres=True))["storage"]
    assert storage == {"postgres": {"postgres_url": {"env": DAGSTER_DATABASE_VARIABLE}}}
    assert dagster_environment(home)[DAGSTER_DATABASE_VARIABLE] == (
        "postgresql+psycopg2://tracker:s3cret@db.example:5432/tracker?options=-csearch_path%3Ddagster"
    )


def test_options_of_the_database_url_are_kept(tmp_path: Path) -> None:
    home = Home(root=tmp_path, database_url=f"{POSTGRES}?sslmode=require")
    assert dagster_environment(home)[DAGSTER_DATABASE_VARIABLE].endswith(
        "/tracker?sslmode=require&options=-csearch_path%3Ddagster"
    )


def test_an_embedded_home_needs_no_database_variable(home: Home) -> None:
    assert DAGSTER_DATABASE_VARIABLE not in dagster_environment(home)
    assert dagster_environment(home)["DAGSTER_HOME"] == str(home.dagster_home)


def test_a_database_that_does_not_answer_is_a_clear_error(tmp_path: Path) -> None:
    home = Home(root=tmp_path, database_url="postgresql://tracker:s3cret@127.0.0.1:1/tracker")
    with pytest.raises(DagsterHomeError, match="TASKS_PIPELINE_DATABASE_URL cannot be used") as error:
        write_dagster_home(home)
    assert "s3cret" not in str(error.value)


def test_on_postgres_dagster_keeps_its_tables_in_a_schema_of_its_own(
    postgres_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlalchemy
    from dagster import DagsterInstance

    write_dagster_home(postgres_home)
    write_dagster_home(postgres_home)
    for name, value in dagster_environment(postgres_home).items():
        monkeypatch.setenv(name, value)
    with DagsterInstance.from_config(str(postgres_home.dagster_home)) as instance:
        assert instance.get_runs_count() == 0
    engine = sqlalchemy.create_engine(postgres_home.postgres_url)
    tables = sqlalchemy.inspect(engine)
    assert {"runs", "event_logs", "alembic_version"} <= set(tables.get_table_names(schema="dagster"))
    assert tables.get_table_names(schema="public") == []
    engine.dispose()


def test_runs_that_an_interrupted_service_left_under_way_are_ended() -> None:
    import dagster as dg
    from dagster import DagsterInstance, DagsterRunStatus

    from tasks_pipeline.lost_runs import REASON, end_lost_runs

    @dg.job
    def drain() -> None:
        """Nothing to do."""

    expected = {
        DagsterRunStatus.NOT_STARTED: DagsterRunStatus.NOT_STARTED,
        DagsterRunStatus.STARTING: DagsterRunStatus.FAILURE,
        DagsterRunStatus.STARTED: DagsterRunStatus.FAILURE,
        DagsterRunStatus.CANCELING: DagsterRunStatus.CANCELED,
        DagsterRunStatus.SUCCESS: DagsterRunStatus.SUCCESS,
    }
    with DagsterInstance.ephemeral() as instance:
        runs = {status: instance.create_run_for_job(drain, status=status).run_id for status in expected}
        other = instance.create_run_for_job(drain, status=DagsterRunStatus.STARTED).run_id
        ended = end_lost_runs(instance, lambda run_id: run_id != other)
        left = instance.get_run_by_id(other)
        assert left is not None
        assert left.status == DagsterRunStatus.STARTED
        now = {before: instance.get_run_by_id(run_id) for before, run_id in runs.items()}
        assert {before: run.status for before, run in now.items() if run} == expected
        assert len(ended) == 3
        events = instance.all_logs(runs[DagsterRunStatus.STARTED])
        assert any(REASON in event.message for event in events)


def test_processes_of_dagster_make_an_engine_per_database_and_read_revisions_once(home: Home) -> None:
    """In a process of its own, since Dagster's modules are changed; that they still work is seen by every service started."""
    write_dagster_home(home)
    program = (
        "import tasks_pipeline.dagster_process as p; p.spare(); p.spare()\n"
        "from dagster import DagsterInstance\n"
        "for _ in range(3):\n"
        "    with DagsterInstance.get() as instance:\n"
        "        for _ in range(5): instance.get_runs(); instance.all_instigator_state()\n"
        "print(p._kept_engine.cache_info().misses, len(p._revisions))\n"
    )
    environment = {**os.environ, **dagster_environment(home)}
    found = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert found.stdout.split() == ["2", "1"], found.stderr


def test_dagster_waits_for_a_code_server_that_is_late() -> None:
    """A daemon that began before would fail the first runs."""
    from tasks_pipeline.dagster_process import await_code_server

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert await_code_server(f"127.0.0.1:{port}", 5)
    assert not await_code_server(f"127.0.0.1:{port}", 0)
