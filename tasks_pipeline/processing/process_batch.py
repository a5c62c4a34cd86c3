"""process_batch: one range of the spool, stored exactly once. The protocol is in docs/storage.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sqlalchemy import Connection, or_, select

from tasks_pipeline.config.releases import Releases
from tasks_pipeline.groups.counting import count_events
from tasks_pipeline.groups.decisions import merged_targets
from tasks_pipeline.groups.regrouping import finish_regroupings, last_regrouping, note_race
from tasks_pipeline.processing.base import BatchNotes, Staging
from tasks_pipeline.processing.batch_facts import record_batch
from tasks_pipeline.processing.replacements import finish_replacements
from tasks_pipeline.processing.settle import Settled, outcome_rows, settle
from tasks_pipeline.processing.staging import stage_envelope
from tasks_pipeline.processing.stopwatch import Stopwatch
from tasks_pipeline.processing.telling import locks_of, tell
from tasks_pipeline.releases.health_days import note_days_changed
from tasks_pipeline.releases.known import TooManyReleases, note_releases
from tasks_pipeline.storage.lake.arrow import to_arrow
from tasks_pipeline.storage.lake.files import DayFiles
from tasks_pipeline.storage.lake.tail import LOCK, add_rows, fits
from tasks_pipeline.storage.ledger.batches import Batch, ensure_held, finish_batch
from tasks_pipeline.storage.ledger.suspects import condemn_suspect, condemned, suspected
from tasks_pipeline.storage.spool.interface import Spooled
from tasks_pipeline.storage.state.day_changes import note_day_changes
from tasks_pipeline.storage.state.passed_over import Failure, note_passed_over
from tasks_pipeline.storage.state.tables import regroupings, replacements
from tasks_pipeline.stores import Stores
from tasks_pipeline.uploads.arrivals import announce_again, last_arrival

CHUNK_BYTES = 32 * 1024 * 1024  # of rows of all kinds, held in memory at once
CHUNK_ROWS = 20_000
CAREFUL_AFTER_DEATHS = 2  # so many may be chance
CAREFUL_ENVELOPES = 50  # settled and written together by an attempt that is careful


class RawGone(Exception):
    """Envelopes of a range are not in the spool any more: their raw retention is over."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a batch: envelopes read, items by outcome, groups that got events; whether its rows lie in files of
    their own, and not in the tail; seconds by stage (`stopwatch.STAGES`)."""

    envelopes: int
    counts: dict[str, int]
    groups: int
    in_files: bool = True
    seconds: Mapping[str, float] = field(default_factory=dict)


def process_batch(stores: Stores, batch: Batch) -> BatchResult:
    """Process and store the envelopes of a batch.

    Raises BatchLost and RawGone. Whatever else goes wrong leaves the batch open, and doing it again is safe.
    """
    with stores.lake.writing(batch.day, f"batch-{batch.id}") as files:
        work = _Work(stores, batch, files)
        with stores.state.read() as connection:
            work.arrived, work.regrouped = last_arrival(connection), last_regrouping(connection)
        stores.tools.arrived_through(work.arrived)
        careful = batch.deaths >= CAREFUL_AFTER_DEATHS
        alone = condemn_suspect(stores.state, batch) if careful else None
        watch = Stopwatch()
        for staging in staged_chunks(stores, batch, watch, careful=careful, alone=alone):
            watch.at("settle")
            settle(stores, staging, batch, held=True, into=work.settled)
            watch.at("write")
            if not work.may_be_small():
                work.write()
        watch.at("write")
        work.settled.rows["outcomes"] += outcome_rows(
            work.settled.outcomes, batch.day, batch.part, batch.first_position
        )
        small = work.may_be_small() and _into_tail(work)
        if not small:
            work.write()
            files.finish()
            _into_files(work)
        watch.at("")
    return BatchResult(
        batch.last_position - batch.first_position + 1,
        work.settled.counts(),
        len(work.settled.groups),
        in_files=not small,
        seconds=watch.seconds,
    )


@dataclass(slots=True)
class _Work:
    """A batch at work: what is settled of it, its files, and the numbers of the newest arrival of symbols and of the
    newest regrouping when it began."""

    stores: Stores
    batch: Batch
    files: DayFiles
    settled: Settled = field(default_factory=Settled)
    written: bool = False
    arrived: int = 0
    regrouped: int = 0

    def may_be_small(self) -> bool:
        """Whether the batch can go into the tail. Not in a later attempt: its rows may be in files."""
        return self.batch.attempt == 1 and not self.written and fits(self.settled.rows)

    def write(self) -> None:
        """Write the rows that are settled into files."""
        self.files.add(to_arrow(self.settled.rows))
        self.settled.rows.clear()
        self.written = True


def _into_tail(work: _Work) -> bool:
    """Store a small batch in one transaction of the state database. Gives whether it could be."""
    state, batch = work.stores.state, work.batch
    for _ in range(2):
        with state.write() as connection:
            state.serialise(connection, LOCK, *locks_of(work.settled))
            ensure_held(connection, batch)
            if last_regrouping(connection) != work.regrouped:
                return False  # keys moved since the groups were chosen
            if not _is_rebuilding(connection):
                positions = batch.first_position, batch.last_position
                add_rows(state, connection, batch.day, batch.part, positions, work.settled.rows)
                _count(work, connection)
                return True
        # Counters are being derived from what is stored, or were when a process died: nothing may be added meanwhile.
        with work.stores.lake.lock():
            finish_replacements(state, work.stores.lake)
            finish_regroupings(state, work.stores.lake)
    return False


def _is_rebuilding(connection: Connection) -> bool:
    """Whether a day is being replaced, or events are being moved between groups."""
    opened = [
        select(table.c.id).where(table.c.done_at.is_(None)).exists() for table in (replacements, regroupings)
    ]
    return bool(connection.execute(select(or_(*opened))).scalar_one())


def _into_files(work: _Work) -> None:
    """Store a batch whose rows lie in files: in the lake, then in the state database, under the lake's lock."""
    stores = work.stores
    with stores.lake.lock():
        with stores.state.write() as connection:
            stores.state.serialise(connection, *locks_of(work.settled))
            ensure_held(connection, work.batch)
            raced = _make_visible(work, connection)
            _count(work, connection)
        if raced:
            finish_regroupings(stores.state, stores.lake)


