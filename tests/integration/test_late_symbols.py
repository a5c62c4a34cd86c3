"""late_symbols_sensor and the runs it starts, on a real Dagster instance: just the events that waited, seen in the UI."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from unittest.mock import patch

import dagster as dg
import pytest

from tasks_pipeline.definitions import build_defs
from tasks_pipeline.home import Home
from tasks_pipeline.partitions import PARTITION_TAG
from tasks_pipeline.processing.reprocess import event_places, pay_symbols
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.late_symbols import late_symbols_sensor
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.state.tables import symbol_debts
from tasks_pipeline.stores import open_stores
from tasks_pipeline.uploads.arrivals import announce, debts_due, match_arrivals, note_attempts, pay_debt
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
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources) as context:
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
    assert request.tags[PARTITION_TAG] == PAST.isoformat()
    assert not tick(waiting, instance, result.cursor).run_requests

    definitions = build_defs({"stores": StoresResource(home=str(waiting.stores.home.root))})
    with again(symbolicate):
        run = definitions.resolve_job_def("reprocess_day").execute_in_process(
            instance=instance, partition_key=request.tags[PARTITION_TAG], run_config=request.run_config
        )
    assert run.success
    seen = {m.asset_key.to_user_string(): m for m in run.asset_materializations_for_node("process_event")}
    told = {"envelopes", "alerts"}  # what a run knows of assets that no run makes
    assert set(seen) - told == {"events", "event_payloads", "groups"}
    assert {m.partition for name, m in seen.items() if name != "alerts"} == {PAST.isoformat()}
    assert seen["events"].metadata["reprocessed_events"].value == 2
    assert seen["events"].metadata["moved_to_another_group"].value == 2
    assert all(check.passed for check in run.get_asset_check_evaluations())
    waiting.assert_stored_once(ids)
    assert {g["title"]: g["times_seen"] for g in waiting.groups()} == {
        "A: it went wrong": 1,
        "Symbolicated: it went wrong": 2,
    }


def owed(day: Day, later: float = 0) -> list[tuple[date, int, int]]:
    """Day, number behind which symbols are owed, and attempts, of what may be tried so many seconds from now."""
    due = debts_due(day.stores.state, datetime.now(UTC) + timedelta(seconds=later))
    return [(debt.day, debt.after, debt.attempts) for debt in due]


def test_a_run_that_failed_is_made_again_ever_later(waiting: Day, instance: dg.DagsterInstance) -> None:
    arrive(waiting, KEY)
    assert tick(waiting, instance, None).run_requests
    full = patch.object(Lake, "swap_events", side_effect=OSError("no space left"))
    with again(symbolicate), full, pytest.raises(OSError, match="no space left"):
        pay_symbols(waiting.stores, PAST, 0)
    assert owed(waiting) == []
    assert owed(waiting, 6) == [(PAST, 0, 1)]
    note_attempts(waiting.stores.state, debts_due(waiting.stores.state, after_wait()), datetime.now(UTC))
    assert owed(waiting, 6) == []
    assert owed(waiting, 11) == [(PAST, 0, 2)]

    with again(symbolicate):
        assert pay_symbols(waiting.stores, PAST, 0).moved == 2
    assert owed(waiting, 86_400) == []
    assert not tick(waiting, instance, None).run_requests


def after_wait() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def test_a_run_that_is_under_way_is_not_doubled(waiting: Day, instance: dg.DagsterInstance) -> None:
    arrive(waiting, KEY)
    (request,) = tick(waiting, instance, None).run_requests or []
    definitions = build_defs({"stores": StoresResource(home=str(waiting.stores.home.root))})
    instance.create_run_for_job(
        definitions.resolve_job_def("reprocess_day"), tags=request.tags, status=dg.DagsterRunStatus.STARTED
    )
    with waiting.stores.state.write() as connection:
        connection.execute(symbol_debts.update().values(not_before=None))  # its time has come
    result = tick(waiting, instance, None)
    assert not result.run_requests
    assert f"under way for {PAST}" in str(result.skip_reason)


def test_what_arrives_while_a_debt_is_paid_stays_owed(waiting: Day) -> None:
    stores = waiting.stores
    arrive(waiting, KEY)
    match_arrivals(stores.state, stores.lake, datetime.now(UTC))
    arrive(waiting, KEY)
    match_arrivals(stores.state, stores.lake, datetime.now(UTC))
    pay_debt(stores.state, PAST, 0, 1)
    assert owed(waiting) == [(PAST, 1, 0)]
    pay_debt(stores.state, PAST, 1, 2)
    assert owed(waiting, 86_400) == []


def test_places_of_events_take_few_bytes(waiting: Day) -> None:
    """A day may have millions of events; their places are held while it is reprocessed."""
    places = event_places(waiting.stores, PAST)
    assert places.num_rows == 3
    assert places.nbytes <= 30 * places.num_rows


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
