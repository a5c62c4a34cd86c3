"""Data frames of figures against a naive count of the same weeks: types, zones, exact users, percentiles, bounds, another process."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.truth import Truth, people
from benchmarks.weeks import ZONES, Plan, configuration
from tasks_pipeline.analytics import frames
from tasks_pipeline.analytics.frame_queries import Span
from tasks_pipeline.home import Home
from tasks_pipeline.releases.spans import SLOT
from tasks_pipeline.storage.lake.tables import STATISTICS_TABLES
from tasks_pipeline.stores import Stores, open_stores
from tests.support.week_rows import duration_ms, rows_of, write_figures

PLAN = Plan(a_day=40)
TRUTH = Truth(PLAN)
GROUPS = {
    place: number
    for number, place in enumerate(sorted({(move.project.id, move.problem) for move in TRUTH.moves}), 1)
}
WHOLE = PLAN.at(0), PLAN.end
DOCUMENT = (Path(__file__).parents[2] / "docs" / "frames.md").read_text("utf-8")
DOCUMENTED = {
    section.partition("\n")[0]: dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \| \S", section, re.MULTILINE))
    for section in DOCUMENT.split("\n### ")[1:]
}
"""By function: the columns of its frame and their types."""


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Home]) -> Iterator[Stores]:
    """Two weeks of figures."""
    home = new_home(tmp_path_factory.mktemp("weeks"))
    home.config_path.write_text(configuration(PLAN))
    with open_stores(home) as stores:
        write_figures(stores.lake, rows_of(TRUTH, GROUPS))
        yield stores


spans = st.tuples(st.integers(0, 14 * 96), st.integers(0, 14 * 96)).map(
    lambda ends: tuple(PLAN.at(0) + n * SLOT for n in sorted(ends))
)
scopes = st.sampled_from([None, ["shop"], [2], ["shop", "app"]])


def errors(start: datetime, end: datetime, projects: Any = None) -> list[Any]:
    chosen = {"shop", "app"} if projects is None else {{2: "app"}.get(p, p) for p in projects}
    return [one for one in TRUTH.of("event", "organisation", start, end) if one.project.slug in chosen]


@settings(max_examples=25)
@given(span=spans, projects=scopes)
def test_any_span_counts_as_the_items_do(
    weeks: Stores, span: tuple[datetime, datetime], projects: Any
) -> None:
    """Events and users of any slots, over borders of days and in the middle of one."""
    expected = errors(*span, projects)
    stats = frames.event_stats(weeks, *span, projects=projects)
    assert stats["events"].sum() == len(expected)
    total = frames.event_stats(weeks, *span, by=[], projects=projects)
    assert list(total["events"]) == [len(expected)]
    together = frames.event_users(weeks, *span, by=[], projects=projects)
    assert list(together["users"]) == [len(people(expected))]
    for row in frames.event_users(weeks, *span, by=["release"], projects=projects).itertuples():
        assert row.users == len(people(one for one in expected if one.release == row.release))
    groups = frames.group_totals(weeks, *span, projects=projects)
    of_groups = Counter(GROUPS[one.project.id, one.problem] for one in expected)
    assert dict(zip(groups["group_id"], groups["events"], strict=True)) == of_groups
    for row in groups.itertuples():
        of_group = [one for one in expected if GROUPS[one.project.id, one.problem] == row.group_id]
        assert row.users == len(people(of_group))
    slots = frames.group_stats(weeks, *span, projects=projects)
    assert slots["events"].sum() == len(expected)
    assert slots["slot"].between(*span, inclusive="left").all()


@pytest.mark.parametrize(("scope", "hours"), [("shop", 25), ("app", 24), ("organisation", 24)])
def test_local_days_of_each_zone(weeks: Stores, scope: str, hours: int) -> None:
    """Each local day holds what was received in it, also the one of 25 hours, also where midnight is at half past."""
    zone = ZONES[scope]
    start, end = TRUTH.bounds(scope, date(2026, 10, 19), 7)
    projects = None if scope == "organisation" else [scope]
    stats = frames.event_stats(weeks, start, end, by=["slot"], projects=projects)
    days = frames.full_axis(stats, start, end, "D", zone, values=["events"])
    expected = [
        len(errors(*TRUTH.bounds(scope, date(2026, 10, 19) + timedelta(days=n), 1), projects))
        for n in range(7)
    ]
    assert list(days["events"]) == expected
    assert [str(day)[:10] for day in days.index] == [f"2026-10-{day}" for day in range(19, 26)]
    assert str(days.index.tz) == zone
    by_hour = frames.full_axis(stats, start, end, "h", zone, values=["events"])
    assert len(by_hour) == 6 * 24 + hours
    assert by_hour["events"].sum() == sum(expected)
    assert (by_hour["events"] == 0).any(), "hours without an error are there"


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("America/Havana", "2026-03-08", 23),  # no midnight
        ("Atlantic/Azores", "2026-10-25", 25),  # two of them
        ("Asia/Kathmandu", "2026-10-25", 24),
    ],
)
def test_days_of_odd_length(zone: str, day: str, hours: float) -> None:
    """An event at the begin of each slot of three days: as many as the days have slots."""
    first = date.fromisoformat(day)
    ends = [
        datetime(d.year, d.month, d.day, tzinfo=ZoneInfo(zone))
        for d in (first - timedelta(days=1), first + timedelta(days=2))
    ]
    slots = pd.date_range(
        *(pd.Timestamp(end).tz_convert("UTC") for end in ends), freq="15min", inclusive="left"
    )
    frame = pd.DataFrame({"slot": slots, "events": 1})
    days = frames.full_axis(frame, *ends, "D", zone)
    assert list(days["events"] / 4) == [24, hours, 24]


def test_an_axis_for_each_project(weeks: Stores) -> None:
    stats = frames.event_stats(weeks, *WHOLE)
    days = frames.full_axis(stats, *WHOLE, "D", by=["project"], values=["events"])
    for slug in ("shop", "app"):
        expected = [len(errors(PLAN.at(n), PLAN.at(n + 1), [slug])) for n in range(14)]
        assert list(days["events", slug]) == expected
    hours = stats.pivot_table(
        index=stats["slot"].dt.day_of_week,
        columns=stats["slot"].dt.hour,
        values="events",
        aggfunc="sum",
        fill_value=0,
    )
    assert hours.to_numpy().sum() == len(errors(*WHOLE))
    with pytest.raises(ValueError, match="no column that adds up"):
        frames.full_axis(frames.group_moves(weeks, *WHOLE), *WHOLE, time="at")


def test_percentiles_are_right_within_a_percent(weeks: Stores) -> None:
    found = frames.durations(weeks, "transactions", *WHOLE, by=["project_id", "name"], percents=[50, 95, 100])
    sent = TRUTH.of("transaction", "organisation", *WHOLE)
    assert found["count"].sum() == len(sent)
    for row in found.itertuples():
        took = sorted(duration_ms(one) for one in sent if one.problem == row.name)
        assert row.count == len(took)
        for percent in (50, 95, 100):
            exact = took[math.ceil(percent * len(took) / 100) - 1]
            assert getattr(row, f"p{percent}_ms") == pytest.approx(exact, rel=0.0101)
    together = frames.durations(weeks, "transactions", *WHOLE)
    assert list(together["count"]) == [len(sent)]
    assert frames.durations(weeks, "transactions", PLAN.end, PLAN.at(20)).empty
    with pytest.raises(ValueError, match="allowed are 1 to 100"):
        frames.durations(weeks, "transactions", *WHOLE, percents=[0])


def test_moves_as_they_are(weeks: Stores) -> None:
    start, end = TRUTH.bounds("shop", date(2026, 10, 12), 7)
    moves = frames.group_moves(weeks, start, end, projects=["shop"])
    figures = TRUTH.figures("shop", start, end)
    counts = moves["move"].value_counts()
    assert (counts["created"], counts["resolve"]) == (figures["new_groups"], figures["resolved"])
    assert moves.loc[moves["move"] == "created", "action_id"].isna().all()
    assert moves["action_id"].dtype == "Int64"
    assert moves["status_from"].isna().sum() == counts["created"]


def test_columns_have_the_types_of_the_document(weeks: Stores, home: Home) -> None:
    """The same types with rows, without rows, and without any table filled."""
    with open_stores(home) as empty:
        for name, stores in (("full", weeks), ("empty", empty)):
            for function, expected in DOCUMENTED.items():
                frame = getattr(frames, function)(stores, *WHOLE)
                found = {column: str(type) for column, type in frame.dtypes.items()}
                assert found == expected, f"{function} of {name} stores"


def test_what_is_asked_wrongly_says_so(weeks: Stores) -> None:
    naive = datetime(2026, 10, 12)  # noqa: DTZ001 - that is the mistake
    with pytest.raises(ValueError, match="wanted is a datetime with a zone"):
        frames.event_stats(weeks, naive, PLAN.end)
    with pytest.raises(ValueError, match="between two slots"):
        frames.event_stats(weeks, PLAN.at(0), PLAN.end + timedelta(minutes=7))
    with pytest.raises(ValueError, match="before the start"):
        frames.event_stats(weeks, PLAN.end, PLAN.at(0))
    with pytest.raises(ValueError, match="no project is called 'shpo'; configured are app, shop"):
        frames.event_stats(weeks, *WHOLE, projects=["shpo"])
    with pytest.raises(ValueError, match="by: found 'title', allowed are slot, project_id"):
        frames.event_stats(weeks, *WHOLE, by=["slot", "title"])
    with pytest.raises(frames.TooManyRows, match="more than 10 rows"):
        frames.event_stats(weeks, *WHOLE, limit=10)
    assert frames.event_stats(weeks, PLAN.at(3), PLAN.at(3)).empty


def test_two_weeks_side_by_side(weeks: Stores) -> None:
    first, second = (TRUTH.bounds("shop", date(2026, 10, day), 7) for day in (12, 19))
    one, other = (frames.group_totals(weeks, *span, projects=["shop"]) for span in (second, first))
    both = frames.compare(one, other, by=["group_id"], values=["events"], hours=169, hours_before=168)
    rows = both.set_index("group_id").to_dict("index")
    new = rows[GROUPS[1, "CheckoutFailed"]]
    assert new["events_before"] == 0
    assert math.isnan(new["events_change"]), "there is no percentage of nothing"
    gone = rows[GROUPS[1, "SlowQuery"]]
    assert gone["events_change"] < 0
    steady = rows[GROUPS[1, "Timeout"]]
    expected = steady["events"] / 169 / (steady["events_before"] / 168) - 1
    assert steady["events_change"] == pytest.approx(expected)
    assert both["events_before"].sum() == len(errors(*first, ["shop"]))


@pytest.mark.parametrize(
    ("value", "hours", "before", "hours_before", "change"),
    [
        (150, 168, 100, 168, 0.5),
        (75, 168, 100, 168, -0.25),
        (7, 168, 0, 168, None),
        (0, 168, 0, 168, 0.0),
        (169, 169, 168, 168, 0.0),
        (672, 672, 744, 744, 0.0),
    ],
)
def test_changes(value: int, hours: int, before: int, hours_before: int, change: float | None) -> None:
    one, other = (pd.DataFrame({"key": [1], "events": [n]}) for n in (value, before))
    found = frames.compare(one, other, by=["key"], hours=hours, hours_before=hours_before)
    (got,) = found["events_change"]
    assert math.isnan(got) if change is None else got == change


def test_users_above_the_bound_are_not_told(home: Home) -> None:
    """A group of more users than its row holds has events, and no number of users rather than a wrong one."""
    day, at = date(2026, 10, 12), datetime(2026, 10, 12, tzinfo=UTC)
    rows = [
        {"day": day, "project_id": 1, "group_id": group, "events": 5, "user_count": count, "slots": [(3, 5)], "users": users}
        for group, count, users in ((1, 10_001, None), (2, 2, [(7, [3]), (8, [3, 4])]), (3, 0, []))
    ]  # fmt: skip
    with open_stores(home) as stores:
        write_figures(stores.lake, {"group_stats": rows})
        found = frames.group_totals(stores, at, at + timedelta(days=1)).set_index("group_id")["users"]
        assert found[1] is pd.NA
        assert (found[2], found[3]) == (2, 0)
        later = frames.group_totals(stores, at + 4 * SLOT, at + timedelta(days=1))
        assert later.empty


def test_a_home_beside_its_service(weeks: Stores) -> None:
    """Another process reads a home that this one has open: the same figures, and nothing but reading."""
    program = """
