"""What is due to subscribers, asked cheaply: sensors look here, and load nothing that draws or computes a report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from tasks_pipeline.config import Config
from tasks_pipeline.notifications.subscriptions import ADVERBS, decisions
from tasks_pipeline.reports.deliveries import (
    Computed,
    Delivery,
    computed_report,
    due_deliveries,
    newer_of,
    plan_deliveries,
    why_not,
)
from tasks_pipeline.reports.recipients import Recipient, recipients
from tasks_pipeline.storage.ledger.backlog import first_day
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import report_deliveries
from tasks_pipeline.stores import Stores

REVISED_WITHIN = timedelta(days=7)

d = report_deliveries.c


@dataclass
class Due:
    """What is due, and why each row is not sent: `why` as of `why_not`. `wrong`: checks for which some wait."""

    rows: list[tuple[Delivery, str | None]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def ready(self) -> int:
        """Rows that can be decided now."""
        return sum(why is not None for _, why in self.rows)

    @property
    def waiting(self) -> list[Delivery]:
        """Rows whose report is not computed yet, or known to be wrong."""
        return [one for one, why in self.rows if why is None]


def look(state: StateDatabase, config: Config, now: datetime) -> Due:
    """What is due, and what of it can be decided."""
    computed: dict[tuple[Any, ...], Computed | None] = {}
    found = Due()
    with state.read() as connection:
        due = due_deliveries(connection, config, now)
        newest = newer_of(due)
        for one in due:
            later = newest[one.kind, one.target]
            known = _computed(connection, one, computed)
            found.rows.append((one, why_not(config, one, known, later if later > one.key else None, now)))
        found.wrong = sorted({each.wrong for each in computed.values() if each is not None and each.wrong})
    return found


def _computed(
    connection: Connection, one: Delivery, known: dict[tuple[Any, ...], Computed | None]
) -> Computed | None:
    if one.recipient is None:
        return None
    place = one.kind, one.key, one.recipient.zone, one.recipient.stored
    if place not in known:
        known[place] = computed_report(connection, one.recipient, one.key)
    return known[place]


def plan(stores: Stores, now: datetime) -> int:
    """Make the rows of periods that are over; gives how many."""
    return plan_deliveries(stores.state, stores.config, now, lambda: first_day(stores.state, stores.spool))


def revised(connection: Connection, config: Config, now: datetime) -> str:
    """Which reports that somebody got lately have a newer revision, in a word that changes when others do; empty for none."""
    if config.reports.mail_revisions_above is None:
        return ""
    found = [
        (r.kind, key.isoformat(), r.target, newest)
        for r, key, _, newest in revised_reports(connection, config, now)
    ]
    return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()[:32] if found else ""


def revised_reports(
    connection: Connection, config: Config, now: datetime
) -> Iterator[tuple[Recipient, date, int, int]]:
    """Recipients of reports that were decided lately, with the revision that they were told of and the newest."""
    known = {(r.kind, r.target): r for r in recipients(config, decisions(connection))}
    for kind in ADVERBS:
        since = now.date() - timedelta(
            days=62
        )  # no month that was told of within REVISED_WITHIN began before
        query = select(d.key, d.target, d.revision).where(
            d.kind == kind, d.key >= since, d.decided_at >= now - REVISED_WITHIN, d.revision.is_not(None)
        )
        for row in connection.execute(query):
            recipient = known.get((kind, row.target))
            found = computed_report(connection, recipient, row.key) if recipient else None
            if (
                recipient is not None
                and found is not None
                and found.revision > row.revision
                and not found.wrong
            ):
                yield recipient, row.key, row.revision, found.revision
