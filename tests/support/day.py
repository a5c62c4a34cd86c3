"""One UTC day of one project in open stores: what is sent to it, processed, and read back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from tasks_pipeline.groups.decisions import lifecycle_columns
from tasks_pipeline.groups.lifecycle import Lifecycle
from tasks_pipeline.groups.lists import list_groups
from tasks_pipeline.processing.books import books_of_lake, books_of_state
from tasks_pipeline.processing.drain import DrainReport, drain
from tasks_pipeline.processing.recompute import RecomputeReport, recompute_day
from tasks_pipeline.protocol.envelope import Item
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.storage.ledger.backlog import backlog
from tasks_pipeline.storage.ledger.batches import COUNTS
from tasks_pipeline.storage.spool.interface import Receipt
from tasks_pipeline.storage.state.tables import (
    batches,
    event_ids,
    group_days,
    group_hashes,
    group_hours,
    group_values,
    groups,
)
from tasks_pipeline.stores import Stores
from tests.support.events import receipt

Rows = dict[str, list[Any]]


def damage(stores: Stores, statement: str, parameters: Sequence[Any] = ()) -> None:
    """Change what the lake holds behind everybody's back; the tail is flushed before."""
    flush(stores.state, stores.lake)
    with stores.lake.lock():
        stores.lake._stored.execute(statement, list(parameters))


@dataclass(frozen=True)
class Day:
    """Tests that share stores each have a day and a project of their own."""

    stores: Stores
    date: date
    project: int

    def at(self, seconds: float = 0) -> datetime:
        """A moment of the day, counted from noon."""
        return datetime(self.date.year, self.date.month, self.date.day, 12, tzinfo=UTC) + timedelta(
            seconds=seconds
        )

    def next(self) -> Day:
        """The same project on the next day."""
        return replace(self, date=self.date + timedelta(days=1))

    def configured(self, **processing: float) -> Day:
        """The same day, processed with other settings."""
        changed = self.stores.config.processing.model_copy(update=processing)
        config = self.stores.config.model_copy(update={"processing": changed})
        return replace(self, stores=replace(self.stores, config=config))

    def receipt(self, *contents: Item | dict[str, Any], seconds: float = 0, **facts: Any) -> Receipt:
        """A receipt of the day's project, received so many seconds after noon."""
        return receipt(self.at(seconds), facts.pop("project", self.project), *contents, **facts)

    def spool(self, *receipts: Receipt) -> None:
        """Put receipts into the spool."""
        with closing(self.stores.spool.writer()) as writer:
            writer.append(receipts)

    def send(self, *events: dict[str, Any]) -> list[str]:
        """Put each event into the spool, an envelope of its own, a second apart; gives their ids."""
        self.spool(*(self.receipt(e, seconds=n) for n, e in enumerate(events)))
        return [e["event_id"] for e in events]

    def drain(self, **options: Any) -> DrainReport:
        """Process what waits, without lingering."""
        return drain(self.stores, self.date, linger_seconds=0, **options)

    def recompute(self) -> RecomputeReport:
        """Store the day again from its raw envelopes."""
        return recompute_day(self.stores, self.date)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Rows of the day in a lake table, in the order of the spool."""
        return self.stores.lake.query(
            f"SELECT * FROM lake.{table} WHERE day = ? ORDER BY ALL",
            [self.date],
            payloads=table == "event_payloads",
        )

    def ids(self, table: str = "events") -> list[str]:
        """Event ids of the day in a lake table, in the order of the spool."""
        return [row["event_id"] for row in self.rows(table)]

    def outcomes(self) -> dict[tuple[str, str], int]:
        """Quantity by (outcome, reason)."""
        rows = self.stores.lake.query(
            "SELECT outcome, reason, sum(quantity)::BIGINT AS n FROM lake.outcomes WHERE day = ? GROUP BY ALL",
            [self.date],
        )
        return {(row["outcome"], row["reason"]): row["n"] for row in rows}

    def groups(self) -> list[dict[str, Any]]:
        """Groups of the project as people see them, in the order of their short ids."""
        shown = list_groups(self.stores.state, self.stores.slugs, project_id=self.project)
        return sorted(shown, key=lambda group: str(group["short_id"]))

    def group(self) -> dict[str, Any]:
        """The one group of the project."""
        (found,) = self.groups()
        return found

    def decide(self, life: Lifecycle) -> None:
        """Decide about the one group of the project, at a time of the test's choice."""
        decided = update(groups).where(groups.c.id == self.group()["id"]).values(**lifecycle_columns(life))
        with self.stores.state.write() as connection:
            connection.execute(decided)

    def lake(self) -> Rows:
        """Every row of the day in every table of the lake."""
        return {name: self.rows(name) for name in RECEIVED_TABLES}

    def state(self) -> Rows:
        """What the state database counts for the project and the day; without ids of batches and drains."""
        of_project = select(groups.c.id).where(groups.c.project_id == self.project)
        counts = [batches.c[name] for name in ("part", "first_position", "last_position", "status", "items")]
        counts += [batches.c[name] for name in COUNTS]
        queries = {
            "groups": select(groups).where(groups.c.project_id == self.project).order_by(groups.c.id),
            "keys": select(group_hashes)
            .where(group_hashes.c.project_id == self.project)
            .order_by(group_hashes.c.key),
            "days": select(group_days)
            .where(group_days.c.group_id.in_(of_project))
            .order_by(group_days.c.group_id, group_days.c.day),
            "hours": select(group_hours)
            .where(group_hours.c.group_id.in_(of_project))
            .order_by(*group_hours.primary_key.columns),
            "values": select(group_values)
            .where(group_values.c.group_id.in_(of_project))
            .order_by(*group_values.primary_key.columns),
            "event_ids": select(event_ids)
            .where(event_ids.c.project_id == self.project)
            .order_by(event_ids.c.event_id),
            "batches": select(*counts)
            .where(batches.c.day == self.date)
            .order_by(batches.c.part, batches.c.first_position),
        }
        with self.stores.state.read() as connection:
            return {
                name: [tuple(row) for row in connection.execute(query)] for name, query in queries.items()
            }

    def assert_balanced(self) -> None:
        """The books balance, by the lake and by the state database."""
        by_lake, by_state = books_of_lake(self.stores, self.date), books_of_state(self.stores, self.date)
        assert by_lake.difference == 0, by_lake
        assert by_state.difference == 0, by_state

    def assert_stored_once(self, event_ids: list[str]) -> None:
        """Exactly these events are stored, once each, in the lake and in the counters, and nothing waits."""
        assert sorted(self.ids()) == sorted(event_ids)
        assert sorted(self.ids("event_payloads")) == sorted(event_ids)
        state = self.state()
        assert sum(group["times_seen"] for group in self.groups()) == len(event_ids)
        assert sum(row[2] for row in state["days"]) == len(event_ids)
        assert {row[3] for row in state["batches"]} <= {"done"}
        assert backlog(self.stores.state, self.stores.spool, self.date).envelopes == 0
        self.assert_balanced()
