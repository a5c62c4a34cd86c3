"""The Dagster edge: definitions as people see them, and real runs, checks and sensor ticks on a real instance."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import tasks_pipeline
from tasks_pipeline.assets.metadata import OF_A_DAY, OF_FACTS, OF_HEALTH, REPORTS, STATISTICS
from tasks_pipeline.definitions import build_defs, defs
from tasks_pipeline.home import DATABASE_VARIABLE, HOME_VARIABLE, Home
from tasks_pipeline.integrations.proofs import PROOFS
from tasks_pipeline.lanes import DRAIN_TAG, LANE_TAG, LANES
from tasks_pipeline.partitions import PARTITION_TAG
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors import new_envelopes
from tasks_pipeline.sensors.new_envelopes import new_envelopes_sensor
from tasks_pipeline.sensors.run_failures import run_failure
from tasks_pipeline.storage.lake.tables import LAKE_TABLES, RECEIVED_TABLES
from tasks_pipeline.storage.ledger.batches import claim_batch
from tasks_pipeline.storage.ledger.drains import active_drains, end_drain, start_drain
from tasks_pipeline.stores import open_stores
from tasks_pipeline.watch.probes import DESCRIPTIONS
from tests.support.day import Day, damage
from tests.support.edge import SNAPSHOT, edge
from tests.support.events import event, item

PAST = datetime.now(UTC).date() - timedelta(days=2)  # a day that is over: a drain of it does not linger
EDGE = {
    *("assets", "checks", "sensors", "resources"),
    *("definitions", "partitions", "jobs", "schedules", "lost_runs"),
    *("old_runs", "run_coordinator", "run_launcher", "code_server", "warm_run", "warming", "dagster_process"),
    *("celery_app", "celery_launcher", "executor"),
}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def past(home: Home) -> Iterator[Day]:
    """A day that is over, in a home of its own."""
    with open_stores(home) as stores:
        yield Day(stores, PAST, 1)


def definitions(home: Home) -> dg.Definitions:
    return build_defs({"stores": StoresResource(home=str(home.root))})


def run(
    day: Day, instance: dg.DagsterInstance, job: str = "process_events", tags: dict[str, str] | None = None
) -> dg.ExecuteInProcessResult:
    return (
        definitions(day.stores.home)
        .resolve_job_def(job)
        .execute_in_process(
            instance=instance, partition_key=day.date.isoformat(), tags=tags, raise_on_error=False
        )
    )


def tick(day: Day, instance: dg.DagsterInstance) -> dg.SensorResult:
    resources = {"stores": StoresResource(home=str(day.stores.home.root))}
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        result = new_envelopes_sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    found = result.asset_materializations_for_node("process_event")
    (one,) = [m for m in found if m.asset_key == dg.AssetKey(asset)]
    return {name: value.value for name, value in one.metadata.items()}


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {c.check_name: c.passed for c in result.get_asset_check_evaluations()}


# ── definitions


def test_definitions_load() -> None:
    dg.Definitions.validate_loadable(build_defs())


REPORT_CHECKS = ("headline_is_the_sum", "balance_adds_up", "nothing_impossible", "final_is_final")


def test_what_people_find_in_the_ui() -> None:
    """Names are how people, saved links and alerts refer to things: changing one is a decision."""
    repository = build_defs().get_repository_def()
    assert {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()} == {
        "envelopes",
        "groups",
        "similar_groups",
        "suspect_commits",
        "alerts",
        "backup",
        "notifications",
        "digests",
        "monitor_incidents",
        "pipeline_probes",
        "expired_envelopes",
        "moved_envelopes",
        "finished_work",
        "old_runs",
        "optimize_database",
        "clear_expired_caches",
        "cleanup_old_events",
        "cleanup_plan",
        "delete_old_file_attachments",
        "storage_health",
        "quiet_days",
        "releases",
        "stale_chunks",
        "deletions",
        "release_adoption",
        "report_deliveries",
        "external_issues",
        "reconciled_issues",
        "integration_status",
        *REPORTS.values(),
        *OF_FACTS,
        *RECEIVED_TABLES,
        *OF_HEALTH,
        STATISTICS,
    }
    jobs = {job.name: job for job in repository.get_all_jobs() if not job.name.startswith("__")}
    assert {name: (job.run_tags or job.tags).get(LANE_TAG) for name, job in jobs.items()} == {
        "process_events": "events",
        "recompute_day": "recompute",
        "reprocess_day": "recompute",
        "check_day": "maintenance",
        "merge_events": "maintenance",
        "send_alert_notification": "notifications",
        "send_digest": "notifications",
        "deliver_reports": "maintenance",
        "check_monitors": "monitoring",
        "sync_integrations": "integrations",
        "check_integrations": "integrations",
        "reconcile_issues": "integrations",
        "process_releases": "releases",
        "cleanup": "maintenance",
        "drop_expired_envelopes_job": "maintenance",
        "drop_stale_chunks_job": "maintenance",
        "drop_old_runs_job": "maintenance",
        "optimize_database_job": "maintenance",
        "clear_expired_caches_job": "maintenance",
        "storage_health_job": "maintenance",
        "backup_job": "maintenance",
        "release_health": "maintenance",
        "update_release_adoption": "maintenance",
        "process_analytics": "maintenance",
        "daily_reports": "maintenance",
        "weekly_reports": "maintenance",
        "monthly_reports": "maintenance",
        "compute_statistics": "maintenance",
    }
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "alert_notifications_sensor",
        "alert_windows_sensor",
        "digests_sensor",
        "integrations_sensor",
        "late_symbols_sensor",
        "monitors_sensor",
        "new_envelopes_sensor",
        "new_release_sensor",
        "pipeline_watch_sensor",
        "report_deliveries_sensor",
        "reports_sensor",
        "run_failure",
        "statistics_sensor",
    }
    assert {s.name: s.cron_schedule for s in repository.schedule_defs} == {
        "cleanup_schedule": "37 2 * * *",
        "drop_expired_envelopes_schedule": "17 3 * * *",
        "drop_stale_chunks_schedule": "27 3 * * *",
        "drop_old_runs_schedule": "37 3 * * *",
        "optimize_database_schedule": "12,27,42,57 * * * *",
        "optimize_database_nightly_schedule": "47 3 * * *",
        "clear_expired_caches_schedule": "7 4 * * *",
        "storage_health_schedule": "22 */6 * * *",
        "backup_schedule": "47 * * * *",
        "merge_events_schedule": "41 * * * *",
        "process_analytics_schedule": "1-59/5 * * * *",
        "release_health_schedule": "4,19,34,49 * * * *",
        "release_health_nightly_schedule": "57 2 * * *",
        "release_adoption_schedule": "3 * * * *",
        "statistics_schedule": "9,24,39,54 * * * *",
    }
    assert {key.to_user_string() for key in repository.asset_graph.asset_check_keys} == {
        "analytics_events:facts_stored_once",
        "events:books_balance",
        "events:event_ids_unique",
        *(f"pipeline_probes:{name}" for name in DESCRIPTIONS),
        *(f"external_issues:{name}" for name in PROOFS),
        "cleanup_old_events:nothing_is_older_than_its_retention",
        "deletions:nothing_deleted_is_found_again",
        "deletions:no_deletion_is_open_longer_than_a_day",
        "optimize_database:damage",
        "storage_health:lake_files",
        "storage_health:disk_days",
        "events:timestamps_sane",
        "release_health:all_sessions_counted",
        "release_health:crash_free_possible",
        "release_health:hours_add_up",
        "release_health:no_session_twice",
        "release_health:states_add_up",
        "session_users:users_fit",
        "report_deliveries:all_subscribers_accounted_for",
        "report_deliveries:one_message_each",
        *(f"{name}:{check}" for name in REPORTS.values() for check in REPORT_CHECKS),
        "statistics:all_events_counted",
        "statistics:figures_add_up",
        "statistics:groups_balance",
        "statistics:users_of_days_fit",
    }


def test_the_edge_is_as_it_was_decided() -> None:
    """What else is declared: dependencies, groups, partitions, lanes, intervals. `make snapshot` writes a change down."""
    assert edge() == json.loads(SNAPSHOT.read_text(encoding="utf-8"))


def test_everything_that_ticks_runs_by_default() -> None:
    repository = build_defs().get_repository_def()
    for sensor in repository.sensor_defs:
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING, sensor.name
    for schedule in repository.schedule_defs:
        assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING, schedule.name


def test_every_asset_says_what_it_is() -> None:
    root = Path(tasks_pipeline.__file__).parents[1]
    for asset in build_defs().resolve_all_asset_specs():
        name = asset.key.to_user_string()
        assert asset.description, name
        assert asset.owners, name
        assert asset.kinds, name
        assert (root / asset.metadata["document"].path).exists(), name
        assert ("dagster/table_name" in asset.metadata) <= ("dagster/column_schema" in asset.metadata), name
        with_partitions = (
            *OF_A_DAY, *OF_HEALTH, *OF_FACTS, STATISTICS, *REPORTS.values(), "reconciled_issues",
        )  # fmt: skip
        assert (asset.partitions_def is not None) == (name in with_partitions), name
        if name in LAKE_TABLES:
            columns = asset.metadata["dagster/column_schema"].columns
            assert [c.name for c in columns] == [c.name for c in LAKE_TABLES[name].columns]


def test_whatever_can_be_materialised_names_its_lane_and_leads_to_the_code() -> None:
    repository = build_defs().get_repository_def()
    for key in repository.asset_graph.materializable_asset_keys:
        node = repository.asset_graph.get(key)
        assert node.tags[LANE_TAG] in LANES, key
        (place,) = node.metadata["dagster/code_references"].code_references
        assert Path(place.file_path).parent.name == "assets", key


def test_the_domain_knows_nothing_of_dagster() -> None:
    root = Path(tasks_pipeline.__file__).parent
    offenders = []
    for path in root.rglob("*.py"):
        if path.relative_to(root).parts[0].removesuffix(".py") in EDGE:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.startswith("dagster") for name in names):
                offenders.append(str(path.relative_to(root)))
    assert offenders == []


# ── runs


def test_a_run_drains_a_day_and_shows_what_it_did(
    any_home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_VARIABLE, any_home.database_url)
    with open_stores(any_home) as stores:
        day = Day(stores, PAST, 1)
        again = event("A")
        day.send(again, event("B"), again)
        day.spool(day.receipt(item("event", b"{"), event_id="1" * 32))
        result = run(day, instance)

        assert result.success
        events = metadata(result, "events")
        of_the_run = ("stored", "duplicate", "invalid", "batches", "envelopes")
        assert [events[f"this_run_{name}"] for name in of_the_run] == [2, 1, 1, 1, 4]
        assert events["dagster/partition_row_count"] == 2
        assert {f"{stage}_seconds" for stage in ("decode", "group", "settle", "write")} <= events.keys()
        assert events["ended"] == "the day is over and nothing waits"
        assert metadata(result, "dead_letters") == {"dagster/partition_row_count": 1}
        assert metadata(result, "groups")["new_groups"] == 2
        assert checks(result) == {"books_balance": True, "event_ids_unique": True, "timestamps_sane": True}
        assert instance.get_materialized_partitions(dg.AssetKey("events")) == {PAST.isoformat()}
        assert "recomputed_events" not in events
        assert run(day, instance).success  # nothing waits: fine too


def test_a_row_lost_from_the_lake_fails_the_blocking_check(past: Day, instance: dg.DagsterInstance) -> None:
    past.send(event(), event())
    past.drain()
    damage(past.stores, "DELETE FROM stored.outcomes")
    damage(past.stores, "DELETE FROM stored.event_payloads WHERE position = 1")
    result = run(past, instance)
    assert not result.success
    assert checks(result) == {"books_balance": False, "event_ids_unique": False, "timestamps_sane": True}
    (books,) = [c for c in result.get_asset_check_evaluations() if c.check_name == "books_balance"]
    assert (books.metadata["difference"].value, books.severity) == (2, dg.AssetCheckSeverity.ERROR)
    assert books.description == f"{PAST}: 2 items unaccounted for"
    assert books.blocking


def test_materialising_by_hand_recomputes_the_day(past: Day, instance: dg.DagsterInstance) -> None:
    ids = past.send(event(), event())
    past.drain()
    damage(past.stores, "DELETE FROM stored.events WHERE position = 1")
    late = past.send(event())
    result = run(past, instance, "recompute_day")
    assert result.success
    events = metadata(result, "events")
    assert (events["recomputed_batches"], events["recomputed_envelopes"], events["recomputed_stored"]) == (
        2,
        3,
        3,
    )
    past.assert_stored_once([*ids, *late])


def test_a_day_without_raw_envelopes_fails_once_and_stays(past: Day, instance: dg.DagsterInstance) -> None:
    ids = past.send(event())
    past.drain()
    past.stores.spool.drop_day(past.date)
    result = run(past, instance, "recompute_day")
    assert not result.success
    failure = result.failure_data_for_node("process_event")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "retention.raw_days is 7" in (failure.user_failure_data.description or "")
    assert not result.retry_attempts_for_node("process_event")
    assert past.ids() == ids


def test_the_nightly_job_drops_expired_days_only(home: Home, instance: dg.DagsterInstance) -> None:
    today = datetime.now(UTC).date()
    with open_stores(home) as stores:
        days = [Day(stores, today - timedelta(days=age), 1) for age in (9, 8, 7)]
        for day in days:
            day.send(event())
        days[0].drain()
        days[2].drain()
        job = definitions(home).resolve_job_def("drop_expired_envelopes_job")
        assert job.execute_in_process(instance=instance).success
        assert stores.spool.days() == [days[1].date, days[2].date]  # 8 days old, but it waits


# ── sensors


def test_a_day_before_the_first_partition_does_not_hold_up_the_others(
    past: Day, instance: dg.DagsterInstance
) -> None:
    past.send(event())
    past.next().send(event())
    resource = StoresResource(home=str(past.stores.home.root))
    defs = build_defs(
        {"stores": resource}, first_day=past.next().date
    )  # as loaded before a clock was set back
    sensor = defs.resolve_sensor_def("new_envelopes_sensor")
    resources = {"stores": resource}
    with dg.build_sensor_context(instance=instance, resources=resources, definitions=defs) as context:
        requests = sensor.evaluate_tick(context).run_requests or []
    assert [r.tags[PARTITION_TAG] for r in requests] == [past.date.isoformat(), past.next().date.isoformat()]


def test_an_earlier_day_than_the_first_is_a_partition_for_the_runs_that_follow(
    past: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(past.stores.home.root))
    monkeypatch.setattr("tasks_pipeline.definitions._made", {})

    def first() -> str:
        days = defs().resolve_assets_def("events").partitions_def
        assert days is not None
        assert defs() is defs()
        return str(days.get_partition_keys()[0])

    past.next().send(event())
    assert first() == past.next().date.isoformat()
    past.send(event())
    assert first() == past.date.isoformat()


def test_the_sensor_is_silent_when_nothing_waits(past: Day, instance: dg.DagsterInstance) -> None:
    result = tick(past, instance)
    assert result.skip_reason is not None
    assert result.skip_reason.skip_message == "nothing waits"
    assert not result.run_requests


def test_the_sensor_requests_a_drain_for_each_day_that_waits(past: Day, instance: dg.DagsterInstance) -> None:
    past.send(event())
    past.next().send(event(), event())
    result = tick(past, instance)
    requests = result.run_requests or []
    assert [r.tags[PARTITION_TAG] for r in requests] == [past.date.isoformat(), past.next().date.isoformat()]
    assert requests[0].tags[LANE_TAG] == "events"
    assert requests[0].tags[DRAIN_TAG] == past.date.isoformat()
    assert requests[0].run_config["ops"]["process_event"]["config"]["mode"] == "drain"
    waiting = [e.metadata["waiting_envelopes"].value for e in result.asset_events]
    assert waiting == [1, 2]


def test_the_sensor_says_who_works_on_a_day(past: Day, instance: dg.DagsterInstance) -> None:
    past.send(event())
    drain_id = start_drain(past.stores.state, past.date, "0123456789abcdef")
    result = tick(past, instance)
    assert not result.run_requests
    assert result.skip_reason is not None
    assert f"{past.date}: 1 envelope waiting" in (result.skip_reason.skip_message or "")
    assert "run 01234567 works on it" in (result.skip_reason.skip_message or "")
    end_drain(past.stores.state, drain_id)
    assert tick(past, instance).run_requests


def started_run(day: Day, instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A drain run that Dagster believes at work."""
    created = instance.create_run_for_job(
        definitions(day.stores.home).resolve_job_def("process_events"),
        tags={DRAIN_TAG: day.date.isoformat()},
        status=dg.DagsterRunStatus.STARTING,
    )
    event_type = dg.DagsterEventType.RUN_START
    instance.report_dagster_event(
        dg.DagsterEvent(event_type.value, job_name=created.job_name), run_id=created.run_id
    )
    return created


