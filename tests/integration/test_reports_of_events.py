"""Cases about groups and transactions from the receipt of events to the report: stored, decided about, counted, told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from tasks_pipeline.groups.decisions import assign_groups_to, ignore_groups, resolve_groups, unresolve_groups
from tasks_pipeline.groups.merging import merge_groups
from tasks_pipeline.home import Home
from tasks_pipeline.processing.drain import drain
from tasks_pipeline.protocol.envelope import Item
from tasks_pipeline.reports.generate import generate_analytics_report
from tasks_pipeline.reports.periods import period_of
from tasks_pipeline.reports.report import Report
from tasks_pipeline.storage.state.tables import group_actions, groups
from tasks_pipeline.stores import Stores, open_stores
from tests.support.day import damage
from tests.support.events import event, item, receipt
from tests.support.release_cases import cases

compute = pytest.importorskip("tasks_pipeline.analytics.statistics.compute")
PERSON = "anna@acme.example"
DAY = timedelta(days=1)


@pytest.fixture
def stores(home: Home) -> Iterator[Stores]:
    home.config_path.write_text(
        "projects: [{id: 1, slug: shop, keys: [{public_key: kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk}]}]"
    )
    with open_stores(home) as stores:
        yield stores


def take(stores: Stores, at: datetime, content: Item | dict[str, Any]) -> None:
    """Receive an event or a transaction at a moment, and process it."""
    with closing(stores.spool.writer()) as writer:
        writer.append([receipt(at, 1, content)])
    drain(stores, at.date(), linger_seconds=0)


def crash(stores: Stores, at: datetime, name: str) -> None:
    take(stores, at, event(f"Error{name}", timestamp=at.isoformat()))


def number_of(stores: Stores, name: str) -> int:
    with stores.state.read() as connection:
        query = select(groups.c.id).where(groups.c.title.startswith(f"Error{name}"))
        return int(connection.execute(query).scalar_one())


def act(stores: Stores, name: str, action: str, at: datetime) -> None:
    """Decide about a group, at a moment of the case's choice."""
    group = number_of(stores, name)
    with stores.state.read() as connection:
        last = connection.execute(select(func.max(group_actions.c.id))).scalar() or 0
    match action:
        case "resolve":
            resolve_groups(stores.state, [group], PERSON)
        case "ignore":
            ignore_groups(stores.state, [group], PERSON)
        case "unresolve" | "unignore":
            unresolve_groups(stores.state, [group], PERSON)
        case "assign":
            assign_groups_to(stores.state, [group], PERSON, "team:web")
        case "merge":
            other = number_of(stores, "A")
            merge_groups(stores.state, other, [group], PERSON)
        case _:
            assert action == "regress"
            crash(stores, at, name)
    with stores.state.write() as connection:
        connection.execute(update(group_actions).where(group_actions.c.id > last).values(at=at))
        if action not in ("assign", "merge"):
            connection.execute(update(groups).where(groups.c.id == group).values(status_changed_at=at))


def told(stores: Stores, start: datetime, end: datetime, first: datetime) -> Report:
    """The report of a week, from the figures of all days since the first."""
    days = [first.date() + n * DAY for n in range((end.date() - first.date()).days + 1)]
    now = datetime.now(UTC)
    compute.compute_statistics(stores, days, now)
    assert end - start == 7 * DAY
    return generate_analytics_report(stores, period_of("week", start.date(), "UTC"), "project:shop", now)


@cases("figures", "groups")
def test_groups(case: dict[str, Any], stores: Stores) -> None:
    steps = [(datetime.fromisoformat(g["created_at"]), "", g["id"]) for g in case["groups"]]
    steps += [(datetime.fromisoformat(a["at"]), a["action"], a["group"]) for a in case["actions"]]
    for at, action, name in sorted(steps):
        if action:
            act(stores, name, action, at)
        else:
            crash(stores, at, name)
    start, end = (datetime.fromisoformat(case[bound]) for bound in ("start", "end"))
    found = told(stores, start, end, min(steps)[0])
    expected = dict(case["expect"])
    for part in ("first_response", "resolution"):
        spread = getattr(found.groups.balance, part)
        for name, value in expected.pop(part).items():
            assert getattr(spread, name) == value, (part, name)
    assert {name: getattr(found.groups.balance, name) for name in expected} == expected
    assert found.figures["open_groups"] == expected["open_at_end"]
    assert found.books.balanced


@cases("figures", "transactions")
def test_transactions(case: dict[str, Any], stores: Stores) -> None:
    monday = datetime(2026, 11, 16, tzinfo=UTC)
    crash(stores, monday, "A")
    for number, row in enumerate(case["transactions"]):
        began = monday + timedelta(hours=number)
        ended = began + timedelta(milliseconds=row["duration_ms"])
        trace = {"trace_id": f"{number + 1:032x}", "span_id": f"{number + 1:016x}", "op": "http.server"}
        if row["status"] is not None:
            trace["status"] = row["status"]
        payload = {
            "type": "transaction", "event_id": f"{number + 1:032x}", "transaction": "GET /", "contexts": {"trace": trace},
            "start_timestamp": began.isoformat(), "timestamp": ended.isoformat(), "spans": [],
        }  # fmt: skip
        take(stores, ended, item("transaction", payload))
    found = told(stores, monday, monday + 7 * DAY, monday).transactions
    expected = case["expect"]
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected)


def test_a_day_of_the_report_is_a_date(stores: Stores) -> None:
    monday = datetime(2026, 11, 16, tzinfo=UTC)
    crash(stores, monday, "A")
    found = told(stores, monday, monday + 7 * DAY, monday)
    assert (found.key, found.figures["errors"], found.groups.new[0].events) == (date(2026, 11, 16), 1, 1)


def test_lost_figures_are_not_taken_for_discarded_events(stores: Stores) -> None:
    """Whatever else was done to the days of a report, its errors are those that are there."""
    monday = datetime(2026, 11, 16, tzinfo=UTC)
    for n in range(3):
        crash(stores, monday + n * DAY, "A")
    crash(stores, monday, "B")
    act(stores, "B", "merge", monday + timedelta(hours=1))
    assert told(stores, monday, monday + 7 * DAY, monday).books.balanced
    damage(stores, "DELETE FROM stored.event_stats WHERE day = DATE '2026-11-16'")
    week = period_of("week", monday.date(), "UTC")
    found = generate_analytics_report(stores, week, "organisation", datetime.now(UTC))
    assert (found.books.stored, found.books.gone, found.books.balanced) == (4, 2, False)
