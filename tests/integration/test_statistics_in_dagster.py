"""Statistics in Dagster: many days in one run, what their partitions and checks say, what sensor and schedule wait for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tasks_pipeline.analytics.statistics import compute
from tasks_pipeline.analytics.statistics.work import Work
from tasks_pipeline.definitions import build_defs
from tasks_pipeline.home import Home
from tasks_pipeline.lanes import LANE_TAG
from tasks_pipeline.partitions import RANGE_TAGS, tags_of_days
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.statistics import statistics_sensor, stretches
from tasks_pipeline.storage.state.proofs import Failed, failed_days
from tasks_pipeline.stores import open_stores
from tasks_pipeline.watch.probes import figures
from tests.support.day import Day, damage
from tests.support.events import event

TODAY = datetime.now(UTC).date()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """On disk: a schedule opens it by its reference."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def days(home: Home) -> Iterator[list[Day]]:
    """Two days that are over, with events of two users, and today without."""
    with open_stores(home) as stores:
        found = [Day(stores, TODAY - timedelta(days=n), 1) for n in (2, 1, 0)]
        for each in found[:2]:
            each.send(*(event("A", user={"id": str(n)}) for n in range(2)))
            each.drain()
        yield found


def resource(day: Day) -> StoresResource:
    return StoresResource(home=str(day.stores.home.root))


def definitions(day: Day) -> dg.Definitions:
    return build_defs({"stores": resource(day)})


def run(day: Day, instance: dg.DagsterInstance, first: date, last: date) -> dg.ExecuteInProcessResult:
    """What sensor and schedule ask for."""
    job = definitions(day).resolve_job_def("compute_statistics")
    return job.execute_in_process(instance=instance, tags=tags_of_days(first, last), raise_on_error=False)


def sensed(day: Day, instance: dg.DagsterInstance) -> dg.SensorResult | dg.SkipReason:
    with dg.build_sensor_context(instance=instance, resources={"stores": resource(day)}) as context:
        result: Any = statistics_sensor(context)
    return result  # type: ignore[no-any-return]


def test_many_days_are_one_run_and_each_says_what_it_came_to(
    days: list[Day], instance: dg.DagsterInstance
) -> None:
    result = run(days[0], instance, days[0].date, days[1].date)
    assert result.success
    shown = {
        e.partition: {n: v.value for n, v in e.step_materialization_data.materialization.metadata.items()}
        for e in result.get_asset_materialization_events()
        if e.asset_key == dg.AssetKey("statistics")
    }
    assert set(shown) == {each.date.isoformat() for each in days[:2]}
    facts = days[0].stores.lake.query("SELECT DISTINCT day FROM lake.analytics_events")
    taken = instance.get_materialized_partitions(dg.AssetKey("analytics_events"))
    assert taken == {row["day"].isoformat() for row in facts} != set()
    for metadata in shown.values():
        assert (metadata["errors"], metadata["users"], metadata["version"], metadata["state"]) == (
            2,
            2,
            1,
            "closed",
        )
        assert len(metadata["digest"]) == 8
        assert "up to 2 in an hour" in metadata["errors_per_hour"]
        assert len(metadata["errors_per_hour"]) < 1000
    evaluations = result.get_asset_check_evaluations()
    assert len(evaluations) == 8
    assert all(each.passed for each in evaluations), [each.description for each in evaluations]
    assert {each.partition for each in evaluations} == set(shown)


