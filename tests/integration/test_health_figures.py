"""Figures of release health: right by every grouping, never summed where they cannot be, and the same however they are asked for."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks_pipeline.home import Home
from tasks_pipeline.releases.health_figures import (
    PERCENTS,
    RELEASE,
    RELEASE_AND_ENVIRONMENT,
    STATES,
    Cell,
    Figures,
    Level,
    Sessions,
    Span,
    health_figures,
    last_days,
    releases_health,
    span_since,
)
from tasks_pipeline.releases.shares import crash_free_text
from tasks_pipeline.stores import Stores, open_stores
from tests.support.health_rows import SLOT, Seen, write_day, write_health
from tests.support.release_cases import cases

MIDNIGHT = datetime(2026, 11, 16, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
COLUMNS = ("project_id", "release", "environment")


@cases("crash_free", "cases")
def test_shares_as_text(case: dict[str, Any]) -> None:
    assert crash_free_text(case["crashed"], case["of"]) == case["text"]


def worked_example() -> list[Seen]:
    """Seven sessions of five users, of two releases."""
    at, old, new = MIDNIGHT + 12 * HOUR, "shop@1.0.0", "shop@1.1.0"
    return [
        Seen(at, old, user=1, seconds=10),
        Seen(at, old, user=2, state="errored"),
        Seen(at + HOUR, old, user=3, state="crashed"),
        Seen(at, old, user=4, state="unhandled"),
        Seen(at + 2 * HOUR, old, user=5, state="abnormal"),
        Seen(at, old, user=3, seconds=20),
        Seen(at, new, user=1, state="crashed"),
    ]


def test_the_worked_example(own: Stores) -> None:
    write_health(own.state, own.lake, worked_example())
    span = Span(MIDNIGHT, MIDNIGHT + 7 * DAY)
    found = health_figures(own.lake, span, Sessions([1]), [RELEASE, ("project_id",)])
    old, new, project = (found[Cell(1, release)] for release in ("shop@1.0.0", "shop@1.1.0", None))
    assert (old.sessions, new.sessions, project.sessions) == (
        (2, 1, 1, 1, 1),
        (0, 0, 0, 0, 1),
        (2, 1, 1, 1, 2),
    )
    assert (old.all_users, old.crashed_users, old.crash_free_users) == (5, 1, 0.8)
    assert (new.all_users, new.crashed_users, new.crash_free_users) == (1, 1, 0.0)
    assert (project.all_users, project.crashed_users, project.crash_free_users) == (5, 2, 0.6)
    assert crash_free_text(project.crashed, project.all_sessions) == "71.428"
    assert old.crash_free_sessions == pytest.approx(5 / 6)
    assert new.durations is None
    assert old.durations is not None
    assert (old.durations.count, old.durations.mean, old.durations.max) == (2, 15.0, 20.0)
    assert old.durations.as_json()["p50"] == pytest.approx(10, rel=0.0101)
    assert old.durations.percentiles[90] == pytest.approx(20, rel=0.0101)
    assert health_figures(own.lake, Span(MIDNIGHT + DAY, MIDNIGHT + 2 * DAY), Sessions([1]), [()]) == {}


def test_series_of_hours_and_days(own: Stores) -> None:
    """A user who comes back is one of the span, and one of each hour; one who crashed at last did not before."""
    seen = [
        Seen(MIDNIGHT + HOUR, "a", user=1),
        Seen(MIDNIGHT + HOUR, "a", user=2),
        Seen(MIDNIGHT + 25 * HOUR, "a", user=1, state="crashed"),
        Seen(MIDNIGHT + 26 * HOUR, "a", user=1),
    ]
    write_health(own.state, own.lake, seen)
    by_day = health_figures(own.lake, Span(MIDNIGHT, MIDNIGHT + 2 * DAY), Sessions([1]), [()], every=DAY)
    assert {cell.interval: f.users for cell, f in by_day.items()} == {
        None: (1, 0, 0, 0, 1), 0: (2, 0, 0, 0, 0), 1: (0, 0, 0, 0, 1),
    }  # fmt: skip
    span = Span(MIDNIGHT + 24 * HOUR, MIDNIGHT + 27 * HOUR)
    by_hour = health_figures(own.lake, span, Sessions([1]), [()], every=HOUR)
    assert {cell.interval: (f.all_sessions, f.users[0]) for cell, f in by_hour.items()} == {
        None: (2, 0), 1: (1, 0), 2: (1, 1),
    }  # fmt: skip


def test_a_page_of_releases(own: Stores) -> None:
    write_health(own.state, own.lake, [*worked_example(), Seen(MIDNIGHT, "shop@1.0.0", project=2, user=1)])
    write_day(own.state, own.lake, (MIDNIGHT + DAY).date(), [Seen(MIDNIGHT + DAY, "shop@1.0.0", "", user=9)])
    rows = [{"project_id": 1, "version": version} for version in ("shop@1.0.0", "none", "x' OR 1")]
    span = last_days(14, MIDNIGHT + 2 * DAY)
    (found,) = releases_health(own.lake, rows, span, levels=[RELEASE, RELEASE_AND_ENVIRONMENT]).values()
    assert {place: (f.all_sessions, f.all_users) for place, f in found.items()} == {
        None: (7, 6), "production": (6, 5), "": (1, 1),
    }  # fmt: skip
    assert releases_health(own.lake, [], span) == {}


def test_figures_of_some_cells_are_read_of_these_alone(own: Stores) -> None:
    """Not of every pair that their releases and environments make."""
    write_health(
        own.state,
        own.lake,
        [Seen(MIDNIGHT, r, e, project=p, user=1) for r in "abc" for e in "xy" for p in (1, 2)],
    )
    span, level = Span(MIDNIGHT, MIDNIGHT + DAY), RELEASE_AND_ENVIRONMENT
    asked = {Cell(1, "a", "x"), Cell(2, "b", "y"), Cell(1, "c", "x")}
    of = Sessions([1, 2], named=[(p, r) for r in "abc" for p in (1, 2)])
    assert health_figures(own.lake, span, of.narrowed([level], asked), [level]).keys() == asked
    by_both = health_figures(own.lake, span, of.narrowed([level, RELEASE], asked), [RELEASE])
    assert by_both.keys() == {Cell(1, "a"), Cell(2, "b"), Cell(1, "c")}


def test_spans() -> None:
    now = datetime(2026, 11, 22, 12, 50, 3, tzinfo=UTC)
    assert last_days(14, now) == Span(datetime(2026, 11, 9, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC))
    since = span_since(now - timedelta(hours=2), now)
    assert since == Span(datetime(2026, 11, 22, 10, 45, tzinfo=UTC), datetime(2026, 11, 22, 13, tzinfo=UTC))
    day = Span(MIDNIGHT, MIDNIGHT + DAY)
    assert not day.is_final(MIDNIGHT + 6 * DAY - timedelta(seconds=1))
    assert day.is_final(MIDNIGHT + 6 * DAY)
    assert not Span(MIDNIGHT, MIDNIGHT + DAY + SLOT).is_final(MIDNIGHT + 6 * DAY)


# ── the same by another way


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Home]) -> Iterator[Stores]:
    with open_stores(new_home(tmp_path_factory.mktemp("figures"))) as stores:
        yield stores


def counted(
    seen: Sequence[Seen], span: Span, levels: Sequence[Level], every: timedelta | None
) -> dict[Cell, list[Seen]]:
    """The sessions of each cell."""
    found: defaultdict[Cell, list[Seen]] = defaultdict(list)
    for session in seen:
        if not span.since <= session.started < span.until:
            continue
        told = {"project_id": session.project, "release": session.release, "environment": session.environment}
        interval = None if every is None else (session.started - span.since) // every
        for level in levels:
            for part in {None, interval}:
                found[Cell(**{name: told[name] for name in level}, interval=part)].append(session)  # type: ignore[arg-type]
    return found


def assert_agrees(figures: Figures, seen: Sequence[Seen]) -> None:
    assert figures.sessions == tuple(sum(s.sessions for s in seen if s.state == state) for state in STATES)
    worst: dict[tuple[int, int], int] = {}
    for s in seen:
        if s.user is not None:
            worst[s.project, s.user] = max(worst.get((s.project, s.user), 0), STATES.index(s.state))
    assert figures.users == tuple(list(worst.values()).count(rank) for rank in range(len(STATES)))
    lasted = sorted(s.seconds for s in seen if s.seconds is not None for _ in range(s.sessions))
    assert (figures.durations is None) == (not lasted)
    if figures.durations is not None:
        assert figures.durations.count == len(lasted)
        assert figures.durations.mean == pytest.approx(sum(lasted) / len(lasted))
        assert figures.durations.max == lasted[-1]
        for percent in PERCENTS:
            exact = lasted[math.ceil(percent * len(lasted) / 100) - 1]
            assert figures.durations.percentiles[percent] == pytest.approx(exact, rel=0.0101, abs=0.001)


sessions = st.builds(
    Seen,
    started=st.integers(0, 3 * 96 - 1).map(lambda n: MIDNIGHT + n * SLOT),
    release=st.sampled_from("ab"),
    environment=st.sampled_from(["production", ""]),
    project=st.integers(1, 2),
    state=st.sampled_from(STATES),
    user=st.none() | st.integers(-(2**63), -(2**63) + 3),
    seconds=st.none() | st.sampled_from([0.0, 0.001, 0.5, 9.99, 86400.0]),
    sessions=st.sampled_from([1, 2, 7]),
)
levels = st.lists(
    st.sets(st.sampled_from(COLUMNS)).map(lambda found: tuple(sorted(found))),
    min_size=1,
    max_size=3,
    unique=True,
)
spans = st.one_of(
    st.tuples(st.integers(0, 2), st.integers(1, 3)).map(
        lambda days: Span(MIDNIGHT + days[0] * DAY, MIDNIGHT + (days[0] + days[1]) * DAY)
    ),
    st.tuples(st.integers(0, 200), st.integers(1, 150)).map(
        lambda slots: Span(MIDNIGHT + slots[0] * SLOT, MIDNIGHT + (slots[0] + slots[1]) * SLOT)
    ),
)


@settings(max_examples=40)
@given(st.lists(sessions, max_size=25), spans, levels, st.sampled_from([None, SLOT, HOUR, 6 * HOUR, DAY]))
def test_figures_are_those_of_the_sessions(
    one: Stores, seen: list[Seen], span: Span, levels: list[Level], every: timedelta | None
) -> None:
    for n in range(3):
        day = (MIDNIGHT + n * DAY).date()
        write_day(one.state, one.lake, day, [s for s in seen if s.started.date() == day])
    found = health_figures(one.lake, span, Sessions([1, 2]), levels, every=every)
    expected = counted(seen, span, levels, every)
    assert found.keys() == expected.keys()
    for cell, figures in found.items():
        assert_agrees(figures, expected[cell])
        assert figures.all_users <= figures.all_sessions


def test_what_is_asked_for_narrows(own: Stores) -> None:
    write_health(
        own.state,
        own.lake,
        [Seen(MIDNIGHT, release, place, project, user=project) for release in "ab" for place in ("x", "") for project in (1, 2)],
    )  # fmt: skip

    def asked(**narrowed: Any) -> set[tuple[Any, ...]]:
        of = Sessions(**{"project_ids": [1, 2], **narrowed})
        found = health_figures(own.lake, Span(MIDNIGHT, MIDNIGHT + DAY), of, [RELEASE_AND_ENVIRONMENT])
        assert all(figures.all_users == figures.all_sessions == 1 for figures in found.values())
        return {cell[:3] for cell in found}

    assert len(asked()) == 8
    assert {cell[0] for cell in asked(project_ids=[2])} == {2}
    assert asked(named=[(1, "a"), (2, "nope")], environments=["x"]) == {(1, "a", "x")}
    assert asked(versions=["b"], environments=[""]) == {(1, "b", ""), (2, "b", "")}
    assert asked(project_ids=[]) == asked(named=[]) == set()
