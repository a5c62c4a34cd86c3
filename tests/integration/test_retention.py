"""Raw retention: old days go, and only when nothing of them waits."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tasks_pipeline.processing.process_batch import RawGone
from tasks_pipeline.retention.spool import drop_expired_days
from tasks_pipeline.storage.ledger.backlog import backlog
from tests.support.day import Day
from tests.support.events import event


def test_expired_days_go_but_for_those_on_which_something_waits(day: Day) -> None:
    waiting, kept = day.next(), day.next().next()
    for each in (day, waiting, kept):
        each.send(event(), event())
    for each in (day, kept):
        each.drain()
    raw_days = day.stores.config.retention.raw_days
    today = kept.date + timedelta(days=raw_days)  # the oldest day that is kept

    dropped = drop_expired_days(day.stores, today)
    assert dropped[day.date] == 2
    assert waiting.date not in dropped
    assert kept.date not in dropped
    left = day.stores.spool.days()
    assert (day.date in left, waiting.date in left, kept.date in left) == (False, True, True)
    assert len(day.ids()) == 2  # stored events stay

    waiting.drain()
    assert drop_expired_days(day.stores, today) == {waiting.date: 2}
    assert len(waiting.ids()) == 2


def test_what_comes_for_a_day_that_was_dropped_is_processed_and_counted(day: Day) -> None:
    """The clock of a machine was set back, say. Its envelopes begin at position 1 of the spool, those of the lake do not."""
    ids = day.send(event("A"), event("B"))
    day.drain()
    today = day.date + timedelta(days=day.stores.config.retention.raw_days + 1)
    assert drop_expired_days(day.stores, today)[day.date] == 2
    day.assert_balanced()

    again = day.send(event("A"))
    assert backlog(day.stores.state, day.stores.spool, day.date).envelopes == 1
    day.assert_balanced()
    day.drain()
    day.assert_stored_once([*ids, *again])
    assert [row["position"] for row in day.rows("events")] == [1, 2, 3]
    with pytest.raises(RawGone):  # part of the day is gone, so it stays as it is
        day.recompute()
    day.assert_stored_once([*ids, *again])
    assert drop_expired_days(day.stores, today)[day.date] == 1
    last = day.send(event("C"), event("D"))
    day.drain()
    day.assert_stored_once([*ids, *again, *last])


def test_a_drop_that_nobody_could_note_is_noticed_by_what_comes_then(day: Day) -> None:
    """The process died between the spool and the ledger."""
    ids = day.send(event("A"), event("B"))
    day.drain()
    day.stores.spool.drop_day(day.date)
    late = event("A")
    day.spool(day.receipt(late, seconds=60))
    day.drain()
    day.assert_stored_once([*ids, late["event_id"]])
    assert backlog(day.stores.state, day.stores.spool, day.date).broken == ""
