"""A report as one HTML file: pictures as SVG inside, no script, nothing from elsewhere; light and dark, narrow and wide, on paper."""

from __future__ import annotations

from markupsafe import Markup

from tasks_pipeline.notifications.rendering import environment
from tasks_pipeline.reports.rendering import charts, tables, words
from tasks_pipeline.reports.rendering.mail import TEMPLATES
from tasks_pipeline.reports.report import Report

MAX_ROWS = 200
"""Rows of a table of a page; files have all of them."""


def report_page(report: Report) -> str:
    """The page. Matplotlib draws its pictures: some 0.1 s each, and its import when it is the first."""
    drawn = [(chart.says, Markup(charts.svg(chart))) for chart in charts.charts_of(report)]
    template = environment(TEMPLATES).get_template("page.html")
    return template.render(
        report=report, w=words, tables=tables.shown_tables(report), rows=MAX_ROWS, drawn=drawn
    )