def test_checks_find_what_is_lost(days: list[Day], instance: dg.DagsterInstance) -> None:
    day = days[0]
    assert run(day, instance, day.date, days[1].date).success
    damage(day.stores, "DELETE FROM stored.event_stats WHERE day = ?", [day.date])
    damage(day.stores, "DELETE FROM stored.group_moves WHERE day = ?", [day.date])
    job = definitions(day).resolve_implicit_global_asset_job_def()
    keys = {
        dg.AssetCheckKey(dg.AssetKey("statistics"), name)
        for name in ("all_events_counted", "figures_add_up", "groups_balance")
    }
    subset = job.get_subset(asset_selection=set(), asset_check_selection=keys)
    result = subset.execute_in_process(
        instance=instance, tags=tags_of_days(day.date, days[1].date), raise_on_error=False
    )
    failed = {
        (each.check_name, each.partition) for each in result.get_asset_check_evaluations() if not each.passed
    }
    assert failed == {(key.name, day.date.isoformat()) for key in keys}
    assert set(wrong_days(day, days)) == {day.date}
    reading = figures(day.stores, datetime.now(UTC))
    assert (reading.status, reading.value) == ("critical", 3)
    assert f"figures of {day.date} (all_events_counted: 0 events" in reading.detail
    assert run(day, instance, day.date, day.date).success  # computed again, and right
    assert not wrong_days(day, days)


def wrong_days(day: Day, days: list[Day]) -> dict[date, Failed]:
    with day.stores.state.read() as connection:
        return failed_days(connection, [each.date for each in days])


def test_the_sensor_asks_for_days_that_are_over_and_says_what_others_wait_for(
    days: list[Day], instance: dg.DagsterInstance
) -> None:
    first = days[0]
    asked = sensed(first, instance)
    assert isinstance(asked, dg.SensorResult)
    (request,) = asked.run_requests or ()
    assert [request.tags[name] for name in RANGE_TAGS] == [each.date.isoformat() for each in days[:2]]
    assert request.tags[LANE_TAG] == "recompute"
    assert run(first, instance, days[0].date, days[1].date).success
    quiet = sensed(first, instance)
    assert isinstance(quiet, dg.SkipReason)
    assert quiet.skip_message == "no day that is over changed since its figures were computed"
    first.send(event("B"), event("B"))
    first.drain()
    first.send(event("C"))
    waits = sensed(first, instance)
    assert isinstance(waits, dg.SkipReason)
    assert waits.skip_message == f"{first.date}: 1 envelope still waits"


def test_a_day_that_fails_is_told_and_tried_again_later(
    days: list[Day], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = days[:2]
    write = compute.groups.write

    def raising(work: Work, wanted: set[str]) -> None:
        if work.day == first.date:
            raise ZeroDivisionError("division by zero")
        write(work, wanted)

    monkeypatch.setattr(compute.groups, "write", raising)
    result = run(first, instance, first.date, second.date)
    assert f"not computed: {first.date}: ZeroDivisionError" in str(
        result.get_step_failure_events()[0].step_failure_data.user_failure_data
    )
    assert instance.get_materialized_partitions(dg.AssetKey("statistics")) == {second.date.isoformat()}
    held = sensed(first, instance)
    assert isinstance(held, dg.SkipReason)
    assert f"{first.date} failed and is tried again at" in str(held.skip_message)


def test_the_schedule_is_silent_until_something_happens_today(
    days: list[Day], instance: dg.DagsterInstance
) -> None:
    today = days[2]
    repository = definitions(today).get_repository_def()

    def tick() -> dg.ScheduleExecutionData:
        with dg.build_schedule_context(
            instance,
            scheduled_execution_time=datetime.now(UTC),
            repository_def=repository,
            resources={"stores": resource(today)},
        ) as context:
            return repository.get_schedule_def("statistics_schedule").evaluate_tick(context)

    assert run(today, instance, days[0].date, today.date).success  # what was recorded until then is of today
    data = tick()
    assert not data.run_requests
    assert data.skip_message == "nothing happened since the figures of today were computed"
    today.send(event("A"))
    today.drain()
    (request,) = tick().run_requests or ()
    assert request.tags["dagster/partition"] == today.date.isoformat()
    assert request.tags[LANE_TAG] == "maintenance"


def test_stretches_of_days() -> None:
    some = [date(2026, 1, n) for n in (9, 2, 1, 5, 10)]
    assert list(stretches(some)) == [
        (date(2026, 1, 9), date(2026, 1, 10)), (date(2026, 1, 5), date(2026, 1, 5)), (date(2026, 1, 1), date(2026, 1, 2)),
    ]  # fmt: skip
