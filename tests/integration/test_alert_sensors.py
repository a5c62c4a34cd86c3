"""Sensors of alerts, digests, monitors and the watch: when they start something, and what they say otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, TickData, TickStatus

from tasks_pipeline.definitions import build_defs
from tasks_pipeline.home import Home
from tasks_pipeline.notifications.outbox import NewNotification, put_notifications
from tasks_pipeline.notifications.sending import send_alert_notification
from tasks_pipeline.processing.drain import drain
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.alert_notifications import alert_notifications_sensor
from tasks_pipeline.sensors.alert_windows import alert_windows_sensor
from tasks_pipeline.sensors.digests import digests_sensor
from tasks_pipeline.sensors.idle_ticks import drop_idle_ticks
from tasks_pipeline.sensors.monitors import monitors_sensor
from tasks_pipeline.sensors.pipeline_watch import pipeline_watch_sensor
from tasks_pipeline.stores import open_stores
from tasks_pipeline.watch.probes import DESCRIPTIONS
from tests.support.day import Day
from tests.support.events import event, item
from tests.support.outside import http_receiver

TODAY = datetime.now(UTC).date()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with (
        dg.instance_for_test() as instance
    ):  # a real one: the watch reads ticks, which an ephemeral one does not keep
        yield instance


def write(home: Home, text: str, more: str = "") -> None:
    project = f"id: 1, slug: shop, keys: [{{public_key: abcdef}}]{more}"
    home.config_path.write_text(f"projects: [{{{project}}}]\n{text}")


def tick(
    sensor: dg.SensorDefinition, home: Home, instance: dg.DagsterInstance
) -> dg.SensorResult | dg.SkipReason:
    resources = {"stores": StoresResource(home=str(home.root))}
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        result = sensor(context)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def run(home: Home, instance: dg.DagsterInstance, job: str, asset: str) -> dg.ExecuteInProcessResult:
    defs = build_defs({"stores": StoresResource(home=str(home.root))})
    config = {"ops": {asset: {"config": {"linger_seconds": 0}}}} if asset != "digests" else {}
    return defs.resolve_job_def(job).execute_in_process(instance=instance, run_config=config)


def figures(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    (one,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in one.metadata.items()}


def test_a_sender_is_started_for_messages_and_stands_by_for_events(
    home: Home, instance: dg.DagsterInstance
) -> None:
    with http_receiver() as http:
        write(
            home,
            f"channels: [{{name: hook, type: webhook, url: '{http.url}/'}}]\nalert_rules: [{{name: a, when: [new_group], notify: ['channel:hook']}}]\n",
        )
        assert isinstance(tick(alert_notifications_sensor, home, instance), dg.SkipReason)
        with open_stores(home) as stores:
            day = Day(stores, TODAY, 1)
            day.spool(day.receipt(event("Boom")))
            assert isinstance(tick(alert_notifications_sensor, home, instance), dg.SensorResult)
            day.drain()
        found = tick(alert_notifications_sensor, home, instance)
        assert isinstance(found, dg.SensorResult)
        assert len(found.run_requests or ()) == 1
        result = run(home, instance, "send_alert_notification", "notifications")
        assert figures(result, "notifications")["sent"] == 1
        assert len(http.posted) == 1
        skipped = tick(alert_notifications_sensor, home, instance)
        assert isinstance(skipped, dg.SkipReason)
        assert skipped.skip_message == "nothing waits"


def test_a_sender_at_its_end_keeps_no_other_from_being_started(
    home: Home, instance: dg.DagsterInstance
) -> None:
    """It may wait for the answer to what it has in flight; messages that come meanwhile do not."""
    channel = "channels: [{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]\n"
    write(home, channel)
    with open_stores(home) as stores, stores.state.write() as connection:
        message = NewNotification(
            key="k", type="test", project_id=1, target="channel:hook", channel="hook", thread="t",
            not_before=datetime.now(UTC),
        )  # fmt: skip
        put_notifications(stores.state, connection, [message])
    sender = instance.create_run_for_job(build_defs().resolve_job_def("send_alert_notification"))
    assert isinstance(tick(alert_notifications_sensor, home, instance), dg.SkipReason)  # it is on its way
    begun = dg.DagsterEvent(event_type_value="PIPELINE_START", job_name=sender.job_name)
    instance.report_dagster_event(begun, sender.run_id)
    assert isinstance(tick(alert_notifications_sensor, home, instance), dg.SkipReason)  # it is at work
    write(home, f"notifications: {{max_run_seconds: 0.001}}\n{channel}")
    assert isinstance(tick(alert_notifications_sensor, home, instance), dg.SensorResult)


def test_nobody_stands_by_where_nothing_can_be_sent(home: Home, instance: dg.DagsterInstance) -> None:
    write(home, "")
    with open_stores(home) as stores:
        day = Day(stores, TODAY, 1)
        day.spool(day.receipt(event("Boom")))
    assert isinstance(tick(alert_notifications_sensor, home, instance), dg.SkipReason)


def test_windows_are_evaluated_in_the_tick(home: Home, instance: dg.DagsterInstance) -> None:
    write(
        home,
        "channels: [{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]\nalert_rules: [{name: a, when: [{type: metric, metric: error_count, warning: 1}], notify: ['channel:hook']}]\n",
    )
    assert isinstance(tick(alert_windows_sensor, home, instance), dg.SkipReason)
    with open_stores(home) as stores:
        day = Day(stores, TODAY, 1)
        now = (datetime.now(UTC) - day.at()).total_seconds()
        day.spool(day.receipt(event("Boom"), seconds=now - 1))
        day.configured(linger_seconds=0).drain()
    found = tick(alert_windows_sensor, home, instance)
    with open_stores(home) as stores, stores.state.read() as connection:
        from sqlalchemy import select

        from tasks_pipeline.storage.state.tables import alerts

        assert [row.kind for row in connection.execute(select(alerts))] == ["metric"]
    assert isinstance(found, dg.SensorResult | dg.SkipReason)  # the drain may have been first


def test_digests_are_started_when_they_are_due(home: Home, instance: dg.DagsterInstance) -> None:
    write(
        home,
        "channels: [{name: mail, type: mail, host: localhost, sender: e@acme.example}]\n"
        "members: [{email: anna@acme.example, notifications: {delivery: digest, digest: {min_delay_minutes: 0, max_delay_minutes: 0.0001}}}]\n",
    )
    assert isinstance(tick(digests_sensor, home, instance), dg.SkipReason)
    with open_stores(home) as stores:
        day = Day(stores, TODAY, 1)
        day.spool(day.receipt(event("Boom")))
        day.drain()
    assert isinstance(tick(digests_sensor, home, instance), dg.SensorResult)
    assert figures(run(home, instance, "send_digest", "digests"), "digests")["digests"] == 1
    assert isinstance(tick(digests_sensor, home, instance), dg.SkipReason)


def test_monitors_are_checked_when_one_is_due(home: Home, instance: dg.DagsterInstance) -> None:
    write(home, "")
    assert isinstance(tick(monitors_sensor, home, instance), dg.SkipReason)
    config = {"schedule": {"type": "interval", "value": 1, "unit": "minute"}, "max_runtime": 1}
    with open_stores(home) as stores:
        day = Day(stores, TODAY, 1)
        before = (datetime.now(UTC) - day.at()).total_seconds() - 600
        day.spool(
            day.receipt(
                item("check_in", {"monitor_slug": "m", "status": "ok", "monitor_config": config}),
                seconds=before,
            )
        )
        day.drain()
    assert isinstance(tick(monitors_sensor, home, instance), dg.SensorResult)
    result = run(home, instance, "check_monitors", "monitor_incidents")
    assert figures(result, "monitor_incidents")["opened_incidents"] == 1


def test_the_watch_reports_a_check_per_probe(home: Home, instance: dg.DagsterInstance) -> None:
    write(home, "")
    found = tick(pipeline_watch_sensor, home, instance)
    assert isinstance(found, dg.SensorResult)
    checks = {e.check_name: e.passed for e in found.asset_events if isinstance(e, dg.AssetCheckEvaluation)}
    assert set(checks) == set(DESCRIPTIONS)
    assert checks["lag"]
    figures = {e.check_name: e.metadata for e in found.asset_events if isinstance(e, dg.AssetCheckEvaluation)}
    assert {"seconds", "status"} == figures["lag"].keys()
    assert 0 < float(figures["disk"]["GiB"].value) < 1_000_000  # type: ignore[arg-type]
    assert figures["channels"].keys() == {"count", "status"}
    assert found.skip_reason is not None
    assert "written as checks" in (found.skip_reason.skip_message or "")


def test_the_watch_writes_a_check_when_its_status_changes(home: Home, instance: dg.DagsterInstance) -> None:
    """Thirteen events a minute would be 75 MB a day."""
    write(home, "watch: {consecutive_readings: 1}\n")
    stores = {"stores": StoresResource(home=str(home.root))}
    cursor, written = None, []
    for text in (
        "",
        "",
        "alert_rules: [{name: a, when: [never]}]\n",
        "alert_rules: [{name: a, when: [never]}]\n",
        "",
    ):
        write(home, "watch: {consecutive_readings: 1}\n" + text)
        with dg.build_sensor_context(instance=instance, resources=stores, cursor=cursor) as context:
            found = pipeline_watch_sensor(context)
        assert isinstance(found, dg.SensorResult)
        cursor = found.cursor or cursor
        written.append([e.check_name for e in found.asset_events if isinstance(e, dg.AssetCheckEvaluation)])
    assert set(written[0]) == set(DESCRIPTIONS)
    assert written[1:] == [[], ["configuration"], [], ["configuration"]]


def test_ticks_that_skipped_are_forgotten_soon_and_others_are_kept(instance: dg.DagsterInstance) -> None:
    now = datetime.now(UTC)
    instance.add_instigator_state(
        InstigatorState(origin := _origin(), InstigatorType.SENSOR, InstigatorStatus.RUNNING)
    )
    for age, status in ((3600, TickStatus.SKIPPED), (3600, TickStatus.SUCCESS), (30, TickStatus.SKIPPED)):
        instance.create_tick(
            TickData(
                instigator_origin_id=origin.get_id(),
                instigator_name="a_sensor",
                instigator_type=InstigatorType.SENSOR,
                status=status,
                timestamp=now.timestamp() - age,
                selector_id=origin.get_selector().get_id(),
                run_ids=["a"] if status is TickStatus.SUCCESS else [],
            )
        )
    drop_idle_ticks(instance, now)
    left = instance.get_ticks(origin.get_id(), origin.get_selector().get_id())
    assert [tick.status for tick in left] == [TickStatus.SKIPPED, TickStatus.SUCCESS]


def _origin() -> RemoteInstigatorOrigin:
    location = GrpcServerCodeLocationOrigin("localhost", 1, location_name="here")
    return RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), "a_sensor")


def test_a_broken_configuration_stops_no_watch_and_is_told(home: Home, instance: dg.DagsterInstance) -> None:
    with http_receiver() as http:
        text = (
            f"channels: [{{name: hook, type: webhook, url: '{http.url}/'}}]\n"
            "watch: {operators: ['channel:hook'], consecutive_readings: 1}\n"
        )
        write(home, text)
        tick(pipeline_watch_sensor, home, instance)
        write(home, text + "alert_rules: [{name: s3cret, when: [never], notify: ['channel:hook']}]\n")
        found = tick(pipeline_watch_sensor, home, instance)
        assert isinstance(found, dg.SensorResult)
        checks = {e.check_name: e for e in found.asset_events if isinstance(e, dg.AssetCheckEvaluation)}
        assert not checks["configuration"].passed
        run(home, instance, "send_alert_notification", "notifications")
        told = [json.dumps(posted.json) for posted in http.posted]
        assert any("alert_rules[0]" in message for message in told)


def test_a_sender_that_lingers_ends_when_the_configuration_changes(home: Home) -> None:
    with http_receiver() as http:
        write(home, f"channels: [{{name: hook, type: webhook, url: '{http.url}/'}}]\n")
        with open_stores(home) as stores:
            write(home, f"channels: [{{name: other, type: webhook, url: '{http.url}/'}}]\n")
            assert (
                send_alert_notification(stores, linger_seconds=60).ended_because
                == "the configuration changed"
            )
            assert drain(stores, TODAY, linger_seconds=60).ended_because == "the configuration changed"


def test_failing_runs_are_counted_in_a_row(instance: dg.DagsterInstance) -> None:
    from tasks_pipeline.sensors.dagster_facts import dagster_facts

    @dg.op
    def fails() -> None:
        raise ValueError("no")

    @dg.job(name="always_fails")
    def always_fails() -> None:
        fails()

    for _ in range(3):
        always_fails.execute_in_process(instance=instance, raise_on_error=False)
    (failing,) = dagster_facts(instance).jobs
    assert (failing.name, failing.failures) == ("always_fails", 3)
    assert "failed" in failing.error.lower()


def test_a_stop_that_ends_a_run_is_no_news_and_two_in_a_row_are(instance: dg.DagsterInstance) -> None:
    from tasks_pipeline.sensors.dagster_facts import dagster_facts

    @dg.op
    def stands_by() -> None:
        raise dg.DagsterExecutionInterruptedError  # what Dagster makes of SIGTERM and SIGINT

    @dg.job(name="stands_by")
    def job() -> None:
        stands_by()

    for expected in ([], [("stands_by", 2)]):
        with suppress(dg.DagsterExecutionInterruptedError):
            job.execute_in_process(instance=instance, raise_on_error=False)
        assert [(one.name, one.failures) for one in dagster_facts(instance).jobs] == expected
