"""From spooled envelopes to staged rows: opens envelopes, runs each item's processor, keeps poison alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tasks_pipeline.config import Config
from tasks_pipeline.processing.base import (
    Discarded,
    Filtered,
    Invalid,
    ItemData,
    Place,
    Refused,
    Staging,
    outcome_key,
)
from tasks_pipeline.processing.items import PROCESSORS
from tasks_pipeline.protocol.bounds import MAX_ENVELOPE_CHECK_INS, MAX_ENVELOPE_ROWS
from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import storable
from tasks_pipeline.protocol.encoding import EncodingError, decompress
from tasks_pipeline.protocol.envelope import EVENT_TYPES, Envelope, EnvelopeError, Item, parse_envelope
from tasks_pipeline.protocol.ids import parse_event_id
from tasks_pipeline.protocol.items import SUPPORTED, accounted, category
from tasks_pipeline.protocol.times import parse_time
from tasks_pipeline.storage.spool.interface import Spooled


@dataclass(slots=True)
class _Room:
    """What the items of one envelope may still make; `full` are types of which one item was too much already."""

    rows: int = MAX_ENVELOPE_ROWS
    check_ins: int = MAX_ENVELOPE_CHECK_INS
    full: set[str] = field(default_factory=set)

    def enter(self, item_type: str) -> None:
        """Raise Invalid when nothing more of this type can be taken, before any work is done for the item."""
        if item_type in self.full:
            raise _too_many_rows()
        if item_type == "check_in":
            self.check_ins -= 1
            if self.check_ins < 0:
                raise Invalid(
                    "too_many_check_ins", f"more than {MAX_ENVELOPE_CHECK_INS} in one envelope", "validate"
                )

    def take(self, item_type: str, rows: int) -> None:
        """Raise Invalid when the item's rows are too many."""
        if rows > self.rows:
            self.full.add(item_type)
            raise _too_many_rows()
        self.rows -= rows


def _too_many_rows() -> Invalid:
    return Invalid("too_many_rows", f"the envelope makes more than {MAX_ENVELOPE_ROWS} rows", "validate")


def stage_envelope(spooled: Spooled, staging: Staging, config: Config, condemned: Mapping[int, str]) -> None:
    """Stage every item of an envelope; whatever is wrong with it ends as dead letters and counts, never as an exception."""
    if spooled.position in condemned:
        _refuse_envelope(spooled, staging, "killed_the_process", condemned[spooled.position])
        return
    try:
        envelope = open_envelope(spooled, config)
    except (EncodingError, EnvelopeError) as error:
        _refuse_envelope(spooled, staging, "invalid_envelope", str(error))
        return
    except Exception as error:  # noqa: BLE001 - as in stage_item
        staging.notes.failed("an envelope failed", spooled.position, error)
        _refuse_envelope(spooled, staging, "processor_error", f"{type(error).__name__}: {error}")
        return
    receipt = spooled.receipt
    context = _context(spooled, envelope)
    if receipt.meta.get("internal"):
        _count_refusals(spooled, envelope, staging, context)
        return
    refused = _strings(receipt.meta.get("refused"))
    items = accounted(envelope, refused)
    kept_out: Refused | None = None
    room = _Room()
    for index, item in sorted(items, key=_attachments_last):
        place = Place(spooled.day, spooled.part, spooled.position, index)
        data = ItemData(item, place, context, receipt.public_key, category(item.type))
        if kept_out is not None and item.type == "attachment":
            staging.refuse(data, kept_out.outcome, kept_out.reason, kept_out.step, kept_out.detail)
        else:
            refusal = stage_item(data, staging, room)
            if item.type in EVENT_TYPES and isinstance(refusal, Filtered | Discarded):
                kept_out = refusal
    _count_the_rest(envelope, {index for index, _ in items}, context, receipt.public_key, staging)


def _attachments_last(numbered: tuple[int, Item]) -> tuple[bool, int]:
    """Attachments of an event share its fate, so they wait until that is known."""
    return numbered[1].type == "attachment", numbered[0]


