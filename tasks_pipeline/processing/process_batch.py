"""process_batch: one range of the spool, stored exactly once. The protocol is in docs/storage.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import Connection

from tasks_pipeline.groups.counting import count_events
from tasks_pipeline.groups.decisions import merged_targets
from tasks_pipeline.groups.regrouping import finish_regroupings, last_regrouping, note_race
from tasks_pipeline.processing.base import BatchNotes, Staging
from tasks_pipeline.processing.settle import Settled, outcome_rows, settle, to_arrow
from tasks_pipeline.processing.staging import stage_envelope
from tasks_pipeline.processing.telling import locks_of, tell
from tasks_pipeline.releases.known import note_releases
from tasks_pipeline.storage.lake.files import LakeFile
from tasks_pipeline.storage.ledger.batches import Batch, ensure_held, finish_batch
from tasks_pipeline.storage.ledger.suspects import condemn_suspect, condemned, suspected
from tasks_pipeline.storage.spool.interface import Spooled
from tasks_pipeline.stores import Stores
from tasks_pipeline.uploads.arrivals import announce_again, last_arrival

CHUNK_BYTES = 32 * 1024 * 1024  # of rows of all kinds, held in memory at once
CHUNK_ROWS = 20_000
CAREFUL_FROM_ATTEMPT = 3  # two deaths may be chance
CAREFUL_ENVELOPES = 50  # settled and written together by an attempt that is careful


class RawGone(Exception):
    """Envelopes of a range are not in the spool any more: their raw retention is over."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a batch: envelopes read, items by outcome, groups that got events."""

    envelopes: int
    counts: dict[str, int]
    groups: int


def process_batch(stores: Stores, batch: Batch) -> BatchResult:
    """Process and store the envelopes of a batch.

    Raises BatchLost and RawGone. Whatever else goes wrong leaves the batch open, and doing it again is safe.
    """
    with stores.state.read() as connection:
        arrived, regrouped = last_arrival(connection), last_regrouping(connection)
    stores.tools.arrived_through(arrived)
    careful = batch.attempt >= CAREFUL_FROM_ATTEMPT
    alone = condemn_suspect(stores.state, batch) if careful else None
    settled = Settled()
    files: list[LakeFile] = []
    label = f"batch-{batch.id}"
    for staging in staged_chunks(stores, batch, careful=careful, alone=alone):
        settle(stores, staging, batch, held=True, into=settled)
        files += stores.lake.write(batch.day, to_arrow(settled.rows), label)
        settled.rows.clear()
    rows = outcome_rows(settled.outcomes, batch.day, batch.part, batch.first_position)
    files += stores.lake.write(batch.day, to_arrow({"outcomes": rows}), label)
    with stores.lake.lock():
        with stores.state.write() as connection:
            stores.state.serialise(connection, *locks_of(settled))
            ensure_held(connection, batch)
            raced = _make_visible(stores, connection, batch, files, settled, regrouped)
            announce_again(stores.state, connection, arrived, settled.missed)
            for project_id, releases in sorted(settled.releases.items()):
                note_releases(stores.state, connection, project_id, releases)
            changes = count_events(stores.state, connection, batch.day, settled.groups)
            tell(stores, connection, changes, settled, datetime.now(UTC))
            finish_batch(connection, batch, settled.counts())
        if raced:
            finish_regroupings(stores.state, stores.lake)
    return BatchResult(batch.last_position - batch.first_position + 1, settled.counts(), len(settled.groups))


def _make_visible(
    stores: Stores,
    connection: Connection,
    batch: Batch,
    files: Sequence[LakeFile],
    settled: Settled,
    regrouped: int,
) -> bool:
    """Put the rows of the batch into the lake, unless an earlier attempt did. Gives whether groups of them were merged,
    unmerged or discarded since regrouping number `regrouped`: then a regrouping is open for them."""
    group_ids = set(settled.groups)
    if batch.attempt == 1 or not stores.lake.holds_batch(batch.day, batch.part, batch.first_position):
        stores.lake.register(files)
    else:  # those rows may be of any age
        regrouped = 0
        group_ids |= stores.lake.groups_of_batch(
            batch.day, batch.part, batch.first_position, batch.last_position
        )
    raced = note_race(connection, regrouped, group_ids)
    if raced:
        settled.follow(merged_targets(connection, settled.groups))
    return raced


def staged_chunks(
    stores: Stores, batch: Batch, *, careful: bool = False, alone: int | None = None
) -> Iterator[Staging]:
    """The batch's envelopes through their processors, in pieces of bounded memory; each is emptied when the next is asked
    for. Raises RawGone.

    `careful` notes each envelope before it is touched, and the pieces, which are small then, while they are at work, so
    that an envelope that kills the process is known afterwards. Those of the piece that begins at position `alone`,
    which the last attempt did not survive, are pieces of their own.
    """
    known_killers, notes = condemned(stores.state, batch.day, batch.part), BatchNotes()
    suspects = range(alone, alone + CAREFUL_ENVELOPES) if alone is not None else range(0)
    staging, first = Staging(stores.blobs, stores.tools, notes), batch.first_position
    for spooled in _envelopes(stores, batch):
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