def _count(work: _Work, connection: Connection) -> None:
    """What a batch changes beside its rows, in the transaction that marks it done."""
    stores, settled = work.stores, work.settled
    announce_again(stores.state, connection, work.arrived, settled.missed)
    note_heard(stores, connection, settled)
    changes = count_events(stores.state, connection, work.batch.day, settled.groups)
    tell(stores, connection, changes, settled, datetime.now(UTC))
    now = datetime.now(UTC)
    record_batch(stores.state, connection, settled, changes, now)
    note_days_changed(stores.state, connection, settled.session_days, now)
    finish_batch(connection, work.batch, settled.counts(), settled.received_at)
    # Last: of drains of one day each waits here until the other has committed.
    note_day_changes(stores.state, connection, [work.batch.day], "batch", now)


def note_heard(stores: Stores, connection: Connection, settled: Settled) -> None:
    """Note what releases were heard of, and tell of those that are too many for a day."""
    surplus: list[Failure] = []
    for project_id, heard in sorted(settled.releases.items()):
        project = stores.config.project(project_id)
        settings = Releases() if project is None else project.releases
        passed = note_releases(
            stores.state,
            connection,
            project_id,
            heard,
            environments=settled.environments.get(project_id, {}),
            create=settings.create_from_events,
            most_new=settings.max_new_per_day,
        )
        surplus += [(f"release {version} of project {project_id}", TooManyReleases()) for version in passed]
    note_passed_over(stores.state, connection, "new releases above the limit", surplus, datetime.now(UTC))


def _make_visible(work: _Work, connection: Connection) -> bool:
    """Put the files of the batch into the lake, unless an earlier attempt did. Gives whether groups of them were merged,
    unmerged or discarded since it began: then a regrouping is open for them."""
    lake, batch, settled = work.stores.lake, work.batch, work.settled
    group_ids, since = set(settled.groups), work.regrouped
    if batch.attempt == 1 or not lake.holds_batch(batch.day, batch.part, batch.first_position):
        lake.register(work.files.finished)
        work.files.finished.clear()  # the catalog has them
    else:  # those rows may be of any age
        since = 0
        group_ids |= lake.groups_of_batch(batch.day, batch.part, batch.first_position, batch.last_position)
    raced = note_race(connection, since, group_ids)
    if raced:
        settled.follow(merged_targets(connection, settled.groups))
    return raced


def staged_chunks(
    stores: Stores, batch: Batch, watch: Stopwatch, *, careful: bool = False, alone: int | None = None
) -> Iterator[Staging]:
    """The batch's envelopes through their processors, in pieces of bounded memory; each is emptied when the next is asked
    for. The time goes to the stages of the `watch`. Raises RawGone.

    `careful` notes each envelope before it is touched, and the pieces, which are small then, while they are at work, so
    that an envelope that kills the process is known afterwards. Those of the piece that begins at position `alone`,
    which the last attempt did not survive, are pieces of their own.
    """
    known_killers, notes = condemned(stores.state, batch.day, batch.part), BatchNotes()
    suspects = range(alone, alone + CAREFUL_ENVELOPES) if alone is not None else range(0)
    staging, first = Staging(stores.blobs, stores.tools, notes, watch), batch.first_position
    watch.at("decode")
    for spooled in _envelopes(stores, batch):
        watch.at("decode")
        position = spooled.position
        with suspected(stores.state, batch, position) if careful else nullcontext():
            stage_envelope(spooled, staging, stores.config, known_killers)
        if staging.is_full(CHUNK_ROWS, CHUNK_BYTES) or (
            careful
            and (
                position + 1 - first >= CAREFUL_ENVELOPES or position in suspects or position + 1 in suspects
            )
        ):
            yield from _at_work(stores, batch, staging, first, position, careful)
            first = position + 1
    yield from _at_work(stores, batch, staging, first, batch.last_position, careful)
    notes.tell()


def _at_work(
    stores: Stores, batch: Batch, staging: Staging, first: int, last: int, careful: bool
) -> Iterator[Staging]:
    """The staging of some envelopes, noted while its taker works on it, and emptied then."""
    noted = careful and first <= last
    with suspected(stores.state, batch, first, of_many=first < last) if noted else nullcontext():
        yield staging
    staging.clear()


def _envelopes(stores: Stores, batch: Batch) -> Iterator[Spooled]:
    """The envelopes of a batch, with their positions in the ledger."""
    after = batch.after
    while after < batch.through:
        found = stores.spool.read(batch.day, batch.part, after, through=batch.through)
        if not found or found[0].position != after + 1:
            raise RawGone(f"position {after + 1} of {batch.day} {batch.part} is not in the spool any more")
        after = found[-1].position
        for spooled in found:
            yield replace(spooled, position=spooled.position + batch.base) if batch.base else spooled
