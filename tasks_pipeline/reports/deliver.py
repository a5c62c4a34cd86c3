"""deliver_reports: rows that are due become messages in the outbox, once, or say why not. Sending is the outbox's."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tasks_pipeline.notifications.errors import HICCUPS
from tasks_pipeline.notifications.subscriptions import refusal
from tasks_pipeline.reports.composing import Composer
from tasks_pipeline.reports.deliveries import Delivery, put_message, settle
from tasks_pipeline.reports.due_deliveries import digest_of, look, plan, revised_reports
from tasks_pipeline.reports.last_run import note_run
from tasks_pipeline.reports.recipients import UNSUBSCRIBED
from tasks_pipeline.reports.revising import tell_revision
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)

EMPTY = "empty"


@dataclass
class DeliveryReport:
    """What a run did: rows it made, keys of messages it put, rows that were skipped by reason, rows that wait for their report,
    how many were told of revisions, and names of what could not be composed: it stays due."""

    planned: int = 0
    put: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    revisions: int = 0
    failed: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """For the UI."""
        skipped = {f"skipped_{reason.replace(' ', '_')}": n for reason, n in sorted(self.skipped.items())}
        return {
            "planned": self.planned, "put": len(self.put), "waiting": self.waiting, "revisions": self.revisions,
            "failed": len(self.failed), **skipped,
        }  # fmt: skip


def deliver_reports(stores: Stores, now: datetime) -> DeliveryReport:
    """Make rows of periods that are over, and decide those that are due. Whoever is killed has decided some, each with its
    message; several at once decide each row once."""
    report = DeliveryReport()
    report.planned = plan(stores, now)
    composer = Composer(stores, now)
    for one, why in look(stores.state, stores.config, now).rows:
        if why is None:
            report.waiting += 1
            continue
        with _alone(one.name, report):
            _decide(stores, composer, one, why, now, report)
    considered = _tell_revisions(stores, now, report)
    note_run(stores.state, now, report.failed, considered)
    return report


@contextmanager
def _alone(name: str, report: DeliveryReport) -> Iterator[None]:
    """One report that cannot be read or drawn must not keep all others from their readers."""
    try:
        yield
    except HICCUPS:
        raise
    except Exception:
        log.exception("the %s cannot be composed", name)
        report.failed.append(name)


def _tell_revisions(stores: Stores, now: datetime, report: DeliveryReport) -> str:
    """Tell who has to hear of newer revisions; gives the digest of those that nobody has to."""
    if stores.config.reports.mail_revisions_above is None:
        return ""
    with stores.state.read() as connection:
        found = revised_reports(connection, stores.config, now)
    composer = Composer(stores, now)  # another may have made reports that are older than these revisions
    considered = []
    for one in found:
        with _alone(one.name, report):
            if tell_revision(stores, composer, one):
                report.revisions += 1
            else:
                considered.append(one)
    return digest_of(stores.config, considered)


def _decide(
    stores: Stores, composer: Composer, one: Delivery, why: str, now: datetime, report: DeliveryReport
) -> None:
    message = None
    if not why:
        assert one.recipient is not None
        message = composer.message(one.recipient, one.key)
    with stores.state.write() as connection:
        email = one.recipient.email if one.recipient else None
        if message is not None and refusal(stores.state, connection, email, one.kind):
            message, why = None, UNSUBSCRIBED  # while it was composed
        if message is None:
            if settle(connection, one, now, reason=why or EMPTY):
                report.skipped[(why or EMPTY).partition(":")[0]] += 1
        elif settle(connection, one, now):
            put_message(stores.state, connection, message, one.kind, one.key, one.target)
            report.put.append(message.key)
