"""Rows of the state database that are over: by category, how many there are, and their removal in small transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    Text,
    cast,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from tasks_pipeline.groups.forgetting import empty_groups, forget_groups, forget_values
from tasks_pipeline.releases.known import delete_release
from tasks_pipeline.retention.plan import Asked, Reason, Removal, lake_totals
from tasks_pipeline.retention.policy import CATEGORIES, oldest_kept
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.storage.state.pieces import Rows, delete_in_pieces
from tasks_pipeline.storage.state.tables import (
    alerts,
    analytics_dead,
    analytics_outbox,
    artifact_bundles,
    artifacts,
    batches,
    condemned_envelopes,
    day_changes,
    debug_files,
    deliveries,
    deploys,
    event_ids,
    group_values,
    groups,
    health_days,
    incidents,
    issue_intents,
    issue_links,
    monitor_check_ins,
    notifications,
    release_commits,
    release_stages,
    releases,
    report_deliveries,
    report_revisions,
    reports,
    spool_cursors,
    stage_days,
    statistics_days,
    symbol_debts,
)  # fmt: skip
from tasks_pipeline.stores import Stores

Conditions = Sequence[ColumnElement[bool]]
FIRST = "project.first"
"""Facts that stay: without them the next event would be a first one."""


@dataclass(frozen=True, slots=True)
class Over:
    """Rows of a table that are over; `drop` removes them and gives how many went."""

    category: str
    table: Table
    conditions: Conditions
    drop: Callable[[], int]
    project_id: int = 0


def rows_over(stores: Stores, now: datetime, asked: Asked, waiting: Mapping[date, str]) -> Iterator[Over]:
    """What is over of each table, in the order in which it has to go."""
    finder = _Finder(stores, now, asked, waiting)
    for find in (
        finder.events, finder.notifications, finder.intents, finder.alerts, finder.monitors, finder.groups, finder.releases, finder.debug_files,
        finder.facts, finder.figures, finder.ledger, finder.health, finder.reports, finder.report_files,
    ):  # fmt: skip
        yield from find()


def planned(stores: Stores, over: Over, reason: Reason) -> Removal | None:
    """The rows that go, counted; None where there are none."""
    with stores.state.read() as connection:
        rows = connection.execute(
            select(func.count()).select_from(over.table).where(*over.conditions)
        ).scalar_one()
    if not rows:
        return None
    return Removal(over.category, over.table.name, over.project_id, None, int(rows), 0, 0, reason)


class _Finder:
    def __init__(self, stores: Stores, now: datetime, asked: Asked, waiting: Mapping[date, str]) -> None:
        self._stores, self._state, self._now, self._asked = stores, stores.state, now, asked
        self._waiting = sorted(waiting)

    def _over(
        self, category: str, table: Table, *conditions: ColumnElement[bool], drop: Callable[[], int] | None = None,
        before: Callable[[Connection, Rows], None] = lambda _connection, _rows: None, project_id: int = 0,
        walk: bool = False,
    ) -> Over:  # fmt: skip
        def plainly() -> int:
            return delete_in_pieces(self._state, table, *conditions, before=before, walk=walk)

        return Over(category, table, conditions, drop or plainly, project_id)

    def _first(self, category: str, project_id: int | None = None) -> date:
        return self._asked.first_kept(self._stores.config, CATEGORIES[category], self._now.date(), project_id)

    def _of_installation(self, category: str) -> datetime | None:
        """Up to when things go that belong to no project; None where they are not asked about."""
        if not self._asked.wants(category) or self._asked.project_id is not None:
            return None
        return _begin(self._first(category))

    def _by_project(
        self, category: str, project: ColumnElement[Any]
    ) -> Iterator[tuple[date, ColumnElement[bool], int]]:
        """The first day that stays, whom it is of, and the number of the project (0: of all others)."""
        if not self._asked.wants(category):
            return
        asked = self._asked.project_id
        if asked is not None:
            yield self._first(category, asked), project == asked, asked
            return
        others = self._first(category)
        own = {
            p.id: first
            for p in self._stores.config.projects
            if (first := self._first(category, p.id)) != others
        }
        for project_id, first in own.items():
            yield first, project == project_id, project_id
        yield others, project.not_in(own), 0

    # ── events

    def events(self) -> Iterator[Over]:
        """The owners of ids of events and transactions, both of which have to be over; and what groups count of days."""
        cuts = list(self._by_project("events", event_ids.c.project_id))
        for first, whose, project_id in cuts if self._asked.wants("transactions") else ():
            first = min(first, self._first("transactions", project_id or None))
            yield self._over(
                "events",
                event_ids,
                whose,
                event_ids.c.day < first,
                event_ids.c.day.not_in(self._waiting),
                walk=True,
            )
        for first, _, project_id in cuts:
            numbers = {n for _, _, n in cuts if n}
            chosen = {project_id} if project_id else numbers
            among = groups.c.project_id.in_(chosen) if project_id else groups.c.project_id.not_in(chosen)
            of_projects = exists().where(groups.c.id == group_values.c.group_id, among)
            conditions = group_values.c.day < first, group_values.c.day.not_in(self._waiting), of_projects

            def forget(first: date = first, chosen: set[int] = chosen, others: bool = not project_id) -> int:
                return forget_values(self._state, first, projects=chosen, others=others, held=self._waiting)

            yield self._over("events", group_values, *conditions, drop=forget)
        if self._asked.project_id is None and cuts:
            gone = symbol_debts.c.day < min(first for first, _, _ in cuts)
            yield self._over("events", symbol_debts, gone)

    # ── messages and alerts

    def notifications(self) -> Iterator[Over]:
        """Messages that do not wait, with their attempts; entries of a digest before it."""
        n = notifications.c
        entry = notifications.alias("entry")
        for first, whose, _ in self._by_project("notifications", n.project_id):
            of_digest = exists().where(entry.c.digest_id == n.id)
            over = whose, n.created_at < _begin(first), n.status.not_in(("waiting", "sending"))
            lost = or_(n.status != "digest", n.digest_id.is_not(None))
            yield self._over(
                "notifications", notifications, *over, lost, ~of_digest, before=_forget_deliveries
            )

    def intents(self) -> Iterator[Over]:
        """Changes of trackers that ended: made, given up or dropped."""
        i, link = issue_intents.c, issue_links.c
        for first, whose, _ in self._by_project("notifications", link.project_id):
            of_project = exists().where(link.id == i.link_id, whose)
            yield self._over("notifications", issue_intents, i.ended_at < _begin(first), of_project)

    def alerts(self) -> Iterator[Over]:
        """Alerts that no message and no open incident refers to."""
        a = alerts.c
        for first, whose, _ in self._by_project("alerts", a.project_id):
            told = exists().where(notifications.c.alert_id == a.id)
            going_on = exists().where(incidents.c.id == a.incident_id, incidents.c.closed_at.is_(None))
            yield self._over("alerts", alerts, whose, a.at < _begin(first), ~told, ~going_on)

    def monitors(self) -> Iterator[Over]:
        """Runs that ended, and incidents that are over."""
        before = self._of_installation("monitors")
        if before is not None:
            m, i = monitor_check_ins.c, incidents.c
            yield self._over("monitors", monitor_check_ins, m.started_at < before, m.status != "in_progress")
            told = exists().where(alerts.c.incident_id == i.id)
            yield self._over("monitors", incidents, i.closed_at < before, ~told)

    # ── groups, releases, files of symbols

    def groups(self) -> Iterator[Over]:
        """Groups that nothing is left of: their events are gone too."""
        for first, whose, project_id in self._by_project("groups", groups.c.project_id):
            since = min(first, self._first_events(project_id or None))
            conditions = [whose, *empty_groups(since, self._waiting)]

            def forget(conditions: Conditions = conditions) -> int:
                return forget_groups(self._state, conditions, self._now)

            yield self._over("groups", groups, *conditions, drop=forget)

    def _first_events(self, project_id: int | None) -> date:
        """The first day whose events are kept; of others than the configured projects where none is named."""
        if self._asked.wants("events"):
            return self._first("events", project_id)
        return oldest_kept(self._stores.config, CATEGORIES["events"], self._now.date(), project_id)

    def releases(self) -> Iterator[Over]:
        """Releases of which nothing is stored: no group, deploy or commit names them, and their last event and session are over."""
        r = releases.c
        of_groups = or_(groups.c.first_release == r.version, groups.c.last_release == r.version)
        stages = release_stages.c
        linked = (
            exists().where(groups.c.project_id == r.project_id, of_groups),
            exists().where(groups.c.project_id == r.project_id, groups.c.resolved_in_release == r.version),
            exists().where(deploys.c.project_id == r.project_id, deploys.c.version == r.version),
            exists().where(release_commits.c.version == r.version),
            exists().where(
                stages.project_id == r.project_id, stages.version == r.version, stages.until.is_(None)
            ),
        )
        for first, whose, _ in self._by_project("releases", r.project_id):
            begin = _begin(first)
            times = (r.created_at, r.last_event_at, r.last_session_at, r.released_at, r.changed_at)
            old = [or_(column.is_(None), column < begin) for column in times]
            conditions = [whose, *old, *(~one for one in linked)]

            def forget(conditions: Conditions = conditions) -> int:
                with self._state.read() as connection:
                    found = connection.execute(select(r.project_id, r.version).where(*conditions)).all()
                return sum(
                    delete_release(self._state, [project_id], version) for project_id, version in found
                )

            yield self._over("releases", releases, *conditions, drop=forget)

    def debug_files(self) -> Iterator[Over]:
        """Files that nobody looked up for long; their blobs go when nothing refers to them."""
        for table in (debug_files, artifact_bundles):
            for first, whose, _ in self._by_project("debug_files", table.c.project_id):
                used = func.coalesce(table.c.used_at, table.c.created_at) < _begin(first)
                before = _forget_artifacts if table is artifact_bundles else _nothing
                yield self._over("debug_files", table, whose, used, before=before)

    # ── facts, figures, the books

    def facts(self) -> Iterator[Over]:
        """Facts that are in the lake, or dead."""
        before = self._of_installation("figures")
        if before is not None:
            o = analytics_outbox.c
            yield self._over("figures", analytics_outbox, o.at < before, o.data.is_(None), o.type != FIRST)
            yield self._over("figures", analytics_dead, analytics_dead.c.at < before)

    def figures(self) -> Iterator[Over]:
        """What is known of the figures of days."""
        before = self._of_installation("figures")
        if before is not None:
            for table in (statistics_days, day_changes):
                yield self._over("figures", table, table.c.day < before.date())

    def ledger(self) -> Iterator[Over]:
        """Batches and cursors of days of which nothing is left: without them raw envelopes would be new ones."""
        before = self._of_installation("figures")
        if before is not None:
            held = [each.day for each in lake_totals(self._stores) if each.table in RECEIVED_TABLES]
            kept = {*held, *self._stores.spool.days(), *self._waiting}
            for table in (batches, spool_cursors, condemned_envelopes):
                day = table.c.day
                yield self._over("figures", table, day < before.date(), day.not_in(sorted(kept)))

    def health(self) -> Iterator[Over]:
        """What is known of the health of days."""
        before = self._of_installation("health")
        if before is not None:
            for table in (health_days, stage_days):
                yield self._over("health", table, table.c.day < before.date())

    # ── reports

    def reports(self) -> Iterator[Over]:
        """Reports with their revisions; who got them."""
        before = self._of_installation("reports")
        if before is not None:
            yield self._over("reports", reports, reports.c.end < before, before=_forget_revisions)
            d = report_deliveries.c
            yield self._over("reports", report_deliveries, d.due_at < before, d.decided_at.is_not(None))

    def report_files(self) -> Iterator[Over]:
        """Names of files of revisions that are not the newest; the blobs go when nothing refers to them."""
        before = self._of_installation("report_files")
        if before is not None:
            v = report_revisions.c
            newest = exists().where(reports.c.id == v.report_id, reports.c.revision == v.revision)
            # A revision tells the time of the one before it: only since then is that a former one.
            conditions = [v.computed_at < before, ~newest, func.length(func.trim(cast(v.files, Text))) > 2]

            def forget() -> int:
                with self._state.write() as connection:
                    return int(
                        connection.execute(
                            update(report_revisions).where(*conditions).values(files={})
                        ).rowcount
                    )

            yield self._over("report_files", report_revisions, *conditions, drop=forget)


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _nothing(_connection: Connection, _rows: Rows) -> None:
    pass


def _forget_deliveries(connection: Connection, rows: Rows) -> None:
    ids = [row["id"] for row in rows]
    connection.execute(delete(deliveries).where(deliveries.c.notification_id.in_(ids)))


def _forget_artifacts(connection: Connection, rows: Rows) -> None:
    ids = [row["id"] for row in rows]
    connection.execute(delete(artifacts).where(artifacts.c.bundle_id.in_(ids)))


def _forget_revisions(connection: Connection, rows: Rows) -> None:
    ids = [row["id"] for row in rows]
    connection.execute(delete(report_revisions).where(report_revisions.c.report_id.in_(ids)))
