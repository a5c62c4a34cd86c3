"""deliver_reports: rows that are due become messages in the outbox, once, or say why not. Sending is the outbox's."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tasks_pipeline.notifications.errors import HICCUPS
from tasks_pipeline.reports.composing import Composer
from tasks_pipeline.reports.deliveries import Delivery, put_message, settle
from tasks_pipeline.reports.due_deliveries import look, plan
from tasks_pipeline.reports.revising import tell_revisions
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)

EMPTY = "empty"


@dataclass
class DeliveryReport:
    """What a run did: rows it made, keys of messages it put, rows that were skipped by reason, rows that wait for their report,
    and names of those that could not be composed: they stay due."""

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
        try:
            _decide(stores, composer, one, why, now, report)
        except HICCUPS:
            raise
        except Exception:  # one report that cannot be drawn must not keep all others from their readers
            log.exception("the %s cannot be composed", one.name)
            report.failed.append(one.name)
    if stores.config.reports.mail_revisions_above is not None:
        report.revisions = tell_revisions(stores, composer, now)
    return report


def _decide(
    stores: Stores, composer: Composer, one: Delivery, why: str, now: datetime, report: DeliveryReport
) -> None:
    message = None
    if not why:
        assert one.recipient is not None
        message = composer.message(one.recipient, one.key)
    with stores.state.write() as connection:
        if message is None:
            if settle(connection, one, now, reason=why or EMPTY):
                report.skipped[(why or EMPTY).partition(":")[0]] += 1
        elif settle(connection, one, now):
            put_message(stores.state, connection, message, one.kind, one.key, one.target)
            report.put.append(message.key)
