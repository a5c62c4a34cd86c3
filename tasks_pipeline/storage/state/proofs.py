"""Checks that failed: remembered until they hold, so that nothing is built on figures that are known to be wrong. What is checked, and
what is built on it, does not belong here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, or_, select

from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.facts import probe, set_probe
from tasks_pipeline.storage.state.tables import probes

PREFIX = "check:"
MENDED_FOR = timedelta(days=14)
"""So long it is known that a check holds again which failed: what was built meanwhile is built anew."""
FAILED_FOR = timedelta(days=400)
"""So long it is known that one failed and was never looked at again: as long as figures are kept, unless that was changed."""
_DAY, _REPORT = "figures of ", "report "
_FAILED, _HOLDS = "critical", "ok"
_LENGTH = 300  # of what a check said


@dataclass(frozen=True, slots=True)
class Failed:
    """A check that failed of a subject, and what it said."""

    subject: str
    check: str
    said: str

    def __str__(self) -> str:
        return f"{self.subject} ({self.check}: {self.said})"


def of_day(day: date) -> str:
    """The subject: figures of a UTC day."""
    return f"{_DAY}{day.isoformat()}"


def of_report(report_id: int) -> str:
    """The subject: a stored report."""
    return f"{_REPORT}{report_id}"


def note_check(
    state: StateDatabase, connection: Connection, subject: str, check: str, now: datetime, failed: str
) -> None:
    """Remember how a check came out that holds up what is built on its subject: what it said when it `failed`, else empty. That
    it holds is only noted where it did not before."""
    name = f"{PREFIX}{subject}:{check}"
    if failed:
        set_probe(state, connection, name, now, status=_FAILED, detail=failed[:_LENGTH])
        return
    before = probe(connection, name)
    if before is not None and before["status"] != _HOLDS:
        set_probe(state, connection, name, now, status=_HOLDS)


def forget_checks(connection: Connection, subject: str) -> None:
    """Forget how checks of a subject came out: it is another one now."""
    named = probes.c.name.startswith(f"{PREFIX}{subject}:", autoescape=True)
    connection.execute(delete(probes).where(named))


def forgotten(now: datetime) -> ColumnElement[bool]:
    """Which rows of probes tell of checks that nobody asks about any more."""
    n = probes.c
    holds = and_(n.status == _HOLDS, n.measured_at < now - MENDED_FOR)
    named = n.name.startswith(PREFIX, autoescape=True)
    return and_(named, or_(holds, n.measured_at < now - FAILED_FOR))


def failed_checks(connection: Connection, since: datetime | None = None) -> list[Failed]:
    """Checks that failed when they were last looked at; with `since` those that were not before it."""
    n = probes.c
    query = _noted(_FAILED)
    rows = connection.execute(query if since is None else query.where(n.measured_at >= since))
    return [Failed(*_place(row.name), row.detail) for row in rows]


def failed_days(connection: Connection, days: Collection[date]) -> dict[date, Failed]:
    """Of days whose figures are known to be wrong, one check that says so."""
    found = {failed.subject: failed for failed in failed_checks(connection)}
    return {day: found[of_day(day)] for day in days if of_day(day) in found}


def mended_days(connection: Connection, now: datetime) -> dict[date, datetime]:
    """Days whose figures were known to be wrong and hold since, and when that was seen."""
    found: dict[date, datetime] = {}
    rows = connection.execute(_noted(_HOLDS).where(probes.c.measured_at >= now - MENDED_FOR))
    for row in rows:
        subject, _ = _place(row.name)
        if subject.startswith(_DAY):
            day = date.fromisoformat(subject.removeprefix(_DAY))
            found[day] = max(row.measured_at, found.get(day, row.measured_at))
    return found


def _noted(status: str) -> Select[tuple[str, str, datetime]]:
    n = probes.c
    named = n.name.startswith(PREFIX, autoescape=True)
    return select(n.name, n.detail, n.measured_at).where(named, n.status == status).order_by(n.name)


def _place(name: str) -> tuple[str, str]:
    subject, _, check = name.removeprefix(PREFIX).rpartition(":")
    return subject, check
