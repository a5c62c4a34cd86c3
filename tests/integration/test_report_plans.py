"""What is asked of reports all day finds its rows by an index, and costs the same after years of reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import insert, select

from tasks_pipeline.analytics.statistics.days import closed_due
from tasks_pipeline.config import parse_config
from tasks_pipeline.home import Home
from tasks_pipeline.notifications.subscriptions import ADVERBS, decide, decisions
from tasks_pipeline.reports.deliver import deliver_reports
from tasks_pipeline.reports.deliveries import (
    counts_since,
    deliveries_of,
    next_delivery,
    twice_told,
    without_row,
)
from tasks_pipeline.reports.due import reports_due
from tasks_pipeline.reports.due_deliveries import look, plan, revised
from tasks_pipeline.storage.state import tables as t
from tasks_pipeline.stores import Stores, open_stores
from tests.support.plans import counted_steps, recorded, scans
from tests.support.report_values import WEEK, report_value, store_report

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
CONFIG = """
projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]
channels: [{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]
members: [{email: anna@acme.example, notifications: {channel: hook}, reports: {daily: true, monthly: true}}]
reports: {mail_revisions_above: 10}
"""
YEARS = 3_000


def history(stores: Stores) -> None:
    """Rows of long ago, with their messages and reports."""
    old = datetime(2018, 1, 1, tzinfo=UTC)
    days = [date(2010, 1, 1) + timedelta(days=n) for n in range(YEARS)]
    message = {
        "type": "report", "project_id": 0, "target": "member:old@acme.example", "channel": "hook", "thread": "t", "data": {},
        "status": "sent", "created_at": old, "not_before": old, "sent_at": old,
    }  # fmt: skip
    report = {"kind": "day", "scope": "organisation", "zone": "UTC", "label": "", "start": old, "end": old, "revision": 1, "checked_at": old}  # fmt: skip
    row = {
        "kind": "day",
        "target": "member:old@acme.example",
        "due_at": old,
        "decided_at": old,
        "revision": 1,
    }
    revision = {
        "revision": 1, "digest": "", "computed_at": old, "final": True, "code_version": "", "zones_version": "", "inputs": {},
        "changes": [], "files": {},
    }  # fmt: skip
    with stores.state.write() as connection:
        connection.execute(
            insert(t.notifications), [{**message, "key": f"old{n}", "id": 10_000 + n} for n in range(YEARS)]
        )
        connection.execute(
            insert(t.reports), [{**report, "key": day, "id": 10_000 + n} for n, day in enumerate(days)]
        )
        connection.execute(
            insert(t.report_revisions), [{**revision, "report_id": 10_000 + n} for n in range(YEARS)]
        )
        connection.execute(
            insert(t.statistics_days), [version_of_yesterday(number) for number in range(2, YEARS)]
        )
        connection.execute(
            insert(t.report_deliveries),
            [{**row, "key": day, "notification_id": 10_000 + n} for n, day in enumerate(days)],
        )


def version_of_yesterday(number: int) -> dict[str, object]:
    """As each merge of groups makes one of all their days."""
    at = NOW - timedelta(hours=6)
    return {
        "day": NOW.date() - timedelta(days=1), "version": number, "digest": f"{number:064}", "tables": {}, "causes": ["regrouped"],
        "seen": {}, "computed_at": at, "checked_at": at, "closed": True,
    }  # fmt: skip


def steps_of(stores: Stores) -> dict[str, Callable[[], object]]:
    """A tick of the sensor, a run, its checks, and commands."""
    state, config = stores.state, stores.config

    def asked(question: Callable[..., object], *more: object) -> Callable[[], object]:
        def ask() -> object:
            with state.read() as connection:
                return question(connection, *more)

        return ask

    def decided() -> None:
        with state.write() as connection:
            decide(state, connection, "anna@acme.example", "day", True, "command", NOW)

    return {
        "reports due": lambda: reports_due(state, stores.spool, config, NOW, NOW - timedelta(hours=2)),
        "days due": asked(closed_due, [], NOW),
        "plan": lambda: plan(stores, NOW),
        "look": lambda: look(state, config, NOW),
        "deliver": lambda: deliver_reports(stores, NOW),
        "next": asked(next_delivery, config, NOW),
        "revised": asked(revised, config, NOW),
        "counts": asked(counts_since, WEEK),
        "checks": asked(without_row, config, NOW),
        "twice": asked(twice_told, NOW - timedelta(days=35)),
        "of a member": asked(decisions, "anna@acme.example"),
        "decide": decided,
        "period": asked(
            lambda c: [deliveries_of(c, kind, WEEK, target="member:anna@acme.example") for kind in ADVERBS]
        ),
    }


def test_nothing_is_read_from_end_to_end_and_history_costs_nothing(
    any_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Asked once for each period that ended, and by the service when it starts.
    for module in ("due", "due_deliveries"):
        monkeypatch.setattr(
            f"tasks_pipeline.reports.{module}.first_day", lambda _state, _spool: date(2026, 1, 1)
        )
    with open_stores(any_home) as opened:
        stores = replace(opened, config=parse_config(CONFIG))
        store_report(stores, report_value())
        with stores.state.write() as connection:
            connection.execute(insert(t.statistics_days), [version_of_yesterday(1)])
        with recorded(stores.state) as statements:
            for step in steps_of(stores).values():
                step()
        if stores.state.is_sqlite:
            with counted_steps(stores.state) as steps:
                before = {}
                for name, step in steps_of(stores).items():
                    steps()
                    step()
                    before[name] = steps()
        history(stores)
        assert scans(stores.state, statements) == []
        with stores.state.read() as connection:
            put = connection.execute(
                select(t.notifications.c.key).where(t.notifications.c.id < 10_000)
            ).scalars()
            assert list(put) == ["report:weekly:2026-11-16:anna@acme.example"]
        if stores.state.is_sqlite:
            with counted_steps(stores.state) as steps:
                grown = {}
                for name, step in steps_of(stores).items():
                    steps()
                    step()
                    if (now := steps()) > 1.3 * before[name] + 50:
                        grown[name] = (before[name], now)
            assert grown == {}