def stage_item(data: ItemData, staging: Staging, room: _Room) -> Refused | None:
    """Run the processor of one item; gives the refusal of one that is not stored on purpose."""
    refused: Refused | None = None
    try:
        room.enter(data.item.type)
        processor = PROCESSORS[data.item.type](data, staging)
        processor.process()
        room.take(data.item.type, len(processor.rows))
    except Refused as refusal:
        refused = refusal
        staging.refuse(data, refusal.outcome, refusal.reason, refusal.step, refusal.detail)
    except Exception as error:  # noqa: BLE001 - logged once for each kind and batch
        # The boundary that keeps poison alone: whatever a step did not foresee costs this item only.
        staging.notes.failed(f"an item of type {data.item.type} failed", data.place, error)
        staging.refuse(data, "invalid", "processor_error", "process", f"{type(error).__name__}: {error}")
    else:
        processor.save()
        if not processor.rows:
            staging.count(data, "stored", processor.without_rows)
    # What is staged lives until its batch is stored, and so would these bytes, most of the memory of a batch.
    # Headers may be of 64 KiB.
    data.item.payload, data.item.headers = b"", {"type": data.item.type}
    return refused


def open_envelope(spooled: Spooled, config: Config) -> Envelope:
    """The envelope in the wire bytes. Raises EncodingError or EnvelopeError."""
    receipt = spooled.receipt
    body = decompress(receipt.body, receipt.encoding, config.receiver.max_envelope_bytes)
    return parse_envelope(body, config.receiver.max_items)


def _context(spooled: Spooled, envelope: Envelope) -> ItemContext:
    receipt = spooled.receipt
    return ItemContext(
        project_id=receipt.project_id,
        received_at=receipt.received_at,
        event_id=receipt.event_id or parse_event_id(envelope.headers.get("event_id")),
        sent_at=parse_time(envelope.headers.get("sent_at")),
        remote_addr=_string(receipt.meta.get("remote_addr")),
        client=_string(receipt.meta.get("client")),
        user_agent=_string(receipt.meta.get("user_agent")),
    )


def _refuse_envelope(spooled: Spooled, staging: Staging, reason: str, detail: str) -> None:
    """Every item of an envelope that cannot be opened is invalid; one dead letter tells of all."""
    receipt = spooled.receipt
    place = Place(spooled.day, spooled.part, spooled.position, -1)
    context = ItemContext(receipt.project_id, receipt.received_at, receipt.event_id)
    data = ItemData(Item({"type": "envelope"}, b""), place, context, receipt.public_key, "default")
    staging.refuse(data, "invalid", reason, "open", detail)
    staging.count(data, "invalid", reason, receipt.items - 1)


def _count_the_rest(
    envelope: Envelope, done: set[int], context: ItemContext, public_key: str, staging: Staging
) -> None:
    """Items that are not kept: of a type we do not know, or of a category that a quota refused."""
    for index, item in enumerate(envelope.items):
        if index not in done:
            outcome, counted = "rate_limited", (category(item.type), "quota")
            if item.type not in SUPPORTED:
                outcome, counted = "unsupported", staging.notes.named(category(item.type), item.type[:64])
            staging.outcomes[outcome_key(context, public_key, counted[0], outcome, counted[1])] += 1


class _RefusedItems(msgspec.Struct):
    category: str
    outcome: str
    reason: str
    quantity: int


class _Refusals(msgspec.Struct):
    outcomes: list[_RefusedItems]


def _count_refusals(spooled: Spooled, envelope: Envelope, staging: Staging, context: ItemContext) -> None:
    """What the receiver answered with a refusal, counted by itself (see receiver)."""
    key = spooled.receipt.public_key
    for item in envelope.items:
        for refused in msgspec.json.decode(item.payload, type=_Refusals).outcomes:
            counted = outcome_key(context, key, refused.category, refused.outcome, refused.reason)
            staging.outcomes[counted] += refused.quantity


def _strings(value: object) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list | tuple) else []


def _string(value: Any) -> str | None:
    return storable(value) if isinstance(value, str) and value else None
