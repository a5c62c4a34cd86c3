"""The Dagster side of deliveries: the sensor says what it waits for, a run puts messages, checks count, commands tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from tasks_pipeline.cli import main
from tasks_pipeline.commands.reports.wanted import reports_of
from tasks_pipeline.definitions import build_defs
from tasks_pipeline.home import Home
from tasks_pipeline.reports.by_hand import send_by_hand
from tasks_pipeline.reports.deliver import deliver_reports
from tasks_pipeline.reports.periods import period_at
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.report_deliveries import report_deliveries_sensor
from tasks_pipeline.stores import open_stores
from tests.support.alerting import outbox
from tests.support.day import Day
from tests.support.events import event
from tests.support.report_values import WEEK, report_value, store_report

NOW = datetime.now(UTC)
YESTERDAY = period_at("day", NOW, "UTC").previous()
ANNA = "anna@acme.example"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def write(
    home: Home,
    members: str = f"members: [{{email: {ANNA}, reports: {{daily: true, weekly: false, at: '00:00'}}}}]",
) -> None:
    home.config_path.write_text(
        "projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]\n"
        "channels: [{name: mail, type: mail, host: 127.0.0.1, port: 9, security: none, sender: e@acme.example}]\n"
        f"{members}\n"
    )


def tick(home: Home, instance: dg.DagsterInstance) -> dg.SensorResult | dg.SkipReason:
    resources = {"stores": StoresResource(home=str(home.root))}
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        result = report_deliveries_sensor(context)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def said(result: dg.SensorResult | dg.SkipReason) -> str:
    assert isinstance(result, dg.SkipReason)
    return result.skip_message or ""


def run(home: Home, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    defs = build_defs({"stores": StoresResource(home=str(home.root))})
    return defs.resolve_job_def("deliver_reports").execute_in_process(instance=instance, raise_on_error=False)


def received(home: Home) -> None:
    with open_stores(home) as stores:
        day = Day(stores, (NOW - timedelta(days=2)).date(), 1)
        day.spool(day.receipt(event("Boom")))


def test_a_tick_says_what_it_waits_for_and_starts_a_run_for_what_is_due(
    home: Home, instance: dg.DagsterInstance
) -> None:
    write(home, "")
    assert said(tick(home, instance)) == "nobody is subscribed"
    write(home)
    received(home)
    waiting = said(tick(home, instance))
    assert waiting.startswith(
        f"1 are due and wait until the daily report of {YESTERDAY.key} is computed; the next one is due at "
    )
    assert waiting.endswith(f", to member:{ANNA}")
    with open_stores(home) as stores:
        store_report(stores, report_value("day", YESTERDAY.key))
    found = tick(home, instance)
    assert isinstance(found, dg.SensorResult)
    result = run(home, instance)
    assert result.success
    (one,) = result.asset_materializations_for_node("report_deliveries")
    figures = {name: value.value for name, value in one.metadata.items()}
    assert (figures["put"], figures["waiting"], figures["lately_waiting"]) == (1, 0, 1)
    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert checks == {"all_subscribers_accounted_for": True, "one_message_each": True}
    assert said(tick(home, instance)).startswith("the next one is due at ")


def test_a_run_for_what_failed_is_not_started_again_at_once(
    home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home)
    received(home)
    with open_stores(home) as stores:
        store_report(stores, report_value("day", YESTERDAY.key))
    from tasks_pipeline.reports.rendering import mail

    def broken(*args: object, **options: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(mail, "mail_html", broken)
    assert isinstance(tick(home, instance), dg.SensorResult)
    assert not run(home, instance).success
    assert said(tick(home, instance)).startswith("1 could not be composed, another run is tried after ")
    more = f"members: [{{email: {ANNA}, reports: {{daily: true, weekly: false, at: '00:00'}}}}, {{email: b@acme.example, reports: {{daily: true, weekly: false, at: '00:00'}}}}]"  # fmt: skip
    write(home, more)
    assert isinstance(tick(home, instance), dg.SensorResult)  # nobody else waits for it


def test_a_run_that_dies_is_tried_again_later_with_all_that_it_had_to_do(
    home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with revisions, for which nothing else would start one."""
    write(home)
    with home.config_path.open("a") as file:
        file.write("reports: {mail_revisions_above: 20}\n")
    received(home)
    with open_stores(home) as stores:
        store_report(stores, report_value("day", YESTERDAY.key))
        deliver_reports(stores, NOW)
        more = {**report_value().figures, "errors": 5000}
        store_report(stores, report_value("day", YESTERDAY.key, revision=2, figures=more))
    assert isinstance(tick(home, instance), dg.SensorResult)

    def away(*args: object, **options: object) -> None:
        raise OSError

    with monkeypatch.context() as patched:
        patched.setattr("tasks_pipeline.reports.deliver.tell_revision", away)
        assert not run(home, instance).success
    assert "reports were revised; run " in said(tick(home, instance))
    with monkeypatch.context() as patched:
        patched.setattr("tasks_pipeline.sensors.report_deliveries.PAUSE", timedelta())
        assert isinstance(tick(home, instance), dg.SensorResult)
    assert run(home, instance).success
    assert said(tick(home, instance)).startswith("the next one is due at ")
    with open_stores(home) as stores:
        assert [row["key"].rpartition(ANNA)[2] for row in outbox(stores, 0)] == ["", ":revision:2"]


