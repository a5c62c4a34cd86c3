"""The tables of a report: one description that mail, page, text, CSV and Parquet are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tasks_pipeline.reports.rendering.words import (
    Form,
    days_words,
    form_of,
    headlines,
    place_of,
    shown,
    title_of,
)
from tasks_pipeline.reports.report import GroupRow, Report, TransactionRow

Look = Literal["text", "whole", "number"]
"""How a cell is set: a text that may go on in the next line, one that may not, a number."""
Cell = tuple[str, Look]

GROUP_LISTS = {
    "top": "Most events",
    "top_by_users": "Most users affected",
    "new": "New groups",
    "returning": "Back again",
    "noisy": "Noisy, and nobody looked at them",
}
TRANSACTION_LISTS = {
    "slowest": "Slowest transactions",
    "growing": "Transactions that became slower",
    "failing": "Transactions that fail",
    "heaviest": "Transactions that took most time",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name for programs, its title for people, and how its values are shown. Hidden ones are in files only."""

    name: str
    title: str
    form: Form = "text"
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table: `name` for programs, `title` for people, rows of plain values."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[tuple[Any, ...]]

    @property
    def titles(self) -> list[Cell]:
        """Titles of the columns that are shown."""
        return [(c.title, _look(c)) for c in self.columns if not c.hidden]

    def cells(self, most: int, width: int = 120) -> list[list[Cell]]:
        """At most so many rows as people read them. Texts are clean, not escaped."""
        return [
            [
                (shown(v, c.form, width), _look(c))
                for c, v in zip(self.columns, row, strict=True)
                if not c.hidden
            ]
            for row in self.rows[:most]
        ]


def _look(column: Column) -> Look:
    return "whole" if column.form == "id" else "text" if column.form in ("text", "person") else "number"


_GROUP = (
    Column("short_id", "Group", "id"),
    Column("title", "Title"),
    Column("events", "Events", "count"),
    Column("users", "Users", "count"),
    Column("before", "Before", "count"),
    Column("assignee", "Assigned to", "person"),
    Column("project", "Project", hidden=True),
    Column("culprit", "Culprit", hidden=True),
    Column("level", "Level", hidden=True),
    Column("status", "Status", hidden=True),
    Column("first_release", "First in", hidden=True),
    Column("last_release", "Last in", hidden=True),
    Column("suspect_commit", "Suspect commit", hidden=True),
    Column("notifications", "Messages", "count", hidden=True),
)
_TRANSACTION = (
    Column("name", "Transaction"),
    Column("count", "Count", "count"),
    Column("p50_ms", "p50", "ms"),
    Column("p95_ms", "p95", "ms"),
    Column("growth", "p95 grew", "share"),
    Column("failure_rate", "Failed", "share"),
    Column("project", "Project", hidden=True),
    Column("op", "Operation", hidden=True),
    Column("total_ms", "In all", "ms", hidden=True),
)


def shown_tables(report: Report) -> list[Table]:
    """What people get, in order; those without rows are left out."""
    found = [
        _projects(report),
        *(
            _groups(name, title, getattr(report.groups, name))
            for name, title in GROUP_LISTS.items()
        ),
        _balance(report),
        _ages(report),
        _assignees(report),
        _releases(report),
        _shipping(report),
        _timing(report),
        *(
            _transactions(name, title, getattr(report.transactions, name))
            for name, title in TRANSACTION_LISTS.items()
        ),
        _monitors(report),
        _keys(report),
        _messages(report),
        _pipeline(report),
    ]  # fmt: skip
    return [table for table in found if table.rows]


def exported_tables(report: Report) -> list[Table]:
    """What files hold. Figures and the series are always there, the others where they have rows."""
    lists = [(name, row) for name in GROUP_LISTS for row in _group_rows(getattr(report.groups, name))]
    transactions = [
        (name, row)
        for name in TRANSACTION_LISTS
        for row in _transaction_rows(getattr(report.transactions, name))
    ]
    found = [
        _listed("groups", "Groups", _GROUP, lists),
        _balance(report),
        _ages(report),
        _assignees(report),
        _releases(report),
        _listed("transactions", "Transactions", _TRANSACTION, transactions),
        _monitors(report),
        _keys(report),
        _projects(report),
        _outcomes(report),
    ]
    return [figures_table(report), series_table(report), *(table for table in found if table.rows)]


def figures_table(report: Report) -> Table:
    """All figures with those of the period before."""
    rows = []
    for name in sorted(report.figures, key=place_of):
        c = report.changes.get(name)
        said = (c.change, c.text, c.baseline, c.periods) if c else (None, "", None, None)
        rows.append((name, report.figures[name], (report.previous or {}).get(name), *said))
    columns = (
        Column("figure", "Figure"),
        Column("value", "Value", "number"),
        Column("previous", "Before", "number"),
        Column("change", "Change", "number"),
        Column("change_text", "Change"),
        Column("baseline", "Mean before", "number"),
        Column("periods", "Of periods", "count"),
    )
    return Table("figures", "Figures", columns, rows)


