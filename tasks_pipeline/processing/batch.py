"""process_batch: one range of the spool, stored exactly once. The protocol is in docs/storage.md."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

from tasks_pipeline.processing.base import Staging
from tasks_pipeline.processing.settle import Settled, outcome_rows, settle, to_arrow
from tasks_pipeline.processing.staging import stage_envelope
from tasks_pipeline.storage.batches import (
    Batch,
    condemn_suspect,
    condemned,
    ensure_held,
    finish_batch,
    suspected,
)
from tasks_pipeline.storage.groups import count_events
from tasks_pipeline.storage.lake import LakeFile
from tasks_pipeline.storage.spool import Spooled
from tasks_pipeline.storage.stores import Stores

CHUNK_PAYLOAD_BYTES = 64 * 1024 * 1024  # decoded payloads held in memory at once
CAREFUL_FROM_ATTEMPT = 3  # two deaths may be chance


class RawGone(Exception):
    """Envelopes of a range are not in the spool any more: their raw retention is over."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a batch: envelopes read, items by outcome, groups that got events."""

    envelopes: int
    counts: dict[str, int]
    groups: int


@dataclass(slots=True)
class PreparedBatch:
    """A batch whose rows are ready: `files` hold those that are written, `settled` the others, and all counts."""

    batch: Batch
    settled: Settled
    files: list[LakeFile]


def process_batch(stores: Stores, batch: Batch) -> BatchResult:
    """Process and store the envelopes of a batch.

    Raises BatchLost and RawGone. Whatever else goes wrong leaves the batch open, and doing it again is safe.
    """
    return commit_batch(stores, prepare_batch(stores, batch))


def prepare_batch(stores: Stores, batch: Batch) -> PreparedBatch:
    """Process the envelopes of a batch: the part that computes. Raises BatchLost and RawGone."""
    careful = batch.attempt >= CAREFUL_FROM_ATTEMPT
    if careful:
        condemn_suspect(stores.state, batch)
    prepared = PreparedBatch(batch, Settled(), [])
    for staging in staged_chunks(stores, batch, careful=careful):
        if prepared.settled.rows:
            _write(stores, prepared)
        settle(stores, staging, batch, held=True, into=prepared.settled)
    return prepared


def commit_batch(stores: Stores, prepared: PreparedBatch) -> BatchResult:
    """Store what was prepared: the part that waits for disks. Raises BatchLost."""
    batch, settled = prepared.batch, prepared.settled
    settled.rows["outcomes"] = outcome_rows(settled.outcomes, batch.day, batch.part, batch.first_position)
    _write(stores, prepared)
    with stores.lake.lock(), stores.state.write() as connection:
        ensure_held(connection, batch)
        if batch.attempt == 1 or not stores.lake.holds_batch(batch.day, batch.part, batch.first_position):
            stores.lake.register(prepared.files)
        count_events(stores.state, connection, batch.day, settled.groups)
        finish_batch(connection, batch, settled.counts())
    return BatchResult(batch.last_position - batch.first_position + 1, settled.counts(), len(settled.groups))


def _write(stores: Stores, prepared: PreparedBatch) -> None:
    rows = prepared.settled.rows
    prepared.files += stores.lake.write(prepared.batch.day, to_arrow(rows), f"batch-{prepared.batch.id}")
    rows.clear()


def staged_chunks(stores: Stores, batch: Batch, *, careful: bool = False) -> Iterator[Staging]:
    """The batch's envelopes through their processors, in pieces of bounded memory. Raises RawGone.

    `careful` notes each envelope before it is touched, so that one that kills the process is known afterwards.
    """
    known_killers = condemned(stores.state, batch.day, batch.part)
    staging = Staging(stores.blobs)
    for spooled in _envelopes(stores, batch):
        with suspected(stores.state, batch, spooled.position) if careful else nullcontext():
            stage_envelope(spooled, staging, stores.config, known_killers)
        if staging.payload_bytes >= CHUNK_PAYLOAD_BYTES:
            yield staging
            staging = Staging(stores.blobs)
    yield staging


def _envelopes(stores: Stores, batch: Batch) -> Iterator[Spooled]:
    after = batch.first_position - 1
    while after < batch.last_position:
        found = stores.spool.read(batch.day, batch.part, after, through=batch.last_position)
        if not found or found[0].position != after + 1:
            raise RawGone(f"position {after + 1} of {batch.day} {batch.part} is not in the spool")
        yield from found
        after = found[-1].position
