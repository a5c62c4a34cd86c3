"""Who hears of a report that came out otherwise, of what, and what keeps whom from it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, update

from tasks_pipeline.config import parse_config
from tasks_pipeline.notifications.outbox import NewNotification, put_notifications
from tasks_pipeline.notifications.subscriptions import decide
from tasks_pipeline.reports.by_hand import send_by_hand
from tasks_pipeline.reports.composing import Composer
from tasks_pipeline.reports.deliver import deliver_reports
from tasks_pipeline.reports.deliveries import deliveries_of, twice_told
from tasks_pipeline.reports.due_deliveries import look, revised
from tasks_pipeline.reports.report import Report
from tasks_pipeline.reports.store import JSON_FILE, ReportMissing, read_report
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import report_revisions
from tasks_pipeline.stores import Stores
from tests.support.alerting import outbox
from tests.support.day import Day
from tests.support.report_values import WEEK, report_value, store_report

END = datetime(2026, 11, 23, tzinfo=UTC)
MORNING = END + timedelta(hours=9)
LATER = MORNING + timedelta(hours=1)
ANNA, BEN = "anna@acme.example", "ben@acme.example"


@pytest.fixture(autouse=True)
def _received_since_january(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tasks_pipeline.reports.due_deliveries.first_day", lambda _state, _spool: date(2026, 1, 1)
    )


def told(stores: Stores, members: str, above: int = 20) -> Stores:
    """The stores with members who get weekly reports in a chat, and hear of revisions."""
    text = (
        "projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}, {id: 2, slug: api, keys: [{public_key: abcdee}]}]\n"
        f"channels: [{{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}}]\nmembers: [{members}]\n"
        f"reports: {{mail_revisions_above: {above}}}\n"
    )
    return replace(stores, config=parse_config(text))


def member(email: str, projects: str = "all", channel: str = "hook") -> str:
    return f"{{email: {email}, notifications: {{channel: {channel}}}, reports: {{projects: {projects}}}}}"


def came_out(stores: Stores, revision: int, errors: int, scope: str = "organisation") -> None:
    """A revision with so many errors."""
    figures = {**report_value().figures, "errors": errors}
    store_report(stores, report_value(revision=revision, figures=figures, scope=scope))


def unsubscribe(stores: Stores, who: str = ANNA) -> None:
    with stores.state.write() as connection:
        decide(stores.state, connection, who, "week", False, "link", MORNING)


def put(stores: Stores) -> list[str]:
    """Keys of messages, without what they have in common."""
    return [row["key"].removeprefix("report:weekly:2026-11-16:") for row in outbox(stores, 0)]


def to_consider(stores: Stores, now: datetime = LATER) -> bool:
    with stores.state.read() as connection:
        return revised(connection, stores.config, now)


def test_whoever_can_get_no_report_gets_no_revision_of_it(alone: Day) -> None:
    """They unsubscribed since, or their channel is not there any more."""
    stores = told(alone.stores, f"{member(ANNA)}, {member(BEN)}")
    came_out(stores, 1, 1000)
    deliver_reports(stores, MORNING)
    unsubscribe(stores)
    stores = told(alone.stores, f"{member(ANNA)}, {{email: {BEN}}}")
    came_out(stores, 2, 2000)
    assert not to_consider(stores)
    assert deliver_reports(stores, LATER).revisions == 0
    assert put(stores) == [ANNA, BEN]


def test_what_changed_is_what_their_own_figures_say(alone: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several projects, which are told of together: the organisation's figures are those of others too."""
    theirs = {frozenset({1}): 100, frozenset({1, 2}): 100}

    def part(*_: Any, projects: Collection[int]) -> Report:
        return report_value(figures={**report_value().figures, "errors": theirs[frozenset(projects)]})

    monkeypatch.setattr("tasks_pipeline.reports.composing.generate_analytics_report", part)
    stores = told(alone.stores, f"{member(ANNA, '[shop, api]')}, {member(BEN)}")
    came_out(stores, 1, 1000)
    deliver_reports(stores, MORNING)
    came_out(stores, 2, 2000)
    assert deliver_reports(stores, LATER).revisions == 1
    assert sorted(put(stores)) == [ANNA, BEN, f"{BEN}:revision:2"]
    assert not to_consider(stores)  # nothing of hers changed

    theirs[frozenset({1, 2})] = 130
    came_out(stores, 3, 2001)
    assert deliver_reports(stores, LATER).revisions == 1
    newest = outbox(stores, 0)[-1]
    assert newest["key"].endswith(f"{ANNA}:revision:3")
    assert newest["data"]["notes"] == ["Revised: errors 100 → 130"]


