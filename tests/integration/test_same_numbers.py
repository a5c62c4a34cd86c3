"""The same numbers everywhere: two generated weeks, counted item by item, against the lake, tables of figures, frames, reports, metrics
of alerts, the books, and the example notebook.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from sqlalchemy import select

from benchmarks.clock import simulated
from benchmarks.living import group_ids, live
from benchmarks.truth import Truth, people
from benchmarks.weeks import BEN, ZONES, Plan, configuration
from tasks_pipeline.alerts.counts import error_count
from tasks_pipeline.analytics import frames
from tasks_pipeline.analytics.statistics.compute import compute_statistics
from tasks_pipeline.home import Home
from tasks_pipeline.processing.books import books_of_lake
from tasks_pipeline.reports.generate import generate_analytics_report
from tasks_pipeline.reports.periods import period_of
from tasks_pipeline.storage.state.tables import group_actions
from tasks_pipeline.stores import Stores, open_stores
from tests.support.week_rows import rows_of, write_figures

PLAN = Plan(a_day=24)
TRUTH = Truth(PLAN)
NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "figures.ipynb"
DAYS = [PLAN.first + timedelta(days=n) for n in range(PLAN.days)]
SCOPES = {"organisation": "organisation", "shop": "project:shop", "app": "project:app"}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Home]) -> Iterator[Stores]:
    """A home in which two weeks were received, processed and decided about."""
    home = new_home(tmp_path_factory.mktemp("weeks"))
    home.config_path.write_text(configuration(PLAN))
    with open_stores(home) as stores:
        live(stores, PLAN, step=timedelta(hours=12))
        yield stores


def local_weeks() -> Iterator[tuple[str, datetime, datetime]]:
    """The two weeks of each scope."""
    for scope in ZONES:
        for key in TRUTH.weeks(scope):
            yield scope, *TRUTH.bounds(scope, key, 7)


def test_the_lake_has_what_was_sent(lived: Stores) -> None:
    """By project and UTC day of receipt, and no book is off."""
    tables = {
        "event": "events",
        "transaction": "transactions",
        "session": "sessions",
        "check_in": "check_ins",
    }
    for kind, table in tables.items():
        rows = lived.lake.query(f"SELECT project_id, day, count(*) AS n FROM lake.{table} GROUP BY ALL")
        expected = Counter((one.project.id, one.at.date()) for one in TRUTH.sent if one.kind == kind)
        assert {(row["project_id"], row["day"]): row["n"] for row in rows} == expected
    books = [books_of_lake(lived, day) for day in DAYS]
    assert sum(each.stored for each in books) == len(TRUTH.sent)
    assert not any(each.difference or each.waiting for each in books)


def test_groups_are_where_the_plan_has_them(lived: Stores) -> None:
    """Each problem is a group, and the log has the moves of the plan at the times they were decided."""
    groups = group_ids(lived, PLAN)
    assert set(groups) == {(move.project.id, move.problem) for move in TRUTH.moves}
    with lived.state.read() as connection:
        rows = connection.execute(
            select(group_actions.c.group_id, group_actions.c.action, group_actions.c.at)
        )
        logged = Counter((row.group_id, row.action) for row in rows)
        resolved = connection.execute(
            select(group_actions.c.at).where(
                group_actions.c.action == "resolve", group_actions.c.actor == BEN
            )
        ).scalars()
        assert sorted(resolved) == [
            one.at for one in PLAN.decided() if one.what == "resolve" and one.by == BEN
        ]
    expected = Counter(
        (groups[move.project.id, move.problem], move.move) for move in TRUTH.moves if move.move != "created"
    )
    assigned = [one for one in PLAN.decided() if one.what == "assign"]
    expected += Counter((groups[one.project.id, one.problem], "assign") for one in assigned)
    assert logged == expected


@pytest.fixture(scope="module")
def computed(lived: Stores) -> Stores:
    """The same with its figures computed."""
    compute_statistics(lived, DAYS, PLAN.end + timedelta(hours=1))
    return lived


MAPS = {
    "event_stats": (),
    "event_users": (),
    "group_stats": ("slots", "users"),
    "transaction_stats": ("durations",),
}
"""By table: columns that are maps, which naive rows have as pairs."""


@pytest.mark.parametrize("table", MAPS)
def test_computed_figures_are_those_of_a_naive_count(computed: Stores, table: str) -> None:
    """Row by row, all but bytes, which a naive count does not know, and sums of fractions to their last digit."""
    rows = rows_of(TRUTH, group_ids(computed, PLAN), computed.tools.of(0).user_key())[table]
    columns = ", ".join(name for name in rows[0] if name not in ("payload_bytes", "sum_ms", "max_ms"))
    found = computed.lake.query(f"SELECT {columns} FROM lake.{table} ORDER BY ALL")
    assert sorted(map(plain, found)) == sorted(
        plain(row | {name: dict(row[name]) for name in MAPS[table]}) for row in rows
    )


def plain(row: dict[str, Any]) -> str:
    """A row as a text that can be compared."""
    kept = {
        name: dict(sorted(value.items())) if isinstance(value, dict) else value
        for name, value in row.items()
        if name not in ("payload_bytes", "sum_ms", "max_ms")
    }
    return str(sorted((name, str(value)) for name, value in kept.items()))


def test_frames_sql_books_and_metrics_agree(computed: Stores) -> None:
    for scope, start, end in local_weeks():
        expected = TRUTH.figures(scope, start, end)
        projects = None if scope == "organisation" else [scope]
        assert (
            frames.event_stats(computed, start, end, projects=projects)["events"].sum() == expected["errors"]
        )
        assert list(frames.event_users(computed, start, end, by=[], projects=projects)["users"]) == [
            expected["users"]
        ]
        outcomes = frames.outcome_stats(computed, start, end, by=["category", "outcome"], projects=projects)
        stored = outcomes[outcomes["outcome"] == "stored"].set_index("category")["quantity"]
        assert (stored["error"], stored["transaction"]) == (expected["errors"], expected["transactions"])
        health = frames.crash_free(computed, start, end, by=[], projects=projects)
        assert list(health["sessions"]) == [expected["sessions"]]
        assert list(health["crashed"]) == [expected["crashed"]]
        assert list(health["users"]) == [expected["session_users"]]
        for project in (one for one in PLAN.projects if scope in (one.slug, "organisation")):
            of_project = TRUTH.of("event", project.slug, start, end)
            assert error_count(computed, project.id, start, end, None) == len(of_project)
            ids = f"project_id = {project.id} AND received_at >= '{start.isoformat()}' AND received_at < '{end.isoformat()}'"
            (row,) = computed.lake.query(
                f"SELECT count(*) AS n, count(DISTINCT user_key) AS users FROM lake.events WHERE {ids}"
            )
            assert (row["n"], row["users"]) == (len(of_project), len(people(of_project)))
        moves = frames.group_moves(computed, start, end, projects=projects)["move"].value_counts()
        for name, figure in {
            "created": "new_groups",
            "regress": "reopened",
            "resolve": "resolved",
            "ignore": "ignored",
        }.items():
            assert moves.get(name, 0) == expected[figure], f"{name} of {scope}"


def test_reports_say_the_same(computed: Stores) -> None:
    """The weekly reports of all scopes and a daily one of each, in Berlin that of the day of 25 hours."""
    for scope, name in SCOPES.items():
        for kind, days, keys in (
            ("week", 7, TRUTH.weeks(scope)),
            ("day", 1, [date(2026, 10, 25 if scope == "shop" else 24)]),
        ):
            for key in keys:
                start, end = TRUTH.bounds(scope, key, days)
                expected = TRUTH.figures(scope, start, end)
                period = period_of(kind, key, ZONES[scope], "monday")
                assert (period.start, period.end) == (start, end)
                with simulated(PLAN.end):
                    report = generate_analytics_report(computed, period, name, PLAN.end)
                for figure in ("errors", "users", "new_groups", "open_groups", "sessions", "check_ins"):
                    assert (report.figures.get(figure) or 0) == expected[figure], (
                        f"{figure} of {scope}, {period}"
                    )
                crash_free = report.figures.get("crash_free_sessions")  # cut, never rounded
                assert crash_free == pytest.approx(expected["crash_free_sessions"], abs=1e-5)
                balance = report.groups.balance
                assert (balance.open_at_start, balance.open_at_end) == (
                    expected["open_at_start"], expected["open_groups"],
                )  # fmt: skip
                assert (balance.new, balance.reopened, balance.resolved, balance.ignored) == tuple(
                    expected[figure] for figure in ("new_groups", "reopened", "resolved", "ignored")
                )
                assert report.books.balanced
                assert sum(report.series.errors) == expected["errors"]


@pytest.fixture(scope="module")
def figured(lived: Stores, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A copy of the home with figures from a naive count."""
    home = Home(root=tmp_path_factory.mktemp("figured") / "home")
    shutil.copytree(lived.home.root, home.root)
    with open_stores(home) as stores:
        write_figures(stores.lake, rows_of(TRUTH, group_ids(stores, PLAN)))
    return home


