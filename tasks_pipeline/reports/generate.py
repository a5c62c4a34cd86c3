"""generate_analytics_report: what a period came to for a scope, as a value. Nothing is stored, rendered or sent here.

A Generator reads a period once for all scopes, and keeps the few numbers that later periods are compared with: so a backfill of
a year, of all projects and teams, reads each day of figures a handful of times.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property

from tasks_pipeline.releases.spans import DAY, begin_of
from tasks_pipeline.reports.assignees import names_of_assignees
from tasks_pipeline.reports.content.balance import GroupLog, ages_of, balance_of, by_assignee, read_log
from tasks_pipeline.reports.content.groups import GroupLists, Titles, read_lists
from tasks_pipeline.reports.content.held import HeldFigures
from tasks_pipeline.reports.content.measures import Measure, Measures
from tasks_pipeline.reports.content.messages import Messages, read_messages
from tasks_pipeline.reports.content.monitors import MonitorFigures, read_monitors
from tasks_pipeline.reports.content.pipeline import Days, days_of, pipeline_of
from tasks_pipeline.reports.content.releases import ReleaseFigures, read_releases
from tasks_pipeline.reports.content.series import Slots
from tasks_pipeline.reports.content.shipping import Shipping, read_shipping
from tasks_pipeline.reports.content.spans import Bounds, bounds_of
from tasks_pipeline.reports.content.traffic import Traffic, read_traffic
from tasks_pipeline.reports.content.transactions import Timings, read_timings
from tasks_pipeline.reports.figures import Past, changes_of, figures_of
from tasks_pipeline.reports.periods import Period
from tasks_pipeline.reports.report import Groups, ProjectRow, Releases, Report
from tasks_pipeline.reports.scopes import ORGANISATION, Scope, organisation, scope_named
from tasks_pipeline.storage.ledger.backlog import waiting_before
from tasks_pipeline.stores import Stores

MOST_PROJECTS = 100
DAILY_ROWS = 5  # of a list of groups in the report of a day


def generate_analytics_report(
    stores: Stores,
    period: Period,
    scope: Scope | str,
    now: datetime,
    *,
    projects: Collection[int | str] | None = None,
) -> Report:
    """The report of a period, as a preview: without revision. `projects` (numbers or slugs) narrows the organisation to some of
    its projects. Raises ScopeError.

    Also of a period that goes on (it says so, and compares nothing), and of one before the first event, which is empty.
    """
    found = scope_named(stores.config, scope) if isinstance(scope, str) else scope
    if projects is not None:
        wanted = {p.id for p in stores.config.projects if p.id in projects or p.slug in projects}
        found = organisation(stores.config, wanted)
    with closing(Generator(stores, now)) as generator:
        return generator.report(period, found)


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read of a period, of all projects."""

    log: GroupLog
    lists: GroupLists
    timings: Timings
    monitors: MonitorFigures
    traffic: Traffic
    messages: Messages
    releases: ReleaseFigures
    shipping: Shipping | None
    days: Days
    waiting: int


