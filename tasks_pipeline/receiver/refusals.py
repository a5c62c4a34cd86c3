"""What the receiver turned away, per key of a project, as sums that go into the spool as receipts of their own."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from tasks_pipeline.protocol.envelope import Envelope, Item, write_envelope
from tasks_pipeline.storage.spool.interface import Receipt

ITEM_TYPE = "refusals"
Outcome = Literal["rate_limited", "refused"]  # refused: nothing was accepted, so the books know nothing of it
_Row = tuple[str, Outcome, str]
Sums = Counter[_Row]
Source = tuple[int, str]
"""A known project, and the public key that was named."""


class Refusals:
    """Sums by project, key, category, outcome and reason since the last `take`."""

    def __init__(self) -> None:
        self._sums: dict[Source, Sums] = defaultdict(Counter)

    def add(self, source: Source, outcome: Outcome, reason: str, quantities: Mapping[str, int]) -> None:
        """Count items by category."""
        for category, quantity in quantities.items():
            self._sums[source][category, outcome, reason] += quantity

    def take(self) -> dict[Source, Sums]:
        """The sums so far; counting starts anew."""
        taken, self._sums = self._sums, defaultdict(Counter)
        return taken

    def give_back(self, source: Source, sums: Sums) -> None:
        """Add sums that could not be written."""
        self._sums[source].update(sums)


def refusals_receipt(source: Source, sums: Sums) -> Receipt:
    """A receipt without accounted items; `internal` in its meta tells it from what a stranger may send."""
    outcomes = [
        {"category": category, "outcome": outcome, "reason": reason, "quantity": quantity}
        for (category, outcome, reason), quantity in sorted(sums.items())
    ]
    payload = msgspec.json.encode({"outcomes": outcomes})
    return Receipt(
        received_at=datetime.now(UTC),
        project_id=source[0],
        public_key=source[1],
        event_id=None,
        encoding="",
        items=0,
        body=write_envelope(Envelope({}, [Item({"type": ITEM_TYPE}, payload)])),
        meta={"internal": True},
    )
