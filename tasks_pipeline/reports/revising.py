"""tell_revision: who got a report whose headlines changed since hears of it, where `reports.mail_revisions_above` says so."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import ColumnElement, and_, select, update

from tasks_pipeline.notifications.subscriptions import refusal
from tasks_pipeline.reports.composing import Composer
from tasks_pipeline.reports.deliveries import put_message
from tasks_pipeline.reports.due_deliveries import Revised
from tasks_pipeline.reports.rendering.words import revised_words
from tasks_pipeline.reports.report import HEADLINES, Number
from tasks_pipeline.storage.state.tables import notifications, report_deliveries
from tasks_pipeline.stores import Stores

d = report_deliveries.c


def tell_revision(stores: Stores, composer: Composer, one: Revised) -> bool:
    """Tell somebody of a revision in which one of the headlines that they were told changed by `mail_revisions_above` percent; gives
    whether they are. Raises ReportMissing."""
    was = _figures_told(stores, one)
    if was is None:
        return False
    who = one.recipient
    report = composer.report(who, one.key)
    least = (stores.config.reports.mail_revisions_above or 0) / 100
    changed = _changed_headlines(was, report.figures, least)
    if not changed:
        return False
    message = composer.message(who, one.key, suffix=f":revision:{report.revision}", notes=changed)
    if message is None:
        return False
    with stores.state.write() as connection:
        if refusal(stores.state, connection, who.email, who.kind):
            return False
        as_told = update(report_deliveries).where(_row_of(one), d.revision == one.told)
        if not connection.execute(as_told.values(revision=report.revision)).rowcount:
            return False
        put_message(stores.state, connection, message, who.kind, one.key, who.target)
    return True


def _row_of(one: Revised) -> ColumnElement[bool]:
    return and_(d.kind == one.recipient.kind, d.key == one.key, d.target == one.recipient.target)


def _figures_told(stores: Stores, one: Revised) -> Mapping[str, Number] | None:
    """The figures of the message that somebody got: of several projects these are theirs, and kept nowhere else. None where it is
    not kept any more."""
    told = select(notifications.c.data).join(report_deliveries, d.notification_id == notifications.c.id)
    with stores.state.read() as connection:
        data = connection.execute(told.where(_row_of(one))).scalar()
    return None if data is None else data["report"]["figures"]


def _changed_headlines(before: Mapping[str, Number], after: Mapping[str, Number], least: float) -> list[str]:
    """`Revised: errors 1,204 → 1,260`, of headlines that changed by at least this share."""
    found = []
    for name in HEADLINES:
        was, now = before.get(name) or 0, after.get(name) or 0
        if was != now and (not was or abs(now / was - 1) >= least):
            found.append(f"Revised: {revised_words(name, was, now)}")
    return found