import sys
from datetime import datetime
from tasks_pipeline.analytics import frames
with frames.open_home(sys.argv[1]) as home:
    start, end = map(datetime.fromisoformat, sys.argv[2:])
    print(frames.event_stats(home, start, end)["events"].sum())
    print(frames.event_users(home, start, end, by=[])["users"].sum())
    print(home.sql("SELECT sum(events)::BIGINT AS n FROM lake.event_stats").n[0])
    print(frames.crash_free(home, start, end).empty)
    try:
        home.sql("DROP TABLE lake.event_stats")
    except Exception as error:
        print(type(error).__name__)
"""
    said = subprocess.run(
        [sys.executable, "-c", program, str(weeks.home.root), *(moment.isoformat() for moment in WHOLE)],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    events = len(errors(*WHOLE))
    assert said == [str(events), str(len(people(errors(*WHOLE)))), str(events), "True", "NotReadOnly"]


def test_a_home_on_postgres(postgres_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The databases are where the environment says, as for every command."""
    first = {name: rows[:50] for name, rows in rows_of(TRUTH, GROUPS).items()}
    with open_stores(postgres_home) as stores:
        write_figures(stores.lake, first)
    monkeypatch.setenv("TASKS_PIPELINE_DATABASE_URL", postgres_home.database_url)
    with frames.open_home(postgres_home.root) as home:
        stats = frames.event_stats(home, *WHOLE, by=["project_id"])
        assert stats["events"].sum() == sum(row["events"] for row in first["event_stats"])
        assert list(home.sql("SELECT count(*) AS n FROM state.groups")["n"]) == [0]


def test_no_home_is_made_by_looking(tmp_path: Any) -> None:
    with pytest.raises(FileNotFoundError, match="no home is in"):
        frames.open_home(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


@given(st.integers(0, 300), st.integers(0, 300))
def test_borders_of_spans(first: int, length: int) -> None:
    """What a span says in SQL of its border days is what its slots are."""
    start = PLAN.at(0) + first * SLOT
    span = Span.of(start, start + length * SLOT)
    slots = {PLAN.at(0) + n * SLOT for n in range(first, first + length)}
    counted = Counter(slot.date() for slot in slots)
    assert set(span.borders) == {day for day, n in counted.items() if n < 96}
    for day, (begin, end) in span.borders.items():
        assert end - begin == counted[day]


def test_every_table_of_figures_has_a_frame_and_a_section() -> None:
    assert set(STATISTICS_TABLES) <= set(DOCUMENTED)
    helpers = {"OpenHome", "TooManyRows", "compare", "durations", "full_axis", "open_home"}
    assert set(DOCUMENTED) == set(frames.__all__) - helpers
    assert all(f"`{name}" in DOCUMENT or f"{name}(" in DOCUMENT for name in helpers - {"OpenHome"})