@pytest.fixture
def executed(figured: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What each cell of the notebook ends with, by the cell's id."""
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    environment = {**os.environ, "TASKS_PIPELINE_HOME": str(figured.root)}
    asyncio.run(client.async_execute(env=environment))
    return {
        cell["id"]: "\n".join(
            output["data"]["text/plain"]
            for output in cell["outputs"]
            if output["output_type"] == "execute_result"
        )
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    }


def test_the_notebook_runs_and_says_what_happened(executed: dict[str, str]) -> None:
    """The newest figures are of the first hour of the 26th, local time."""
    assert executed["span"] == "'2026-10-13 00:00:00+02:00 to 2026-10-27 00:00:00+01:00: 337 hours'"
    (long_day,) = [line for line in executed["hours"].splitlines() if line.startswith("2026-10-25")]
    start, end = TRUTH.bounds("shop", date(2026, 10, 25), 1)
    by_project = [len(TRUTH.of("event", slug, start, end)) for slug in ("app", "shop")]
    assert list(map(int, long_day.split()[-2:])) == by_project
    assert "Timeout" in executed["noisy"], "the group that nobody looked at"
    assert "SlowQuery" not in executed["noisy"], "somebody resolved it"
    assert "/checkout" in executed["p95"].splitlines()[1], "what became three times as slow grew most"
    assert "NaN" in executed["week"], "what is new has no percentage"


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


def test_what_was_sent_is_the_same_each_time() -> None:
    """A plan follows from its seed: what is compared in two processes is one thing."""
    assert Truth(PLAN).as_json() == TRUTH.as_json()
    assert Truth(Plan(a_day=24, seed=2)).as_json() != TRUTH.as_json()
    weeks = TRUTH.as_json()["weeks"]
    for scope in ZONES:
        assert len(weeks[scope]) == 2
    assert all(
        week["open_at_start"] + week["new_groups"] + week["reopened"] - week["resolved"] - week["ignored"]
        == week["open_groups"]
        for of_scope in weeks.values()
        for week in of_scope.values()
    )
    assert datetime(2026, 10, 25, 1, tzinfo=UTC) < PLAN.end
