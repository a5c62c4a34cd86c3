"""Cron monitors: check-ins through real batches, silence noticed, incidents opened, told and closed."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tasks_pipeline.groups.lists import list_groups
from tasks_pipeline.monitors.check import check_monitors
from tasks_pipeline.monitors.clock import beat_clock
from tasks_pipeline.monitors.registry import sync_monitors
from tasks_pipeline.storage.state.tables import incidents, monitor_check_ins, monitor_environments, monitors
from tests.support.alerting import alert_rows, alerting, outbox
from tests.support.day import Day
from tests.support.events import item

HOURLY = {"schedule": {"type": "crontab", "value": "0 * * * *"}, "checkin_margin": 5, "max_runtime": 10}
TOLD = "channels: [{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]\nalert_rules: [{name: jobs, when: [monitor], notify: ['channel:hook']}]\n"


@pytest.fixture
def day(own_day: Day) -> Day:
    """In stores of its own: a check looks at every monitor, and at what waits of any day."""
    return own_day


def check_in(day: Day, status: str, seconds: float, slug: str = "nightly", **fields: Any) -> None:
    day.spool(
        day.receipt(item("check_in", {"monitor_slug": slug, "status": status, **fields}), seconds=seconds)
    )
    day.drain()


def environment(day: Day, slug: str = "nightly", name: str = "production") -> dict[str, Any]:
    query = (
        select(monitor_environments)
        .join(monitors, monitors.c.id == monitor_environments.c.monitor_id)
        .where(
            monitors.c.project_id == day.project,
            monitors.c.slug == slug,
            monitor_environments.c.environment == name,
        )
    )
    with day.stores.state.read() as connection:
        return dict(connection.execute(query).one()._mapping)


def runs(day: Day, slug: str = "nightly") -> list[str]:
    with day.stores.state.read() as connection:
        query = select(monitor_check_ins.c.status).where(
            monitor_check_ins.c.environment_id == environment(day, slug)["id"]
        )
        return list(connection.execute(query.order_by(monitor_check_ins.c.id)).scalars())


def open_incidents(day: Day) -> list[str]:
    with day.stores.state.read() as connection:
        query = select(incidents.c.reason).where(
            incidents.c.project_id == day.project, incidents.c.closed_at.is_(None)
        )
        return list(connection.execute(query).scalars())


def test_a_job_described_by_its_check_in_is_missed_and_recovers(day: Day) -> None:
    told = alerting(day, TOLD)
    check_in(told, "ok", 60, monitor_config=HOURLY)
    assert environment(told)["status"] == "ok"
    assert environment(told)["next_at"] == told.at(3600)
    assert check_monitors(told.stores, told.at(3600 + 299)).missed == 0
    report = check_monitors(told.stores, told.at(3600 + 301))
    assert (report.missed, report.opened) == (1, 1)
    assert check_monitors(told.stores, told.at(3600 + 302)).due == 0
    assert open_incidents(told) == ["missed"]
    (group,) = list_groups(told.stores.state, told.stores.slugs, project_id=told.project)
    assert (group["type"], group["status"]) == ("cron", "unresolved")
    check_in(told, "ok", 3600 + 400)
    assert open_incidents(told) == []
    assert [row["status"] for row in alert_rows(told.stores, told.project)] == ["firing", "recovered"]
    assert [row["status"] for row in outbox(told.stores, told.project)] == ["waiting", "waiting"]
    (group,) = list_groups(told.stores.state, told.stores.slugs, project_id=told.project)
    assert group["status"] == "resolved"


def test_the_same_trouble_again_is_the_same_group_come_back(day: Day) -> None:
    told = alerting(day, TOLD)
    check_in(told, "ok", 60, monitor_config=HOURLY)
    check_in(told, "error", 120)
    check_in(told, "ok", 180)
    check_in(told, "error", 240)
    (group,) = list_groups(told.stores.state, told.stores.slugs, project_id=told.project)
    assert (group["status"], group["times_seen"]) == ("regressed", 2)
    assert len(alert_rows(told.stores, told.project)) == 3


def test_a_run_that_takes_too_long_times_out_and_may_still_end(day: Day) -> None:
    told = alerting(day, TOLD)
    run = uuid.uuid4().hex
    check_in(told, "in_progress", 0, check_in_id=run, monitor_config=HOURLY)
    assert check_monitors(told.stores, told.at(599)).timed_out == 0
    assert check_monitors(told.stores, told.at(601)).timed_out == 1
    assert open_incidents(told) == ["timed_out"]
    check_in(told, "ok", 700, check_in_id=run)
    assert runs(told) == ["ok"]
    assert open_incidents(told) == []


def test_check_ins_out_of_order_move_nothing_back(day: Day) -> None:
    first, second = uuid.uuid4().hex, uuid.uuid4().hex
    check_in(day, "in_progress", 0, check_in_id=first, monitor_config=HOURLY)
    check_in(day, "ok", 5, check_in_id=first)
    check_in(day, "in_progress", 6, check_in_id=first)  # overtaken by its own end
    check_in(day, "error", 7, check_in_id=first)  # and told twice
    assert runs(day) == ["ok"]
    assert environment(day)["status"] == "ok"
    check_in(day, "in_progress", 3600, check_in_id=second)
    check_in(day, "ok", 3605)  # without an id: the latest in progress
    assert runs(day) == ["ok", "ok"]


def test_thresholds_count_failures_and_recoveries_in_a_row(day: Day) -> None:
    config = {**HOURLY, "failure_issue_threshold": 2, "recovery_threshold": 2}
    check_in(day, "error", 0, monitor_config=config)
    assert open_incidents(day) == []
    check_in(day, "error", 10)
    assert open_incidents(day) == ["error"]
    check_in(day, "ok", 20)
    assert open_incidents(day) == ["error"]
    check_in(day, "ok", 30)
    assert open_incidents(day) == []


def test_a_muted_monitor_has_incidents_that_nobody_is_told_of(day: Day) -> None:
    told = alerting(day, TOLD, "monitors: [{slug: nightly, schedule: '0 * * * *', muted: true}]")
    sync_monitors(told.stores.state, told.stores.config, told.at(0))
    check_in(told, "error", 10)
    assert open_incidents(told) == ["error"]
    assert alert_rows(told.stores, told.project) == []


def test_the_file_wins_over_what_a_client_says(day: Day) -> None:
    told = alerting(
        day, "", "monitors: [{slug: nightly, schedule: {every: 2, unit: hour}, environments: [production]}]"
    )
    sync_monitors(told.stores.state, told.stores.config, told.at(0))
    assert environment(told)["next_at"] == told.at(7200)
    check_in(told, "ok", 60, monitor_config=HOURLY)
    assert environment(told)["next_at"] == told.at(60 + 7200)
    gone = alerting(day, "")
    sync_monitors(gone.stores.state, gone.stores.config, told.at(100))
    assert check_monitors(gone.stores, told.at(100_000)).due == 0


def test_a_monitor_that_nobody_described_costs_nothing(day: Day) -> None:
    check_in(day, "ok", 0, slug="unheard-of")
    assert [row["monitor_slug"] for row in day.rows("check_ins")] == ["unheard-of"]


def test_silence_is_not_judged_while_envelopes_wait(day: Day) -> None:
    check_in(day, "ok", 60, monitor_config=HOURLY)
    day.spool(day.receipt(item("check_in", {"monitor_slug": "nightly", "status": "ok"}), seconds=3650))
    report = check_monitors(day.stores, day.at(3600 + 301))
    assert report.missed == 0
    assert "wait" in report.held
    day.drain()
    assert check_monitors(day.stores, day.at(3600 + 302)).missed == 0
    assert environment(day)["status"] == "ok"


def test_downtime_of_the_service_itself_is_not_the_silence_of_others(day: Day) -> None:
    check_in(day, "ok", 60, monitor_config=HOURLY)
    beat_clock(day.stores.state, day.at(1000))
    beat_clock(day.stores.state, day.at(3 * 3600 + 30))  # three checks later the machine is up again
    report = check_monitors(day.stores, day.at(3 * 3600 + 30))
    assert (report.missed, report.skipped) == (0, 1)
    assert open_incidents(day) == []
    due = environment(day)["next_at"]
    assert due == day.at(4 * 3600)
    assert check_monitors(day.stores, due + timedelta(minutes=6)).missed == 1
