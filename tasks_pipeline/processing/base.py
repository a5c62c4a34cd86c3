"""What every processor shares: the item it gets, how it refuses one, and where its rows go."""

from __future__ import annotations

import logging
import traceback
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, ClassVar

from tasks_pipeline.grouping import Grouping
from tasks_pipeline.processing.rows import ROW_BYTES, row_bytes
from tasks_pipeline.processing.stopwatch import Stopwatch
from tasks_pipeline.protocol.bounds import MAX_BATCH_REASONS
from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import PayloadError, decode_json, storable
from tasks_pipeline.protocol.envelope import Item
from tasks_pipeline.releases.spans import slot_of
from tasks_pipeline.storage.blobs import BlobStore
from tasks_pipeline.tools import ProjectTools, Tools

log = logging.getLogger(__name__)

DETAIL_LENGTH = 1000
STACK_LENGTH = 8000
OUTCOME_BYTES = 600


class Refused(Exception):
    """An item that is not stored. `outcome` says how it is counted; `detail` is for people."""

    outcome: ClassVar[str]

    def __init__(self, reason: str, detail: str = "", step: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail, self.step = reason, detail, step


class Invalid(Refused):
    """The item cannot be used: it becomes a dead letter."""

    outcome = "invalid"


class Filtered(Refused):
    """A rule of the project keeps the item out."""

    outcome = "filtered"


class Discarded(Refused):
    """Somebody decided to drop such items."""

    outcome = "discarded"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item lies in the spool: day, part, position, and its index in the envelope."""

    day: date
    part: str
    position: int
    item: int

    def columns(self) -> dict[str, Any]:
        """The columns that every lake table has."""
        return {"day": self.day, "part": self.part, "position": self.position, "item": self.item}


@dataclass(frozen=True, slots=True)
class ItemData:
    """One item on its way: its bytes, its place, and the facts of its receipt."""

    item: Item
    place: Place
    context: ItemContext
    public_key: str
    category: str


@dataclass(slots=True)
class Staged:
    """A row that is ready but for what the state database must say of it.

    `claims_event_id`: the row is stored only where it owns its event id. `follows_event`: the row is an attachment of
    the event in the same envelope and shares its fate. `size` is about how many bytes of memory it holds. `payload` (JSON) and `grouping` belong to error events.
    """

    table: str
    row: dict[str, Any]
    data: ItemData
    claims_event_id: bool = False
    follows_event: bool = False
    payload: bytes | None = None
    grouping: Grouping | None = None
    size: int = 0


# What outcomes are counted by: project, begin of the 15 minutes of receipt, public key, category, outcome, reason.
OutcomeKey = tuple[int, datetime, str, str, str, str]


@dataclass(slots=True)
class BatchNotes:
    """What the pieces of a batch must know of each other, so that a batch of nonsense costs neither memory nor log.

    `failures` counts what nobody foresaw, by kind; `names` are those that strangers made up and outcomes are counted by.
    """

    failures: Counter[str] = field(default_factory=Counter)
    names: set[tuple[str, str]] = field(default_factory=set)

    def failed(self, what: str, where: object, error: Exception) -> None:
        """Log the first failure of a kind with its stack, and count the others."""
        kind = f"{what}: {type(error).__name__}"
        self.failures[kind] += 1
        if self.failures[kind] == 1:
            stack = "".join(traceback.format_tb(error.__traceback__))[-STACK_LENGTH:]
            log.error("%s at %s: %s\n%s", kind, where, str(error)[:DETAIL_LENGTH], stack)

    def tell(self) -> None:
        """Log how often each kind of failure came, where once was not all."""
        for kind, times in sorted(self.failures.items()):
            if times > 1:
                log.error("%s: %s times in this batch; the dead letters name each", kind, times)

    def named(self, category: str, reason: str) -> tuple[str, str]:
        """A stranger's category and reason as outcomes are counted by: of too many different ones the rest are `other`."""
        name = category, reason
        if name not in self.names:
            if len(self.names) >= MAX_BATCH_REASONS:
                return "default", "other"
            self.names.add(name)
        return name


@dataclass(slots=True)
class Staging:
    """What the processors of some envelopes made: rows, and counts of what did not become one. Blobs are stored at once.

    `size` is about how many bytes of memory the rows and dead letters hold.
    """

    blobs: BlobStore
    tools: Tools
    notes: BatchNotes = field(default_factory=BatchNotes)
    watch: Stopwatch = field(default_factory=Stopwatch)
    staged: list[Staged] = field(default_factory=list)
    dead_letters: list[dict[str, Any]] = field(default_factory=list)
    outcomes: Counter[OutcomeKey] = field(default_factory=Counter)
    size: int = 0

    def add(self, staged: Staged) -> None:
        """Take a row."""
        self.staged.append(staged)
        self.size += staged.size

    def is_full(self, rows: int, size: int) -> bool:
        """Whether so many rows of any kind, or so many bytes of them, are held."""
        return (
            len(self.staged) + len(self.dead_letters) >= rows
            or self.size + OUTCOME_BYTES * len(self.outcomes) >= size
        )

    def refuse(self, data: ItemData, outcome: str, reason: str, step: str, detail: str) -> None:
        """Count an item that is not stored; one that is invalid becomes a dead letter."""
        self.count(data, outcome, reason)
        if outcome != "invalid":
            return
        scrubbed = self.tools.of(data.context.project_id).scrubber.text
        letter = {
            **data.place.columns(),
            "project_id": data.context.project_id,
            "event_id": data.context.event_id,
            "received_at": data.context.received_at,
            "item_type": data.item.type,
            "step": step,
            "reason": reason,
            "detail": scrubbed(storable(detail[:DETAIL_LENGTH])),
        }
        self.dead_letters.append(letter)
        self.size += ROW_BYTES + len(letter["detail"])

    def clear(self) -> None:
        """Let go of everything, since whoever took it may keep the staging itself for longer."""
        self.staged.clear()
        self.dead_letters.clear()
        self.outcomes.clear()
        self.size = 0

    def count(
        self, data: ItemData, outcome: str, reason: str = "", quantity: int = 1, category: str = ""
    ) -> None:
        """Count what became of items."""
        key = outcome_key(data.context, data.public_key, category or data.category, outcome, reason)
        self.outcomes[key] += quantity


def outcome_key(
    context: ItemContext, public_key: str, category: str, outcome: str, reason: str
) -> OutcomeKey:
    """The key that an item's outcome is counted by."""
    return context.project_id, slot_of(context.received_at), public_key, category, outcome, reason


class BaseEventProcessor(ABC):
    """One item from its bytes to its rows: `process()` reads and transforms, `save()` hands the rows over."""

    without_rows: ClassVar[str] = ""
    """The reason that an item is counted with which is stored and made no row."""

    def __init__(self, data: ItemData, staging: Staging) -> None:
        self.data = data
        self.staging = staging
        self.rows: list[Staged] = []

    @property
    def tools(self) -> ProjectTools:
        """The settings of the item's project at work."""
        return self.staging.tools.of(self.data.context.project_id)

    def filter(self, item: dict[str, Any]) -> None:
        """Raise Filtered when the project keeps such items out, by release, environment, user, request or client."""
        refusal = self.tools.filters.refuses(item, self.data.context)
        if refusal is not None:
            raise Filtered(refusal.reason, refusal.detail, "filter")

    @abstractmethod
    def process(self) -> None:
        """Fill `rows`. Raises Refused when the item is not to be stored."""

    def save(self) -> None:
        """Hand the rows over to be stored with their batch."""
        for row in self.rows:
            self.staging.add(row)

    def stage(self, table: str, row: dict[str, Any], **facts: Any) -> None:
        """Add a row; the columns that every table has are filled in. Raises ValueError for one that cannot be stored."""
        data = self.data
        common = {"project_id": data.context.project_id, "received_at": data.context.received_at}
        staged = Staged(table, {**data.place.columns(), **common, **row}, data, **facts)
        staged.size = row_bytes(table, staged.row) + len(staged.payload or b"")
        self.rows.append(staged)


class JsonProcessor(BaseEventProcessor):
    """An item whose payload is JSON."""

    def process(self) -> None:
        """Decode the payload and stage its rows; what cannot be read is Invalid."""
        try:
            self.stage_payload(decode_json(self.data.item.payload))
        except PayloadError as error:
            raise Invalid("invalid_payload", str(error), "validate") from error

    @abstractmethod
    def stage_payload(self, payload: Any) -> None:
        """Stage the rows of a decoded payload. Raises PayloadError or Refused."""
