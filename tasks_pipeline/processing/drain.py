"""drain: take everything that waits of one day, batch by batch, linger for more, and end in time."""

from __future__ import annotations

import gc
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from tasks_pipeline.alerts.windows import evaluate_windows, timed_rules
from tasks_pipeline.facts.origin import recorded_by
from tasks_pipeline.groups.regrouping import finish_regroupings
from tasks_pipeline.processing.process_batch import BatchResult, process_batch
from tasks_pipeline.processing.replacements import finish_replacements
from tasks_pipeline.processing.upkeep import Upkeep
from tasks_pipeline.retention.spool import erase_batch, erase_done_batches
from tasks_pipeline.storage.lake.tail import SMALL
from tasks_pipeline.storage.ledger.batches import (
    Batch,
    BatchLost,
    claim_batch,
    fail_batch,
    give_back_batch,
    let_go,
)
from tasks_pipeline.storage.ledger.drains import beat, end_drain, start_drain
from tasks_pipeline.storage.ledger.failures import reason_of
from tasks_pipeline.storage.state.beating import beating
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.passed_over import note_passed_over
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 2.0
COLLECTOR_THRESHOLD = 50_000  # new containers; an event of 39 KB makes about 500
WINDOWS_SECONDS = 5.0  # between looks at rules about windows of time
NOTE_SECONDS = 60.0  # for the note that an attempt failed, where the database is away
NOTE_POLL_SECONDS = 1.0
PACE_SECONDS = 1.0  # a small batch costs ten milliseconds whatever it holds: at most one is stored in so long
DAY_GRACE = timedelta(minutes=2)  # receipts of the last second reach the spool after midnight


@dataclass(slots=True)
class DrainReport:
    """What a drain did: `rate` holds stored items per second of the run, `lag_seconds` the age of the oldest
    envelope of each batch when it was stored, `seconds` where the time of its batches went, by stage."""

    day: date
    started: datetime
    batches: int = 0
    envelopes: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    rate: Counter[int] = field(default_factory=Counter)
    lag_seconds: list[float] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    small: bool = False  # the last batch
    claimed_at: float = float("-inf")
    claimed_size: int = 0
    ended: datetime | None = None
    ended_because: str = ""
    windows_at: float = float("-inf")
    windows_failed: set[str] = field(default_factory=set)

    def add(self, result: BatchResult, now: datetime, oldest: datetime | None) -> None:
        """Count a batch."""
        self.batches += 1
        self.envelopes += result.envelopes
        self.counts.update(result.counts)
        for stage, seconds in result.seconds.items():
            self.seconds[stage] += seconds
        self.rate[int((now - self.started).total_seconds())] += sum(result.counts.values())
        if oldest is not None:
            self.lag_seconds.append((now - oldest).total_seconds())


def drain(
    stores: Stores,
    day: date,
    *,
    run_id: str | None = None,
    on_batch: Callable[[Batch, BatchResult], None] = lambda _batch, _result: None,
    linger_seconds: float | None = None,
) -> DrainReport:
    """Process what waits of a day until nothing came for `linger_seconds`, the day is over, or the run is old.

    Several drains may work on one day. Raises what processing a batch raises; the batch stays open for a later drain.
    Whoever gives `linger_seconds` asks by hand, and batches that failed are tried once more, after all others; else they
    are left alone until their back-off is over.
    """
    settings = stores.config.processing
    linger = settings.linger_seconds if linger_seconds is None else linger_seconds
    patient = linger_seconds is None
    report = DrainReport(day, datetime.now(UTC))
    started = idle_since = time.monotonic()
    with (
        recorded_by("drain", run_id),
        _calm_collector(),
        _registered(stores.state, day, run_id) as drain_id,
        Upkeep(stores) as upkeep,
    ):
        with stores.lake.lock():
            finish_replacements(stores.state, stores.lake)
            finish_regroupings(stores.state, stores.lake)
        erase_done_batches(stores, day)
        while not report.ended_because:
            seen = _size(stores, day)  # before looking for work, so that what comes in between is noticed
            if time.monotonic() - started >= settings.max_run_seconds:
                report.ended_because = f"it ran for {settings.max_run_seconds:g} s"
            elif linger > 0 and (why := stores.why_end):
                report.ended_because = why
            elif _work(stores, day, drain_id, report, on_batch, patient, upkeep):
                idle_since = time.monotonic()
            elif _is_over(day):
                report.ended_because = "the day is over and nothing waits"
            elif time.monotonic() - idle_since >= linger:
                report.ended_because = f"nothing came for {linger:g} s"
            else:
                _await_work(stores, day, seen, min(idle_since + linger, started + settings.max_run_seconds))
            if linger > 0:
                _keep_pace(stores, day, report)
    report.ended = datetime.now(UTC)
    return report


