"""Release health: what clients send, through a receiver, a drain and compute_health, to the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks_pipeline.home import Home
from tasks_pipeline.protocol.sessions import user_hash
from tasks_pipeline.releases.fold import STATES
from tests.support.postgres import PostgresServer
from tests.support.release_cases import cases, lists_of
from tests.support.session_cases import Answers, Case, Tables, Totals, answers

FILES = ("sessions", "aggregates", "users")


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Home]
) -> Iterator[Answers]:
    """The answers to all cases, from each kind of home in turn."""
    home = new_home(tmp_path_factory.mktemp("health"))
    all_cases = {f"{file} {case['id']}": case for file in FILES for case in lists_of(file)["cases"]}
    if request.param == "sqlite":
        yield answers(home, all_cases)
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.home(home.root, request.getfixturevalue("_new_database")) as postgres_home:
        yield answers(postgres_home, all_cases)


@cases("sessions", "cases")
def test_sessions(told: Answers, case: Case) -> None:
    check(told, "sessions", case)


@cases("aggregates", "cases")
def test_aggregates(told: Answers, case: Case) -> None:
    check(told, "aggregates", case)


@cases("users", "cases")
def test_users(told: Answers, case: Case) -> None:
    check(told, "users", case)


KNOWN = {
    "id", "items", "note", "total", "by_release", "by_environment", "by_hour", "by_day", "as_of", "user_of", "period",
}  # fmt: skip
OF_DURATIONS = ("durations", "duration_p50", "duration_p95")


def check(told: Answers, file: str, case: Case) -> None:
    """Every answer of a case."""
    assert set(case) <= KNOWN, "an answer that nothing compares"
    name = f"{file} {case['id']}"
    found = told.final[name]
    if "total" in case:
        compare(found, case["total"])
    for column in ("release", "environment"):
        if f"by_{column}" in case:
            by_value = case[f"by_{column}"]
            assert found.values(column) == set(by_value)
            for value, totals in by_value.items():
                compare(found.where(**{column: value}), totals)
    for text, totals in case.get("by_hour", {}).items():
        compare(found.in_hour(datetime.fromisoformat(text)), totals)
    for text, totals in case.get("by_day", {}).items():
        compare(found.where(day=date.fromisoformat(text)), totals)
    for text, totals in case.get("as_of", {}).items():
        of_day = [tables for day, tables in told.as_of[name].items() if day <= date.fromisoformat(text)]
        compare(of_day[-1], totals)
    if "user_of" in case:
        projects = found.values("project_id")
        hashes = {(p, user_hash(told.key, p, user)) for p in projects for user in case["user_of"].values()}
        assert set(found.worst()) <= hashes
        assert len(found.worst()) == len(set(case["user_of"].values()))
    if "period" in case:
        compare_period(found, case["period"])
    assert_adds_up(found)


def compare(found: Tables, expected: Totals) -> None:
    """Totals, and durations as far as they are given."""
    totals = found.totals()
    assert {n: totals[n] for n in expected if n not in OF_DURATIONS} == {
        n: value for n, value in expected.items() if n not in OF_DURATIONS
    }
    if "durations" in expected:
        durations = expected["durations"]
        assert sum(found.histogram.values()) == len(durations)
        assert sum(row["duration_sum_s"] for row in found.health) == pytest.approx(sum(durations))
        assert [found.percentile(100 * n // len(durations)) for n in range(1, len(durations) + 1)] == [
            pytest.approx(duration, rel=0.01) for duration in sorted(durations)
        ]
    for percent in (50, 95):
        if f"duration_p{percent}" in expected:
            assert found.percentile(percent) == pytest.approx(expected[f"duration_p{percent}"], rel=0.01)


def compare_period(found: Tables, expected: dict[str, Any]) -> None:
    """Sessions and users of several days."""
    totals = found.between(
        date.fromisoformat(expected["first"]), date.fromisoformat(expected["last"])
    ).totals()
    totals["crash_free_sessions"] = share(totals["crashed"], totals["sessions"])
    totals["crash_free_users"] = share(totals["crashed_users"], totals["users"])
    for name, value in expected.items():
        if name not in ("first", "last"):
            assert totals[name] == pytest.approx(value, abs=1e-6), name


def share(crashed: int, of: int) -> float | None:
    return 1 - crashed / of if of else None


def assert_adds_up(found: Tables) -> None:
    """What must hold of any tables."""
    for row in found.health:
        assert sum(row[state] for state in STATES) == row["sessions"]
        assert row["slot"].date() == row["day"]
        in_slot = [
            user
            for user in found.where(
                **{n: row[n] for n in ("day", "project_id", "release", "environment")}
            ).users
            if any(state // 8 == row["slot"].hour * 4 + row["slot"].minute // 15 for state in user["states"])
        ]
        assert row["users"] == len(in_slot)
