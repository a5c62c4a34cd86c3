"""What a batch tells rules and monitors: one change, check-in or rule that raises costs itself, never the batch."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from tasks_pipeline.alerts.windows import evaluate_windows
from tasks_pipeline.monitors.check import check_monitors, judge
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.state.passed_over import each_alone, note_passed_over, passed_over
from tasks_pipeline.storage.state.tables import (
    batches,
    monitor_check_ins,
    monitor_environments,
    monitors,
    probes,
)
from tasks_pipeline.stores import Stores
from tasks_pipeline.watch.probes import of_passed_over
from tests.support.alerting import alert_rows, alerting, outbox
from tests.support.day import Day
from tests.support.events import event as an_event
from tests.support.events import item

HOURLY = {"schedule": {"type": "crontab", "value": "0 * * * *"}}
TOLD = "channels: [{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]\n"
TWO_RULES = TOLD + (
    "alert_rules: [{name: broken, when: [new_group], notify: ['channel:hook'], if: {all: [{level: error}]}}, "
    "{name: whole, when: [new_group], notify: ['channel:hook']}]\n"
)


@pytest.fixture
def day(own_day: Day) -> Day:
    """In stores of its own: the watch looks at everything that was passed over."""
    return own_day


def check_in(slug: str, status: str = "ok", **fields: Any) -> Any:
    payload = {"monitor_slug": slug, "status": status, **fields}
    return item("check_in", json.dumps(payload).encode())  # which escapes what UTF-8 does not know


def send(day: Day, *items: Any) -> None:
    """Put items into the spool, an envelope each, and process them as one batch."""
    day.spool(*(day.receipt(each, seconds=60 + n) for n, each in enumerate(items)))
    day.drain()


def states(day: Day) -> dict[str, str]:
    query = select(monitors.c.slug, monitor_environments.c.status).join(
        monitor_environments, monitor_environments.c.monitor_id == monitors.c.id
    )
    with day.stores.state.read() as connection:
        return {row.slug: row.status for row in connection.execute(query)}


def change_monitor(day: Day, slug: str, **values: Any) -> None:
    with day.stores.state.write() as connection:
        connection.execute(update(monitors).where(monitors.c.slug == slug).values(**values))


def done(day: Day) -> bool:
    with day.stores.state.read() as connection:
        found = connection.execute(
            select(batches.c.status, batches.c.attempt).where(batches.c.day == day.date)
        )
        return {tuple(row) for row in found} == {("done", 1)}


def noted(stores: Stores, now: datetime | None = None) -> dict[str, int]:
    with stores.state.read() as connection:
        return {row["kind"]: row["count"] for row in passed_over(connection, now or datetime.now(UTC))}


@contextmanager
def statements(stores: Stores) -> Iterator[list[str]]:
    """The statements that the state database gets."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(stores.state.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(stores.state.engine, "before_cursor_execute", note)


def raising_for(rule: Any, original: Callable[..., bool]) -> Callable[..., bool]:
    def matches(conditions: Any, *args: Any) -> bool:
        if conditions == rule.conditions:
            raise ValueError("a condition nobody foresaw")
        return original(conditions, *args)

    return matches


@pytest.mark.parametrize(
    "fields",
    [
        {"duration": 1e12},
        {"duration": 1e300},
        {"duration": 10**30},
        {"monitor_config": {"schedule": {"type": "crontab", "value": "0 0 31 2 *"}}},
        {"monitor_config": {"schedule": {"type": "interval", "value": 100_000, "unit": "year"}}},
        {"monitor_config": {"schedule": {"type": "interval", "value": 10**18, "unit": "month"}}},
        {"monitor_config": {**HOURLY, "owner": "a\0b\ud800", "checkin_margin": 40_320}},
        {"environment": "prod\0\udfff", "release": "x\0"},
    ],
)
def test_numbers_and_texts_of_strangers_stop_no_batch(day: Day, fields: dict[str, Any]) -> None:
    hostile = check_in("odd", **{"monitor_config": HOURLY, **fields})
    send(day, check_in("first", monitor_config=HOURLY), hostile, check_in("last", monitor_config=HOURLY))
    send(day, item("event", an_event("After")))
    assert done(day)
    assert (states(day)["first"], states(day)["last"]) == ("ok", "ok")
    assert len(day.groups()) == 1
    day.assert_balanced()


