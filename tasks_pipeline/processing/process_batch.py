"""process_batch: one range of the spool, stored exactly once. The protocol is in docs/storage.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from tasks_pipeline.alerts.conditions import tags_of
from tasks_pipeline.alerts.evaluate import fire_changes
from tasks_pipeline.groups.changes import GroupChange
from tasks_pipeline.groups.counting import count_events
from tasks_pipeline.groups.decisions import merged_targets
from tasks_pipeline.groups.regrouping import finish_regroupings, last_regrouping, note_race
from tasks_pipeline.monitors.check_ins import apply_check_ins
from tasks_pipeline.notifications.frames import paths_of
from tasks_pipeline.processing.base import Staging
from tasks_pipeline.processing.settle import Settled, outcome_rows, settle, to_arrow
from tasks_pipeline.processing.staging import stage_envelope
from tasks_pipeline.releases.known import note_releases
from tasks_pipeline.storage.lake.events import payload_of
from tasks_pipeline.storage.lake.files import LakeFile
from tasks_pipeline.storage.ledger.batches import Batch, ensure_held, finish_batch
from tasks_pipeline.storage.ledger.suspects import condemn_suspect, condemned, suspected
from tasks_pipeline.storage.spool.interface import Spooled
from tasks_pipeline.stores import Stores
from tasks_pipeline.uploads.arrivals import announce_again, last_arrival

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


def process_batch(stores: Stores, batch: Batch) -> BatchResult:
    """Process and store the envelopes of a batch.

    Raises BatchLost and RawGone. Whatever else goes wrong leaves the batch open, and doing it again is safe.
    """
    with stores.state.read() as connection:
        arrived, regrouped = last_arrival(connection), last_regrouping(connection)
    stores.tools.arrived_through(arrived)
    careful = batch.attempt >= CAREFUL_FROM_ATTEMPT
    if careful:
        condemn_suspect(stores.state, batch)
    settled = Settled()
    files: list[LakeFile] = []
    label = f"batch-{batch.id}"
    for staging in staged_chunks(stores, batch, careful=careful):
        settle(stores, staging, batch, held=True, into=settled)
        files += stores.lake.write(batch.day, to_arrow(settled.rows), label)
        settled.rows.clear()
    rows = outcome_rows(settled.outcomes, batch.day, batch.part, batch.first_position)
    files += stores.lake.write(batch.day, to_arrow({"outcomes": rows}), label)
    with stores.lake.lock():
        with stores.state.write() as connection:
            ensure_held(connection, batch)
            raced = _make_visible(stores, connection, batch, files, settled, regrouped)
            announce_again(stores.state, connection, arrived, settled.missed)
            for project_id, releases in sorted(settled.releases.items()):
                note_releases(stores.state, connection, project_id, releases)
            changes = count_events(stores.state, connection, batch.day, settled.groups)
            _tell(stores, connection, changes, settled)
            finish_batch(connection, batch, settled.counts())
        if raced:
            finish_regroupings(stores.state, stores.lake)
    return BatchResult(batch.last_position - batch.first_position + 1, settled.counts(), len(settled.groups))


def _tell(stores: Stores, connection: Connection, changes: Sequence[GroupChange], settled: Settled) -> None:
    """Tell alert rules what became of groups, and monitors of their check-ins, in the transaction that counts the batch: so they hear of it once."""
    now = datetime.now(UTC)
    told = [_with_events(stores, change, settled.candidates.get(change.group_id, ())) for change in changes]
    fire_changes(stores.state, connection, stores.config, told, now)
    apply_check_ins(stores.state, connection, stores.config, settled.check_ins, now)


def _with_events(stores: Stores, change: GroupChange, events: Sequence[dict[str, Any]]) -> GroupChange:
    """A change with the events that rules look at and, for projects with owners of paths, the files of the first one."""
    project = stores.config.project(change.project_id)
    if not events or project is None or not project.ownership:
        return replace(change, events=events)
    first = events[0]
    payload = payload_of(stores.lake, change.project_id, first["day"], first["event_id"]) or {}
    url = payload.get("request", {}).get("url")
    facts = {
        **change.facts,
        "paths": paths_of(payload),
        "tags": tags_of(first),
        **({"url": url} if url else {}),
    }
    return replace(change, events=events, facts=facts)


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


def staged_chunks(stores: Stores, batch: Batch, *, careful: bool = False) -> Iterator[Staging]:
    """The batch's envelopes through their processors, in pieces of bounded memory. Raises RawGone.

    `careful` notes each envelope before it is touched, so that one that kills the process is known afterwards.
    """
    known_killers = condemned(stores.state, batch.day, batch.part)
    staging = Staging(stores.blobs, stores.tools)
    for spooled in _envelopes(stores, batch):
        with suspected(stores.state, batch, spooled.position) if careful else nullcontext():
            stage_envelope(spooled, staging, stores.config, known_killers)
        if staging.payload_bytes >= CHUNK_PAYLOAD_BYTES:
            yield staging
            staging = Staging(stores.blobs, stores.tools)
    yield staging


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
