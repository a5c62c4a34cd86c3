"""late_symbols_sensor and the runs it starts, on a real Dagster instance: just the events that waited, seen in the UI."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from tasks_pipeline.definitions import build_defs
from tasks_pipeline.home import Home
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.late_symbols import late_symbols_sensor
from tasks_pipeline.stores import open_stores
from tasks_pipeline.uploads.arrivals import announce
from tests.integration.test_reprocess import KEY, again, arrive, misses, symbolicate
from tests.support.crash import event_step
from tests.support.day import Day
from tests.support.events import event

PAST = datetime.now(UTC).date() - timedelta(days=2)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def waiting(home: Home) -> Iterator[Day]:
    """A day with two events that miss symbols and one that does not."""
    with open_stores(home) as stores:
        day = Day(stores, PAST, 1)
        day.send(event("A", logger="native"), event("A", logger="native"), event("A"))
        with event_step(misses):
            day.drain()
        yield day


def tick(day: Day, instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    resources = {"stores": StoresResource(home=str(day.stores.home.root))}
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources)
    result = late_symbols_sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_nothing_happens_until_something_arrives_that_was_missed(
    waiting: Day, instance: dg.DagsterInstance
) -> None:
    quiet = tick(waiting, instance, None)
    assert not quiet.run_requests
    assert "no symbols arrived" in str(quiet.skip_reason)
    arrive(waiting, "debug_id:other")
    other = tick(waiting, instance, quiet.cursor)
    assert not other.run_requests
    assert "no stored event had missed them" in str(other.skip_reason)
    assert tick(waiting, instance, other.cursor).cursor == other.cursor


def test_an_arrival_heals_just_the_events_that_waited(waiting: Day, instance: dg.DagsterInstance) -> None:
    ids = waiting.ids()
    with waiting.stores.state.write() as connection:
        announce(waiting.stores.state, connection, [(waiting.project, "release:x:")])
    before = tick(waiting, instance, None).cursor
    arrive(waiting, KEY)
    result = tick(waiting, instance, before)
    (request,) = result.run_requests or []
    assert request.partition_key == PAST.isoformat()
    assert not tick(waiting, instance, result.cursor).run_requests

    definitions = build_defs({"stores": StoresResource(home=str(waiting.stores.home.root))})
    with again(symbolicate):
        run = definitions.resolve_job_def("reprocess_day").execute_in_process(
            instance=instance, partition_key=request.partition_key, run_config=request.run_config
        )
    assert run.success
    seen = {m.asset_key.to_user_string(): m for m in run.asset_materializations_for_node("process_event")}
    assert set(seen) == {"events", "event_payloads", "groups"}
    assert {m.partition for m in seen.values()} == {PAST.isoformat()}
    assert seen["events"].metadata["reprocessed_events"].value == 2
    assert seen["events"].metadata["moved_to_another_group"].value == 2
    assert all(check.passed for check in run.get_asset_check_evaluations())
    waiting.assert_stored_once(ids)
    assert {g["title"]: g["times_seen"] for g in waiting.groups()} == {
        "A: it went wrong": 1,
        "Symbolicated: it went wrong": 2,
    }


def test_a_day_is_reprocessed_as_a_whole_by_hand(waiting: Day, instance: dg.DagsterInstance) -> None:
    definitions = build_defs({"stores": StoresResource(home=str(waiting.stores.home.root))})
    lake = waiting.lake()
    with again(misses):
        run = definitions.resolve_job_def("reprocess_day").execute_in_process(
            instance=instance, partition_key=PAST.isoformat()
        )
    assert run.success
    (events,) = [
        m
        for m in run.asset_materializations_for_node("process_event")
        if m.asset_key == dg.AssetKey("events")
    ]
    assert events.metadata["reprocessed_events"].value == 3
    assert events.metadata["still_missing_symbols"].value == 2
    assert waiting.lake() == lake
