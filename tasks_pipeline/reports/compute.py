"""Computing reports and storing them: the same content changes nothing, another makes a revision that says what changed and why.

Files are blobs before a revision names them, and a revision is one transaction: a process that is killed anywhere leaves the
former revision or the new one. Of two that compute the same report at once one wins, and the other finds nothing changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, select, update

from tasks_pipeline import __version__
from tasks_pipeline.analytics.statistics.days import causes_after
from tasks_pipeline.facts.record import record
from tasks_pipeline.facts.types import ReportComputed
from tasks_pipeline.reports.files import files_of
from tasks_pipeline.reports.generate import Generator
from tasks_pipeline.reports.inputs import NOTHING, Input, inputs_between, inputs_of
from tasks_pipeline.reports.periods import Period
from tasks_pipeline.reports.proofs import ADDS_UP, why_unbalanced
from tasks_pipeline.reports.report import Report
from tasks_pipeline.reports.revisions import (
    LATE_SESSIONS,
    NOT_COUNTED,
    WORDS,
    carried_over,
    changes_between,
    content_digest,
    told,
)
from tasks_pipeline.reports.scopes import Scope
from tasks_pipeline.reports.store import ReportMissing, report_in
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.erasures import DeletedMeanwhile, generation, hold_generation
from tasks_pipeline.storage.state.proofs import forget_checks, note_check, of_report
from tasks_pipeline.storage.state.tables import report_revisions, reports
from tasks_pipeline.stores import Stores
from tasks_pipeline.zones import zones_version

MOST_REVISED = 5
"""Figures that a report tells of the revision of the one before."""
_TRIES = 5
_LOOKED_BACK = timedelta(days=70)  # of months two, of weeks five


class FiguresGone(Exception):
    """The figures of days that a report was made of are gone: it is never computed again from less. The message says which."""


@dataclass(frozen=True, slots=True)
class Result:
    """What computing a report came to: the revision that holds, whether it is a new one, and what changed since the one before."""

    report: Report
    revision: int
    is_new: bool
    changes: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Known:
    """The newest revision of a report as it is stored."""

    id: int
    revision: int
    digest: str
    inputs: dict[str, Input]
    files: dict[str, str]
    code_version: str
    zones_version: str


class Computing:
    """Computes and stores reports, one after the other. What they are made of is noted first, so that figures that change
    meanwhile leave a report to be computed again, and never one that only seems to have them."""

    def __init__(self, stores: Stores, now: datetime) -> None:
        self._stores, self._now = stores, now
        self._kept = now.date() - timedelta(days=stores.config.retention.analytics_days)
        with stores.state.read() as connection:
            self._inputs = inputs_between(connection, self._kept, now.date())
            self._generation = generation(connection)
        self.generator = Generator(stores, now)

    def compute(self, period: Period, scope: Scope) -> Result:
        """Compute the report of a period that has ended, and store it. Raises FiguresGone, and ValueError for a period that goes
        on."""
        if period.end > self._now:
            ends = f"{period.end:%Y-%m-%d %H:%M} UTC"
            raise ValueError(f"{period.kind} {period.label} in {period.zone} goes on until {ends}")
        for _ in range(_TRIES):
            try:
                result = self._try(period, scope)
            except DeletedMeanwhile:
                self._read_again()
                continue
            if result is not None:
                return result
        raise RuntimeError(
            f"report {period.kind} {period.key} of {scope.name} changed during {_TRIES} attempts"
        )

    def forget(self, key: date) -> None:
        """Drop what reports of later periods do not look back at: those that come are of later keys."""
        self.generator.forget_before(key - _LOOKED_BACK)

    def close(self) -> None:
        """Free what it holds."""
        self.generator.close()

    def _read_again(self) -> None:
        """Forget all that was read: some of it was deleted since."""
        self.generator.close()
        with self._stores.state.read() as connection:
            self._generation = generation(connection)
        self.generator = Generator(self._stores, self._now)

    def _try(self, period: Period, scope: Scope) -> Result | None:
        stores = self._stores
        inputs = inputs_of(period, self._inputs)
        with stores.state.read() as connection:
            known = _newest(connection, period, scope)
            revised = _revised(connection, period.previous(), scope)
        self._refuse_less(period, known, inputs)
        before = None if known is None else _stored(stores, known)
        made = msgspec.structs.replace(self.generator.report(period, scope), revised=revised)
        made = carried_over(made, before)
        return _settle(stores, period, scope, self._now, known, before, made, inputs, self._generation)

    def _refuse_less(self, period: Period, known: _Known | None, inputs: dict[str, Input]) -> None:
        if known is None:
            return
        gone = [
            day
            for day, was in known.inputs.items()
            if was["version"]
            and (not inputs.get(day, NOTHING)["version"] or date.fromisoformat(day) < self._kept)
        ]
        if gone:
            raise FiguresGone(
                f"report {period.kind} {period.key} stays at revision {known.revision}: figures of {', '.join(gone[:3])}"
                f"{' …' if len(gone) > 3 else ''} are beyond retention.analytics_days"
            )


def _settle(
    stores: Stores,
    period: Period,
    scope: Scope,
    now: datetime,
    known: _Known | None,
    before: Report | None,
    made: Report,
    inputs: dict[str, Input],
    since: int,
) -> Result | None:
    """Store what was made; None when another process stored something meanwhile. Raises DeletedMeanwhile."""
    digest = content_digest(made)
    if known is not None and known.digest == digest:
        return _same(stores, known, before, made, now, inputs, since)
    revision = 1 if known is None else known.revision + 1
    made = msgspec.structs.replace(made, revision=revision)
    files = _put_files(stores, made)
    with stores.state.write() as connection:
        hold_generation(stores.state, connection, since)
        report_id = _claim(stores.state, connection, period, scope, known, revision, now)
        if report_id is None:
            return None
        changes = [] if known is None or before is None else _changes(connection, known, before, made, inputs)
        row = {
            "report_id": report_id, "revision": revision, "digest": digest, "computed_at": now, "final": made.final,
            "code_version": __version__, "zones_version": zones_version(), "inputs": inputs, "changes": changes,
            "files": files,
        }  # fmt: skip
        connection.execute(report_revisions.insert().values(**row))
        _prove(stores.state, connection, report_id, made, now)
        fact = ReportComputed(
            kind=period.kind,
            key=period.key.isoformat(),
            scope=scope.stored,
            zone=period.zone,
            revision=revision,
            changed=len(changes),
        )
        record(stores.state, connection, fact, at=now)
    return Result(made, revision, True, changes, files)


def _same(
    stores: Stores,
    known: _Known,
    before: Report | None,
    made: Report,
    now: datetime,
    inputs: dict[str, Input],
    since: int,
) -> Result:
    """Note that a report came out as it was, and of what: the next revision tells what happened since. Its marks may be others,
    and then its files are."""
    made = msgspec.structs.replace(made, revision=known.revision)
    files = known.files if made == before else _put_files(stores, made)
    noted = {
        "files": files, "inputs": inputs, "code_version": __version__, "zones_version": zones_version(),
    }  # fmt: skip
    c = report_revisions.c
    with stores.state.write() as connection:
        hold_generation(stores.state, connection, since)
        connection.execute(update(reports).where(reports.c.id == known.id).values(checked_at=now))
        _prove(stores.state, connection, known.id, made, now)
        if any(noted[name] != getattr(known, name) for name in noted):
            of_this = and_(c.report_id == known.id, c.revision == known.revision, c.digest == known.digest)
            connection.execute(update(report_revisions).where(of_this).values(**noted, final=made.final))
    return Result(made, known.revision, False, files=files)


def _prove(
    state: StateDatabase, connection: Connection, report_id: int, report: Report, now: datetime
) -> None:
    """Note whether a report adds up by itself: from the moment it is stored, one that does not is sent to nobody. What other checks
    said was of the report before."""
    forget_checks(connection, of_report(report_id))
    failed = "; ".join(why_unbalanced(report))
    note_check(state, connection, of_report(report_id), ADDS_UP, now, failed)


def _put_files(stores: Stores, report: Report) -> dict[str, str]:
    return {name: stores.blobs.put(data) for name, data in sorted(files_of(report).items())}


def _claim(
    state: StateDatabase,
    connection: Connection,
    period: Period,
    scope: Scope,
    known: _Known | None,
    revision: int,
    now: datetime,
) -> int | None:
    """The id of the report whose next revision this transaction may store; None when another did."""
    r = reports.c
    if known is None:
        row = {
            "kind": period.kind, "key": period.key, "scope": scope.stored, "zone": period.zone, "label": period.label,
            "start": period.start, "end": period.end, "revision": revision, "checked_at": now,
        }  # fmt: skip
        statement = state.insert(reports).values(**row).on_conflict_do_nothing().returning(r.id)
        return connection.execute(statement).scalar()
    mine = update(reports).where(r.id == known.id, r.revision == known.revision)
    taken = connection.execute(mine.values(revision=revision, checked_at=now)).rowcount
    return known.id if taken else None


def _changes(
    connection: Connection, known: _Known, before: Report, made: Report, inputs: dict[str, Input]
) -> list[dict[str, Any]]:
    cause = _cause(connection, known, inputs)
    return [change.as_dict() for change in changes_between(before, made, cause)]


def _cause(connection: Connection, known: _Known, inputs: dict[str, Input]) -> str:
    """Why a report came out otherwise, in words: by the days that it is made of, else by the code."""
    reasons: dict[str, None] = {}
    for day, now in inputs.items():
        was = known.inputs.get(day, NOTHING)
        if not was["version"] and now["version"]:
            reasons[NOT_COUNTED] = None
        elif was["digest"] != now["digest"]:
            found = causes_after(connection, date.fromisoformat(day), was["version"])
            reasons |= dict.fromkeys(WORDS.get(cause, cause) for cause in found or ["batch"])
        if was["sessions"] != now["sessions"]:
            reasons[LATE_SESSIONS] = None
    if reasons:
        return ", ".join(reasons)
    if known.code_version != __version__:
        return f"version {__version__} of the software"
    if known.zones_version != zones_version():
        return f"edition {zones_version()} of the zone data"
    return "settings, or the period before"


def _revised(connection: Connection, period: Period, scope: Scope) -> list[str]:
    """What the newest revision of the report of the period before changed, in words."""
    found = _newest(connection, period, scope)
    if found is None or found.revision == 1:
        return []
    c = report_revisions.c
    query = select(c.changes).where(c.report_id == found.id, c.revision == found.revision)
    return told(connection.execute(query).scalar_one(), most=MOST_REVISED)


def _newest(connection: Connection, period: Period, scope: Scope) -> _Known | None:
    r, v = reports.c, report_revisions.c
    query = (
        select(r.id, r.revision, v.digest, v.inputs, v.files, v.code_version, v.zones_version)
        .select_from(reports.join(report_revisions, and_(v.report_id == r.id, v.revision == r.revision)))
        .where(r.kind == period.kind, r.key == period.key, r.zone == period.zone, r.scope == scope.stored)
    )
    row = connection.execute(query).first()
    return None if row is None else _Known(*row)


def _stored(stores: Stores, known: _Known) -> Report | None:
    """The report of a revision; None where its files are gone or cannot be read."""
    try:
        return report_in(stores.blobs, known.files)
    except ReportMissing:
        return None
