"""A report on the terminal: its headline, groups and what else there is to tell, in tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.output import cell
from tasks_pipeline.commands.common.tables import field_lines, say, table
from tasks_pipeline.words import counted

if TYPE_CHECKING:
    from tasks_pipeline.reports.report import GroupRow, Report

_BARS = "▁▂▃▄▅▆▇█"
_LISTS = {
    "top": "Most events",
    "top_by_users": "Most users",
    "new": "New",
    "returning": "Came back",
    "noisy": "Noisy, and nobody looks",
}


def print_report(report: Report, revisions: Sequence[Mapping[str, Any]] = ()) -> None:
    """Print a report for people."""
    click.secho(f"{report.kind.capitalize()} {report.label} · {cell(report.scope)}", bold=True)
    for line in field_lines(_about(report)):
        click.echo(line)
    click.echo()
    table(
        _headline(report),
        {"figure": "", "now": "now", "before": "before", "change": "change", "mean": "mean of 4"},
    )
    if any(report.series.errors):
        click.echo()
        click.echo(
            f"errors per {'hour' if report.kind == 'day' else 'day'}  {sparkline(report.series.errors)}"
        )
    for name, title in _LISTS.items():
        rows = getattr(report.groups, name)
        if rows:
            _print_groups(title, rows)
    _print_rest(report)
    if len(revisions) > 1:
        _print_revisions(revisions)


def _about(report: Report) -> list[tuple[str, str]]:
    hours = f"{report.hours:g} hours"
    state = "goes on" if report.running else "final" if report.final else "its days may still change"
    if report.incomplete:
        state = f"incomplete: {counted(report.incomplete, 'envelope')} waited"
    return [
        (
            "bounds",
            f"{report.start:%Y-%m-%d %H:%M} to {report.end:%Y-%m-%d %H:%M} UTC, {hours} ({report.zone})",
        ),
        ("state", state),
        ("revision", str(report.revision) if report.revision else "none: a preview"),
        ("revised", "; ".join(f"of the period before: {text}" for text in report.revised)),
    ]


def _headline(report: Report) -> list[dict[str, Any]]:
    rows = []
    for name, value in report.figures.items():
        change = report.changes.get(name)
        rows.append(
            {
                "figure": name.replace("_", " "),
                "now": _number(value),
                "before": "" if report.previous is None else _number(report.previous.get(name)),
                "change": "" if change is None else change.text,
                "mean": ""
                if change is None or change.baseline is None
                else _number(round(change.baseline, 2)),
            }
        )
    return rows


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:,}"


def _print_groups(title: str, rows: Sequence[GroupRow]) -> None:
    click.echo()
    click.secho(title, bold=True)
    shown = [
        {
            "group": row.short_id, "title": row.title, "events": row.events, "before": row.before, "users": row.users,
            "status": row.status, "assignee": row.assignee,
        }
        for row in rows
    ]  # fmt: skip
    table(
        shown,
        ["group", "title", "events", "before", "users", "status", "assignee"],
        cut=["title"],
        drop=["assignee", "before", "status"],
    )


def _print_rest(report: Report) -> None:
    balance = report.groups.balance
    t, n = report.transactions, report.notifications
    lines = [
        (
            "groups",
            f"{balance.open_at_start:,} open + {balance.entered:,} - {balance.left:,} = {balance.open_at_end:,}; "
            f"{balance.new:,} new, {balance.reopened:,} back, {balance.resolved:,} resolved, {balance.ignored:,} ignored",
        ),
        ("transactions", f"{t.count:,}; p50 {_number(t.p50_ms)} ms, p95 {_number(t.p95_ms)} ms, apdex {_number(t.apdex)}" if t.count else ""),
        ("releases", ", ".join(cell(row.version) for row in report.releases.rows)),
        ("monitors", f"{counted(report.monitors.incidents, 'incident')} of {len(report.monitors.rows)} monitors" if report.monitors.rows else ""),
        ("messages", f"{n.sent:,} sent, {n.failed:,} failed" if n.sent or n.failed else ""),
        ("dead letters", f"{report.pipeline.dead_letters:,}" if report.pipeline.dead_letters else ""),
    ]  # fmt: skip
    click.echo()
    for line in field_lines(lines):
        click.echo(line)


def _print_revisions(revisions: Sequence[Mapping[str, Any]]) -> None:
    from tasks_pipeline.reports.revisions import told

    click.echo()
    for row in revisions[1:]:
        changes = "; ".join(told(row["changes"])) or "what is below the headline"
        say(f"revision {row['revision']}, {row['computed_at']:%Y-%m-%d %H:%M} UTC: {cell(changes)}")


def sparkline(values: Sequence[float]) -> str:
    """Values as one line of bars."""
    top = max(values) or 1
    return "".join(_BARS[min(len(_BARS) - 1, int(v / top * (len(_BARS) - 1) + 0.5))] for v in values)
