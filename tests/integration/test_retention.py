"""Retention: old days go, and only when nothing of them waits; what was needed while something was at work goes too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from tasks_pipeline.groups.merging import merge_groups, unmerge_group
from tasks_pipeline.groups.regrouping import finish_regroupings, last_regrouping
from tasks_pipeline.processing.process_batch import RawGone
from tasks_pipeline.retention.finished import FINISHED_FOR, drop_finished
from tasks_pipeline.retention.spool import drop_expired_days
from tasks_pipeline.storage.ledger.backlog import backlog
from tasks_pipeline.storage.ledger.batches import claim_batch
from tasks_pipeline.storage.ledger.drains import start_drain
from tasks_pipeline.storage.state.facts import set_probe
from tasks_pipeline.storage.state.proofs import MENDED_FOR, failed_checks, note_check, of_report
from tasks_pipeline.storage.state.restored import note_restoring
from tasks_pipeline.storage.state.tables import notifications, probes, replacements
from tests.support.day import Day
from tests.support.events import event


def test_expired_days_go_but_for_those_on_which_something_waits(own_day: Day) -> None:
    day = own_day
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


def test_what_comes_for_a_day_that_was_dropped_is_processed_and_counted(own_day: Day) -> None:
    """The clock of a machine was set back, say. Its envelopes begin at position 1 of the spool, those of the lake do not."""
    day = own_day
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


def test_a_drop_that_nobody_could_note_is_noticed_by_what_comes_then(own_day: Day) -> None:
    """The process died between the spool and the ledger."""
    day = own_day
    ids = day.send(event("A"), event("B"))
    day.drain()
    day.stores.spool.drop_day(day.date)
    late = event("A")
    day.spool(day.receipt(late, seconds=60))
    day.drain()
    day.assert_stored_once([*ids, late["event_id"]])
    assert backlog(day.stores.state, day.stores.spool, day.date).broken == ""


def test_what_was_only_needed_while_at_work_goes_a_day_later(own_day: Day) -> None:
    """Drains, replacements and regroupings that are done; not the open ones, and not the newest number of regroupings."""
    day, state = own_day, own_day.stores.state
    day.send(event("A"), event("B"))
    day.drain()
    day.recompute()
    first, second = (group["id"] for group in day.groups())
    for _ in range(2):
        merge_groups(state, first, [second])
        unmerge_group(state, second)
    with day.stores.lake.lock():
        finish_regroupings(state, day.stores.lake)
    with state.write() as connection:
        newest = last_regrouping(connection)
        connection.execute(
            insert(replacements), [{"id": "open", "day": day.date, "arrival": 0, "started_at": day.at()}]
        )
    now = datetime.now(UTC)
    with state.write() as connection:
        for days in (-1, 0):
            note_restoring(
                state,
                connection,
                now.date() + timedelta(days=40 * days - 1),
                [1],
                now.date() + timedelta(days=days),
            )

    def dropped(at: datetime) -> dict[str, int]:
        """But for hours of groups: days of this and other tests are long ago."""
        return {name: rows for name, rows in drop_finished(state, at).items() if name != "group_hours"}

    assert set(dropped(now).values()) == {0}
    later = now + FINISHED_FOR + timedelta(minutes=1)
    assert dropped(later) == {
        "drains": 1,
        "workers": 0,
        "run_processes": 0,
        "replacements": 1,
        "regroupings": 3,
        "digest_entries": 0,
        "requests": 0,
        "web_sessions": 0,
        "invitations": 0,
        "failed_logins": 0,
        "checks": 0,
        "restored_days": 1,
    }
    with state.read() as connection:
        assert last_regrouping(connection) == newest
        assert list(connection.execute(select(replacements.c.id)).scalars()) == ["open"]
    day.send(event("A"))
    day.drain()
    assert sum(group["times_seen"] for group in day.groups()) == 3
    day.assert_balanced()


def test_a_drain_that_is_forgotten_lets_go_of_its_batch(own_day: Day) -> None:
    """As after a machine that was off for days, with a batch half done."""
    state = own_day.stores.state
    own_day.send(event())
    lost = start_drain(state, own_day.date, "run")
    assert claim_batch(state, own_day.stores.spool, own_day.date, lost, max_envelopes=9, max_bytes=2**20)
    assert drop_finished(state, datetime.now(UTC) + timedelta(days=3))["drains"] == 1
    assert own_day.drain().counts["stored"] == 1


def test_entries_of_a_digest_go_a_month_after_it_was_sent(own_day: Day) -> None:
    """Those that wait stay, and those whose digest was not sent yet."""
    state, now = own_day.stores.state, datetime.now(UTC)

    def put(key: str, **columns: Any) -> int:
        row = {
            "key": key, "type": "alert", "project_id": 1, "target": "member:m@acme.example", "channel": "mail", "thread": "t", "data": {},
            "status": "digest", "created_at": now, "not_before": now,
        }  # fmt: skip
        with state.write() as connection:
            found = connection.execute(
                insert(notifications).values(row | columns).returning(notifications.c.id)
            )
            return int(found.scalar_one())

    sent = put("digest:1", type="digest", status="sent", sent_at=now)
    due = put("digest:2", type="digest", status="waiting")
    put("in a digest that was sent", digest_id=sent)
    put("in a digest that is due", digest_id=due)
    put("in none")
    assert drop_finished(state, now + timedelta(days=29))["digest_entries"] == 0
    assert drop_finished(state, now + timedelta(days=31))["digest_entries"] == 1
    with state.read() as connection:
        left = connection.execute(select(notifications.c.key).order_by(notifications.c.id)).scalars()
        assert list(left) == ["digest:1", "digest:2", "in a digest that is due", "in none"]


def test_checks_that_were_put_right_are_remembered_until_what_was_built_on_them_is_built_anew(
    own_day: Day,
) -> None:
    """One that still fails stays, and so do the probes of the pipeline itself."""
    state, now = own_day.stores.state, datetime.now(UTC)
    with state.write() as connection:
        for number in (1, 2):
            note_check(state, connection, of_report(number), "adds_up", now, "does not")
        note_check(state, connection, of_report(1), "adds_up", now, "")
        set_probe(state, connection, "disk", now, status="ok")
    assert drop_finished(state, now + MENDED_FOR)["checks"] == 0
    assert drop_finished(state, now + MENDED_FOR + timedelta(minutes=1))["checks"] == 1
    with state.read() as connection:
        assert [failed.subject for failed in failed_checks(connection)] == [of_report(2)]
        assert list(connection.execute(select(probes.c.name).order_by(probes.c.name)).scalars()) == [
            "check:report 2:adds_up",
            "disk",
        ]
