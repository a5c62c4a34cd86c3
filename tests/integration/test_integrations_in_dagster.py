"""The Dagster side of issue trackers: a sensor that opens nothing without integrations, runs with figures, checks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from sqlalchemy import update

from tasks_pipeline.definitions import build_defs
from tasks_pipeline.home import Home
from tasks_pipeline.integrations.proofs import PROOFS, prove
from tasks_pipeline.nudging.wanted import SYNC, wanted
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors import integrations
from tasks_pipeline.sensors.integrations import integrations_sensor
from tasks_pipeline.storage.state.tables import issue_intents, issue_links
from tasks_pipeline.stores import Stores, open_stores
from tests.support.alerting import configured
from tests.support.day import Day
from tests.support.events import event

NOW = datetime.now(UTC)
PROJECT = "projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]\n"
HUB = (
    "integrations: [{name: hub, type: roundup, url: 'http://127.0.0.1:1/t', user: u, password: '${env:HOME}', "
    "allow_insecure: true, allow_private: true}]\n"
    "trackers: [{name: one, integration: hub}]\n"
)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tick(home: Home, instance: dg.DagsterInstance) -> dg.SensorResult | dg.SkipReason:
    resources = {"stores": StoresResource(home=str(home.root))}
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        result = integrations_sensor(context)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def requested(result: dg.SensorResult | dg.SkipReason) -> list[str | None]:
    assert isinstance(result, dg.SensorResult)
    return [request.job_name for request in result.run_requests or ()]


def linked(stores: Stores, project: int = 1) -> int:
    """A link of a group; nothing is on its way."""
    day = Day(stores, NOW.date(), project)
    day.send(event())
    day.drain()
    row = {
        "project_id": project, "group_id": day.group()["id"], "integration": "hub", "tracker": "one", "external_id": "1",
        "shown_key": "#1", "state": "linked", "origin": "linked", "marker": "m", "agreed_state": "open",
        "theirs": {"state": "open"}, "turns": [], "created_at": NOW, "last_looked_at": NOW,
    }  # fmt: skip
    with stores.state.write() as connection:
        made = connection.execute(issue_links.insert().values(**row)).inserted_primary_key
    assert made is not None
    return int(made[0])


def intent(link: int, **values: object) -> dict[str, object]:
    return {
        "key": "state:1:1", "link_id": link, "integration": "hub", "tracker": "one", "kind": "state", "data": {},
        "status": "waiting", "priority": 0, "not_before": NOW, "created_at": NOW, **values,
    }  # fmt: skip


def test_without_integrations_a_tick_opens_nothing(
    home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.config_path.write_text(PROJECT)

    def opened(_: object) -> None:
        raise AssertionError("the stores were opened")

    monkeypatch.setattr(StoresResource, "open", opened)
    result = tick(home, instance)
    assert isinstance(result, dg.SkipReason)
    assert result.skip_message == "no integrations are configured"


def test_ticks_start_what_is_due_and_keep_partitions_as_the_trackers_are(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.config_path.write_text(PROJECT + HUB)
    instance.add_dynamic_partitions("trackers", ["former"])
    first = tick(home, instance)
    assert requested(first) == ["check_integrations"]
    assert isinstance(first, dg.SensorResult)
    changes = {type(each).__name__: each.partition_keys for each in first.dynamic_partitions_requests or ()}
    assert changes == {"AddDynamicPartitionsRequest": ["one"], "DeleteDynamicPartitionsRequest": ["former"]}
    with open_stores(home) as stores:
        link = linked(stores)
        with stores.state.write() as connection:
            connection.execute(issue_intents.insert().values(**intent(link)))
        assert [
            start
            for question in wanted(
                stores.state, stores.spool, stores.config, datetime.now(UTC), by_the_clock=False
            )
            for start in question()
            if start.job == SYNC.job
        ] == [SYNC]
    assert requested(tick(home, instance)) == ["sync_integrations", "check_integrations"]


def test_a_tick_that_finds_a_run_at_work_starts_none(
    home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.config_path.write_text(PROJECT + HUB)
    instance.add_dynamic_partitions("trackers", ["one"])
    monkeypatch.setattr(integrations, "runs_under_way", lambda *_: ["1a2b3c4d5e"])
    monkeypatch.setattr(integrations, "runs_going_on", lambda *_: ["5e4d3c2b1a"])
    with open_stores(home) as stores:
        linked(stores)
    result = tick(home, instance)
    assert isinstance(result, dg.SkipReason)
    assert result.skip_message == "hub: run 5e4d3c2b works on it; a look at hub: run 1a2b3c4d works on it"


def test_runs_tell_figures_and_prove_that_all_is_in_step(home: Home, instance: dg.DagsterInstance) -> None:
    home.config_path.write_text(PROJECT + HUB)
    with open_stores(home) as stores:
        linked(stores)
    defs = build_defs({"stores": StoresResource(home=str(home.root))})
    job = defs.resolve_job_def("sync_integrations")
    config = {"ops": {"external_issues": {"config": {"linger_seconds": 0}}}}
    result = job.execute_in_process(instance=instance, run_config=config)
    figures = {
        each.asset_key.to_user_string(): each.metadata
        for each in result.get_asset_materialization_events()
        for each in [each.materialization]
    }
    assert figures["external_issues"]["errors"].value
    assert figures["integration_status"]["checked"].value == 1
    (row,) = figures["integration_status"]["integrations"].value.records
    assert (row.data["name"], row.data["state"], row.data["links"]) == ("hub", "unreachable", 1)
    checked = {each.check_name: each.passed for each in result.get_asset_check_evaluations()}
    assert checked == dict.fromkeys(PROOFS, True)


def test_all_links_of_a_tracker_are_a_partition(home: Home, instance: dg.DagsterInstance) -> None:
    home.config_path.write_text(PROJECT + HUB)
    instance.add_dynamic_partitions("trackers", ["one", "gone"])
    defs = build_defs({"stores": StoresResource(home=str(home.root))})
    job = defs.resolve_job_def("reconcile_issues")
    assert job.execute_in_process(instance=instance, partition_key="one").success
    failed = job.execute_in_process(instance=instance, partition_key="gone", raise_on_error=False)
    assert not failed.success


def test_what_is_not_in_step_is_named(own: Stores) -> None:
    stores = configured(own, 1, HUB)
    link = linked(stores)
    with stores.state.write() as connection:
        old = NOW - timedelta(days=3)
        connection.execute(update(issue_links).values(last_looked_at=old, theirs={"state": "closed"}))
        found = {proof.name: proof.said for proof in prove(connection, stores.config, NOW) if not proof.holds}
        assert list(found) == ["links_looked_at", "agreed_is_theirs"]
        assert found["agreed_is_theirs"] == "1 links differ for an hour, and nothing says why: #1"
        hours_ago = NOW - timedelta(hours=2)
        connection.execute(
            issue_intents.insert().values(**intent(link, status="unknown", created_at=hours_ago))
        )
        found = {proof.name: proof.said for proof in prove(connection, stores.config, NOW) if not proof.holds}
    assert list(found) == ["links_looked_at", "nothing_stuck"]
    assert found["nothing_stuck"].startswith("1 changes are of unknown end for an hour, the oldest since ")
