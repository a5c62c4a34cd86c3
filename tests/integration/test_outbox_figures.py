"""What the outbox says of itself by its indexes is what counting all of it would say."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from tasks_pipeline.notifications import outbox
from tasks_pipeline.notifications.outbox import channel_figures, due_channels, waiting_notifications
from tasks_pipeline.storage.state.tables import channel_states, notifications
from tasks_pipeline.stores import Stores

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STATUSES = ("waiting", "sending", "sent", "dead", "digest", "collapsed", "skipped")
CHANNELS = ("a", "b", "c's", "shut", "off")


def put(stores: Stores, chance: random.Random, count: int) -> list[dict[str, Any]]:
    """Messages of every status, around now."""
    rows = []
    for n in range(count):
        status, at = chance.choice(STATUSES), NOW + timedelta(hours=chance.randrange(-60, 20))
        rows.append({
            "key": f"k{n}", "type": "test", "project_id": 1, "target": "t", "channel": chance.choice(CHANNELS), "thread": "t", "data": {},
            "status": status, "priority": chance.randrange(2), "created_at": at, "not_before": at,
            "lease_until": at if status == "sending" else None, "sent_at": at if status == "sent" else None,
        })  # fmt: skip
    state = {"failures": 3, "open_until": NOW + timedelta(hours=1), "changed_at": NOW}
    with stores.state.write() as connection:
        connection.execute(insert(notifications), rows)
        connection.execute(insert(channel_states), [{"channel": "shut", **state}])
        connection.execute(
            insert(channel_states),
            [{"channel": "a", "failures": 0, "open_until": NOW - timedelta(hours=1), "changed_at": NOW}],
        )
    return rows


def is_due(row: Mapping[str, Any]) -> bool:
    if row["status"] == "sending":
        return bool(row["lease_until"] <= NOW)
    return row["status"] == "waiting" and bool(row["not_before"] <= NOW)


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_all_messages(own: Stores, seed: int) -> None:
    rows = put(own, random.Random(seed), 40 + 60 * seed)
    due = [row for row in rows if is_due(row)]
    open_ones = [row for row in due if row["channel"] != "shut"]
    backlog = waiting_notifications(own.state, NOW)
    assert backlog.count == len(open_ones)
    assert backlog.oldest == min(row["not_before"] for row in open_ones)

    configured = ("a", "b", "c's", "shut", "never used")
    assert due_channels(own.state, NOW, configured) == {row["channel"] for row in due} & set(configured)
    assert due_channels(own.state, NOW, ()) == set()

    for figures in channel_figures(own.state, NOW):
        assert_figures(figures, [row for row in rows if row["channel"] == figures["channel"]])
    shown = {figures["channel"] for figures in channel_figures(own.state, NOW)}
    assert shown >= {row["channel"] for row in rows if row["status"] in ("waiting", "sending", "dead")}


def assert_figures(figures: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    due = [row["not_before"] for row in rows if is_due(row)]
    assert figures["waiting"] == sum(row["status"] in ("waiting", "sending") for row in rows)
    assert (figures["due"], figures["oldest_due"]) == (len(due), min(due, default=None))
    assert figures["dead"] == sum(row["status"] == "dead" for row in rows)
    sent = [row for row in rows if row["sent_at"] is not None and row["sent_at"] >= NOW - timedelta(days=1)]
    assert figures["sent_today"] == len(sent)
    assert (figures["failures"] or 0) == (3 if figures["channel"] == "shut" else 0)


def test_what_waits_is_counted_up_to_a_bound(own: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "COUNTED", 5)
    rows = [
        {"key": f"k{n}", "type": "test", "project_id": 1, "target": "t", "channel": "a", "thread": "t", "data": {}, "status": "waiting",
         "priority": 1, "created_at": NOW, "not_before": NOW - timedelta(seconds=n)} for n in range(9)
    ]  # fmt: skip
    with own.state.write() as connection:
        connection.execute(insert(notifications), rows)
        assert len(connection.execute(select(notifications.c.id)).all()) == 9
    backlog = waiting_notifications(own.state, NOW)
    assert (backlog.count, backlog.oldest) == (5, NOW - timedelta(seconds=8))
