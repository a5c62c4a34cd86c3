"""What keeps a day from going: something of it waits, it is being replaced, its figures do not have all that happened, or it was brought
back from an archive not long ago."""

from __future__ import annotations

from datetime import date, timedelta

from sqlalchemy import Connection, select, text

from tasks_pipeline.analytics.statistics.days import newest_versions
from tasks_pipeline.releases.health_days import receipt_days
from tasks_pipeline.storage.ledger.backlog import backlogs
from tasks_pipeline.storage.state.restored import restored
from tasks_pipeline.storage.state.tables import (
    batches,
    day_changes,
    health_days,
    replacements,
    statistics_days,
)
from tasks_pipeline.stores import Stores
from tasks_pipeline.words import counted


def waiting_days(stores: Stores, before: date) -> dict[date, str]:
    """Days before a day that have to stay for now, and why."""
    found: dict[date, str] = {}
    with stores.state.read() as connection:
        for back in restored(connection):
            if back.until >= before:
                found[back.day] = f"it was restored, and stays through {back.until}"
        d, h = day_changes.c, health_days.c
        due = select(d.day).where(text("changes > computed"), d.day < before)
        found |= dict.fromkeys(connection.execute(due).scalars(), "its figures are not computed")
        found |= dict.fromkeys(_never_closed(connection, before), "its figures are not closed")
        begun = connection.execute(select(h.day).where(text("changes > computed"), h.day < before)).scalars()
        for day in begun:
            first, last = receipt_days(day)
            days = (first + timedelta(days=n) for n in range((last - first).days + 1))
            found |= dict.fromkeys((d for d in days if d < before), f"the sessions of {day} are not counted")
        replaced = select(replacements.c.day).where(text("done_at IS NULL"), replacements.c.day < before)
        found |= dict.fromkeys(connection.execute(replaced).scalars(), "it is being replaced")
        opened = select(batches.c.day).where(batches.c.status == "open", batches.c.day < before)
        found |= dict.fromkeys(connection.execute(opened).scalars(), "a batch of it is not done")
    for each in backlogs(stores.state, stores.spool):
        if each.day < before:
            waits = f"{counted(each.envelopes, 'envelope')} of it wait"
            found[each.day] = f"it cannot be read ({each.broken})" if each.broken else waits
    return found


def _never_closed(connection: Connection, before: date) -> list[date]:
    s = statistics_days.c
    newest = newest_versions(date.min, before - timedelta(days=1), s.day, s.closed)
    return [row.day for row in connection.execute(newest) if not row.closed]
