"""What must hold of stored reports, counted once more from the tables of figures in other ways than reports were. Whether that is a
failure is said by the checks (`checks/reports.py`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from tasks_pipeline.releases.spans import days_between
from tasks_pipeline.reports.content.measures import BOOKED
from tasks_pipeline.reports.content.pipeline import days_of
from tasks_pipeline.reports.content.spans import Bounds, moment
from tasks_pipeline.reports.inputs import has_other_figures, inputs_between
from tasks_pipeline.reports.periods import Kind, Period, period_at, period_of
from tasks_pipeline.reports.report import Report
from tasks_pipeline.reports.scopes import Scope, scopes_of
from tasks_pipeline.reports.store import ReportMissing, find_revision, read_report
from tasks_pipeline.stores import Stores

ADDS_UP = "balance_adds_up"
"""The check that computing a report makes too."""
_SHARES = ("crash_free_sessions", "crash_free_users", "apdex", "failure_rate")
_SHARED = {"crash_free_sessions": "sessions", "apdex": "transactions", "failure_rate": "transactions"}
"""Shares that are only told beside the figure that they are of."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored report with its number and the period and the scope that it is of."""

    id: int
    report: Report
    period: Period
    scope: Scope


def stored_reports(stores: Stores, kind: Kind, key: date) -> Iterator[Stored]:
    """The reports of a key in their newest revisions."""
    for scope in scopes_of(stores.config):
        try:
            row, report = find_revision(stores, kind, key, scope), read_report(stores, kind, key, scope)
        except ReportMissing:
            continue
        yield Stored(row.id, report, period_of(kind, key, report.zone, report.week_starts), scope)


def unequal_sums(stores: Stores, found: Sequence[Stored]) -> list[str]:
    """Headlines that are not what the tables come to within the bounds, or of weeks not what their local days come to. Of days
    whose figures changed since, nothing can be said."""
    wrong = []
    for each in found:
        if _changed_since(stores, each):
            continue
        for name, (table, column, condition) in _ADDITIVE.items():
            told = int(each.report.figures.get(name) or 0)
            whole = _sum(stores, table, column, condition, each, [each.period])
            parts = _sum(stores, table, column, condition, each, local_days(each.period))
            if not told == whole == parts:
                wrong.append(
                    f"{each.scope.name} {each.period.key} {name}: {told:,} told, {whole:,} in its bounds, {parts:,} in its days"
                )
    return wrong


_ADDITIVE = {
    "errors": ("event_stats", "events", ""),
    "transactions": ("transaction_stats", "count", ""),
    "items": ("outcome_stats", "quantity", f"AND outcome IN {BOOKED}"),
}


def _sum(
    stores: Stores, table: str, column: str, condition: str, of: Stored, periods: Sequence[Period]
) -> int:
    spans = " OR ".join(
        f"({days_between(p.start, p.end)} AND slot >= {moment(p.start)} AND slot < {moment(p.end)})"
        for p in periods
        if p.start < p.end
    )
    rows = stores.lake.query(
        f"SELECT project_id, sum({column})::BIGINT AS n FROM lake.{table} WHERE ({spans or 'false'}) {condition} GROUP BY project_id"
    )
    return sum(row["n"] for row in rows if of.scope.holds(row["project_id"]))


def local_days(period: Period) -> list[Period]:
    """The days that a period is made of."""
    day = period_at("day", period.start, period.zone, period.week_starts)
    found = []
    while day.start < period.end:
        found.append(day)
        day = day.next()
    return found


def _changed_since(stores: Stores, each: Stored) -> bool:
    """Whether its days have other figures than it was made of: it is stale, and computed again soon."""
    days = each.period.utc_days
    if not days:
        return True
    row = find_revision(stores, each.period.kind, each.period.key, each.scope)
    with stores.state.read() as connection:
        now = inputs_between(connection, days[0], days[-1])
    return any(has_other_figures(row.inputs.get(day.isoformat()), now[day]) for day in now)


def impossible(found: Sequence[Stored]) -> list[str]:
    """Percentiles that fall, shares outside of 0 and 1, and shares without what they are of."""
    wrong = []
    for each in found:
        where = f"{each.scope.name} {each.period.key}"
        wrong += [f"{where}: {why}" for why in _impossible(each.report)]
    return wrong


def _impossible(report: Report) -> Iterator[str]:
    t = report.transactions
    known = [value for value in (t.p50_ms, t.p75_ms, t.p95_ms) if value is not None]
    if known != sorted(known):
        yield f"percentiles of transactions fall: {known}"
    for spread in (report.groups.balance.first_response, report.groups.balance.resolution):
        if spread.p50_seconds is not None and (spread.p90_seconds or spread.p50_seconds) < spread.p50_seconds:
            yield "percentiles of groups fall"
    for name in _SHARES:
        value = report.figures.get(name)
        if value is None:
            continue
        if not 0 <= value <= 1:
            yield f"{name} is {value}"
        if name in _SHARED and not report.figures.get(_SHARED[name]):
            yield f"{name} is told without {_SHARED[name]}"
    yield from (f"a release is {r.adoption} adopted" for r in report.releases.rows if (r.adoption or 0) > 1)


def unbalanced(found: Sequence[Stored]) -> list[str]:
    """Balances that do not add up, and books that do not."""
    return [
        f"{each.scope.name} {each.period.key}: {why}" for each in found for why in why_unbalanced(each.report)
    ]


def why_unbalanced(report: Report) -> Iterator[str]:
    """What does not add up in a report by itself."""
    b, books = report.groups.balance, report.books
    if b.open_at_start + b.entered - b.left != b.open_at_end:
        yield f"{b.open_at_start} + {b.entered} - {b.left} is not {b.open_at_end}"
    if not books.balanced:
        yield f"{books.stored} errors were stored, {books.gone} are gone"


def too_early(stores: Stores, found: Sequence[Stored], now: datetime) -> list[str]:
    """Reports that are marked final with days that may change, and those of periods that go on."""
    wrong = []
    for each in found:
        if each.period.end > now or each.report.running:
            wrong.append(f"{each.scope.name} {each.period.key}: its period goes on")
        elif each.report.final:
            open_days = days_of(stores.state, Bounds(each.period.start, each.period.end), now).open_days
            wrong += [
                f"{each.scope.name} {each.period.key}: final, but {day} may change" for day in open_days
            ]
    return wrong