def test_the_sensor_waits_for_a_run_on_its_way(past: Day, instance: dg.DagsterInstance) -> None:
    past.send(event())
    created = started_run(past, instance)
    result = tick(past, instance)
    assert not result.run_requests
    assert result.skip_reason is not None
    assert created.run_id[:8] in (result.skip_reason.skip_message or "")


def test_the_sensor_ends_a_run_that_gave_no_sign_of_life(
    past: Day, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    past.send(event())
    dead = started_run(past, instance)
    monkeypatch.setattr(new_envelopes, "SILENT_RUN_SECONDS", -1)
    assert len(tick(past, instance).run_requests or []) == 1
    ended = instance.get_run_by_id(dead.run_id)
    assert ended is not None
    assert ended.status == dg.DagsterRunStatus.FAILURE


def test_the_sensor_ends_a_run_that_was_launched_and_never_started(
    past: Day, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process was killed, or never made, before it could say anything."""
    past.send(event())
    lost = instance.create_run_for_job(
        definitions(past.stores.home).resolve_job_def("process_events"),
        tags={DRAIN_TAG: past.date.isoformat()},
        status=dg.DagsterRunStatus.STARTING,
    )
    assert not tick(past, instance).run_requests
    monkeypatch.setattr(new_envelopes, "SILENT_RUN_SECONDS", -1)
    assert len(tick(past, instance).run_requests or []) == 1
    ended = instance.get_run_by_id(lost.run_id)
    assert ended is not None
    assert ended.status == dg.DagsterRunStatus.FAILURE


def test_a_run_whose_drain_has_ended_is_left_to_its_checks_and_holds_nobody_up(
    past: Day, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It started long ago and has no drain any more, but it is alive. What waits is taken by another run meanwhile."""
    past.send(event())
    alive = started_run(past, instance)
    end_drain(past.stores.state, start_drain(past.stores.state, past.date, alive.run_id))
    (record,) = instance.get_run_records()
    assert record.start_time is not None
    monkeypatch.setattr(
        new_envelopes, "_silence", _aged(new_envelopes._silence, timedelta(hours=1), record.start_time)
    )
    assert len(tick(past, instance).run_requests or []) == 1
    found = instance.get_run_by_id(alive.run_id)
    assert found is not None
    assert found.status == dg.DagsterRunStatus.STARTED


def _aged(silence: Any, by: timedelta, start_time: float) -> Any:
    """The same question about a run that started so much earlier."""

    def asked(record: dg.RunRecord, state: Any) -> float:
        older = record._replace(start_time=start_time - by.total_seconds())
        return float(silence(older, state))

    return asked


def test_a_failed_run_frees_the_batches_it_held(past: Day, instance: dg.DagsterInstance) -> None:
    past.send(event())
    failed = started_run(past, instance)
    state = past.stores.state
    drain_id = start_drain(state, past.date, failed.run_id)
    assert claim_batch(state, past.stores.spool, past.date, drain_id, max_envelopes=9, max_bytes=1 << 20)
    assert len(active_drains(state)) == 1
    instance.report_run_failed(failed, "killed")
    (failure,) = [
        record.dagster_event
        for record in instance.all_logs(failed.run_id)
        if record.dagster_event and record.dagster_event.event_type == dg.DagsterEventType.RUN_FAILURE
    ]
    run_failure(
        dg.build_run_status_sensor_context(
            sensor_name="run_failure",
            dagster_event=failure,
            dagster_instance=instance,
            dagster_run=failed,
            resources={"stores": StoresResource(home=str(past.stores.home.root))},
        ).for_run_failure()
    )
    assert active_drains(state) == []
    with closing(past.stores.lake):
        past.drain()
        assert len(past.ids()) == 1
