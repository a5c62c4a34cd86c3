"""Reports as they are stored, to be read: a row for each, one for each revision, its files as blobs. How they are computed and
stored is in compute.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec
from sqlalchemy import Row, and_, select

from tasks_pipeline.config import Config
from tasks_pipeline.reports.deliveries import counts_of
from tasks_pipeline.reports.periods import Kind, Period, period_of
from tasks_pipeline.reports.possible import why_no_report
from tasks_pipeline.reports.report import Report
from tasks_pipeline.reports.scopes import ORGANISATION, Scope, ScopeError, scope_named
from tasks_pipeline.storage.blobs import BlobMissing, BlobStore
from tasks_pipeline.storage.ledger.backlog import first_day
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import report_revisions, reports
from tasks_pipeline.stores import Stores

JSON_FILE = "report.json"
FORMER = "former:"
"""Before names of files that a revision, or the mail of a report, had before: they go, and do not refer to their blobs any more."""


class ReportMissing(LookupError):
    """There is no such report, revision or file; the message says what to do."""


def read_report(
    stores: Stores, kind: Kind, key: date, scope: Scope | str, revision: int | None = None
) -> Report:
    """A stored report, in its newest revision or a given one. Raises ReportMissing, ScopeError."""
    row = find_revision(stores, kind, key, scope, revision)
    try:
        return report_in(stores.blobs, row.files)
    except ReportMissing as error:
        name = scope if isinstance(scope, str) else scope.name
        raise ReportMissing(f"revision {row.revision} of report {kind} {key} of {name}: {error}") from error


def report_in(blobs: BlobStore, files: Mapping[str, str]) -> Report:
    """The report in the files of a revision. Raises ReportMissing where they are gone, or hold none that this version reads."""
    try:
        return msgspec.json.decode(blobs.get(files[JSON_FILE]), type=Report)
    except (BlobMissing, KeyError) as error:
        raise ReportMissing("its files are gone (retention.report_revision_days)") from error
    except ValueError as error:  # of another schema, cut off, or no UTF-8
        raise ReportMissing(
            f"{JSON_FILE} cannot be read ({error}); `tasks-pipeline backfill --report` computes the newest revision again"
        ) from error


def find_revision(
    stores: Stores, kind: Kind, key: date, scope: Scope | str, revision: int | None = None
) -> Row[Any]:
    """The row of a revision of a report, with its report's: by the zone that the scope has now, else by the one it was last
    computed in. Raises ReportMissing, ScopeError, and PeriodError for a key on which no period begins."""
    name = scope if isinstance(scope, str) else scope.name
    stored, zone = _place_of(stores, scope)
    r, v = reports.c, report_revisions.c
    query = (
        select(reports, report_revisions)
        .select_from(reports.join(report_revisions, v.report_id == r.id))
        .where(
            r.kind == kind,
            r.key == key,
            r.scope == stored,
            v.revision == (r.revision if revision is None else revision),
        )
        .order_by((r.zone == zone).desc(), r.checked_at.desc())
        .limit(1)
    )
    with stores.state.read() as connection:
        found = connection.execute(_named(query)).first()
    if found is None:
        which = f"revision {revision} of " if revision is not None else ""
        said = f"there is no {which}report {kind} {key} of {name}"
        raise ReportMissing(f"{said}; {_instead(stores, kind, key, name, stored, zone)}")
    return found


def is_stored(state: StateDatabase, period: Period, scope: Scope) -> bool:
    """Whether there is a report of a period and scope."""
    r = reports.c
    query = select(r.id).where(
        r.kind == period.kind, r.key == period.key, r.zone == period.zone, r.scope == scope.stored
    )
    with state.read() as connection:
        return connection.execute(query).first() is not None


_NEWEST = 10


def _instead(stores: Stores, kind: Kind, key: date, name: str, stored: str, zone: str) -> str:
    """What to do where a report or a revision is missing, or why there can be none."""
    r, v = reports.c, report_revisions.c
    of_scope = "" if name == ORGANISATION else f" --scope {name}"
    others = (
        select(v.revision)
        .join(reports, r.id == v.report_id)
        .where(r.kind == kind, r.key == key, r.scope == stored)
    )
    with stores.state.read() as connection:
        newest = connection.execute(others.order_by(v.revision.desc()).limit(_NEWEST)).scalars().all()
    if newest:
        return f"the newest are {', '.join(map(str, sorted(newest)))}"
    period = period_of(kind, key, zone, stores.config.reports.week_starts)
    why = why_no_report(period, first_day(stores.state, stores.spool), datetime.now(UTC))
    return why or (
        f"`tasks-pipeline reports preview {kind} --key {key}{of_scope}` shows what it would say, "
        f"`tasks-pipeline backfill --report {kind} --from {key} --to {key}` computes it"
    )


def _named(query: Any) -> Any:
    r, v = reports.c, report_revisions.c
    return query.with_only_columns(
        r.id, r.kind, r.key, r.scope, r.zone, r.label, r.start, r.end, r.checked_at, r.revision.label("newest"),
        v.revision, v.digest, v.computed_at, v.final, v.code_version, v.zones_version, v.inputs, v.changes, v.files,
        maintain_column_froms=True,
    )  # fmt: skip


def _place_of(stores: Stores, scope: Scope | str) -> tuple[str, str]:
    """How a scope is stored, and its zone now; a number of a project that is not configured any more is taken as it is."""
    if isinstance(scope, Scope):
        return scope.stored, scope.zone
    try:
        found = scope_named(stores.config, scope)
    except ScopeError:
        kind, _, number = scope.partition(":")
        if kind == "project" and number.isascii() and number.isdecimal():
            return scope, stores.config.reports.timezone
        raise
    return found.stored, found.zone


def revisions_of(stores: Stores, kind: Kind, key: date, scope: Scope | str) -> list[dict[str, Any]]:
    """All revisions of a report, oldest first: revision, computed_at, final, changes, code_version, zones_version."""
    row = find_revision(stores, kind, key, scope)
    v = report_revisions.c
    columns = (v.revision, v.computed_at, v.final, v.changes, v.code_version, v.zones_version)
    with stores.state.read() as connection:
        found = connection.execute(select(*columns).where(v.report_id == row.id).order_by(v.revision))
        return [dict(each._mapping) for each in found]


def list_reports(
    state: StateDatabase, config: Config, *, kind: Kind | None, scope: str | None, limit: int
) -> list[dict[str, Any]]:
    """Stored reports, newest first: kind, key, label, scope, zone, revision, final, computed_at, and how many deliveries of its
    scope have which status. `scope` as it is stored."""
    r, v = reports.c, report_revisions.c
    query = (
        select(r.kind, r.key, r.label, r.scope, r.zone, r.revision, v.final, v.computed_at)
        .select_from(reports.join(report_revisions, and_(v.report_id == r.id, v.revision == r.revision)))
        .order_by(r.end.desc(), r.id)
        .limit(limit)
    )
    if kind is not None:
        query = query.where(r.kind == kind)
    if scope is not None:
        query = query.where(r.scope == scope)
    with state.read() as connection:
        found = [dict(row._mapping) for row in connection.execute(query)]
        periods = {(row["kind"], row["key"]) for row in found}
        counts = {period: counts_of(connection, config, *period) for period in sorted(periods)}
    slugs = {project.id: project.slug for project in config.projects}
    for row in found:
        row["deliveries"] = dict(counts[row["kind"], row["key"]].get(row["scope"], {}))
        row["scope"] = shown_scope(row["scope"], slugs)
    return found


def computed_since(
    state: StateDatabase, kind: Kind, keys: Sequence[date], since: datetime
) -> dict[date, tuple[int, int]]:
    """By key: how many of its reports were computed since a moment, and how many of these came out otherwise."""
    r, v = reports.c, report_revisions.c
    query = (
        select(r.key, v.computed_at)
        .select_from(reports.join(report_revisions, and_(v.report_id == r.id, v.revision == r.revision)))
        .where(r.kind == kind, r.key.between(min(keys), max(keys)), r.checked_at >= since)
    )
    found: dict[date, tuple[int, int]] = {}
    with state.read() as connection:
        for key, at in connection.execute(query):
            count, new = found.get(key, (0, 0))
            found[key] = count + 1, new + (at >= since)
    return found


def shown_scope(stored: str, slugs: dict[int, str]) -> str:
    """What people call a scope that is stored so."""
    kind, _, number = stored.partition(":")
    if kind == "project" and number.isdecimal():
        return f"project:{slugs.get(int(number), number)}"
    return stored
