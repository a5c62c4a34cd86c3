"""Reports in Dagster: many keys in one run, what partitions show, what checks find, when the sensor starts something."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import update

from tasks_pipeline.definitions import build_defs
from tasks_pipeline.home import Home
from tasks_pipeline.lanes import LANE_TAG
from tasks_pipeline.reports.generate import Generator
from tasks_pipeline.reports.periods import Period
from tasks_pipeline.reports.report import Report
from tasks_pipeline.reports.scopes import Scope
from tasks_pipeline.reports.store import list_reports
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.state.tables import reports
from tasks_pipeline.stores import Stores, open_stores
from tests.support.day import damage
from tests.support.events import event, receipt
from tests.support.figure_rows import Error, Facts, Move, write_figures

NOW = datetime.now(UTC)
TODAY = NOW.date()
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIRST = TODAY - 4 * DAY
START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@pytest.fixture
def stores(home: Home) -> Iterator[Stores]:
    """An event an hour since four days, and the figures of the days that are over."""
    home.config_path.write_text(
        "projects: [{id: 1, slug: shop, keys: [{public_key: kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk}]}]"
    )
    first = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    with open_stores(home) as stores:
        with closing(stores.spool.writer()) as writer:
            writer.append([receipt(first, 1, event("First"))])
        facts = Facts(
            [Error(first + n * HOUR, user=n) for n in range(96)], [Move(first, 1, "created", "unresolved")]
        )
        write_figures(stores, facts, [FIRST + n * DAY for n in range(4)], now=NOW)
        yield stores


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def definitions(stores: Stores) -> dg.Definitions:
    return build_defs({"stores": StoresResource(home=str(stores.home.root))})


def run(
    stores: Stores, instance: dg.DagsterInstance, job: str, first: date, last: date
) -> dg.ExecuteInProcessResult:
    tags = {START: first.isoformat(), END: last.isoformat()}
    if first == last:
        tags = {"dagster/partition": first.isoformat()}
    return definitions(stores).resolve_job_def(job).execute_in_process(
        instance=instance, tags=tags, raise_on_error=False
    )  # fmt: skip


def tick(stores: Stores, instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    repository = definitions(stores).get_repository_def()
    resource = {"stores": StoresResource(home=str(stores.home.root))}
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, repository_def=repository, resources=resource
    ) as context:
        return repository.get_sensor_def("reports_sensor")(context)


def test_a_run_of_many_keys_the_sensor_and_the_checks(stores: Stores, instance: dg.DagsterInstance) -> None:
    asked = {request.job_name: request for request in tick(stores, instance).run_requests}
    daily = asked["daily_reports"]
    assert (daily.tags[START], daily.tags[END]) == (FIRST.isoformat(), (TODAY - DAY).isoformat())
    assert daily.tags[LANE_TAG] == "maintenance"

    result = run(stores, instance, "daily_reports", FIRST, TODAY - DAY)
    assert result.success
    shown = {
        event.partition: event.step_materialization_data.materialization.metadata
        for event in result.get_asset_materialization_events()
    }
    assert sorted(shown) == [(FIRST + n * DAY).isoformat() for n in range(4)]
    last = shown[(TODAY - DAY).isoformat()]
    assert (last["errors"].value, last["reports"].value, last["revision"].value) == (24, 2, 1)
    assert "| Errors | 24 | 24 | 0 % |" in last["headline"].value
    checks = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert len(checks) == 4
    assert all(each.passed for each in checks.values()), [each.description for each in checks.values()]
    assert "daily_reports" not in {request.job_name for request in tick(stores, instance).run_requests or ()}

    damage(stores, "DELETE FROM stored.event_stats WHERE day = ?", [TODAY - DAY])
    with stores.state.write() as connection:  # as if it had been computed before the figures went
        connection.execute(update(reports).values(checked_at=NOW + DAY))
    again = definitions(stores).resolve_implicit_global_asset_job_def()
    key = dg.AssetCheckKey(dg.AssetKey("daily_report"), "headline_is_the_sum")
    subset = again.get_subset(asset_selection=set(), asset_check_selection={key})
    tags = {"dagster/partition": (TODAY - DAY).isoformat()}
    (found,) = subset.execute_in_process(
        instance=instance, tags=tags, raise_on_error=False
    ).get_asset_check_evaluations()
    assert not found.passed
    assert "24 told, 0 in its bounds" in str(found.description)


def test_keys_without_a_report_stay_missing_and_say_why(stores: Stores, instance: dg.DagsterInstance) -> None:
    """A backfill of all partitions has one before the first event, and the one that goes on."""
    result = run(stores, instance, "daily_reports", FIRST - DAY, TODAY)
    assert result.success
    asset = dg.AssetKey("daily_report")
    assert instance.get_materialized_partitions(asset) == {(FIRST + n * DAY).isoformat() for n in range(4)}
    told = [record.asset_observation for record in instance.fetch_observations(asset, limit=10).records]
    said = {each.partition: str(each.description) for each in told if each is not None}
    assert sorted(said) == [(FIRST - DAY).isoformat(), TODAY.isoformat()]
    assert f"nothing was received before {FIRST}" in said[(FIRST - DAY).isoformat()]
    assert "reports preview day" in said[TODAY.isoformat()]
    kept = list_reports(stores.state, stores.config, kind="day", scope="organisation", limit=10)
    assert [row["key"] for row in kept] == [FIRST + n * DAY for n in (3, 2, 1, 0)]


def test_a_report_that_fails_is_named_and_tried_again_later(
    stores: Stores, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Generator.report

    def raising(self: Generator, period: Period, scope: Scope) -> Report:
        if period.key == FIRST and scope.name == "project:shop":
            raise ZeroDivisionError("division by zero")
        return report(self, period, scope)

    monkeypatch.setattr(Generator, "report", raising)
    result = run(stores, instance, "daily_reports", FIRST, TODAY - DAY)
    assert not result.success
    assert f"report day {FIRST} of project:shop: ZeroDivisionError" in str(
        result.get_step_failure_events()[0]
    )
    others = {(FIRST + n * DAY).isoformat() for n in range(1, 4)}
    assert instance.get_materialized_partitions(dg.AssetKey("daily_report")) == others
    found = tick(stores, instance)
    assert "daily_reports" not in {request.job_name for request in found.run_requests or ()}


def test_a_run_that_is_ended_leaves_what_it_computed_marked(
    stores: Stores, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Generator.report

    def ended(self: Generator, period: Period, scope: Scope) -> Report:
        if period.key == FIRST + DAY:
            raise OSError("no space left on device")
        return report(self, period, scope)

    monkeypatch.setattr(Generator, "report", ended)
    assert not run(stores, instance, "daily_reports", FIRST, TODAY - DAY).success
    assert instance.get_materialized_partitions(dg.AssetKey("daily_report")) == {FIRST.isoformat()}


def test_a_run_under_way_is_not_asked_for_again(stores: Stores, instance: dg.DagsterInstance) -> None:
    for job in ("daily_reports", "weekly_reports", "monthly_reports"):
        instance.create_run_for_job(
            definitions(stores).resolve_job_def(job), tags={"dagster/partition": FIRST.isoformat()},
            status=dg.DagsterRunStatus.STARTED,
        )  # fmt: skip
    found = tick(stores, instance)
    assert not found.run_requests
    assert "daily reports are due; run" in str(found.skip_reason)


def test_partitions_are_named_by_the_first_day_of_weeks(home: Home) -> None:
    for starts, weekday in (("monday", 0), ("saturday", 5), ("sunday", 6)):
        home.config_path.write_text(
            f"reports: {{week_starts: {starts}}}\n"
            "projects: [{id: 1, slug: shop, keys: [{public_key: kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk}]}]"
        )
        graph = build_defs(
            {"stores": StoresResource(home=str(home.root))}, first_day=date(2026, 11, 4)
        ).get_repository_def().asset_graph  # fmt: skip
        partitions: Any = graph.get(dg.AssetKey("weekly_report")).partitions_def
        keys = [date.fromisoformat(key) for key in partitions.get_partition_keys()]
        assert {key.weekday() for key in keys} == {weekday}
        assert keys[0] <= date(2026, 11, 3) < keys[1]
        months: Any = graph.get(dg.AssetKey("monthly_report")).partitions_def
        assert months.get_first_partition_key() == "2026-11-01"


def test_a_week_is_made_of_its_days(home: Home) -> None:
    """Zones of parent and child are one, or Dagster fails when the mapping is first used."""
    graph = build_defs(
        {"stores": StoresResource(home=str(home.root))}, first_day=date(2026, 11, 4)
    ).get_repository_def().asset_graph  # fmt: skip
    week, health = dg.AssetKey("weekly_report"), dg.AssetKey("release_health")
    partitions: Any = graph.get(week).partitions_def
    found = graph.get_partition_mapping(week, health).get_upstream_mapped_partitions_result_for_partitions(
        partitions.subset_with_partition_keys(["2026-11-09"]), partitions, graph.get(health).partitions_def,
        current_time=datetime(2026, 11, 29, tzinfo=UTC),
    )  # fmt: skip
    assert sorted(found.partitions_subset.get_partition_keys()) == [f"2026-11-{n:02}" for n in range(9, 16)]
