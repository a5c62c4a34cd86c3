"""A report as mail: HTML of tables and inline styles, pictures by cid, and a text that says the same. Who gets it is decided elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks_pipeline.notifications.rendering import environment
from tasks_pipeline.reports.rendering import charts, tables, words
from tasks_pipeline.reports.rendering.text import report_text
from tasks_pipeline.reports.report import Report

TEMPLATES = Path(__file__).parent / "templates"
MAX_HTML = 98_000
"""Bytes. Gmail cuts a mail at about 102 KB."""
MAX_PICTURES = 300_000
"""Bytes of all pictures of a mail."""
_ROWS = (10, 6, 4, 2)  # of each table: fewer where the mail would become too large


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a mail: its Content-ID without the angle brackets, a name for a file, and the PNG."""

    cid: str
    name: str
    alt: str
    png: bytes


def pictures_of(report: Report) -> tuple[Picture, ...]:
    """Its pictures, as many as fit into a mail."""
    found: list[Picture] = []
    for chart in charts.charts_of(report):
        png = charts.png(chart)
        if sum(len(picture.png) for picture in found) + len(png) <= MAX_PICTURES:
            cid = f"{chart.name}.{hashlib.sha256(png).hexdigest()[:16]}@report.tasks-pipeline"
            found.append(Picture(cid, f"{chart.name}.png", chart.says, png))
    return tuple(found)


def mail_html(
    report: Report,
    pictures: Sequence[Picture],
    *,
    why: str,
    unsubscribe: str,
    commands: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """The HTML of a mail, below MAX_HTML bytes. `why` somebody gets it, and `unsubscribe`: where a click ends that; empty for nowhere.
    `notes` are said before all else."""
    template = environment(TEMPLATES).get_template("mail.html")
    html = ""
    for rows in _ROWS:
        html = template.render(
            report=report, w=words, tables=tables.shown_tables(report), rows=rows, pictures=pictures,
            width=charts.WIDTH, why=why, unsubscribe=unsubscribe, commands=commands, notes=list(notes),
        )  # fmt: skip
        if len(html.encode()) <= MAX_HTML:
            break
    return html


def mail_text(
    report: Report, *, why: str, unsubscribe: str, commands: Sequence[str] = (), notes: Sequence[str] = ()
) -> str:
    """The text of a mail."""
    out = [*notes, *([""] if notes else []), report_text(report)]
    if commands:
        out += ["What to do", *(f"  {command}" for command in commands), ""]
    out += ["--", why, *([f"Not any more: {unsubscribe}"] if unsubscribe else [])]
    return "\n".join(out) + "\n"
