"""Release health in Dagster: what materialises it, what its partitions say, when schedules start something."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tasks_pipeline.definitions import build_defs
from tasks_pipeline.home import Home
from tasks_pipeline.lanes import LANE_TAG
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.stores import open_stores
from tests.support.day import Day, damage
from tests.support.sessions import buckets, due, receive, session

TODAY = datetime.now(UTC).date()
PARTITION = "dagster/partition"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """On disk: a schedule opens it by its reference."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def yesterday(home: Home) -> Iterator[Day]:
    with open_stores(home) as stores:
        yield Day(stores, TODAY - timedelta(days=1), 1)


def definitions(day: Day) -> dg.Definitions:
    return build_defs({"stores": StoresResource(home=str(day.stores.home.root))})


def run(day: Day, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """What a schedule asks for, of the day."""
    job = definitions(day).resolve_job_def("release_health")
    return job.execute_in_process(
        instance=instance, tags={PARTITION: day.date.isoformat()}, raise_on_error=False
    )


def tick(day: Day, instance: dg.DagsterInstance, schedule: str) -> dg.ScheduleExecutionData:
    defs = definitions(day)
    with dg.build_schedule_context(
        instance,
        scheduled_execution_time=datetime.now(UTC),
        repository_def=defs.get_repository_def(),
        resources={"stores": StoresResource(home=str(day.stores.home.root))},
    ) as context:
        return defs.get_repository_def().get_schedule_def(schedule).evaluate_tick(context)


def asked(data: dg.ScheduleExecutionData) -> list[str]:
    return [request.tags[PARTITION] for request in data.run_requests or ()]


def test_a_run_counts_a_day_and_shows_what_it_found(yesterday: Day, instance: dg.DagsterInstance) -> None:
    day = yesterday
    receive(
        day, session(day, 1, did="a", status="exited", duration=3), session(day, 2, did="a", status="crashed")
    )
    receive(day, buckets({"started": day.at(3600).isoformat(), "exited": 5}), seconds=3700)
    result = run(day, instance)
    assert result.success
    assert {e.asset_key.to_user_string() for e in _materialised(result)} == {
        "release_health",
        "session_users",
    }
    evaluations = result.get_asset_check_evaluations()
    assert len(evaluations) == 6
    assert all(each.passed for each in evaluations), [each.description for each in evaluations]
    (event,) = [e for e in _materialised(result) if e.asset_key.to_user_string() == "release_health"]
    assert event.partition == day.date.isoformat()
    shown = {
        name: value.value for name, value in event.step_materialization_data.materialization.metadata.items()
    }
    assert shown["sessions"] == 7
    assert shown["crash_free_sessions"] == "85.714"
    assert shown["users"] == 1
    assert shown["state"] == f"open until {day.date + timedelta(days=6)} begins: it may still rise"
    assert shown["rows_read"] == shown["late_rows"] == 3
    assert shown["dagster/partition_row_count"] == 2
    assert "5 in an hour" in shown["sessions_per_hour"]
    assert due(day) == []


def test_a_check_by_hand_finds_what_is_lost(yesterday: Day, instance: dg.DagsterInstance) -> None:
    receive(yesterday, session(yesterday, 1, did="a"), session(yesterday, 2, did="b", release="shop@2"))
    assert run(yesterday, instance).success
    damage(yesterday.stores, "DELETE FROM stored.release_health WHERE release = 'shop@2'")
    job = definitions(yesterday).resolve_implicit_global_asset_job_def()
    key = dg.AssetCheckKey(dg.AssetKey("release_health"), "all_sessions_counted")
    subset = job.get_subset(asset_selection=set(), asset_check_selection={key})
    for tags in ({PARTITION: yesterday.date.isoformat()}, {}):
        result = subset.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
        (found,) = result.get_asset_check_evaluations()
        assert found.passed == (not tags)  # without a partition it is about today
    assert found.check_name == key.name


def test_a_day_whose_rows_are_gone_fails_and_says_so(yesterday: Day, instance: dg.DagsterInstance) -> None:
    receive(yesterday, session(yesterday, 1))
    damage(yesterday.stores, "DELETE FROM stored.sessions WHERE day = ?", [yesterday.date])
    result = run(yesterday, instance)
    assert not result.success
    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert "retention is over" in str(failures[0].error)


def test_schedules_are_silent_where_nothing_is_due(yesterday: Day, instance: dg.DagsterInstance) -> None:
    for schedule in ("release_health_schedule", "release_health_nightly_schedule"):
        data = tick(yesterday, instance, schedule)
        assert not data.run_requests
        assert data.skip_message == "no sessions came that are not counted"


def test_schedules_ask_for_the_days_that_are_due(yesterday: Day, instance: dg.DagsterInstance) -> None:
    day = yesterday
    receive(day, session(day, 1), session(day, 2, began=-3 * 86_400))
    data = tick(day, instance, "release_health_schedule")
    assert asked(data) == [day.date.isoformat()]
    assert (data.run_requests or [])[0].tags[LANE_TAG] == "maintenance"
    assert asked(tick(day, instance, "release_health_nightly_schedule")) == [
        day.date.isoformat(),
        (day.date - timedelta(days=3)).isoformat(),
    ]


def test_a_run_under_way_is_not_asked_for_again(yesterday: Day, instance: dg.DagsterInstance) -> None:
    day = yesterday
    receive(day, session(day, 1))
    job = definitions(day).resolve_job_def("release_health")
    instance.create_run_for_job(
        job, tags={PARTITION: day.date.isoformat()}, status=dg.DagsterRunStatus.STARTED
    )
    data = tick(day, instance, "release_health_schedule")
    assert not data.run_requests
    assert data.skip_message == f"runs are under way for {day.date}"


def test_a_day_depends_on_seven_days_of_receipt(yesterday: Day) -> None:
    day = yesterday.date - timedelta(days=20)
    defs = build_defs({"stores": StoresResource(home=str(yesterday.stores.home.root))}, first_day=day)
    graph = defs.get_repository_def().asset_graph
    health, received = dg.AssetKey("release_health"), dg.AssetKey("sessions")
    partitions: Any = graph.get(health).partitions_def
    assert partitions.get_first_partition_key() == (day - timedelta(days=5)).isoformat()
    mapping = graph.get_partition_mapping(health, received)
    of = day + timedelta(days=8)
    found = mapping.get_upstream_mapped_partitions_result_for_partitions(
        partitions.subset_with_partition_keys([of.isoformat()]),
        partitions,
        graph.get(received).partitions_def,
        current_time=datetime.now(UTC),
    )
    assert sorted(found.partitions_subset.get_partition_keys()) == [
        (of + timedelta(days=n)).isoformat() for n in range(-1, 6)
    ]


def _materialised(result: dg.ExecuteInProcessResult) -> list[dg.DagsterEvent]:
    return list(result.get_asset_materialization_events())
