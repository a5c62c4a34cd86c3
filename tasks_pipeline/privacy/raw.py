"""Raw envelopes that tell of a person: read and unpacked as processing does it, in pieces of bounded memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

from tasks_pipeline.privacy.identity import NAMES_OF_USER, Identity
from tasks_pipeline.protocol.decode import PayloadError, decode_json
from tasks_pipeline.protocol.encoding import EncodingError, decompress
from tasks_pipeline.protocol.envelope import EnvelopeError, parse_envelope
from tasks_pipeline.storage.ledger.cursors import Cursor, cursors_of
from tasks_pipeline.storage.spool.interface import Spooled
from tasks_pipeline.stores import Stores

READ_BYTES, READ_ENVELOPES = 8 * 2**20, 500
_WITH_USERS = frozenset({"event", "transaction", "session", "sessions", "feedback"})


def envelopes_of(stores: Stores, person: Identity) -> Iterator[tuple[date, str, int, Spooled, bytes]]:
    """Day, part, position in the ledger, the envelope and its unpacked bytes, of each envelope that tells of the person. Raises SpoolError."""
    for day in stores.spool.days():
        with stores.state.read() as connection:
            cursors = cursors_of(connection, day)
        for part in sorted(stores.spool.survey(day).totals):
            base = cursors.get(part, Cursor()).base
            for spooled in _read(stores, day, part):
                if person.project_id not in (None, spooled.receipt.project_id):
                    continue
                body = _unpacked(stores, spooled)
                if _tells(person, spooled, body):
                    yield day, part, spooled.position + base, spooled, body


def _read(stores: Stores, day: date, part: str) -> Iterator[Spooled]:
    after = 0
    while found := stores.spool.read(day, part, after, max_envelopes=READ_ENVELOPES, max_bytes=READ_BYTES):
        yield from found
        after = found[-1].position


def _unpacked(stores: Stores, spooled: Spooled) -> bytes:
    receipt = spooled.receipt
    try:
        return decompress(receipt.body, receipt.encoding, stores.config.receiver.max_envelope_bytes)
    except EncodingError:  # it could not be processed either: what can be read of it is looked at
        return receipt.body


def _tells(person: Identity, spooled: Spooled, body: bytes) -> bool:
    meta = json.dumps(dict(spooled.receipt.meta), ensure_ascii=False)
    if person.texts and (person.texts.are_in(meta) or person.texts.spans_in(body)):
        return True
    wanted = {each.encode() for each in person.short_ids}
    return any(each in body for each in wanted) and _names_user(person, body)


def _names_user(person: Identity, body: bytes) -> bool:
    """Whether an item says that its user has one of the short ids."""
    try:
        items = parse_envelope(body, 10_000).items
    except EnvelopeError:
        return False
    short = set(person.short_ids)
    for item in items:
        if item.type in _WITH_USERS:
            try:
                payload = decode_json(bytes(item.payload))
            except PayloadError:
                continue
            if short & set(_values_of_user(payload)):
                return True
    return False


def _values_of_user(payload: Any) -> Iterator[str]:
    if not isinstance(payload, dict):
        return
    user = payload.get("user")
    for value in map(user.get, NAMES_OF_USER) if isinstance(user, dict) else ():
        if isinstance(value, str | int) and not isinstance(value, bool):
            yield str(value)
    rows = payload.get("aggregates")
    for row in [payload, *(rows if isinstance(rows, list) else ())]:
        did = row.get("did") if isinstance(row, dict) else None
        if isinstance(did, str | int):
            yield str(did)
