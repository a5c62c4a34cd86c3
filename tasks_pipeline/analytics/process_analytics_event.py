"""process_analytics_event: facts of the outbox become rows of lake.analytics_events, each exactly once.

    state: a batch of rows is chosen, by number        (what was chosen is never chosen otherwise)
    files of the days are written                       no lock
    lock { the files are registered, unless the lake has the batch }
    state: the rows are done, their days are noted in day_changes

Whoever dies in between leaves a batch that is open, and the next run goes on with it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from tasks_pipeline.facts.outbox import FactBatch, finish_batch, take_batch
from tasks_pipeline.facts.types import CUSTOM, LONGEST, TYPES
from tasks_pipeline.storage.lake.arrow import to_arrow
from tasks_pipeline.storage.lake.compaction import compact, crowded
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.tables import ANALYTICS_EVENTS
from tasks_pipeline.storage.state.locks import process_lock
from tasks_pipeline.stores import Stores

TABLE = ANALYTICS_EVENTS.name
BATCH_ROWS = 20_000
MOST_BATCHES = 50  # in one run: a million facts
MOST_ATTRIBUTES = 50
_LOCK = "analytics"


class BadFact(ValueError):
    """A row of the outbox that is no fact; the message says why."""


@dataclass(slots=True)
class FactsReport:
    """What a run stored: facts by type, by UTC day and by hour of their moment; how many were dead."""

    batches: int = 0
    dead: int = 0
    types: Counter[str] = field(default_factory=Counter)
    days: Counter[date] = field(default_factory=Counter)

    @property
    def stored(self) -> int:
        """Facts that are in the lake now."""
        return self.types.total()


def process_analytics_event(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row of lake.analytics_events for a row of the outbox, all but its batch. Raises BadFact."""
    kind = TYPES.get(row["type"])
    if kind is None and not row["type"].startswith(CUSTOM):
        raise BadFact(f"no type {row['type'][:LONGEST]!r} is known")
    if kind is not None and row["version"] > kind.VERSION:
        raise BadFact(f"version {row['version']} of {row['type']} is of a later version of this software")
    at: datetime = row["at"]
    return {
        "day": at.astimezone(UTC).date(),
        "id": bytes(row["fact"]).hex(),
        "type": row["type"],
        "version": row["version"],
        "at": at,
        "project_id": row["project_id"],
        "actor_kind": row["actor_kind"],
        "actor": row["actor"],
        "source": row["source"],
        "run_id": row["run_id"],
        "data": _flat(row["data"]),
    }


def _flat(data: Any) -> str:
    """Attributes as JSON, in their order. Raises BadFact for what is no flat object."""
    if not isinstance(data, dict) or len(data) > MOST_ATTRIBUTES:
        raise BadFact("its attributes are no object, or too many")
    for name, value in data.items():
        if not isinstance(value, str | int | float | bool | None):
            raise BadFact(f"{name[:LONGEST]} is neither a text, a number, a boolean nor null")
        if isinstance(value, str) and len(value) > LONGEST:
            raise BadFact(f"{name[:LONGEST]} has more than {LONGEST} characters")
    return msgspec.json.encode(data).decode()


def store_facts(stores: Stores, now: datetime | None = None) -> FactsReport:
    """Take the facts that wait to the lake, batch by batch; those that come meanwhile may wait for the next run."""
    report = FactsReport()
    with process_lock(stores.home, _LOCK):
        while report.batches < MOST_BATCHES:
            batch = take_batch(stores.state, BATCH_ROWS)
            if batch is None:
                break
            _store(stores, batch, report, now or datetime.now(UTC))
            report.batches += 1
    return report


def _store(stores: Stores, batch: FactBatch, report: FactsReport, now: datetime) -> None:
    lake = stores.lake
    by_day: dict[date, list[dict[str, Any]]] = defaultdict(list)
    dead: list[dict[str, Any]] = []
    for row in batch.rows:
        try:
            stored = process_analytics_event(row)
        except BadFact as error:
            dead.append({**row, "error": str(error)})
            continue
        by_day[stored["day"]].append(stored | {"batch": batch.number})
    with ExitStack() as stack:
        files = []
        for day, rows in sorted(by_day.items()):
            writing = stack.enter_context(lake.writing(day, f"facts-{batch.number}"))
            writing.add(to_arrow({TABLE: rows}))
            files += writing.finish()
        with lake.lock():
            if files and not (batch.again and _holds(lake, batch.number, by_day)):
                lake.register(files)
    finish_batch(stores.state, batch, dead, by_day, now)
    _keep_files_few(lake)
    report.dead += len(dead)
    for rows in by_day.values():
        report.types.update(row["type"] for row in rows)
        report.days.update(row["day"] for row in rows)


def _holds(lake: Lake, batch: int, days: Collection[date]) -> bool:
    """Whether the lake has rows of a batch; these are the days of all of them."""
    named = ", ".join(
        f"DATE '{day.isoformat()}'" for day in sorted(days)
    )  # as constants they choose the files
    sql = f"SELECT 1 FROM lake.{TABLE} WHERE day IN ({named}) AND batch = ? LIMIT 1"
    return bool(lake.query(sql, [batch]))


def _keep_files_few(lake: Lake) -> None:
    """Each run adds a file to each of its days: merge them where a day has many."""
    compact(lake, [files for files in crowded(lake) if files[0].table == TABLE])
