"""How reports are worded, the same in mail, page, text, on the terminal and in Dagster: figures, means, plurals, days, revisions."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date

import pytest
from msgspec.structs import replace

from tasks_pipeline.assets.reports import headline_table
from tasks_pipeline.commands.reports.text import print_report
from tasks_pipeline.reports.comparing import Measured, relative
from tasks_pipeline.reports.rendering.mail import mail_html
from tasks_pipeline.reports.rendering.page import report_page
from tasks_pipeline.reports.rendering.text import WIDTH, report_text
from tasks_pipeline.reports.rendering.words import days_words, in_a_line
from tasks_pipeline.reports.report import Change, Report
from tasks_pipeline.reports.revisions import told
from tests.support.report_values import report_value

Shown = Callable[[Report], str]


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, Shown]:
    """By place: what a report looks like there."""

    def terminal(report: Report) -> str:
        print_report(report)
        return capsys.readouterr().out

    return {
        "mail": lambda report: mail_html(report, (), why="", unsubscribe=""),
        "page": report_page,
        "text": report_text,
        "terminal": terminal,
    }


def test_a_mean_says_of_how_many_periods_it_is(shown: dict[str, Shown]) -> None:
    change = relative(Measured(10, 168), Measured(5, 168), [4.0, 6.0])
    assert change is not None
    for place, show in shown.items():
        assert "mean of 2 before: 5" in show(report_value(changes={"errors": change})), place
        unknown = report_value(changes={"errors": Change(change=1.0, text="+100 %", baseline=5.0)})
        assert "mean before: 5" in show(unknown), place  # of a report that was stored before this was noted


def test_figures_stand_in_one_order_and_shares_as_percent(shown: dict[str, Shown]) -> None:
    full = report_value(
        figures=dict(sorted({**report_value().figures, "failure_rate": 1 / 3, "apdex": 0.65}.items()))
    )
    listed = shown["terminal"](full)
    titles = [
        "Errors",
        "Users affected",
        "New groups",
        "Open groups",
        "Crash-free sessions",
        "Failed monitors",
    ]
    places = [listed.index(title) for title in [*titles, "Incidents", "Apdex", "Items received"]]
    assert places == sorted(places)
    assert re.search(r"Failed transactions +33\.33 %", listed)
    assert re.search(r"Apdex +0\.65", listed)
    table = headline_table(full)
    assert [line.split(" | ")[0].strip("| ") for line in table.splitlines()[2:]] == titles
    for said in (table, *(show(full) for show in shown.values())):
        assert "99.93 %" in said
        assert "0.99932" not in said


def test_one_of_something_is_not_called_many(shown: dict[str, Shown]) -> None:
    full = report_value()
    one = replace(
        full,
        figures=dict.fromkeys(full.figures, 1),
        incomplete=1,
        monitors=replace(full.monitors, incidents=1, rows=full.monitors.rows[:1]),
    )
    for said in (in_a_line(one), *(show(one) for show in shown.values())):
        assert not re.findall(r"(?<![\d.,:-])1 (?!ms\b)[a-z-]+s\b", said)
    assert in_a_line(one).startswith("1 error (+12 %), 1 new group, ")
    assert "1 incident of 1 monitor\n" in shown["terminal"](one)


def test_days_are_told_in_full_and_never_cut() -> None:
    week = [date(2026, 11, n) for n in range(16, 23)]
    assert [days_words(days) for days in ([], week[:1], week, [*week, date(2026, 11, 30)])] == [
        "", "2026-11-16", "2026-11-16 to 2026-11-22", "8 days from 2026-11-16 to 2026-11-30",
    ]  # fmt: skip
    full = report_value("month", date(2026, 11, 1))
    text = report_text(replace(full, pipeline=replace(full.pipeline, open_days=week)))
    assert "2026-11-16 to 2026-11-22" in text
    for number, count in enumerate(full.series.errors, start=1):
        assert f"{number:02}: {count}" in re.sub(r"\s+", " ", text)
    assert max(len(line) for line in text.splitlines() if re.match(r"  \d\d: ", line)) <= WIDTH


def test_a_revision_says_once_what_is_the_same_for_all_its_figures(shown: dict[str, Shown]) -> None:
    changes = [
        {"figure": name, "before": n, "after": n + 1, "cause": "late symbols"}
        for n, name in enumerate(["crash_free_sessions", "errors", "groups.resolved", "users"])
    ]
    assert told(changes, most=3) == [
        "errors 1 → 2, users affected 3 → 4, crash-free sessions 0 % → 100 % and 1 more (late symbols)"
    ]
    report = report_value(revised=["errors 1 → 2 (late symbols)", "users 3 → 4 (late events)"])
    for place, show in shown.items():
        assert len(re.findall("(?i)before was revised|the period before: ", show(report))) == 1, place
