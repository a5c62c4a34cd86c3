"""What people start in the Dagster UI: materialisations, backfills and checks of single days and tables; and what the UI shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from tasks_pipeline.analytics.statistics.compute import compute_statistics
from tasks_pipeline.assets.metadata import OF_FACTS, OF_HEALTH, REPORTS
from tasks_pipeline.definitions import build_defs
from tasks_pipeline.home import Home
from tasks_pipeline.lanes import LANE_TAG, LANES
from tasks_pipeline.privacy.identity import Identity
from tasks_pipeline.privacy.person import Person
from tasks_pipeline.resources.stores import DAYS_OFFERED, StoresResource
from tasks_pipeline.sensors.run_failures import run_failure
from tasks_pipeline.service.dagster_home import write_dagster_home
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.storage.state.erasures import open_request
from tasks_pipeline.stores import open_stores
from tasks_pipeline.watch.facts import DagsterFacts
from tasks_pipeline.watch.probes import readings
from tests.support.day import Day, damage
from tests.support.events import event

TODAY = datetime.now(UTC).date()
PAST = TODAY - timedelta(days=3)
BOOKS = dg.AssetCheckKey(dg.AssetKey("events"), "books_balance")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def past(home: Home) -> Iterator[Day]:
    """A day that is over, in a home of its own."""
    with open_stores(home) as stores:
        yield Day(stores, PAST, 1)


def definitions(day: Day) -> dg.Definitions:
    return build_defs({"stores": StoresResource(home=str(day.stores.home.root))})


def materialise(
    day: Day, instance: dg.DagsterInstance, *assets: str, mode: str | None = None
) -> dg.ExecuteInProcessResult:
    """As "Materialize selected" does, with what is chosen there."""
    config = {"ops": {"process_event": {"config": {"mode": mode}}}} if mode else {}
    return (
        definitions(day)
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(name) for name in assets],
            partition_key=day.date.isoformat() if set(assets) & {*RECEIVED_TABLES, "groups"} else None,
            run_config=config,
            raise_on_error=False,
        )
    )


def execute_checks(
    day: Day, instance: dg.DagsterInstance, names: Sequence[str], partition: str | None
) -> dg.ExecuteInProcessResult:
    """As "Execute" does: checks by themselves."""
    keys = {dg.AssetCheckKey(dg.AssetKey("events"), name) for name in names}
    job = definitions(day).resolve_implicit_global_asset_job_def()
    subset = job.get_subset(asset_selection=set(), asset_check_selection=keys)
    tags = {"dagster/partition": partition} if partition else {}
    return subset.execute_in_process(instance=instance, tags=tags, raise_on_error=False)


def shown(instance: dg.DagsterInstance, asset: str, day: Day | None = None) -> dict[str, Any]:
    """The metadata of the newest materialisation, of an asset or of a day of it."""
    wanted = dg.AssetRecordsFilter(
        dg.AssetKey(asset), asset_partitions=[day.date.isoformat()] if day else None
    )
    (record,) = instance.fetch_materializations(wanted, limit=1).records
    assert record.asset_materialization is not None
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def logged(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> str:
    return "\n".join(entry.user_message for entry in instance.all_logs(result.run_id))


# ── lanes


@pytest.mark.parametrize(
    ("assets", "lane"),
    [
        (["events"], "recompute"),
        (["transactions"], "recompute"),
        (["notifications"], "notifications"),
        (["monitor_incidents"], "monitoring"),
        (["expired_envelopes"], "maintenance"),
        (["notifications", "similar_groups"], "maintenance"),  # of several the one that waits for the others
        ([], "maintenance"),  # checks by themselves
    ],
)
def test_a_run_that_the_ui_starts_is_on_the_lane_of_its_assets(
    home: Home, assets: list[str], lane: str
) -> None:
    assert submitted(home, assets, {}).items() >= LANES[lane].tags.items()


def test_what_a_run_says_of_its_lane_stays(home: Home) -> None:
    assert submitted(home, ["events"], LANES["events"].tags).items() >= LANES["events"].tags.items()
    tags = submitted(home, ["events"], {"dagster/priority": "7"})
    assert (tags["dagster/priority"], tags[LANE_TAG]) == ("7", "recompute")


def submitted(home: Home, assets: list[str], tags: dict[str, str]) -> dict[str, str]:
    """The tags of a run once it is in the queue of an instance as the service makes it."""
    write_dagster_home(home)
    repository = build_defs(first_day=PAST).get_repository_def()
    origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("tasks_pipeline"), repository.name)
    with dg.DagsterInstance.from_config(str(home.dagster_home)) as instance:
        run = instance.create_run_for_job(
            repository.get_implicit_global_asset_job_def(),
            asset_selection=frozenset(dg.AssetKey(name) for name in assets),
            tags=tags,
            remote_job_origin=RemoteJobOrigin(origin, "__ASSET_JOB"),
        )
        workspace: Any = SimpleNamespace(asset_graph=repository.asset_graph)
        queued = instance.run_coordinator.submit_run(SubmitRunContext(run, workspace))
    assert queued.status is dg.DagsterRunStatus.QUEUED
    return dict(queued.tags)


# ── checks


def test_checks_are_of_their_day_and_leave_no_row_behind(past: Day, instance: dg.DagsterInstance) -> None:
    past.send(event())
    assert materialise(past, instance, "events").success
    past.next().send(event())
    assert materialise(past.next(), instance, "events").success
    assert history(instance) == [
        (past.next().date.isoformat(), AssetCheckExecutionRecordStatus.SUCCEEDED),
        (past.date.isoformat(), AssetCheckExecutionRecordStatus.SUCCEEDED),
    ]


def test_a_check_can_be_executed_by_itself_for_a_day(past: Day, instance: dg.DagsterInstance) -> None:
    past.send(event())
    past.drain()
    damage(past.stores, "DELETE FROM stored.outcomes")
    result = execute_checks(past, instance, ["books_balance"], past.date.isoformat())
    (found,) = result.get_asset_check_evaluations()
    assert (found.check_name, found.passed, found.partition) == ("books_balance", False, PAST.isoformat())
    assert found.description == f"{PAST}: 1 item unaccounted for"
    assert found.metadata["day"].value == PAST.isoformat()
    assert history(instance) == [(PAST.isoformat(), AssetCheckExecutionRecordStatus.FAILED)]


def test_checks_that_are_executed_without_a_day_are_of_today(past: Day, instance: dg.DagsterInstance) -> None:
    """ "Execute all" in the UI names no partition."""
    past.send(event())
    assert materialise(past, instance, "events").success
    result = execute_checks(past, instance, ["books_balance", "timestamps_sane"], None)
    assert result.success
    assert {c.check_name: c.description for c in result.get_asset_check_evaluations()} == {
        "books_balance": f"{TODAY}: balanced",
        "timestamps_sane": f"{TODAY}: of 0 events 0 say they happened after their receipt, 0 more than a day before it",
    }
    assert [status for _, status in history(instance)] == [AssetCheckExecutionRecordStatus.SUCCEEDED] * 2


def history(instance: dg.DagsterInstance) -> list[tuple[str | None, AssetCheckExecutionRecordStatus]]:
    found = instance.event_log_storage.get_asset_check_execution_history(BOOKS, limit=10)
    return [(record.partition, record.status) for record in found]


# ── single tables and days


def test_one_table_can_be_asked_for_and_the_run_says_why_others_follow(
    past: Day, instance: dg.DagsterInstance
) -> None:
    past.send(event(), event())
    past.drain()
    result = materialise(past, instance, "transactions")
    assert result.success
    assert "events" in logged(instance, result)
    assert "the tables of a day are swapped in one transaction" in logged(instance, result)
    assert shown(instance, "events", past)["recomputed_stored"] == 2
    for name in (*RECEIVED_TABLES, "groups"):
        assert instance.get_materialized_partitions(dg.AssetKey(name)) == {PAST.isoformat()}, name


def test_looking_at_a_table_counts_it_and_computes_nothing(past: Day, instance: dg.DagsterInstance) -> None:
    past.send(event(), event())
    past.drain()
    past.send(event())  # and this waits
    result = materialise(past, instance, "event_payloads", mode="look")
    assert result.success
    assert shown(instance, "event_payloads", past) == {"dagster/partition_row_count": 2}
    assert not instance.get_materialized_partitions(dg.AssetKey("events"))
    assert shown(instance, "envelopes", past)["waiting_items"] == 1


def test_a_day_without_raw_envelopes_is_computed_from_what_is_stored(
    past: Day, instance: dg.DagsterInstance
) -> None:
    ids = past.send(event())
    past.drain()
    past.stores.spool.drop_day(past.date)
    result = materialise(past, instance, "events", "sessions")
    assert result.success
    assert shown(instance, "events", past)["reprocessed_events"] == 1
    assert shown(instance, "envelopes", past)["raw_envelopes"].startswith("gone")
    assert "sessions: as they were" in logged(instance, result)
    assert past.ids() == ids


def test_a_run_of_a_day_tells_of_its_envelopes_and_of_alerts(past: Day, instance: dg.DagsterInstance) -> None:
    past.send(event(), event())
    assert materialise(past, instance, "events").success
    envelopes = shown(instance, "envelopes", past)
    assert (envelopes["dagster/partition_row_count"], envelopes["accepted_items"]) == (2, 2)
    assert f"kept until {PAST + timedelta(days=7)}" in envelopes["raw_envelopes"]
    assert shown(instance, "alerts") == {"fired": 0, "recovered": 0}


# ── days


def days_of(home: Home) -> list[str]:
    """The days of receipt. Those of release health begin five days earlier: so old may a session be that is received; and those of
    facts, some of which may come before the first envelope."""
    defs = build_defs({"stores": StoresResource(home=str(home.root))})
    specs = [spec for spec in defs.resolve_all_asset_specs() if spec.partitions_def]
    earlier = OF_HEALTH + OF_FACTS
    others = (*earlier, *REPORTS.values(), "reconciled_issues")
    (received,) = {spec.partitions_def for spec in specs if spec.key.to_user_string() not in others}
    (begun,) = {spec.partitions_def for spec in specs if spec.key.to_user_string() in earlier}
    assert received is not None
    assert begun is not None
    days = list(received.get_partition_keys())
    assert begun.get_partition_keys()[5:] == days
    return days


def test_partitions_begin_with_the_first_envelope(any_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in any_home.environment().items():
        monkeypatch.setenv(name, value)
    assert days_of(any_home) == [TODAY.isoformat()]
    with open_stores(any_home) as stores:
        day = Day(stores, PAST, 1)
        day.send(event())
        assert days_of(any_home)[0] == PAST.isoformat()
        day.drain()
        stores.spool.drop_day(PAST)
        assert days_of(any_home)[0] == PAST.isoformat()  # what is stored of it stays
        assert days_of(any_home)[-1] == TODAY.isoformat()


def test_definitions_load_while_the_stores_cannot_be_read(home: Home) -> None:
    home.spool_dir.mkdir()
    (home.root / "state.sqlite").write_bytes(b"this is no database" * 100)
    assert days_of(home)[0] == (TODAY - timedelta(days=DAYS_OFFERED)).isoformat()


def test_looking_for_the_first_day_makes_nothing(tmp_path: Path) -> None:
    build_defs({"stores": StoresResource(home=str(tmp_path / "new"))})
    assert list((tmp_path / "new").iterdir()) == []


def test_days_on_which_nothing_came_are_marked_at_night(past: Day, instance: dg.DagsterInstance) -> None:
    past.send(event())
    past.next().next().send(event())
    assert materialise(past, instance, "quiet_days").success
    quiet = past.next().date.isoformat()
    for name in ("envelopes", *RECEIVED_TABLES, "groups"):
        assert instance.get_materialized_partitions(dg.AssetKey(name)) == {quiet}, name
    assert shown(instance, "quiet_days")["days"] == quiet
    assert materialise(past, instance, "quiet_days").success
    assert shown(instance, "quiet_days")["marked"] == 0  # once is enough


# ── housekeeping and watch


def test_what_was_removed_is_said_where_people_look(home: Home, instance: dg.DagsterInstance) -> None:
    with open_stores(home) as stores:
        day = Day(stores, TODAY - timedelta(days=9), 1)
        day.send(event(), event())
        day.drain()
        job = definitions(day).resolve_job_def("drop_expired_envelopes_job")
        dry = {"ops": {"expired_envelopes": {"config": {"dry_run": True}}}}
        assert job.execute_in_process(instance=instance, run_config=dry).success
        figures = shown(instance, "expired_envelopes")
        assert (figures["envelopes"], figures["dry_run"], stores.spool.days()) == (2, True, [day.date])

        assert job.execute_in_process(instance=instance).success
        figures = shown(instance, "expired_envelopes")
        assert (figures["envelopes"], figures["dry_run"], figures["oldest_day_left"]) == (2, False, "none")
        assert [r.data for r in figures["removed"].records] == [{"day": day.date.isoformat(), "envelopes": 2}]
        assert shown(instance, "envelopes", day)["raw_envelopes"].startswith("gone")
        assert shown(instance, "finished_work").keys() >= {"drains", "replacements"}


def test_a_cleanup_says_what_went_and_its_partitions_that_it_is_gone(
    home: Home, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    archive.write_text("this is no folder")
    home.config_path.write_text(
        "projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]\n"
        f"retention: {{archive_url: '{archive}'}}\n"
    )
    with open_stores(home) as stores:
        day = Day(stores, TODAY - timedelta(days=92), 1)
        day.send(event(), event())
        day.drain()
        compute_statistics(stores, [day.date], day.at() + timedelta(days=3))
        check = dg.AssetCheckKey(dg.AssetKey("cleanup_old_events"), "nothing_is_older_than_its_retention")
        job = definitions(day).resolve_implicit_global_asset_job_def()
        job = job.get_subset(asset_selection=set(), asset_check_selection={check})
        (found,) = job.execute_in_process(instance=instance).get_asset_check_evaluations()
        assert not found.passed
        assert materialise(day, instance, "cleanup_plan").success
        figures = shown(instance, "cleanup_plan")
        assert figures["rows"] > 0
        assert len(day.ids()) == 2

        cleanup = definitions(day).resolve_job_def("cleanup")
        assert cleanup.execute_in_process(instance=instance).success
        told = shown(instance, "cleanup_old_events")
        assert (told["archived_rows"], told["waiting_days"], len(day.ids())) == (0, 1, 2)
        (found,) = job.execute_in_process(instance=instance).get_asset_check_evaluations()
        assert "Not a directory" in str(found.description)
        assert [
            each.status for each in readings(stores, DagsterFacts(), day.at()) if each.name == "archive"
        ] == ["critical"]

        archive.unlink()
        open_request(stores.state, Person.kind, Identity.of(emails=["ann@example.org"]).data, "tester")
        assert cleanup.execute_in_process(instance=instance).success
        told = shown(instance, "deletions")
        assert (told["deletions"], told["deletions_open"]) == (1, 0)
        assert [r.data["of"] for r in told["deleted_on_purpose"].records] == ["email"]
        told = shown(instance, "cleanup_old_events")
        assert told["rows"] == figures["rows"]
        assert (told["archived_rows"], told["archive"]) == (5, str(archive))
        assert shown(instance, "events", day)["rows"].startswith("gone")
        (found,) = job.execute_in_process(instance=instance).get_asset_check_evaluations()
        assert found.passed


def test_a_sensor_that_found_no_failure_says_so(past: Day, instance: dg.DagsterInstance) -> None:
    resources = {"stores": StoresResource(home=str(past.stores.home.root))}
    repository = definitions(past).get_repository_def()
    cursor = None
    for _ in range(2):  # the first one sets its cursor
        with dg.build_sensor_context(
            instance=instance, resources=resources, repository_def=repository, cursor=cursor
        ) as context:
            found = run_failure.evaluate_tick(context)
        cursor = found.cursor
    assert found.skip_message == "no run failed"