def _work(
    stores: Stores,
    day: date,
    drain_id: str,
    report: DrainReport,
    on_batch: Callable[[Batch, BatchResult], None],
    patient: bool,
    upkeep: Upkeep,
) -> bool:
    settings = stores.config.processing
    batch = claim_batch(
        stores.state,
        stores.spool,
        day,
        drain_id,
        max_envelopes=settings.batch_envelopes,
        max_bytes=settings.batch_bytes,
        patient=patient,
    )
    if batch is None:
        return False
    try:
        report.claimed_at, report.claimed_size = time.monotonic(), _size(stores, day)
        oldest = stores.spool.waiting(day, batch.part, batch.after).oldest
        result = process_batch(stores, batch)
    except BatchLost as lost:
        log.warning("let go of a batch: %s", lost)
        let_go(stores.state, batch)
        return True
    except Exception as error:
        _note_failure(stores.state, batch, error)
        raise
    except BaseException:  # KeyboardInterrupt, or what Dagster makes of SIGTERM: an orderly stop
        give_back_batch(stores.state, batch)
        raise
    erase_batch(stores, batch)
    report.add(result, datetime.now(UTC), oldest)
    report.small = not result.in_files
    on_batch(batch, result)
    upkeep.after_batch(result.in_files)
    _evaluate_windows(stores, report)
    return True


def _note_failure(state: StateDatabase, batch: Batch, error: Exception) -> None:
    """Note that an attempt failed; what failed may be the database, so for a while again. Left unsaid it counts as a death, and
    the wait that the claim noted holds."""
    until = time.monotonic() + NOTE_SECONDS
    while True:
        try:
            fail_batch(state, batch, error)
        except SQLAlchemyError:
            if time.monotonic() >= until:
                log.exception("the failure of batch %d could not be noted", batch.id)
                return
            time.sleep(NOTE_POLL_SECONDS)
        else:
            return


def _evaluate_windows(stores: Stores, report: DrainReport) -> None:
    """Let alert rules look at windows of time now, and not only at the next tick of their sensor; every few seconds."""
    now = time.monotonic()
    of_the_past = _is_over(report.day)  # what is stored of it late says nothing about now
    if of_the_past or now - report.windows_at < WINDOWS_SECONDS or not timed_rules(stores.config):
        return
    try:
        evaluate_windows(stores, datetime.now(UTC))
    except Exception as error:
        # What is stored is stored, whatever rules make of it; the sensor looks at them too.
        kind = type(error).__name__
        if kind not in report.windows_failed:
            report.windows_failed.add(kind)
            log.exception("rules about windows could not be evaluated")
        _note_windows(stores.state, error)
    report.windows_at = time.monotonic()


def _note_windows(state: StateDatabase, error: Exception) -> None:
    """Let the watch tell that rules could not be looked at."""
    now = datetime.now(UTC)
    failed = [("rules about windows", error)]
    try:
        with state.write() as connection:
            note_passed_over(state, connection, "looks at windows", failed, now, logged=True)
    except SQLAlchemyError:
        log.warning("it could not be noted that rules about windows could not be evaluated")


def _is_over(day: date) -> bool:
    end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    return datetime.now(UTC) >= end + DAY_GRACE


def _await_work(stores: Stores, day: date, seen: int, until: float) -> None:
    """Return when the spool of the day has grown beyond what was `seen`, or at `until`."""
    stores.spool.await_growth(day, seen, 1, until - time.monotonic())


def _keep_pace(stores: Stores, day: date, report: DrainReport) -> None:
    """After a small batch, let what comes collect until the next one is due, or is not small any more."""
    left = report.claimed_at + PACE_SECONDS - time.monotonic()
    if report.small and left > 0:
        stores.spool.await_growth(day, report.claimed_size, SMALL.events + 1, left)


def _size(stores: Stores, day: date) -> int:
    return sum(t.last_position for t in stores.spool.totals(day).values())


@contextmanager
def _calm_collector() -> Iterator[None]:
    """Collect cyclic garbage seldom: decoded events hold no cycles, and each full collection walks all of Dagster."""
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(COLLECTOR_THRESHOLD, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


@contextmanager
def _registered(state: StateDatabase, day: date, run_id: str | None) -> Iterator[str]:
    """A drain that others see alive until the block ends, or until the process dies."""
    drain_id = start_drain(state, day, run_id)
    failed: str | None = None
    try:
        with beating(lambda: beat(state, drain_id), HEARTBEAT_SECONDS, f"drain {drain_id}"):
            yield drain_id
    except Exception as error:
        failed = reason_of(error)
        raise
    finally:
        end_drain(state, drain_id, failed)
