"""What is due to subscribers, asked cheaply: sensors look here, and load nothing that draws or computes a report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
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
    together,
    why_not,
)
from tasks_pipeline.reports.last_run import last_run
from tasks_pipeline.reports.recipients import Recipient, recipients
from tasks_pipeline.storage.ledger.backlog import first_day
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import report_deliveries
from tasks_pipeline.stores import Stores

REVISED_WITHIN = timedelta(days=7)

d = report_deliveries.c


@dataclass
class Due:
    """What is due, and why each row is not sent: `why` as of `why_not`. `paused`: names of rows that failed lately; `wrong`: checks
    for which some wait."""

    rows: list[tuple[Delivery, str | None]] = field(default_factory=list)
    paused: frozenset[str] = frozenset()
    wrong: list[str] = field(default_factory=list)

    @property
    def ready(self) -> int:
        """Rows that can be decided now; those that failed lately are left until later, unless they are not sent at all."""
        return sum(why is not None and not (why == "" and one.name in self.paused) for one, why in self.rows)

    @property
    def waiting(self) -> list[Delivery]:
        """Rows whose report is not computed yet, or known to be wrong."""
        return [one for one, why in self.rows if why is None]


def look(state: StateDatabase, config: Config, now: datetime) -> Due:
    """What is due, and what of it can be decided."""
    computed: dict[tuple[Any, ...], Computed | None] = {}
    with state.read() as connection:
        found = Due(paused=last_run(connection).paused(now))
        due = due_deliveries(connection, config, now)
        newest = newer_of(due)
        for one in due:
            later = newest[one.kind, one.target]
            known = _computed(connection, one.recipient, one.key, computed)
            found.rows.append((one, why_not(config, one, known, later if later > one.key else None, now)))
        found.wrong = sorted({each.wrong for each in computed.values() if each is not None and each.wrong})
    return found


def _computed(
    connection: Connection,
    recipient: Recipient | None,
    key: date,
    known: dict[tuple[Any, ...], Computed | None],
) -> Computed | None:
    if recipient is None:
        return None
    place = recipient.kind, key, recipient.zone, recipient.stored
    if place not in known:
        known[place] = computed_report(connection, recipient, key)
    return known[place]


def plan(stores: Stores, now: datetime) -> int:
    """Make the rows of periods that are over; gives how many."""
    return plan_deliveries(stores.state, stores.config, now, lambda: first_day(stores.state, stores.spool))


@dataclass(frozen=True, slots=True)
class Revised:
    """A report of which somebody was told in one revision, and that has a newer one."""

    recipient: Recipient
    key: date
    told: int
    newest: int

    @property
    def name(self) -> str:
        """`revision 2 of the weekly report of 2026-11-16 for member:anna@acme.example`."""
        who = self.recipient
        return f"revision {self.newest} of the {ADVERBS[who.kind]} report of {self.key} for {who.target}"


def revised(connection: Connection, config: Config, now: datetime) -> bool:
    """Whether reports that somebody got lately have revisions that no run considered; those that failed lately are left until
    later."""
    if config.reports.mail_revisions_above is None:
        return False
    last = last_run(connection)
    paused = last.paused(now)
    found = [one for one in revised_reports(connection, config, now) if one.name not in paused]
    return bool(found) and digest_of(config, found) != last.considered


def digest_of(config: Config, found: Iterable[Revised]) -> str:
    """Another for other revisions, and for another `mail_revisions_above`."""
    said = repr((config.reports.mail_revisions_above, sorted(one.name for one in found)))
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def revised_reports(connection: Connection, config: Config, now: datetime) -> list[Revised]:
    """Revisions of reports that were decided lately by a message, for those who can still be sent one; what can use the same report
    follows each other."""
    known = {(r.kind, r.target): r for r in recipients(config, decisions(connection)) if not r.reason}
    computed: dict[tuple[Any, ...], Computed | None] = {}
    # No month that was told of within REVISED_WITHIN began before.
    since = now.date() - timedelta(days=62)
    revisions = []
    for kind in ADVERBS:
        query = select(d.key, d.target, d.revision).where(
            d.kind == kind, d.key >= since, d.decided_at >= now - REVISED_WITHIN, d.revision.is_not(None)
        )
        for row in connection.execute(query):
            recipient = known.get((kind, row.target))
            found = _computed(connection, recipient, row.key, computed)
            if recipient is None or found is None or found.wrong:
                continue
            if found.revision > row.revision:
                revisions.append(Revised(recipient, row.key, row.revision, found.revision))
    return sorted(
        revisions,
        key=lambda one: (together(one.recipient.kind, one.key, one.recipient), one.recipient.target),
    )
