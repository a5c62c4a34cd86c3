"""Raw retention: old days go, and only when nothing of them waits."""

from __future__ import annotations

from datetime import timedelta

from tasks_pipeline.retention.spool import drop_expired_days
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
