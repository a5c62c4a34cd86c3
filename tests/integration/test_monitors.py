"""Cron monitors: check-ins through real batches, silence noticed, incidents opened, told and closed."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from tasks_pipeline.groups.lists import list_groups
from tasks_pipeline.groups.similar import sign_groups
from tasks_pipeline.monitors.check import check_monitors
from tasks_pipeline.monitors.clock import beat_clock
from tasks_pipeline.monitors.loop import monitors_due
from tasks_pipeline.monitors.registry import sync_monitors
from tasks_pipeline.storage.state.passed_over import passed_over
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


def test_a_job_of_every_minute_that_is_gone_is_looked_at_once_an_hour_and_comes_back_as_before(
    day: Day,
) -> None:
    """Anybody may describe one with a single check-in; each look at it costs a run."""
    check_in(day, "ok", 0, monitor_config={"schedule": {"type": "interval", "value": 1, "unit": "minute"}})
    missed = [check_monitors(day.stores, day.at(60 * minute)).missed for minute in range(1, 241)]
    assert sum(missed[:32]) >= 30
    assert 3 <= sum(missed[60:]) <= 4
    assert open_incidents(day) == ["missed"]
    check_in(day, "ok", 4 * 3600)
    assert open_incidents(day) == []
    assert environment(day)["next_at"] == day.at(4 * 3600 + 60)


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


def test_a_job_whose_schedule_has_a_mistake_is_shown_with_it_until_it_is_mended(day: Day) -> None:
    wrong = {"schedule": {"type": "crontab", "value": "*/5 * * *"}}
    check_in(day, "error", 60, monitor_config=wrong)
    assert "'*/5 * * *'" in monitor_row(day)["config"]["mistake"]
    assert (environment(day)["status"], environment(day)["next_at"]) == ("waiting", None)
    assert check_monitors(day.stores, day.at(86_400)).due == 0
    with day.stores.state.read() as connection:
        (told,) = passed_over(connection, datetime.now(UTC))
    assert told["kind"] == "descriptions of monitors"
    assert "nightly" in told["detail"]
    assert "'*/5 * * *'" in told["detail"]
    check_in(day, "ok", 120)  # nothing new is said of it
    assert "mistake" in monitor_row(day)["config"]
    check_in(day, "ok", 180, monitor_config=HOURLY)
    assert monitor_row(day)["config"] == HOURLY
    assert environment(day)["next_at"] == day.at(3600)


def test_a_mistake_changes_nothing_of_what_is_watched(day: Day) -> None:
    check_in(day, "ok", 60, monitor_config=HOURLY)
    check_in(day, "error", 120, monitor_config={"schedule": HOURLY["schedule"], "timezone": "Berlin"})
    assert monitor_row(day)["config"] == HOURLY
    assert environment(day)["status"] == "error"
    with day.stores.state.read() as connection:
        (told,) = passed_over(connection, datetime.now(UTC))
    assert "'Berlin'" in told["detail"]


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


def sync(day: Day, seconds: float) -> None:
    sync_monitors(day.stores.state, day.stores.config, day.at(seconds))


def incident_details(day: Day) -> list[str]:
    with day.stores.state.read() as connection:
        return list(connection.execute(select(incidents.c.detail).order_by(incidents.c.id)).scalars())


def monitor_row(day: Day, slug: str = "nightly") -> dict[str, Any]:
    with day.stores.state.read() as connection:
        return dict(connection.execute(select(monitors).where(monitors.c.slug == slug)).one()._mapping)


NIGHTLY = "monitors: [{slug: nightly, schedule: '0 * * * *', max_runtime_minutes: 10%s}]"


@pytest.mark.parametrize("then", [NIGHTLY % ", enabled: false", ""], ids=["disabled", "removed"])
def test_what_is_not_watched_any_more_alerts_nobody(day: Day, then: str) -> None:
    told = alerting(day, TOLD, NIGHTLY % "")
    sync(told, 0)
    check_in(told, "in_progress", 10)
    off = alerting(day, TOLD, then)
    sync(off, 60)
    later = off.at(20 * 60)
    assert monitors_due(off.stores, later) == 0
    assert check_monitors(off.stores, later).timed_out == 0
    assert check_monitors(off.stores, off.at(20_000)).due == 0
    assert (open_incidents(off), alert_rows(off.stores, off.project)) == ([], [])
    assert runs(off) == ["unknown"]


@pytest.mark.parametrize("then", [NIGHTLY % ", enabled: false", ""], ids=["disabled", "removed"])
def test_an_open_incident_of_what_is_not_watched_any_more_is_closed_without_a_word(
    day: Day, then: str
) -> None:
    told = alerting(day, TOLD, NIGHTLY % "")
    sync(told, 0)
    check_in(told, "error", 10)
    assert open_incidents(told) == ["error"]
    off = alerting(day, TOLD, then)
    sync(off, 60)
    assert open_incidents(off) == []
    assert incident_details(off)[0].endswith("Closed: the monitor is disabled or was removed.")
    assert [row["status"] for row in alert_rows(off.stores, off.project)] == ["firing"]
    assert len(outbox(off.stores, off.project)) == 1
    (group,) = list_groups(off.stores.state, off.stores.slugs, project_id=off.project)
    assert group["status"] == "resolved"
    assert (environment(off)["incident_id"], environment(off)["failures"]) == (None, 0)
    sync(told, 120)  # and when it is watched again, the next failure is one
    check_in(told, "error", 130)
    assert open_incidents(told) == ["error"]


def test_a_monitor_that_the_file_gave_up_comes_back_with_its_client(day: Day) -> None:
    told = alerting(day, TOLD, NIGHTLY % "")
    sync(told, 0)
    check_in(told, "ok", 10)
    gone = alerting(day, TOLD)
    sync(gone, 60)
    check_in(gone, "error", 70)  # undescribed: nobody watches it
    assert (monitor_row(gone)["status"], open_incidents(gone)) == ("disabled", [])
    check_in(gone, "error", 80, monitor_config=HOURLY)
    assert (monitor_row(gone)["status"], monitor_row(gone)["source"]) == ("active", "check_in")
    assert open_incidents(gone) == ["error"]
    sync(gone, 90)
    assert check_monitors(gone.stores, gone.at(3600 + 301)).missed == 1
    sync(told, 4000)
    assert monitor_row(told)["source"] == "file"


def test_a_disabled_monitor_is_not_brought_back_by_its_client(day: Day) -> None:
    told = alerting(day, TOLD, NIGHTLY % ", enabled: false")
    sync(told, 0)
    check_in(told, "error", 10, monitor_config=HOURLY)
    assert (monitor_row(told)["status"], open_incidents(told)) == ("disabled", [])


def test_jobs_of_a_project_that_is_gone_are_not_missed(day: Day) -> None:
    told = alerting(day, TOLD)
    sync(told, 0)
    check_in(told, "ok", 10, monitor_config=HOURLY)
    elsewhere = alerting(Day(day.stores, day.date, day.project + 1), TOLD)
    sync(elsewhere, 60)
    assert check_monitors(elsewhere.stores, day.at(20_000)).due == 0
    sync(told, 30_000)
    check_in(told, "error", 30_010, monitor_config=HOURLY)
    assert open_incidents(told) == ["error"]


def test_an_environment_that_the_file_does_not_name_any_more_is_not_expected(day: Day) -> None:
    named = alerting(day, TOLD, NIGHTLY % ", environments: [production, staging]")
    sync(named, 0)
    check_in(named, "ok", 10)
    assert check_monitors(named.stores, named.at(3600 + 61)).missed == 2
    fewer = alerting(day, TOLD, NIGHTLY % "")
    sync(fewer, 4000)
    assert len(open_incidents(fewer)) == 1  # of production, which has said something
    assert environment(fewer, name="staging")["next_at"] is None
    assert check_monitors(fewer.stores, fewer.at(2 * 3600 + 61)).missed == 1
    sync(named, 8000)
    assert environment(named, name="staging")["next_at"] == named.at(3 * 3600)


def test_two_clients_that_describe_a_job_differently_put_off_nothing_for_ever(alone: Day) -> None:
    day = alone  # nothing in it is a database's own, and the far one takes twice as long
    daily = {"schedule": {"type": "crontab", "value": "0 12 * * *"}}
    check_in(day, "ok", 60, environment="silent", monitor_config=HOURLY)
    for hour in range(1, 30):
        for minute, config in ((10, daily), (20, HOURLY), (50, daily)):
            at = hour * 3600 + minute * 60
            day.spool(
                day.receipt(
                    item(
                        "check_in",
                        {
                            "monitor_slug": "nightly",
                            "status": "ok",
                            "environment": "loud",
                            "monitor_config": config,
                        },
                    ),
                    seconds=at,
                )
            )
            day.drain()
            check_monitors(day.stores, day.at(at + 1))
    assert environment(day, name="silent")["status"] == "missed"
    assert environment(day, name="loud")["status"] == "ok"


def test_a_changed_description_leaves_due_what_is_due(day: Day) -> None:
    told = alerting(day, TOLD, NIGHTLY % ", margin_minutes: 10")
    sync(told, 0)
    check_in(told, "ok", 60)
    for second in range(3601, 4300, 100):  # somebody works on the file
        sync(alerting(day, TOLD, NIGHTLY % f", margin_minutes: {second // 100}"), second)
    assert environment(told)["next_at"] == told.at(3600)
    assert check_monitors(told.stores, told.at(4300)).missed == 1


def test_a_change_elsewhere_in_the_file_plans_nothing_anew(day: Day) -> None:
    every = "monitors: [{slug: nightly, schedule: {every: 2, unit: hour}, environments: [production]}%s]"
    told = alerting(day, TOLD, every % "")
    sync(told, 0)
    for hour in range(1, 5):
        sync(alerting(day, TOLD, every % f", {{slug: other{hour}, schedule: '@daily'}}"), hour * 1000)
    assert environment(told)["next_at"] == told.at(7200)


def test_what_is_described_as_rarer_is_not_missed_by_the_old_schedule(day: Day) -> None:
    told = alerting(day, TOLD, NIGHTLY % "")
    sync(told, 0)
    check_in(told, "ok", 60)
    sync(alerting(day, TOLD, "monitors: [{slug: nightly, schedule: '0 */6 * * *'}]"), 1000)
    assert environment(told)["next_at"] == told.at(6 * 3600)
    sync(told, 2 * 3600 + 100)  # more often again: not from when nobody said so
    assert environment(told)["next_at"] == told.at(3 * 3600)


def test_strangers_make_so_many_monitors_and_environments_and_no_more(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = "tasks_pipeline.monitors.registry"
    monkeypatch.setattr(f"{registry}.MAX_MONITORS", 5)
    monkeypatch.setattr(f"{registry}.MAX_ENVIRONMENTS", 3)
    monkeypatch.setattr(f"{registry}.MAX_IN_PROJECT", 9)
    day.spool(
        *(
            day.receipt(
                item(
                    "check_in",
                    {
                        "monitor_slug": f"job-{n % 8}",
                        "status": "ok",
                        "environment": f"e{n // 8}",
                        "monitor_config": HOURLY,
                    },
                ),
                seconds=n,
            )
            for n in range(40)
        )
    )
    day.drain()
    with day.stores.state.read() as connection:
        assert connection.execute(select(func.count()).select_from(monitors)).scalar_one() == 5
        assert connection.execute(select(func.count()).select_from(monitor_environments)).scalar_one() == 9
    assert len(day.rows("check_ins")) == 40
    assert noted(day) == {"check-ins above the limit": 31}
    check_in(day, "ok", 100, slug="job-0", environment="e0")  # those that are known go on
    assert environment(day, "job-0", "e0")["last_check_in_at"] == day.at(100)
    file = alerting(day, "", "monitors: [{slug: own, schedule: '@daily', environments: [a, b, c, d]}]")
    sync(file, 200)  # the file may name as many as it likes
    assert environment(file, "own", "d")["status"] == "waiting"


def noted(day: Day) -> dict[str, int]:
    with day.stores.state.read() as connection:
        return {row["kind"]: row["count"] for row in passed_over(connection, datetime.now(UTC))}


def test_the_group_of_a_monitor_is_looked_for_once(day: Day) -> None:
    check_in(day, "error", 10, monitor_config=HOURLY)
    assert sign_groups(day.stores.state, day.stores.lake) == 1
    assert sign_groups(day.stores.state, day.stores.lake) == 0
