"""A report on the terminal: its headline, groups and what else there is to tell, in tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.output import cell
from tasks_pipeline.commands.common.tables import field_lines, say, table
from tasks_pipeline.words import counted, sparkline

if TYPE_CHECKING:
    from tasks_pipeline.reports.report import GroupRow, Report


def print_report(report: Report, revisions: Sequence[Mapping[str, Any]] = ()) -> None:
    """Print a report for people."""
    from tasks_pipeline.reports.rendering.tables import GROUP_LISTS

    click.secho(f"{report.kind.capitalize()} {report.label} · {cell(report.scope)}", bold=True)
    for line in field_lines(_about(report)):
        click.echo(line)
    click.echo()
    table(
        _headline(report),
        {"figure": "", "now": "now", "before": "before", "change": "change", "mean": ""},
    )
    if any(report.series.errors):
        click.echo()
        click.echo(
            f"errors per {'hour' if report.kind == 'day' else 'day'}  {sparkline(report.series.errors)}"
        )
    for name, title in GROUP_LISTS.items():
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
        ("revised", f"the period before: {cell('; '.join(report.revised))}" if report.revised else ""),
    ]


def _headline(report: Report) -> list[dict[str, Any]]:
    from tasks_pipeline.reports.rendering import words

    previous = report.previous
    return [
        {
            "figure": words.title_of(name),
            "now": words.figure_words(name, report.figures[name]),
            "before": "" if previous is None else words.figure_words(name, previous.get(name)),
            "change": report.changes[name].text if name in report.changes else "",
            "mean": words.baseline_words(report, name),
        }
        for name in sorted(report.figures, key=words.place_of)
    ]


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
    from tasks_pipeline.reports.rendering.words import shown

    balance = report.groups.balance
    t, n, m = report.transactions, report.notifications, report.monitors
    lines = [
        (
            "groups",
            f"{balance.open_at_start:,} open + {balance.entered:,} - {balance.left:,} = {balance.open_at_end:,}; "
            f"{balance.new:,} new, {balance.reopened:,} back, {balance.resolved:,} resolved, {balance.ignored:,} ignored",
        ),
        ("transactions", f"{t.count:,}; p50 {shown(t.p50_ms, 'ms')}, p95 {shown(t.p95_ms, 'ms')}, apdex {shown(t.apdex, 'number')}" if t.count else ""),
        ("releases", ", ".join(cell(row.version) for row in report.releases.rows)),
        ("monitors", f"{counted(m.incidents, 'incident')} of {counted(len(m.rows), 'monitor')}" if m.rows else ""),
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
