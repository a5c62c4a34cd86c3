"""recompute_day: store a day again from its raw envelopes, with today's code, in the place of what is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from tasks_pipeline.facts.types import DayRecomputed
from tasks_pipeline.groups.forgetting import forget_made
from tasks_pipeline.groups.moves import note_moves
from tasks_pipeline.groups.regrouping import finish_regroupings, last_regrouping, note_race
from tasks_pipeline.processing.process_batch import CHUNK_BYTES, RawGone, note_heard, staged_chunks
from tasks_pipeline.processing.replacements import finish_replacements, open_replacement
from tasks_pipeline.processing.settle import Settled, outcome_rows, settle
from tasks_pipeline.processing.stopwatch import Stopwatch
from tasks_pipeline.releases.due import note_releases_changed
from tasks_pipeline.releases.figures import releases_of_day
from tasks_pipeline.storage.lake.arrow import to_arrow
from tasks_pipeline.storage.lake.files import DayFiles
from tasks_pipeline.storage.lake.flush import flush_locked
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.storage.ledger.batches import Batch, done_batches
from tasks_pipeline.storage.state.erasures import DeletedMeanwhile, generation, refuse_other
from tasks_pipeline.storage.state.removals import removed_of
from tasks_pipeline.stores import Stores
from tasks_pipeline.uploads.arrivals import last_arrival

FILE_ROWS = 50_000  # rows of one table collected before they are written
HEARD_RELEASES = (
    50_000  # whose dates and environments are noted again: names of strangers are in memory until then
)


@dataclass(slots=True)
class RecomputeReport:
    """What a recomputation did; `bounds` is the last position covered in each part, `groups` are those of its events,
    `watch` has its seconds by stage."""

    day: date
    batches: int = 0
    envelopes: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    bounds: dict[str, int] = field(default_factory=dict)
    groups: set[int] = field(default_factory=set)
    watch: Stopwatch = field(default_factory=Stopwatch)


def recompute_day(
    stores: Stores, day: date, on_progress: Callable[[int, int], None] = lambda _done, _of: None
) -> RecomputeReport:
    """Process every batch of a day that is done once more, and swap the day's rows in one transaction.

    Batches still open, and those that come meanwhile, keep their rows: recomputing a day that is being drained is
    safe. `on_progress` gets (batches done, batches). Raises RawGone when raw envelopes of the day are missing, or
    retention took stored rows of it.
    """
    report = RecomputeReport(day)
    batches = done_batches(stores.state, day)
    if not batches:
        return report
    _refuse_less(stores, day)
    if not all(is_raw(stores, batch) for batch in batches):
        raise RawGone(
            f"the raw envelopes of {day} are gone (retention.raw_days is {stores.config.retention.raw_days}); "
            "the day stays as it is"
        )
    with stores.state.read() as connection:
        arrived, regrouped = last_arrival(connection), last_regrouping(connection)
        since = generation(connection)
    stores.tools.arrived_through(arrived)
    collected = Settled()
    with stores.lake.writing(day, "recomputed") as files, _leaving_no_group(stores, collected):
        for number, batch in enumerate(batches, 1):
            _collect(stores, batch, collected, files, report, since)
            on_progress(number, len(batches))
        _flush(collected, files)
        files.finish()
        with stores.lake.lock():
            _refuse_less(stores, day)  # retention may have come to the day meanwhile
            with stores.state.read() as connection:
                refuse_other(connection, since)
            told = DayRecomputed(
                day=day.isoformat(), envelopes=report.envelopes, stored=report.counts["stored"]
            )
            open_replacement(stores.state, day, arrived, told=told)
            before = releases_of_day(stores.lake, day)
            with stores.state.write() as connection:
                note_race(connection, regrouped, report.groups)
                # Also those that will have no events on this day any more; what there is then is noted with the counters.
                note_releases_changed(connection, before, datetime.now(UTC))
                note_heard(stores, connection, collected)
            flush_locked(stores.state, stores.lake)  # what lies in the tail of these batches is replaced too
            note_moves(stores.state, stores.lake.moves(day, files.finished))
            stores.lake.replace(day, report.bounds, files.finished)
            with (
                stores.state.write() as connection
            ):  # once more: what was counted meanwhile is of the former rows
                note_releases_changed(connection, before, datetime.now(UTC))
            finish_replacements(stores.state, stores.lake)
            finish_regroupings(stores.state, stores.lake)
    report.watch.at("")
    return report


@contextmanager
def _leaving_no_group(stores: Stores, collected: Settled) -> Iterator[None]:
    """Where rows were deleted on purpose meanwhile: remove the groups that were made of these, and are of nothing. Raises RawGone instead
    of DeletedMeanwhile: what was read is not all there any more, or was written otherwise."""
    try:
        yield
    except (RawGone, DeletedMeanwhile) as error:
        forget_made(stores.state, collected.made)
        if isinstance(error, RawGone):
            raise
        raise RawGone(f"{error}; the day stays as it is, and can be computed again") from error


def _refuse_less(stores: Stores, day: date) -> None:
    """Raise RawGone where somebody took stored rows of the day: they would be back."""
    with stores.state.read() as connection:
        removed = removed_of(connection, day, tuple(RECEIVED_TABLES))
    if removed:
        raise RawGone(f"stored rows of {day} are gone ({removed[0]}); the day stays as it is")


def is_raw(stores: Stores, batch: Batch) -> bool:
    """Whether the raw envelopes of a batch are still there; they go together."""
    return bool(stores.spool.read(batch.day, batch.part, batch.after, through=batch.after + 1))


def _collect(
    stores: Stores, batch: Batch, collected: Settled, files: DayFiles, report: RecomputeReport, since: int
) -> None:
    outcomes = Settled(rows=collected.rows, made=collected.made)
    for staging in staged_chunks(stores, batch, report.watch):
        report.watch.at("settle")
        settle(stores, staging, batch, held=False, into=outcomes, since=since)
        report.watch.at("write")
        collected.size, outcomes.size = collected.size + outcomes.size, 0
        if collected.size >= CHUNK_BYTES or any(len(r) >= FILE_ROWS for r in collected.rows.values()):
            _flush(collected, files)
    report.watch.at("write")
    collected.rows["outcomes"] += outcome_rows(outcomes.outcomes, batch.day, batch.part, batch.first_position)
    report.batches += 1
    report.envelopes += batch.last_position - batch.first_position + 1
    report.counts.update(outcomes.counts())
    report.groups.update(outcomes.groups)
    collected.hear_too(outcomes, HEARD_RELEASES)
    report.bounds[batch.part] = batch.last_position


def _flush(collected: Settled, files: DayFiles) -> None:
    files.add(to_arrow(collected.rows))
    collected.rows.clear()
    collected.size = 0