def series_table(report: Report) -> Table:
    """Errors by hour or day."""
    series = report.series
    count = len(series.starts)
    new = list(series.new_groups) or [0] * count
    before = [*series.before[:count], *[None] * (count - len(series.before))]
    rows = list(zip(series.starts, series.errors, before, new, strict=True))
    columns = (
        Column("start", "From", "time"),
        Column("errors", "Errors", "count"),
        Column("before", "Before", "count"),
        Column("new_groups", "New groups", "count"),
    )
    return Table("series", "Errors over time", columns, rows)


def _listed(
    name: str, title: str, columns: tuple[Column, ...], rows: list[tuple[str, tuple[Any, ...]]]
) -> Table:
    """Several lists as one table, whose first column says which."""
    return Table(name, title, (Column("list", "List"), *columns), [(which, *row) for which, row in rows])


def _groups(name: str, title: str, rows: Sequence[GroupRow]) -> Table:
    return Table(f"groups_{name}", title, _GROUP, _group_rows(rows))


def _group_rows(rows: Iterable[GroupRow]) -> list[tuple[Any, ...]]:
    return [tuple(getattr(row, column.name) for column in _GROUP) for row in rows]


def _transactions(name: str, title: str, rows: Sequence[TransactionRow]) -> Table:
    return Table(f"transactions_{name}", title, _TRANSACTION, _transaction_rows(rows))


def _transaction_rows(rows: Iterable[TransactionRow]) -> list[tuple[Any, ...]]:
    return [tuple(getattr(row, column.name) for column in _TRANSACTION) for row in rows]


def _projects(report: Report) -> Table:
    """A row for each project; the columns are the headlines that any of them has."""
    names = [n for n in headlines(report) if any(row.figures.get(n) is not None for row in report.projects)]
    columns = (Column("project", "Project"), *(Column(n, title_of(n), form_of(n)) for n in names))
    rows = [(row.project, *(row.figures.get(name) for name in names)) for row in report.projects]
    return Table("projects", "Projects", columns, rows)


def _named(name: str, title: str, values: Iterable[tuple[str, Any, Form]]) -> Table:
    """Single figures, a row each, already in words where people read them."""
    rows = [(label, value, shown(value, form)) for label, value, form in values if value is not None]
    columns = (Column("figure", ""), Column("value", "Value", "number", hidden=True), Column("shown", ""))
    return Table(name, title, columns, rows)


def _balance(report: Report) -> Table:
    """Nothing where no group was ever open in the period."""
    b = report.groups.balance
    if not any((b.open_at_start, b.entered, b.left, b.open_at_end)):
        return Table("balance", "Groups: what came and went", (), [])
    found: list[tuple[str, Any, Form]] = [
        ("Open at the start", b.open_at_start, "count"),
        ("New", b.new, "count"),
        ("Came back", b.reopened, "count"),
        ("Resolved", b.resolved, "count"),
        ("Ignored", b.ignored, "count"),
        ("Merged into others", b.merged or None, "count"),
        ("Open at the end", b.open_at_end, "count"),
        ("Time to the first response, median", b.first_response.p50_seconds, "seconds"),
        ("Time to the first response, 90 %", b.first_response.p90_seconds, "seconds"),
        ("New groups that wait for a response", (b.first_response.groups - b.first_response.responded) or None, "count"),
        ("Time to the resolution, median", b.resolution.p50_seconds, "seconds"),
        ("Time to the resolution, 90 %", b.resolution.p90_seconds, "seconds"),
    ]  # fmt: skip
    return _named("balance", "Groups: what came and went", found)


def _ages(report: Report) -> Table:
    """Each open group is in one row: `open_ages` has by how many days it is open at least."""
    ages = sorted(report.groups.open_ages.items())
    rows = [(_age(days, [d for d, _ in ages if d > days]), count) for days, count in ages if count]
    columns = (Column("age", "Open for"), Column("groups", "Groups", "count"))
    return Table("open_ages", "Open groups by age", columns, rows)


def _age(days: int, longer: Sequence[int]) -> str:
    if not longer:
        return f"{days} days and more"
    return f"{days} to {longer[0]} days" if days else "less than a day"


def _assignees(report: Report) -> Table:
    columns = (
        Column("assignee", "Assigned to", "person"),
        Column("open", "Open", "count"),
        Column("resolved", "Resolved", "count"),
    )
    rows = [(row.assignee or "nobody", row.open, row.resolved) for row in report.groups.by_assignee]
    return Table("assignees", "By assignee", columns, rows)


