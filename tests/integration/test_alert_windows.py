"""Rules about windows of time, on stored events and sessions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tasks_pipeline.alerts.trial import try_rule
from tasks_pipeline.alerts.windows import evaluate_windows
from tests.support.alerting import alert_rows, alerting
from tests.support.day import Day
from tests.support.events import event, item

CHANNEL = "channels: [{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]\n"


@pytest.fixture
def day(own_day: Day) -> Day:
    """In stores of its own: metrics are not judged while anything waits."""
    return own_day


def rule(when: str, more: str = "") -> str:
    return f"{CHANNEL}alert_rules: [{{name: timed, when: [{when}], notify: ['channel:hook']{more}}}]\n"


def fired(day: Day, seconds: float) -> list[dict[str, Any]]:
    evaluate_windows(day.stores, day.at(seconds))
    return alert_rows(day.stores, day.project)


def test_so_many_events_in_a_window(day: Day) -> None:
    told = alerting(day, rule("{type: events, count: 5, window_minutes: 10}"))
    told.send(*(event("Often") for _ in range(5)), *(event("Seldom") for _ in range(4)))
    told.drain()
    assert fired(told, 60)[0]["data"]["value"] == 5
    assert len(fired(told, 65)) == 1  # once per interval
    assert evaluate_windows(told.stores, told.at(3600)) == []


def test_events_that_miss_the_conditions_do_not_count(day: Day) -> None:
    told = alerting(
        day, rule("{type: events, count: 3, window_minutes: 10}", ", if: {all: [{environment: production}]}")
    )
    told.send(
        *(event("Often", environment="staging") for _ in range(6)), event("Often", environment="production")
    )
    told.drain()
    assert fired(told, 60) == []


def test_so_many_users_in_a_window(day: Day) -> None:
    told = alerting(day, rule("{type: users, count: 3, window_minutes: 10}"))
    told.send(
        *(event("Wide", user={"id": str(n)}) for n in range(3)),
        *(event("Narrow", user={"id": "1"}) for _ in range(5)),
    )
    told.drain()
    (alert,) = fired(told, 60)
    assert alert["data"]["title"] == "Wide: it went wrong"


def sessions(day: Day, count: int, crashed: int, seconds: float) -> None:
    started = day.at(seconds).isoformat()
    aggregate = {"started": started, "exited": count - crashed, "crashed": crashed}
    payload = {"aggregates": [aggregate], "attrs": {"release": "shop@1", "environment": "production"}}
    day.spool(day.receipt(item("sessions", payload), seconds=seconds))
    day.drain()


def test_percent_of_sessions_needs_enough_sessions(day: Day) -> None:
    told = alerting(day, rule("{type: session_percent, percent: 5, window_minutes: 10}"))
    told.send(*(event("Often") for _ in range(10)))
    told.drain()
    sessions(told, 40, 0, 20)
    assert fired(told, 60) == []
    sessions(told, 60, 0, 21)
    (alert,) = fired(told, 70)
    assert alert["data"]["value"] == 10


def test_a_metric_fires_at_each_threshold_and_recovers_in_silence(day: Day) -> None:
    told = alerting(
        day, rule("{type: metric, metric: error_count, window_minutes: 10, warning: 3, critical: 6}")
    )
    told.send(*(event("A") for _ in range(3)))
    told.drain()
    assert [(a["status"], a["severity"]) for a in fired(told, 30)] == [("firing", "warning")]
    assert len(fired(told, 40)) == 1
    told.spool(*(told.receipt(event("B"), seconds=45 + n) for n in range(4)))
    told.drain()
    assert [a["severity"] for a in fired(told, 60)] == ["warning", "critical"]
    assert [a["status"] for a in fired(told, 2000)] == ["firing", "firing", "recovered"]
    assert len(fired(told, 2100)) == 3


def test_crash_free_sessions(day: Day) -> None:
    told = alerting(day, rule("{type: metric, metric: crash_free_sessions, window_minutes: 60, warning: 99}"))
    sessions(told, 100, 5, 0)
    (alert,) = fired(told, 60)
    assert alert["data"]["value"] == 95
    assert len(fired(told, 7200)) == 1  # no sessions are no recovery


def test_a_crash_among_many_is_never_rounded_to_none(day: Day) -> None:
    told = alerting(
        day, rule("{type: metric, metric: crash_free_sessions, window_minutes: 60, warning: 100}")
    )
    sessions(told, 9_999_999, 1, 0)
    (alert,) = fired(told, 60)
    assert alert["data"]["title"] == "Crash free sessions: 99.999 % in 60 minutes"


def test_a_group_escalates_above_its_own_past(day: Day) -> None:
    told = alerting(day, rule("escalation"))
    steady = [
        told.receipt(event("Steady"), seconds=-3600 * hour - 10 * n)
        for hour in range(1, 12)
        for n in range(10)
    ]
    earlier = Day(told.stores, told.date - timedelta(days=1), told.project)
    old = [
        earlier.receipt(event("Steady"), seconds=3600 * hour + n)
        for hour in range(-11, 12)
        for n in range(10)
    ]
    told.spool(*old, *steady)
    earlier.drain()
    told.drain()
    told.spool(*(told.receipt(event("Steady"), seconds=60 + n) for n in range(25)))
    told.drain()
    assert fired(told, 600) == []
    told.spool(*(told.receipt(event("Steady"), seconds=1000 + n) for n in range(300)))
    told.drain()
    (alert,) = fired(told, 1400)
    assert alert["kind"] == "escalation"
    assert alert["data"]["value"] == 325
    assert len(fired(told, 1500)) == 1
    (tried,) = try_rule(
        told.stores, told.stores.config.alert_rules[0], told.project, told.at(-7200), told.at(3600)
    )
    assert (tried.kind, tried.group_id) == ("escalation", alert["group_id"])


def test_a_metric_is_told_although_telling_failed_at_first(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    told = alerting(day, rule("{type: metric, metric: error_count, window_minutes: 10, warning: 3}"))
    told.send(*(event("A") for _ in range(3)))
    told.drain()

    def fails(*_: object) -> None:
        raise RuntimeError("as if the disk were full")

    with monkeypatch.context() as patch:
        patch.setattr("tasks_pipeline.alerts.windows.fire", fails)
        assert evaluate_windows(told.stores, told.at(30)) == []
    assert [alert["severity"] for alert in fired(told, 40)] == ["warning"]


def test_windows_know_the_latest_release(day: Day) -> None:
    told = alerting(
        day, rule("{type: events, count: 2, window_minutes: 10}", ", if: {all: [{release: latest}]}")
    )
    told.send(
        *(event("Old", release="shop@1.0.0") for _ in range(3)),
        *(event("New", release="shop@2.0.0") for _ in range(3)),
    )
    told.drain()
    (alert,) = fired(told, 60)
    assert alert["data"]["title"] == "New: it went wrong"
    (tried,) = try_rule(
        told.stores, told.stores.config.alert_rules[0], told.project, told.at(-60), told.at(300)
    )
    assert tried.group_id == alert["group_id"]