def test_a_check_in_that_raises_costs_itself_and_is_told(day: Day, caplog: pytest.LogCaptureFixture) -> None:
    told = alerting(day, TOLD)
    send(told, *(check_in(slug, monitor_config=HOURLY) for slug in ("a", "b", "c")))
    change_monitor(
        told, "b", config={**HOURLY, "timezone": "Gone/Nowhere"}
    )  # as when the system's zones shrink
    with caplog.at_level(logging.ERROR):
        send(
            told,
            check_in("a", "error"),
            check_in("b", "error"),
            item("event", an_event()),
            check_in("c", "error"),
        )
    assert done(told)
    assert states(told) == {"a": "error", "b": "ok", "c": "error"}
    assert len(told.groups()) == 3  # of the event, and of two incidents
    assert noted(told.stores) == {"check-ins": 1}
    reading = of_passed_over(told.stores, datetime.now(UTC))
    assert (reading.status, reading.value) == ("warning", 1)
    assert "a check-in of b of project 1000: ZoneInfoNotFoundError" in reading.detail
    assert [r.message for r in caplog.records if "passed over" in r.message] != []
    assert len(told.rows("check_ins")) == 6


def test_an_error_of_the_database_about_one_check_in_leaves_the_others(day: Day) -> None:
    """On PostgreSQL such an error undoes everything since the last savepoint."""
    send(day, *(check_in(slug, monitor_config=HOURLY) for slug in ("a", "b", "c")))
    with day.stores.state.write() as connection:
        of_b = select(monitors.c.id).where(monitors.c.slug == "b")
        full = update(monitor_environments).where(monitor_environments.c.monitor_id.in_(of_b))
        connection.execute(full.values(failures=2**31 - 1))  # one more is no number there
    send(day, *(check_in(slug, "error") for slug in ("a", "b", "c")), item("event", an_event()))
    assert done(day)
    assert (states(day)["a"], states(day)["c"]) == ("error", "error")
    assert noted(day.stores) == ({} if day.stores.state.is_sqlite else {"check-ins": 1})
    day.assert_balanced()


def test_a_batch_of_nothing_but_bad_check_ins_is_done_and_logs_little(
    day: Day, caplog: pytest.LogCaptureFixture
) -> None:
    send(day, check_in("bad", monitor_config=HOURLY))
    change_monitor(day, "bad", config={**HOURLY, "timezone": "Gone/Nowhere"})
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            send(day, *(check_in("bad", "error") for _ in range(40)))
    assert done(day)
    assert noted(day.stores) == {"check-ins": 120}
    lines = [record for record in caplog.records if "passed over" in record.message]
    assert len(lines) == 1


def test_what_is_no_fault_of_a_row_is_passed_on(own: Stores) -> None:
    """A database that is away has to fail the batch, so that it is done again."""
    applied: list[int] = []

    def lost(connection: Connection) -> Callable[[Any], None]:
        def apply(rows: Any) -> None:
            applied.extend(rows)
            if own.state.is_sqlite:
                connection.execute(text("PRAGMA query_only = ON"))
                connection.execute(probes.delete())
            else:
                connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

        return apply

    with pytest.raises(SQLAlchemyError), own.state.write() as connection:
        each_alone(connection, [1, 2, 3], lost(connection))
    assert applied == [1, 2, 3]  # and not one by one


@pytest.mark.parametrize("error", [OSError("disk"), MemoryError()])
def test_nor_is_a_full_disk_or_memory(own: Stores, error: Exception) -> None:
    def apply(_rows: Any) -> None:
        raise error

    with pytest.raises(type(error)), own.state.write() as connection:
        each_alone(connection, [1, 2], apply)


def test_rows_apart_keep_what_was_written_before_and_in_order(own: Stores) -> None:
    written: list[list[int]] = []

    def apply(connection: Connection, rows: Any) -> list[int]:
        for number in rows:
            note_passed_over(own.state, connection, f"row {number}", [("x", ValueError())], datetime.now(UTC))
            if number == 2:
                connection.execute(probes.insert().values(name="passed_over:row 2"))  # a key that is taken
        return list(rows)

    with own.state.write() as connection:
        note_passed_over(own.state, connection, "before", [("x", ValueError())], datetime.now(UTC))
        written, failed = each_alone(connection, [1, 2, 3], lambda rows: apply(connection, rows))
    assert written == [[1], [3]]
    assert [row for row, _ in failed] == [2]
    assert noted(own) == {"before": 1, "row 1": 1, "row 3": 1}


def test_failures_are_counted_for_an_hour(own: Stores) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for minutes in (0, 30, 59):
        with own.state.write() as connection:
            at = now + timedelta(minutes=minutes)
            note_passed_over(own.state, connection, "rules", [("r", ValueError("v"))] * 2, at)
    assert noted(own, now + timedelta(minutes=59)) == {"rules": 6}
    with own.state.write() as connection:
        later = now + timedelta(minutes=61)
        note_passed_over(own.state, connection, "rules", [("r", ValueError("v"))], later)
    assert noted(own, later) == {"rules": 1}
    assert noted(own, later + timedelta(hours=2)) == {}
    assert of_passed_over(own, later + timedelta(hours=2)).status == "ok"