class Generator:
    """Makes reports, one after the other, by the figures as they are when it is made. Serves one thread."""

    def __init__(self, stores: Stores, now: datetime) -> None:
        self._stores, self._now = stores, now
        self._held = HeldFigures(stores.lake, stores.home)
        self.measures = Measures(
            self._held, stores.lake, stores.state, [p.id for p in stores.config.projects]
        )
        self._slots = Slots(self._held)
        self._read: tuple[Bounds, str, _Read] | None = None

    @cached_property
    def _titles(self) -> Titles:
        return Titles(self._stores.state, self._stores.slugs, self._names)

    @cached_property
    def _names(self) -> dict[str, str]:
        return names_of_assignees(self._stores)

    def close(self) -> None:
        """Free what it holds."""
        self._held.close()

    def forget_before(self, day: date) -> None:
        """Drop what periods from this day on do not look at."""
        self._held.drop_before(day)
        self.measures.forget_before(begin_of(day))

    def read_ahead(self, periods: Collection[Period]) -> None:
        """Read the figures of several periods, and of those that they are compared with, all at once: one after the other costs
        three times as much."""
        looked_at = dict.fromkeys(
            bounds_of(each) for period in periods for each in (period, period.previous(), *period.baseline())
        )
        days = {day for span in looked_at for day in span.days}
        if any(period.kind == "month" for period in periods):  # deploys are looked at a day before and after
            days |= {day + n * DAY for day in days for n in (-1, 1)}
        near = {day for period in periods for each in (period, period.previous()) for day in each.utc_days}
        self._held.need(near, days)
        self.measures.read(looked_at)

    def report(self, period: Period, scope: Scope) -> Report:
        """The report of a period of a scope."""
        span = bounds_of(period)
        read = self._of(period, span)
        running = period.end > self._now
        measure = self.measures.of(span, scope)
        before = self._past(period.previous(), scope)
        earlier = None if before is None else before[0]
        figures = figures_of(measure, earlier)
        return Report(
            kind=period.kind,
            key=period.key,
            label=period.label,
            scope=scope.name,
            zone=period.zone,
            week_starts=period.week_starts,
            start=period.start,
            end=period.end,
            hours=period.hours,
            final=not (running or read.days.open_days or read.days.wrong_days or read.waiting),
            running=running,
            incomplete=0 if running else read.waiting,
            figures=figures,
            previous=None if earlier is None else figures_of(earlier, measure),
            changes={} if running else self._changes(period, scope, (measure, period.hours), before),
            series=self._slots.series(period, None if before is None else period.previous(), scope),
            groups=self._groups(read, span, scope, period),
            releases=self._releases(read, period, scope),
            transactions=read.timings.of(scope, measure, period.hours, self._stores.slugs),
            monitors=read.monitors.of(scope, measure, self._stores.slugs),
            keys=read.traffic.key_rows(scope, self._stores.slugs),
            notifications=read.messages.of(scope),
            pipeline=pipeline_of(self._held, span, scope, read.days),
            projects=self._projects(period, scope, running),
            books=read.traffic.books(scope, measure.errors, read.waiting, read.days.may_be_gone),
        )

    def _of(self, period: Period, span: Bounds) -> _Read:
        """What was read of the period, now or for the scope before."""
        if self._read is None or self._read[:2] != (span, period.kind):
            self._read = span, period.kind, self._read_all(period, span)
        return self._read[2]

    def _read_all(self, period: Period, span: Bounds) -> _Read:
        stores, held, before = self._stores, self._held, bounds_of(period.previous())
        projects = stores.config.projects
        everything = organisation(stores.config)
        days = days_of(stores.state, span, self._now)
        self.read_ahead([period])
        return _Read(
            log=read_log(held, span),
            lists=read_lists(held, stores.state, span, before),
            timings=read_timings(
                held, stores.lake, span, before, projects, self.measures.of(span, everything).transactions
            ),
            monitors=read_monitors(held, stores.state, span),
            traffic=read_traffic(held, stores.lake, span, projects, days.whole_days),
            messages=read_messages(held, span),
            releases=read_releases(held, stores.state, span),
            shipping=read_shipping(held, stores.state, span, projects) if period.kind == "month" else None,
            days=days,
            waiting=sum(
                b.envelopes for b in waiting_before(stores.state, stores.spool, set(span.days), span.end)
            ),
        )

    def _past(self, period: Period, scope: Scope) -> Past | None:
        """What was measured of a period before; None where there are no data of it: before the first of all events."""
        first = self.measures.first(scope)
        if first is None or period.end <= first or not period.hours:
            return None
        return self.measures.of(bounds_of(period), scope), period.hours

    def _changes(self, period: Period, scope: Scope, now: Past, before: Past | None):  # type: ignore[no-untyped-def]
        first = self.measures.first(scope)
        whole = [each for each in period.baseline() if first is not None and each.start >= first]
        baseline = [past for each in whole if (past := self._past(each, scope)) is not None]
        least = self._stores.config.reports.min_sessions
        return changes_of(now, before, baseline, min_sessions=least)

    def _groups(self, read: _Read, span: Bounds, scope: Scope, period: Period) -> Groups:
        log = read.log.of(scope)
        most = DAILY_ROWS if period.kind == "day" else None
        lists = read.lists.of(scope)
        self._titles.read(row["group_id"] for rows in lists.values() for row in rows)
        rows = {name: self._titles.rows(found[:most]) for name, found in lists.items()}
        return Groups(
            balance=balance_of(log),
            open_ages=ages_of(log, span),
            by_assignee=by_assignee(log, self._names),
            **rows,
        )

    def _releases(self, read: _Read, period: Period, scope: Scope) -> Releases:
        rows = read.releases.of(scope, self._stores.slugs)
        if read.shipping is None:
            return Releases(rows=rows, deploys=self.measures.of(bounds_of(period), scope).deploys)
        return Releases(rows=rows, **read.shipping.of(scope, period.hours))

    def _projects(self, period: Period, scope: Scope, running: bool) -> list[ProjectRow]:
        """A row for each project of the organisation or a team, those with the most errors first."""
        if scope.name != ORGANISATION and scope.team is None:
            return []
        measured = self.measures.by_project(bounds_of(period), scope)
        most_first = sorted(measured.items(), key=lambda each: (-each[1].errors, each[0]))
        return [
            self._project(period, project_id, measure, running)
            for project_id, measure in most_first[:MOST_PROJECTS]
            if project_id
        ]

    def _project(self, period: Period, project_id: int, measure: Measure, running: bool) -> ProjectRow:
        alone = organisation(self._stores.config, [project_id])
        before = self._past(period.previous(), alone)
        now = measure, period.hours
        return ProjectRow(
            project=self._stores.slugs.get(project_id, str(project_id)),
            figures=figures_of(measure, None if before is None else before[0]),
            changes={}
            if running
            else changes_of(now, before, [], min_sessions=self._stores.config.reports.min_sessions),
        )
