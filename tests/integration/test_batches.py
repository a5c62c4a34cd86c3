"""The batch protocol: each batch exactly once, whatever fails, wakes up late, or works beside it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from tasks_pipeline.processing import drain as drain_module
from tasks_pipeline.processing import process_batch as batch_module
from tasks_pipeline.processing.drain import DrainReport, drain
from tasks_pipeline.processing.process_batch import BatchResult, process_batch
from tasks_pipeline.processing.settle import settle
from tasks_pipeline.storage.lake.files import DayFiles
from tasks_pipeline.storage.ledger import batches as batches_module
from tasks_pipeline.storage.ledger import suspects as suspects_module
from tasks_pipeline.storage.ledger.backlog import DayBacklog, backlog, backlogs, day_may_run
from tasks_pipeline.storage.ledger.batches import Batch, BatchLost, claim_batch, fail_batch
from tasks_pipeline.storage.ledger.drains import (
    active_drains,
    beat,
    drained_runs,
    end_drain,
    end_drains_of_run,
    last_sign_of_run,
    start_drain,
)
from tasks_pipeline.storage.ledger.failures import FIRST_WAIT, wait_after
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import batches
from tasks_pipeline.stores import Stores, open_stores
from tests.support.crash import DRAIN_MOMENTS, Moment, at
from tests.support.day import Day
from tests.support.events import event


class Crash(Exception):
    """Raised in the middle of a batch."""


def crash() -> None:
    raise Crash


def claim(day: Day, drain_id: str, max_envelopes: int = 100, max_bytes: int = 1 << 20) -> Batch | None:
    return claim_batch(
        day.stores.state,
        day.stores.spool,
        day.date,
        drain_id,
        max_envelopes=max_envelopes,
        max_bytes=max_bytes,
    )


# ── claims


def test_ranges_follow_each_other_and_keep_to_the_limits(day: Day) -> None:
    day.send(*(event() for _ in range(5)))
    drain_id = start_drain(day.stores.state, day.date, None)
    claimed = [claim(day, drain_id, max_envelopes=2), claim(day, drain_id, max_bytes=1), claim(day, drain_id)]
    assert [(b.first_position, b.last_position, b.attempt) for b in claimed if b] == [
        (1, 2, 1),
        (3, 3, 1),
        (4, 5, 1),
    ]
    assert claim(day, drain_id) is None


def test_an_open_batch_is_left_to_its_drain_while_that_is_alive(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = day.stores.state
    day.send(event())
    first, second = start_drain(state, day.date, "first"), start_drain(state, day.date, "second")
    held = claim(day, first)
    assert held is not None
    assert claim(day, second) is None
    assert {d.run_id for d in active_drains(state) if d.day == day.date} == {"first", "second"}

    monkeypatch.setattr(
        batches_module, "SILENT_AFTER", timedelta(seconds=-60)
    )  # everybody was silent too long
    taken = claim(day, second)
    assert taken is not None
    assert (taken.id, taken.attempt, taken.drain_id) == (held.id, 2, second)


def test_what_a_run_held_is_free_when_the_run_ended(day: Day) -> None:
    state = day.stores.state
    day.send(event())
    dead, alive = start_drain(state, day.date, f"run-{day.date}"), start_drain(state, day.date, None)
    held = claim(day, dead)
    started = last_sign_of_run(state, f"run-{day.date}")
    beat(state, dead)
    beaten = last_sign_of_run(state, f"run-{day.date}")
    assert started is not None
    assert beaten is not None
    assert beaten > started

    assert end_drains_of_run(state, f"run-{day.date}") == 1
    assert end_drains_of_run(state, f"run-{day.date}") == 0
    taken = claim(day, alive)
    assert taken is not None
    assert held is not None
    assert taken.id == held.id
    assert last_sign_of_run(state, "no such run") is None


def test_the_backlog_names_what_is_behind_the_cursor_and_in_open_batches(day: Day) -> None:
    day.send(*(event() for _ in range(4)))
    drain_id = start_drain(day.stores.state, day.date, None)
    assert claim(day, drain_id, max_envelopes=1) is not None
    (found,) = [b for b in backlogs(day.stores.state, day.stores.spool) if b.day == day.date]
    assert (found.envelopes, found.items, found.oldest) == (4, 4, day.at())
    end_drain(day.stores.state, drain_id)
    day.drain()
    assert [b for b in backlogs(day.stores.state, day.stores.spool) if b.day == day.date] == []


def test_the_part_that_has_waited_longest_comes_first(day: Day) -> None:
    """While one receiver is as busy as the drain, what another received is not left behind."""
    with closing(day.stores.spool.writer()) as busy, closing(day.stores.spool.writer()) as quiet:
        busy.append([day.receipt(event(), seconds=n) for n in range(3)])
        quiet.append([day.receipt(event(), seconds=1.5)])
        drain_id = start_drain(day.stores.state, day.date, None)
        claimed = []
        for second in range(4):
            batch = claim(day, drain_id, max_envelopes=1)
            assert batch is not None
            claimed.append((batch.part, batch.first_position))
            busy.append([day.receipt(event(), seconds=10 + second)])
    assert claimed == [(busy.part, 1), (busy.part, 2), (quiet.part, 1), (busy.part, 3)]


def test_a_quiet_look_for_work_writes_nothing(day: Day) -> None:
    """Whoever lingers looks again and again; the write lock is for those who have something to write."""
    day.send(event())
    day.drain()
    drain_id = start_drain(day.stores.state, day.date, None)
    with day.stores.state.write():  # would be waited for
        assert claim(day, drain_id) is None


# ── what fails is left alone for a while


def fails_for(doomed: str) -> Any:
    """Processing fails for every batch that holds this event."""

    def read(stores: Stores, batch: Batch) -> BatchResult:
        envelopes = stores.spool.read(batch.day, batch.part, batch.after, through=batch.through)
        if any(spooled.receipt.event_id == doomed for spooled in envelopes):
            raise Crash("this batch cannot be processed")
        return process_batch(stores, batch)

    return patch.object(drain_module, "process_batch", read)


def found(day: Day) -> DayBacklog:
    return backlog(day.stores.state, day.stores.spool, day.date)


def patient(day: Day) -> DrainReport:
    """A drain as the sensor starts it, but for the time it lingers."""
    return drain(day.configured(linger_seconds=0).stores, day.date)


def test_a_batch_that_fails_does_not_keep_the_others(day: Day) -> None:
    doomed, *others = day.send(*(event() for _ in range(4)))
    day = day.configured(batch_envelopes=1)
    with fails_for(doomed):
        with pytest.raises(Crash):
            patient(day)
        assert not day_may_run(found(day), datetime.now(UTC))
        assert day_may_run(found(day), datetime.now(UTC) + FIRST_WAIT)
        day.assert_balanced()

        report = patient(day)
        assert report.batches == 3
        assert sorted(day.ids()) == sorted(others)
        day.assert_balanced()
        left = found(day)
        assert (left.envelopes, left.failed_attempts, left.error) == (
            1, 1, "Crash: this batch cannot be processed",
        )  # fmt: skip
        assert not day_may_run(left, datetime.now(UTC))
        assert patient(day).batches == 0

    day.drain()  # asked for by hand it is tried at once
    day.assert_stored_once([doomed, *others])
    assert found(day) == DayBacklog(day.date, 0, 0, None)


def test_each_failure_doubles_the_wait_and_a_success_ends_it(day: Day) -> None:
    (doomed,) = day.send(event())
    waits = []
    with fails_for(doomed):
        for _ in range(3):
            with pytest.raises(Crash):
                day.drain()
            not_before = found(day).not_before
            assert not_before is not None
            waits.append((not_before - datetime.now(UTC)).total_seconds())
    assert [round(wait, -1) for wait in waits] == [0, 10, 20]
    assert waits == sorted(waits)
    assert found(day).failed_attempts == 3
    assert found(day).oldest_coming is None, "nobody waits for what keeps failing"
    assert found(day).oldest == day.at()
    day.drain()
    (new,) = day.send(event())
    assert found(day).failed_attempts == 0
    assert day_may_run(found(day), datetime.now(UTC))
    assert new not in day.ids()


def test_a_day_on_which_every_batch_fails_is_left_alone_too(day: Day) -> None:
    """Else each run would claim, and fail with, a batch more."""
    day.send(*(event() for _ in range(5)))
    day = day.configured(batch_envelopes=1)
    with at(Moment(DayFiles, "finish", after=False, large=True), crash), pytest.raises(Crash):
        patient(day)
    first = found(day).not_before
    with at(Moment(DayFiles, "finish", after=False, large=True), crash), pytest.raises(Crash):
        patient(day)
    second = found(day).not_before
    assert first is not None
    assert second is not None
    assert second - first > FIRST_WAIT
    assert found(day).failed_attempts == 2
    assert not day_may_run(found(day), datetime.now(UTC))


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 5), (2, 10), (3, 20), (7, 320), (8, 600), (1_000_000, 600)]
)
def test_how_long_what_failed_is_left_alone(failures: int, seconds: int) -> None:
    assert wait_after(failures).total_seconds() == seconds


def test_a_killed_process_counts_as_a_failure(day: Day) -> None:
    """Nobody was left to note it."""
    state = day.stores.state
    day.send(event())
    drain_id = start_drain(state, day.date, "killed")
    assert claim(day, drain_id) is not None
    assert found(day).failed_attempts == 0
    end_drains_of_run(state, "killed")
    assert found(day).failed_attempts == 1
    assert not day_may_run(found(day), datetime.now(UTC))


def test_an_orderly_stop_is_nobodys_failure(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a batch in work when its drain is told to stop the next one waits for nothing."""
    (sent,) = day.send(event())

    def stopped(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tasks_pipeline.processing.drain.process_batch", stopped)
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                day.drain()
    assert found(day).failed_attempts == 0
    assert day_may_run(found(day), datetime.now(UTC))
    day.drain()
    day.assert_stored_once([sent])


def test_runs_whose_drains_have_ended_are_known(day: Day) -> None:
    state = day.stores.state
    first, again = (start_drain(state, day.date, f"twice-{day.date}") for _ in range(2))
    start_drain(state, day.date, f"working-{day.date}")
    runs = [f"twice-{day.date}", f"working-{day.date}", "never seen"]
    end_drain(state, first)
    assert drained_runs(state, runs) == set()
    end_drain(state, again)
    assert drained_runs(state, runs) == {f"twice-{day.date}"}
    assert drained_runs(state, []) == set()


# ── exactly once


@pytest.mark.parametrize("moment", DRAIN_MOMENTS)
def test_a_drain_that_fails_at_any_step_leaves_every_event_stored_once(day: Day, moment: str) -> None:
    again = event("A", user={"id": "1"})
    sent = [event("B"), again, event("A", user={"id": "2"}), again, event("C")]
    day.send(*sent)
    day = day.configured(batch_envelopes=3)

    with at(DRAIN_MOMENTS[moment], crash), pytest.raises(Crash):
        day.drain()
    day.assert_balanced()
    day.drain()

    day.assert_stored_once(sorted({e["event_id"] for e in sent}))
    assert day.outcomes() == {("stored", ""): 4, ("duplicate", "event_id"): 1}
    assert [(g["times_seen"], g["users"]) for g in day.groups()] == [(1, 0), (2, 2), (1, 0)]


def test_a_batch_that_failed_with_an_innocent_envelope_condemns_nobody(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempts that fail after the envelopes were read (a full disk, say) are not the fault of any of them."""
    ids = day.send(event(), event(), event())
    for _ in range(5):
        with at(DRAIN_MOMENTS["all files written"], crash), pytest.raises(Crash):
            day.drain()
    day.drain()
    day.assert_stored_once(ids)
    assert day.rows("dead_letters") == []


@pytest.mark.parametrize("moment", ["event ids and groups committed", "half of the files written"])
def test_errors_that_were_raised_make_no_envelope_a_suspect(
    day: Day, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """A database or an object storage that is away ten times, also when the note on what is at work cannot be removed any more:
    nobody is condemned for it, before two that were killed and after them."""

    def away() -> None:
        raise OperationalError("SELECT 1", {}, OSError("the server is away"))

    def only_note(state: StateDatabase, batch: Batch, position: int | None) -> None:
        if position is None:
            away()
        note(state, batch, position)

    def fail(times: int) -> None:
        for _ in range(times):
            with at(DRAIN_MOMENTS[moment], away), pytest.raises(OperationalError):
                day.drain()

    ids = day.send(event(), event())
    fail(5)
    monkeypatch.setattr(drain_module, "fail_batch", lambda *_: None)
    fail(2)  # as it looks when they are killed
    monkeypatch.undo()
    note = suspects_module._note_suspect
    monkeypatch.setattr(suspects_module, "_note_suspect", only_note)
    for _ in range(3):
        with pytest.raises(OperationalError):
            day.drain()
    monkeypatch.undo()
    fail(2)
    day.drain()
    day.assert_stored_once(ids)
    assert day.rows("dead_letters") == []
    with day.stores.state.read() as connection:
        (batch,) = connection.execute(select(batches).where(batches.c.day == day.date)).all()
    assert (batch.attempt, batch.deaths) == (13, 2)


def test_a_failure_that_the_database_did_not_take_is_noted_when_it_is_back(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_module, "NOTE_POLL_SECONDS", 0)
    day.send(event())
    refusals = iter([True] * 3)

    def note(*arguments: Any) -> None:
        if next(refusals, False):
            raise OperationalError("UPDATE", {}, OSError("the server is away"))
        fail_batch(*arguments)

    monkeypatch.setattr(drain_module, "fail_batch", note)
    with at(DRAIN_MOMENTS["event ids and groups committed"], crash), pytest.raises(Crash):
        day.drain()
    with day.stores.state.read() as connection:
        (batch,) = connection.execute(select(batches).where(batches.c.day == day.date)).all()
    assert (batch.deaths, batch.error) == (0, "Crash")


def test_a_batch_done_once_cannot_be_done_again(day: Day) -> None:
    ids = day.send(event(), event())
    state = day.stores.state
    drain_id = start_drain(state, day.date, None)
    batch = claim(day, drain_id)
    assert batch is not None
    process_batch(day.stores, batch)
    before = day.lake(), day.state()
    with pytest.raises(BatchLost):
        process_batch(day.stores, batch)
    assert (day.lake(), day.state()) == before
    end_drain(state, drain_id)
    day.assert_stored_once(ids)


@pytest.mark.parametrize(
    "moment", ["after the claim", "event ids and groups committed", "half of the files written"]
)
def test_a_drain_believed_dead_lets_go_when_it_wakes_up(day: Day, moment: str) -> None:
    ids = day.send(event("A"), event("B"))

    def taken_over() -> None:
        end_drains_of_run(day.stores.state, f"asleep-{day.date}")
        day.drain()

    with at(DRAIN_MOMENTS[moment], taken_over):
        report = day.drain(run_id=f"asleep-{day.date}")
    assert report.batches == 0
    day.assert_stored_once(ids)
    with day.stores.state.read() as connection:
        deaths = select(batches.c.attempt, batches.c.deaths).where(batches.c.day == day.date)
        assert connection.execute(deaths).one() == (2, 0), "it was silent, and did not die"


def test_two_drains_share_a_day_and_meet_at_the_same_new_groups(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = event("A")
    sent = [event(f"P{n % 4}", user={"id": str(n)}) for n in range(11)]
    day.send(*sent[:3], again, *sent[3:], again)
    together, seen = threading.Barrier(2), threading.local()

    def settle_together(*arguments: Any, **options: Any) -> None:
        if not hasattr(seen, "once"):
            seen.once = True
            together.wait(120)
        settle(*arguments, **options)

    def work() -> int:
        with open_stores(day.stores.home) as stores:
            mine = Day(stores, day.date, day.project).configured(batch_envelopes=2)
            return drain(mine.stores, day.date, linger_seconds=0).batches

    monkeypatch.setattr(batch_module, "settle", settle_together)
    with ThreadPoolExecutor(2) as pool:
        shares = [future.result(timeout=120) for future in [pool.submit(work), pool.submit(work)]]

    assert min(shares) >= 1
    assert sum(shares) == 7
    day.assert_stored_once([e["event_id"] for e in [*sent, again]])
    assert len(day.groups()) == 5
    assert sum(g["users"] for g in day.groups()) == 11


# ── drains


def test_a_drain_that_lingers_takes_at_once_what_comes(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what comes in the moment between its last look for work and its first wait."""
    today = replace(day, date=datetime.now(UTC).date())
    today.send(event())
    monkeypatch.setattr(drain_module, "PACE_SECONDS", 0)
    slept: list[int] = []
    report = DrainReport(today.date, today.at())

    def sleep(seconds: float) -> None:
        slept.append(report.batches)
        assert slept.count(1) < 10, "it waits although something is there"
        time.sleep(seconds)

    def count(_batch: object, result: BatchResult) -> None:
        report.add(result, today.at(), None)

    monkeypatch.setattr(drain_module, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    with at(Moment(drain_module, "_await_work", after=False), lambda: today.send(event())):
        ended = drain(today.stores, today.date, linger_seconds=2, on_batch=count).ended_because
    assert (report.batches, ended) == (2, "nothing came for 2 s")
    assert len(today.ids()) == 2


def test_a_drain_ends_after_its_time_and_the_next_goes_on(day: Day) -> None:
    ids = day.send(*(event() for _ in range(3)))
    report = day.configured(max_run_seconds=1e-9).drain()
    assert (report.batches, report.ended_because) == (0, "it ran for 1e-09 s")
    report = day.drain()
    assert (report.batches, report.ended_because) == (1, "the day is over and nothing waits")
    day.assert_stored_once(ids)