def test_small_changes_come_to_a_large_one(alone: Day) -> None:
    """Compared is with what somebody was told, not with the revision before."""
    stores = told(alone.stores, member(ANNA))
    came_out(stores, 1, 1000)
    deliver_reports(stores, MORNING)
    for revision, errors, count in ((2, 1150, 0), (3, 1300, 1), (4, 1350, 0)):
        came_out(stores, revision, errors)
        assert to_consider(stores)
        assert deliver_reports(stores, LATER).revisions == count
        assert not to_consider(stores)
    assert outbox(stores, 0)[-1]["data"]["notes"] == ["Revised: errors 1,000 → 1,300"]
    assert to_consider(replace(stores, config=told(stores, member(ANNA), above=1).config))


def test_whoever_had_it_sent_again_is_not_told_of_what_they_have(alone: Day) -> None:
    stores = told(alone.stores, member(ANNA))
    came_out(stores, 1, 1000)
    deliver_reports(stores, MORNING)
    came_out(stores, 2, 2000)
    assert send_by_hand(stores, "week", WEEK, LATER, again=True)[0].put
    assert deliver_reports(stores, LATER).revisions == 0


def test_one_revision_that_cannot_be_composed_keeps_no_other_one(
    alone: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = told(alone.stores, f"{member(ANNA)}, {member(BEN, '[shop]')}")
    for revision, errors in ((1, 1000), (2, 2000)):
        came_out(stores, revision, errors)
        came_out(stores, revision, errors, "project:shop")
        if revision == 1:
            deliver_reports(stores, MORNING)
    whole = Composer.message

    def broken(self: Composer, recipient: Any, *args: Any, **options: Any) -> Any:
        if recipient.email == ANNA:
            raise ZeroDivisionError
        return whole(self, recipient, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Composer, "message", broken)
        report = deliver_reports(stores, LATER)
    assert (report.revisions, report.failed) == (
        1, [f"revision 2 of the weekly report of 2026-11-16 for member:{ANNA}"],
    )  # fmt: skip
    assert not to_consider(stores, LATER + timedelta(minutes=29))
    assert to_consider(stores, LATER + timedelta(minutes=30))
    assert deliver_reports(stores, LATER).revisions == 1


@pytest.mark.parametrize("content", [b"{}", b'{"kind": "we', b'{"kind": "\xff"}'])
def test_a_report_that_cannot_be_read_costs_itself_alone(alone: Day, content: bytes) -> None:
    """Another version wrote it, or it is damaged."""
    stores = told(alone.stores, f"{member(ANNA)}, {member(BEN, '[shop]')}")
    came_out(stores, 1, 1000)
    with stores.state.write() as connection:
        kept = {JSON_FILE: stores.blobs.put(content)}
        connection.execute(update(report_revisions).values(files=kept))
    came_out(stores, 1, 1000, "project:shop")
    with pytest.raises(ReportMissing, match="backfill --report"):
        read_report(stores, "week", WEEK, "organisation")
    by_hand = send_by_hand(stores, "week", WEEK, MORNING)
    assert [(each.put, "cannot be read" in each.said) for each in by_hand] == [(False, True), (True, False)]
    assert deliver_reports(stores, MORNING).failed == [f"weekly report of 2026-11-16 for member:{ANNA}"]
    assert put(stores) == [BEN]


def test_what_failed_is_left_for_a_while_and_nobody_else_waits(
    alone: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = member(BEN, "[shop]").replace("projects:", "at: '10:00', projects:")
    stores = told(alone.stores, f"{member(ANNA)}, {late}")
    came_out(stores, 1, 1000, "project:shop")
    store_report(stores, report_value())

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(Composer, "message", broken)
        deliver_reports(stores, MORNING + timedelta(minutes=45))
    at = MORNING + timedelta(minutes=50)
    assert look(stores.state, stores.config, at).ready == 0
    at = MORNING + timedelta(minutes=61)  # Ben's is due
    assert look(stores.state, stores.config, at).ready == 1
    unsubscribe(stores)
    assert look(stores.state, stores.config, at).ready == 2  # hers needs no composing
    assert look(stores.state, stores.config, MORNING + timedelta(minutes=80)).ready == 2


def while_composed(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    whole = Composer.message

    def message(self: Composer, *args: Any, **options: Any) -> Any:
        made = whole(self, *args, **options)
        happens()
        return made

    monkeypatch.setattr(Composer, "message", message)


def test_whoever_unsubscribes_while_theirs_is_composed_gets_none(
    alone: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = told(alone.stores, f"{member(ANNA)}, {member(BEN)}")
    came_out(stores, 1, 1000)
    with monkeypatch.context() as patched:
        while_composed(patched, lambda: unsubscribe(stores))
        report = deliver_reports(stores, MORNING)
    assert (put(stores), dict(report.skipped)) == ([BEN], {"unsubscribed": 1})
    with stores.state.read() as connection:
        rows = deliveries_of(connection, "week")
    assert {row["target"]: (row["status"], row["reason"]) for row in rows} == {
        f"member:{ANNA}": ("skipped", "unsubscribed"), f"member:{BEN}": ("waiting", ""),
    }  # fmt: skip
    came_out(stores, 2, 2000)
    while_composed(monkeypatch, lambda: unsubscribe(stores, BEN))
    assert deliver_reports(stores, LATER).revisions == 0
    assert put(stores) == [BEN]


def test_nor_when_somebody_has_it_sent(alone: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = told(alone.stores, member(ANNA))
    came_out(stores, 1, 1000)
    while_composed(monkeypatch, lambda: unsubscribe(stores))
    (done,) = send_by_hand(stores, "week", WEEK, MORNING)
    assert (done.put, done.said.partition(" on ")[0], put(stores)) == (False, "unsubscribed", [])


def test_neither_overtakes_the_other(alone: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transactions that put and that unsubscribe wait for each other, also where several write at once."""
    held: list[str] = []
    serialise = StateDatabase.serialise

    def noted(state: StateDatabase, connection: Connection, *names: str) -> None:
        held.extend(names)
        serialise(state, connection, *names)

    monkeypatch.setattr(StateDatabase, "serialise", noted)
    stores = told(alone.stores, member(ANNA))
    came_out(stores, 1, 1000)
    deliver_reports(stores, MORNING)
    assert held == ["subscriptions"]
    unsubscribe(stores)
    assert held == ["subscriptions"] * 2


def test_twice_told_is_known_by_keys_alone(alone: Day) -> None:
    """Messages are 100 KB each: what a check reads of all of them must not be that."""
    stores = alone.stores

    def message(key: str, target: str) -> NewNotification:
        return NewNotification(
            f"report:weekly:2026-11-16:{key}", "report", 0, target, channel="hook", thread="t", not_before=END
        )

    with stores.state.write() as connection:
        put_notifications(stores.state, connection, [
            message(ANNA, f"member:{ANNA}"), message(f"berlin:{ANNA}", f"member:{ANNA}"), message(BEN, f"member:{BEN}"),
            message(f"{BEN}:revision:2", f"member:{BEN}"), message("team:ops", "team:ops"),
        ])  # fmt: skip
        assert twice_told(connection, END - timedelta(days=1)) == [f"weekly 2026-11-16 member:{ANNA}"]