def test_a_rule_that_raises_costs_itself(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks_pipeline.alerts import evaluate

    told = alerting(day, TWO_RULES)
    broken = raising_for(told.stores.config.alert_rules[0], evaluate.matches)
    monkeypatch.setattr("tasks_pipeline.alerts.evaluate.matches", broken)
    told.send(an_event("A"), an_event("B"))
    told.drain()
    assert done(told)
    assert [row["rule"] for row in alert_rows(told.stores, told.project)] == ["whole", "whole"]
    assert noted(told.stores) == {"rules": 2}


def test_a_change_that_cannot_be_told_costs_itself(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks_pipeline.alerts import evaluate

    told = alerting(day, TOLD + "alert_rules: [{name: all, when: [new_group], notify: ['channel:hook']}]\n")
    original = evaluate.fire

    def fire(state: Any, connection: Any, config: Any, firings: Any, now: Any) -> Any:
        ids = original(state, connection, config, firings, now)
        if any(f.data["title"].startswith("B") for f in firings):
            raise KeyError("nobody foresaw this title")
        return ids

    monkeypatch.setattr("tasks_pipeline.alerts.evaluate.fire", fire)
    told.send(an_event("A"), an_event("B"), an_event("C"))
    told.drain()
    assert done(told)
    titles = [row["data"]["title"] for row in alert_rows(told.stores, told.project)]
    assert [title[0] for title in titles] == ["A", "C"]
    assert len(outbox(told.stores, told.project)) == 2
    assert noted(told.stores) == {"changes of groups": 1}


def test_targets_that_cannot_be_made_out_cost_their_message(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks_pipeline.alerts import fire

    told = alerting(day, TWO_RULES)
    original = fire.routes

    def routes(*args: Any, **facts: Any) -> Any:
        if facts["rule"] == "broken":
            raise ValueError("a glob nobody foresaw")
        return original(*args, **facts)

    monkeypatch.setattr("tasks_pipeline.alerts.fire.routes", routes)
    told.send(an_event("A"))
    told.drain()
    assert {row["rule"] for row in alert_rows(told.stores, told.project)} == {"broken", "whole"}
    assert [row["rule"] for row in outbox(told.stores, told.project)] == ["whole"]
    assert noted(told.stores) == {"targets of rules": 1}


def test_owners_are_found_without_reading_back_what_was_stored(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = alerting(
        day,
        "channels: [{name: mail, type: mail, host: localhost, sender: e@acme.example}]\n"
        "members: [{email: anna@acme.example}]\nalert_rules: [{name: all, when: [new_group], notify: [owners]}]\n",
        "ownership: [{path: 'shop/**', owners: [anna@acme.example]}]",
    )
    asked: list[str] = []
    query = Lake.query

    def noting(lake: Lake, sql: str, *args: Any) -> Any:
        asked.append(sql)
        return query(lake, sql, *args)

    monkeypatch.setattr(Lake, "query", noting)
    told.send(*(an_event(f"Kind{chr(65 + n)}") for n in range(20)))
    told.drain()
    assert [row["target"] for row in outbox(told.stores, told.project)] == ["member:anna@acme.example"] * 20
    assert [sql for sql in asked if "event_payloads" in sql] == []


def test_the_latest_release_is_looked_up_once_for_a_batch(day: Day) -> None:
    told = alerting(
        day,
        TOLD
        + "alert_rules: [{name: r, when: [new_group], notify: ['channel:hook'], if: {all: [{release: latest}]}}]\n",
    )
    told.send(*(an_event(f"Kind{chr(65 + n)}", release=f"shop@1.0.{n}") for n in range(12)))
    with statements(told.stores) as seen:
        told.drain()
    assert len(alert_rows(told.stores, told.project)) == 1
    assert len([s for s in seen if s.startswith("SELECT releases.version") and "LIMIT" in s]) == 2


def test_a_batch_without_trouble_takes_one_savepoint_for_all(day: Day) -> None:
    told = alerting(day, TOLD)
    told.spool(
        *(told.receipt(an_event(f"Kind{chr(65 + n)}"), seconds=n) for n in range(20)),
        *(told.receipt(check_in("job", monitor_config=HOURLY), seconds=30 + n) for n in range(20)),
    )
    with statements(told.stores) as seen:
        told.drain()
    assert len([s for s in seen if s.startswith("SAVEPOINT")]) == 2


def test_a_failing_look_at_windows_fails_no_drain(
    own: Stores, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rules = TOLD + (
        "alert_rules: [{name: timed, when: [{type: events, count: 1, window_minutes: 60}], notify: ['channel:hook']}]\n"
    )
    today = alerting(Day(own, datetime.now(UTC).date(), 1000), rules)

    def fails(*_: object) -> None:
        raise RuntimeError("nothing can be looked at")

    monkeypatch.setattr("tasks_pipeline.processing.drain.evaluate_windows", fails)
    monkeypatch.setattr("tasks_pipeline.processing.drain.WINDOWS_SECONDS", 0)
    with caplog.at_level(logging.ERROR):
        sent = [today.send(an_event("A"))[0] for _ in range(3)]
        report = today.configured(batch_envelopes=1).drain()
    assert (report.batches, report.counts["stored"]) == (3, 3)
    today.assert_stored_once(sent)
    assert noted(own) == {"looks at windows": 3}
    assert len([r for r in caplog.records if "windows" in r.message]) == 1


def test_a_rule_about_windows_that_raises_costs_itself(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks_pipeline.alerts import windows

    timed = "when: [{type: events, count: 1, window_minutes: 10}], notify: ['channel:hook']"
    told = alerting(
        day,
        TOLD
        + f"alert_rules: [{{name: broken, {timed}, if: {{all: [{{level: error}}]}}}}, {{name: whole, {timed}}}]\n",
    )
    told.send(an_event("A"))
    told.drain()
    broken = raising_for(told.stores.config.alert_rules[0], windows.matches)
    monkeypatch.setattr("tasks_pipeline.alerts.windows.matches", broken)
    assert len(evaluate_windows(told.stores, told.at(60))) == 1
    assert [row["rule"] for row in alert_rows(told.stores, told.project)] == ["whole"]
    assert noted(told.stores, told.at(60)) == {"rules": 1}


def test_a_monitor_that_cannot_be_judged_costs_itself(day: Day) -> None:
    send(day, *(check_in(slug, monitor_config=HOURLY) for slug in ("a", "b", "c")))
    change_monitor(day, "b", config={**HOURLY, "timezone": "Gone/Nowhere"})
    late = day.at(2 * 3600)
    report = check_monitors(day.stores, late)
    assert (report.due, report.missed, report.opened) == (3, 2, 2)
    assert states(day) == {"a": "missed", "b": "ok", "c": "missed"}
    assert noted(day.stores, late) == {"monitors": 1}
    assert check_monitors(day.stores, late + timedelta(seconds=1)).due == 0  # it is not tried each second
    assert check_monitors(day.stores, late + timedelta(minutes=61)).due == 3


def test_a_run_that_cannot_time_out_costs_itself(day: Day) -> None:
    send(day, *(check_in(slug, "in_progress", monitor_config=HOURLY) for slug in ("a", "b", "c")))
    change_monitor(day, "b", config={**HOURLY, "max_runtime": "soon"})
    late = day.at(40 * 60)
    report = check_monitors(day.stores, late)
    assert (report.timed_out, report.opened) == (2, 2)
    assert noted(day.stores, late) == {"monitors": 1}
    assert check_monitors(day.stores, late).timed_out == 0


def test_a_year_of_silence_is_judged_in_one_go(day: Day) -> None:
    every_minute = {"schedule": {"type": "interval", "value": 1, "unit": "minute"}}
    send(day, check_in("busy", monitor_config=every_minute))
    with statements(day.stores) as seen:
        report = check_monitors(day.stores, day.at(366 * 86_400))
    assert (report.due, report.missed) == (1, 1)
    assert len(seen) < 60
    with day.stores.state.read() as connection:
        runs = connection.execute(select(monitor_check_ins.c.status)).scalars().all()
    assert sorted(runs) == ["missed", "ok"]


def test_judging_reads_and_writes_nothing() -> None:
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    row = {
        "id": 1, "next_at": now - timedelta(hours=1), "late_at": now - timedelta(minutes=59), "incident_id": None,
        "failures": 0, "m_config": HOURLY, "m_slug": "a", "m_project_id": 1, "environment": "production",
    }  # fmt: skip
    broken = {**row, "m_config": {"schedule": {"type": "interval", "value": None, "unit": "hour"}}}
    plans, troubles = judge([row, broken, row], now, None)
    assert [(plan.following, plan.opens) for plan in plans] == [(now, True)] * 2
    assert [type(error) for _, error in troubles] == [TypeError]
