"""A report as plain text: what terminals show, and the mail of those who read no HTML. Strangers' text is clean: one line, no control characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from unicodedata import east_asian_width

from tasks_pipeline.reports.rendering.tables import Cell, Table, shown_tables
from tasks_pipeline.reports.rendering.words import (
    baseline_words,
    change_words,
    counted_parts,
    figure_words,
    heading,
    headlines,
    part_names,
    scope_words,
    span_words,
    state_words,
    title_of,
)
from tasks_pipeline.reports.report import Report
from tasks_pipeline.words import counted, sparkline

WIDTH = 78
_WIDEST = 44  # of a cell of text


def report_text(report: Report, rows: int = 10) -> str:
    """The whole report; tables show so many rows at most."""
    out = [f"{heading(report)} · {scope_words(report.scope)}", span_words(report), ""]
    out += state_words(report)
    out += ["", *_headlines(report), "", *_series(report)]
    for table in shown_tables(report):
        out += ["", *_table(table, rows)]
    return "\n".join(_single_gaps(out)) + "\n"


def _headlines(report: Report) -> list[str]:
    rows: list[list[Cell]] = [
        [
            (title_of(name), "text"),
            (figure_words(name, report.figures[name]), "number"),
            (change_words(report, name), "text"),
            (baseline_words(report, name), "text"),
        ]
        for name in headlines(report)
    ]
    return _aligned(rows)


def _series(report: Report) -> list[str]:
    """Errors by part, as bars under one another: the line of bars has a place for each part, in their order."""
    series = report.series
    if not any(series.errors) and not any(series.before):
        return []
    names = part_names(report)
    every = "hour" if report.kind == "day" else "day"
    lines = [f"Errors by {every}, {names[0]} to {names[-1]}" if names else f"Errors by {every}"]
    lines.append(f"  {sparkline(series.errors)}  up to {max(series.errors, default=0):,}")
    if series.before:
        lines.append(
            f"  {sparkline(series.before)}  up to {max(series.before, default=0):,} in the period before"
        )
    lines += ["", *_numbers(names, series.errors)]
    if report.kind != "day" and any(series.new_groups):
        lines += ["", "New groups by day", *_numbers(names, series.new_groups)]
    return lines


def _numbers(names: Sequence[str], values: Sequence[float]) -> list[str]:
    return [f"  {line}" for line in wrap(counted_parts(names, values), WIDTH - 2)]


def _table(table: Table, most: int) -> list[str]:
    head = table.titles
    body = table.cells(most, _WIDEST)
    rows = [head, *body] if any(title for title, _ in head) else body
    lines = [table.title, "─" * min(WIDTH, len(table.title)), *_aligned(rows)]
    if len(table.rows) > most:
        lines.append(f"  and {counted(len(table.rows) - most, 'row')} more")
    return lines


def _aligned(rows: Sequence[Sequence[Cell]]) -> list[str]:
    """Rows as lines in columns; numbers stand to the right."""
    if not rows:
        return []
    widths = [max(_width(row[i][0]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            _padded(text, width, look) for (text, look), width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _padded(text: str, width: int, look: str) -> str:
    gap = " " * (width - _width(text))
    return gap + text if look == "number" else text + gap


def _width(text: str) -> int:
    return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


def _single_gaps(lines: Sequence[str]) -> Iterator[str]:
    """The lines without two empty ones in a row."""
    before = ""
    for line in lines:
        if line or before:
            yield line
        before = line
