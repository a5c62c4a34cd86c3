"""tell_revisions: who got a report whose headlines changed since hears of it, where `reports.mail_revisions_above` says so."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import and_, update

from tasks_pipeline.notifications.outbox import put_notifications
from tasks_pipeline.reports.composing import Composer
from tasks_pipeline.reports.due_deliveries import revised_reports
from tasks_pipeline.reports.recipients import Recipient
from tasks_pipeline.reports.rendering.words import revised_words
from tasks_pipeline.reports.report import HEADLINES
from tasks_pipeline.reports.store import ReportMissing, read_report
from tasks_pipeline.storage.state.tables import report_deliveries
from tasks_pipeline.stores import Stores

d = report_deliveries.c


def tell_revisions(stores: Stores, composer: Composer, now: datetime) -> int:
    """Tell those who got a report of a revision in which a headline changed by `mail_revisions_above` percent. Gives how many."""
    with stores.state.read() as connection:
        revised = list(revised_reports(connection, stores.config, now))
    told = 0
    for recipient, key, before, newest in revised:
        changed = _changed_headlines(stores, recipient, key, before, newest)
        if not changed:
            continue
        message = composer.message(recipient, key, suffix=f":revision:{newest}", notes=changed)
        if message is None:
            continue
        with stores.state.write() as connection:
            of_row = and_(
                d.kind == recipient.kind, d.key == key, d.target == recipient.target, d.revision == before
            )
            if connection.execute(update(report_deliveries).where(of_row).values(revision=newest)).rowcount:
                put_notifications(stores.state, connection, [message])
                told += 1
    return told


def _changed_headlines(
    stores: Stores, recipient: Recipient, key: date, before: int, newest: int
) -> list[str]:
    """`Revised: errors 1,204 → 1,260`, of headlines that changed by enough; of a part of the organisation's report by those of all."""
    least = (stores.config.reports.mail_revisions_above or 0) / 100
    try:
        old, new = (read_report(stores, recipient.kind, key, recipient.scope, n) for n in (before, newest))
    except ReportMissing:
        return []
    found = []
    for name in HEADLINES:
        was, now = old.figures.get(name) or 0, new.figures.get(name) or 0
        if was != now and (not was or abs(now / was - 1) >= least):
            found.append(f"Revised: {revised_words(name, was, now)}")
    return found
