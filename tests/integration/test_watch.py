"""The pipeline watches itself: readings, states that do not flap, operators told, and another way out."""

from __future__ import annotations

import logging
import shutil
from collections import namedtuple
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasks_pipeline.commands.watch import TO_DO
from tasks_pipeline.lanes import LANES
from tasks_pipeline.notifications.outbox import NewNotification, put_notifications
from tasks_pipeline.storage.state.facts import all_probes
from tasks_pipeline.storage.state.workers import beat_worker
from tasks_pipeline.stores import Stores
from tasks_pipeline.watch.facts import DagsterFacts, Failing
from tasks_pipeline.watch.heartbeat import ping_heartbeat
from tasks_pipeline.watch.probes import DESCRIPTIONS
from tasks_pipeline.watch.prometheus import render
from tasks_pipeline.watch.watching import watch_pipeline
from tests.support.alerting import alert_rows, configured, outbox
from tests.support.events import event, receipt
from tests.support.outside import HttpReceiver, http_receiver

NOW = datetime.now(UTC)


def watched(stores: Stores, http: HttpReceiver, more: str = "") -> Stores:
    return configured(
        stores,
        1,
        f"channels: [{{name: hook, type: webhook, url: '{http.url}/'}}, {{name: second, type: webhook, url: '{http.url}/second'}}]\n"
        f"watch: {{operators: ['channel:hook'], fallback_channel: second, heartbeat_url: '{http.url}/beat'{more}}}\n",
    )


def told_of(stores: Stores, probe: str) -> list[str]:
    """What was fired of a probe. Messages that nobody sends here are trouble of their own."""
    return [row["status"] for row in alert_rows(stores, 0) if row["data"]["probe"] == probe]