def test_what_is_over_and_has_no_row_yet_is_due_next(home: Home) -> None:
    """Between the end of a period and the first tick after it."""
    write(home, f"members: [{{email: {ANNA}}}]")
    end = datetime(2026, 11, 23, tzinfo=UTC)
    with open_stores(home) as stores:
        (anna,) = stores.config.members

        def due(hours: float) -> object:
            rows = reports_of(stores.config, stores.state, anna, end + timedelta(hours=hours))
            return next(row["next_due"] for row in rows if row["report"] == "weekly")

        this, following = end + timedelta(hours=8), end + timedelta(days=7, hours=8)
        assert [due(hours) for hours in (-1, 0.1, 9, 24 * 4)] == [this, this, this, following]
        store_report(stores, report_value())
        assert [each.put for each in send_by_hand(stores, "week", WEEK, end)] == [True]
        assert due(0.1) == following


def test_commands_say_who_gets_what_and_write_files(home: Home, tmp_path: Path) -> None:
    write(home)
    with open_stores(home) as stores:
        store_report(stores, report_value("day", YESTERDAY.key))

    def call(*words: str, fails: bool = False) -> str:
        result = CliRunner().invoke(main, ["--home", str(home.root), *words])
        assert (result.exit_code != 0) == fails, result.output
        return result.output

    key = YESTERDAY.key.isoformat()
    assert f"member:{ANNA}" in call("reports", "send", "day", key)
    (again,) = json.loads(call("reports", "send", "daily", key, "--json"))
    assert (again["put"], again["said"].partition(" since")[0]) == (False, "waiting")
    assert "there is no member:x" in call("reports", "send", "day", key, "--to", "x", fails=True)
    assert "no kind of period" in call("reports", "send", "year", key, fails=True)

    assert "gets no daily report any more" in call("reports", "unsubscribe", ANNA, "daily")
    assert "that was so before" in call("reports", "unsubscribe", ANNA, "day")
    assert "unsubscribed" in call("reports", "send", "day", key)
    call("reports", "subscribe", ANNA, "monthly")
    assert "there is no member" in call("reports", "subscribe", "x@acme.example", "daily", fails=True)
    shown = {row["report"]: row for row in json.loads(call("members", "show", ANNA, "--json"))["reports"]}
    assert [(row["wanted"], row["decided_by"].partition(" ")[0]) for row in shown.values()] == [
        ("no", "command"), ("no", "file"), ("yes", "command"),
    ]  # fmt: skip
    assert shown["daily"]["last"] == f"{key}: skipped"  # it waited when she had enough of them

    for form, name in (
        ("json", "report.json"),
        ("html", "report.html"),
        ("csv", "groups.csv"),
        ("parquet", "figures.parquet"),
    ):
        call("reports", "export", "day", key, "--format", form, "--to", str(tmp_path / "out"))
        assert (tmp_path / "out" / f"day-{key}-{name}").stat().st_size > 500
    assert "there is no report week 2020-01-06" in call("reports", "export", "week", "2020-01-06", fails=True)
    assert "no team" in call("reports", "export", "day", key, "--scope", "team:x", fails=True)