def _releases(report: Report) -> Table:
    columns = (
        Column("version", "Release"),
        Column("deploys", "Deploys", "count"),
        Column("new_groups", "New groups", "count"),
        Column("sessions", "Sessions", "count"),
        Column("crash_free_sessions", "Crash-free", "share"),
        Column("adoption", "Adoption", "share"),
        Column("project", "Project", hidden=True),
        Column("created", "Created", "time", hidden=True),
        Column("crash_free_users", "Crash-free users", "share", hidden=True),
    )
    rows = [tuple(getattr(row, column.name) for column in columns) for row in report.releases.rows]
    return Table("releases", "Releases", columns, rows)


def _shipping(report: Report) -> Table:
    found = report.releases
    deploys = "Deploys to production" if report.kind == "month" else "Deploys"
    values: list[tuple[str, Any, Form]] = [
        (deploys, found.deploys or None, "count"),
        ("Deploys a week", found.deploys_per_week, "number"),
        ("From commit to production, median", found.lead_time_seconds, "seconds"),
        ("Deploys that broke something", found.change_failure_rate, "share"),
        ("Until it was restored, median", found.restore_seconds, "seconds"),
    ]
    return _named("shipping", "Deploys", values)


def _timing(report: Report) -> Table:
    found = report.transactions
    values: list[tuple[str, Any, Form]] = [
        ("Transactions", found.count or None, "count"),
        ("Apdex", found.apdex, "number"),
        ("Failed", found.failure_rate, "share"),
        ("p50", found.p50_ms, "ms"),
        ("p75", found.p75_ms, "ms"),
        ("p95", found.p95_ms, "ms"),
        ("A minute", found.per_minute, "number"),
        ("Users who waited too long", found.misery_users, "count"),
        ("Their share", found.misery, "share"),
    ]
    return _named("timing", "Transactions, as far as clients sent them", values if found.count else [])


def _monitors(report: Report) -> Table:
    columns = (
        Column("monitor", "Monitor"),
        Column("environment", "Environment"),
        Column("uptime", "Uptime", "share"),
        Column("missed", "Missed", "count"),
        Column("error", "Failed", "count"),
        Column("incidents", "Incidents", "count"),
        Column("project", "Project", hidden=True),
        Column("kind", "Kind", hidden=True),
        Column("expected", "Expected", "count", hidden=True),
        Column("ok", "On time", "count", hidden=True),
        Column("timed_out", "Timed out", "count", hidden=True),
    )
    rows = [tuple(getattr(row, column.name) for column in columns) for row in report.monitors.rows]
    return Table("monitors", "Monitors", columns, rows)


def _keys(report: Report) -> Table:
    columns = (
        Column("project", "Project"),
        Column("public_key", "Key", hidden=True),
        Column("category", "Category"),
        Column("refused", "Refused", "count"),
        Column("dropped_by_clients", "Dropped by clients", "count"),
        Column("share", "Of its quota", "share"),
        Column("accepted", "Accepted", "count", hidden=True),
        Column("refused_hours", "Hours with refusals", "count", hidden=True),
    )
    rows = [tuple(getattr(row, column.name) for column in columns) for row in report.keys]
    return Table("keys", "Refused and dropped", columns, rows)


def _messages(report: Report) -> Table:
    found = report.notifications
    values: list[tuple[str, Any, Form]] = [
        ("Sent", found.sent, "count"),
        ("Failed", found.failed or None, "count"),
        ("From the alert until sent, median", found.p50_seconds, "seconds"),
        ("From the alert until sent, 95 %", found.p95_seconds, "seconds"),
        *((f"Held back: {reason}", n, "count") for reason, n in list(found.held_back.items())[:5]),
        *((f"Rule “{rule}”", n, "count") for rule, n in list(found.noisy_rules.items())[:5]),
    ]
    told = found.sent or found.failed or found.held_back
    return _named("messages", "Messages", values if told else [])


def _pipeline(report: Report) -> Table:
    found = report.pipeline
    values: list[tuple[str, Any, Form]] = [
        ("From receipt until stored, 95 %", found.lag_p95_seconds, "seconds"),
        ("Could not be stored", found.dead_letters or None, "count"),
        ("Days that are not final", days_words(found.open_days) or None, "text"),
    ]
    return _named("pipeline", "The pipeline itself", values)


def _outcomes(report: Report) -> Table:
    rows = [
        (category, outcome, count)
        for category, found in sorted(report.books.outcomes.items())
        for outcome, count in sorted(found.items())
    ]
    columns = (
        Column("category", "Category"),
        Column("outcome", "Outcome"),
        Column("items", "Items", "count"),
    )
    return Table("outcomes", "Items received", columns, rows)
