"""Reports as they are stored, to be read: a row for each, one for each revision, its files as blobs. How they are computed and
stored is in compute.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, and_, func, select

from tasks_pipeline.reports.periods import Kind
from tasks_pipeline.reports.report import Report
from tasks_pipeline.reports.scopes import Scope, ScopeError, scope_named
from tasks_pipeline.storage.blobs import BlobMissing
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import notifications, report_deliveries, report_revisions, reports
from tasks_pipeline.stores import Stores

JSON_FILE = "report.json"


class ReportMissing(LookupError):
    """There is no such report, revision or file; the message says what to do."""


def read_report(
    stores: Stores, kind: Kind, key: date, scope: Scope | str, revision: int | None = None
) -> Report:
    """A stored report, in its newest revision or a given one. Raises ReportMissing, ScopeError."""
    row = find_revision(stores, kind, key, scope, revision)
    try:
        return msgspec.json.decode(stores.blobs.get(row.files[JSON_FILE]), type=Report)
    except (BlobMissing, KeyError) as error:
        raise ReportMissing(
            f"the files of revision {row.revision} are gone (retention.report_revision_days)"
        ) from error


def find_revision(
    stores: Stores, kind: Kind, key: date, scope: Scope | str, revision: int | None = None
) -> Row[Any]:
    """The row of a revision of a report, with its report's: by the zone that the scope has now, else by the one it was last
    computed in. Raises ReportMissing, ScopeError."""
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
    if found is None and revision is not None:
        there = ", ".join(str(each["revision"]) for each in revisions_of(stores, kind, key, scope)[-10:])
        raise ReportMissing(
            f"there is no revision {revision} of report {kind} {key} of {name}; the newest are {there}"
        )
    if found is None:
        raise ReportMissing(
            f"there is no report {kind} {key} of {name}; `tasks-pipeline reports preview {kind} --key {key}` shows what it "
            f"would say, `tasks-pipeline backfill --report {kind} --from {key} --to {key}` computes it"
        )
    return found


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
    state: StateDatabase, slugs: dict[int, str], *, kind: Kind | None, scope: str | None, limit: int
) -> list[dict[str, Any]]:
    """Stored reports, newest first: kind, key, label, scope, zone, revision, final, computed_at, deliveries by status. `scope` as
    it is stored."""
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
        deliveries = _deliveries(connection, sorted({(row["kind"], row["key"]) for row in found}))
    for row in found:
        row["scope"] = shown_scope(row["scope"], slugs)
        row["deliveries"] = deliveries.get((row["kind"], row["key"]), {})
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


def _deliveries(
    connection: Connection, periods: Sequence[tuple[str, date]]
) -> dict[tuple[str, date], dict[str, int]]:
    """What became of the messages of periods, by status: waiting, skipped, or that of the message."""
    d, n = report_deliveries.c, notifications.c
    found: dict[tuple[str, date], dict[str, int]] = {}
    for kind, key in periods:
        query = (
            select(d.decided_at.is_(None).label("waits"), n.status, func.count().label("count"))
            .select_from(report_deliveries.outerjoin(notifications, n.id == d.notification_id))
            .where(d.kind == kind, d.key == key)
            .group_by(d.decided_at.is_(None), n.status)
        )
        for waits, status, count in connection.execute(query):
            name = "waiting" if waits else status or "skipped"
            of_period = found.setdefault((kind, key), {})
            of_period[name] = of_period.get(name, 0) + int(count)
    return found