def after(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def test_a_healthy_pipeline_says_nothing(own: Stores) -> None:
    with http_receiver() as http:
        stores = watched(own, http)
        report = watch_pipeline(stores, DagsterFacts(), NOW)
        assert set(report.statuses) == set(DESCRIPTIONS)
        assert report.worst == "ok"
        assert (report.told, alert_rows(stores, 0)) == ([], [])


def test_trouble_is_told_when_it_lasts_and_when_it_is_over(own: Stores) -> None:
    with http_receiver() as http:
        stores = watched(own, http)
        failing = DagsterFacts(ticks=(Failing("new_envelopes_sensor", 12, "boom"),))
        assert watch_pipeline(stores, failing, after(0)).told == []
        assert watch_pipeline(stores, failing, after(1)).told == ["failed_ticks: firing critical"]
        assert watch_pipeline(stores, failing, after(2)).told == [
            "failed_ticks: firing critical"
        ]  # said again, sent once
        assert told_of(stores, "failed_ticks") == ["firing"]
        watch_pipeline(stores, DagsterFacts(), after(3))
        watch_pipeline(stores, DagsterFacts(), after(4))
        assert told_of(stores, "failed_ticks") == ["firing", "recovered"]
        assert {row["target"] for row in outbox(stores, 0)} == {"channel:hook"}


def test_what_a_probe_says_fits_its_status_while_that_waits_to_change(
    own: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    stores = configured(own, 1, "")  # nobody is named who is to be told
    failing = DagsterFacts(ticks=(Failing("new_envelopes_sensor", 12, "boom"),))

    def said(minute: float, facts: DagsterFacts) -> tuple[str, str, list[str]]:
        told = watch_pipeline(stores, facts, after(minute)).told
        with stores.state.read() as connection:
            row = all_probes(connection)["failed_ticks"]
        return row["status"], row["detail"][:27], told

    assert said(0, failing) == ("ok", "critical in 1 of 2 readings", [])
    assert said(1, failing)[0] == "critical"
    assert said(2, failing)[2] == []
    assert said(3, DagsterFacts())[:2] == ("critical", "ok in 1 of 2 readings: none")
    assert said(4, DagsterFacts())[0] == "ok"
    assert len([r for r in caplog.records if "probe failed_ticks" in r.message]) == 1


def test_a_reading_that_flickers_is_not_told(own: Stores) -> None:
    with http_receiver() as http:
        stores = watched(own, http)
        failing = DagsterFacts(jobs=(Failing("process_events", 5),))
        for minute in range(6):
            watch_pipeline(stores, failing if minute % 2 else DagsterFacts(), after(minute))
        assert alert_rows(stores, 0) == []


def test_trouble_that_goes_on_is_told_again(own: Stores) -> None:
    with http_receiver() as http:
        stores = watched(own, http, ", repeat_minutes: 60, consecutive_readings: 1")
        failing = DagsterFacts(jobs=(Failing("process_events", 5),))
        for minute in range(0, 150, 10):
            watch_pipeline(stores, failing, after(minute))
        assert told_of(stores, "failed_runs") == ["firing"] * 3


def test_old_envelopes_and_a_full_disk_are_noticed(own: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    with http_receiver() as http:
        stores = watched(own, http, ", consecutive_readings: 1")
        writer = stores.spool.writer()
        writer.append([receipt(NOW - timedelta(minutes=30), 1, event())])
        writer.close()
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**12, 10**12 - 10**8, 10**8))
        report = watch_pipeline(stores, DagsterFacts(), NOW)
        assert (report.statuses["lag"], report.statuses["disk"]) == ("critical", "critical")


def test_when_the_way_out_is_broken_another_one_is_taken(
    own: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    with http_receiver() as http:
        stores = watched(own, http, ", consecutive_readings: 1")
        stuck = NewNotification(
            key="x",
            type="test",
            project_id=1,
            target="channel:hook",
            channel="hook",
            thread="t",
            not_before=NOW - timedelta(hours=1),
        )
        with stores.state.write() as connection:
            put_notifications(stores.state, connection, [stuck])
        with caplog.at_level(logging.ERROR):
            report = watch_pipeline(stores, DagsterFacts(), NOW)
        assert report.fallback.startswith("told on second")
        assert [posted.path for posted in http.posted] == ["/second"]
        assert "1 message due" in http.posted[0].json["title"]
        assert any("outbox is critical: 1 message " in record.getMessage() for record in caplog.records)
        assert watch_pipeline(stores, DagsterFacts(), after(1)).fallback == "told already"


def test_a_state_database_that_fails_is_told_directly(own: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    with http_receiver() as http:
        stores = watched(own, http)

        def fails(*_: object, **__: object) -> None:
            raise OSError("no space left on device")

        monkeypatch.setattr("tasks_pipeline.watch.watching.set_probe", fails)
        report = watch_pipeline(stores, DagsterFacts(), NOW)
        assert report.worst == "critical"
        assert "no space left" in http.posted[0].json["title"]


def test_the_heart_beats_while_all_is_well(own: Stores) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    beats: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            beats.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        stores = configured(
            own, 1, f"watch: {{heartbeat_url: 'http://127.0.0.1:{server.server_port}/alive'}}"
        )
        assert ping_heartbeat(stores, NOW, well=False).startswith("no ping")
        assert ping_heartbeat(stores, NOW, well=True) == "pinged"
        assert ping_heartbeat(stores, after(0.1), well=True) == "not yet"
        assert ping_heartbeat(stores, after(1), well=True) == "pinged"
        assert beats == ["/alive"] * 2
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_each_probe_says_what_to_do() -> None:
    """Whoever is told of one looks there first."""
    assert set(TO_DO) == set(DESCRIPTIONS)


def test_prometheus_reads_probes(own: Stores) -> None:
    watch_pipeline(configured(own, 1, ""), DagsterFacts(daemons=("SENSOR",)), NOW)
    watch_pipeline(configured(own, 1, ""), DagsterFacts(daemons=("SENSOR",)), after(1))
    text = render(own.state, NOW).decode()
    assert 'tasks_pipeline_probe_status{probe="daemons"} 2.0' in text
    assert 'tasks_pipeline_probe_status{probe="lag"} 0.0' in text
    with own.state.read() as connection:
        assert all_probes(connection)["daemons"]["detail"] == "no heartbeat of SENSOR"


def test_a_lane_that_no_worker_serves_is_named(own: Stores) -> None:
    """At the first reading; the operators are told at the second, so that a worker may be restarted."""
    queued = replace(own, home=replace(own.home, broker_url="redis://127.0.0.1:1/0"))
    served = [lane for lane in LANES if lane not in ("events", "recompute")]
    beat_worker(own.state, served, 1, NOW, NOW)
    with http_receiver() as http:
        stores = replace(watched(queued, http), home=queued.home)
        assert watch_pipeline(stores, DagsterFacts(), NOW).told == []
        with own.state.read() as connection:
            assert "no worker serves events, recompute" in all_probes(connection)["workers"]["detail"]
        beat_worker(own.state, served, 1, NOW, after(1))
        report = watch_pipeline(stores, DagsterFacts(), after(1))
        assert report.told == ["workers: firing critical"]
        assert report.fallback.startswith("told on second"), "the lane of messages may be that one"
        beat_worker(own.state, list(LANES), 1, NOW, after(2))
        watch_pipeline(stores, DagsterFacts(), after(2))
        assert watch_pipeline(stores, DagsterFacts(), after(2)).told == ["workers: recovered info"]
