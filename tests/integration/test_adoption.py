"""Stages and adoption from rows of release health: right after any order of days, late updates and downtime, and cheap at rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from unittest.mock import patch

import dagster as dg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from tasks_pipeline.definitions import build_defs
from tasks_pipeline.home import DATABASE_VARIABLE
from tasks_pipeline.releases import adoption
from tasks_pipeline.releases.adoption import adoption_at, has_health, stages_due, tell_stages
from tasks_pipeline.releases.known import delete_release, save_release
from tasks_pipeline.releases.spans import begin_of
from tasks_pipeline.releases.stages import HOUR, WINDOW, Stage, current_stages
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.schedules import release_adoption_schedule
from tasks_pipeline.storage.state.tables import health_days, release_stages, releases, stage_days
from tasks_pipeline.stores import Stores
from tests.support.health_rows import Seen, hours_of, write_day, write_health
from tests.support.plans import recorded, scans
from tests.support.release_cases import cases

MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)
DAY = timedelta(days=1)
Rows = list[tuple[Any, ...]]
COUNTED = {name: 1 for name in ("changes", "computed") if name in health_days.c}


def stored(stores: Stores) -> Rows:
    with stores.state.read() as connection:
        return sorted(tuple(row) for row in connection.execute(select(release_stages)))


def stages(stores: Stores) -> list[Any]:
    with stores.state.read() as connection:
        return [*connection.execute(select(release_stages).order_by(release_stages.c.since))]


def stages_at(stores: Stores, at: datetime, environment: str) -> dict[str, str]:
    """By release, as somebody asks who reads the table."""
    c = release_stages.c
    query = select(c.version, c.stage).where(
        c.environment == environment, c.since <= at, c.until.is_(None) | (c.until > at)
    )
    with stores.state.read() as connection:
        return {row.version: row.stage for row in connection.execute(query)}


def tell(stores: Stores, now: datetime) -> adoption.StageReport:
    return tell_stages(stores.state, stores.lake, now)


def forget(stores: Stores) -> None:
    """Nothing was ever told."""
    with stores.state.write() as connection:
        for table in (release_stages, stage_days, health_days):
            connection.execute(delete(table))


@cases("adoption", "cases")
def test_cases(own: Stores, case: dict[str, Any]) -> None:
    write_health(own.state, own.lake, hours_of(case))
    moments = [datetime.fromisoformat(asked["at"]) for asked in case["stages"]]
    tell(own, max(moments) + timedelta(minutes=3))
    for asked, at in zip(case["stages"], moments, strict=True):
        assert stages_at(own, at, asked["environment"]) == asked["stages"], at
    for asked in case.get("share_24h", ()):
        found = adoption_at(own.lake, datetime.fromisoformat(asked["at"]), [1])
        for environment in (asked["environment"], None):
            shares = {v: one.of_sessions for (_, place, v), one in found.items() if place == environment}
            assert shares == pytest.approx(asked["adoption"])


def test_telling_again_changes_nothing_and_at_rest_nothing_is_asked_of_the_lake(own: Stores) -> None:
    write_health(own.state, own.lake, [Seen(MIDNIGHT, "a"), Seen(MIDNIGHT + 9 * HOUR, "b")])
    now = MIDNIGHT + 20 * DAY
    report = tell(own, now)
    assert (report.hours, report.days, report.gone) == (30, (MIDNIGHT.date(),), 0)
    assert report.stages() == {"adopted": 2, "replaced": 1}
    before = stored(own)
    with patch.object(type(own.lake), "query", side_effect=AssertionError("asked")):
        assert tell(own, now).hours == 0
        assert tell(own, now + 30 * DAY).hours == 0
    write_health(own.state, own.lake, [Seen(MIDNIGHT, "a"), Seen(MIDNIGHT + 9 * HOUR, "b")])
    again = tell(own, now)
    assert (again.hours, again.added, again.gone) == (30, [], 0)
    assert stored(own) == before


def test_hours_that_pass_are_told_without_anything_new(own: Stores) -> None:
    """The old release drops out of the window of six hours while nothing is computed."""
    write_health(own.state, own.lake, [Seen(MIDNIGHT, "a", sessions=99), Seen(MIDNIGHT + 4 * HOUR, "b")])
    tell(own, MIDNIGHT + 5 * HOUR)
    assert stages_at(own, MIDNIGHT + 5 * HOUR, "production") == {"a": "adopted", "b": "low_adoption"}
    report = tell(own, MIDNIGHT + 7 * HOUR + timedelta(minutes=3))
    assert (report.hours, report.days) == (2, ())
    assert stages_at(own, MIDNIGHT + 7 * HOUR, "production") == {"a": "replaced", "b": "adopted"}
    (row,) = [row for row in report.added if row.version == "b"]
    assert (row.since, row.adopted_at) == (MIDNIGHT + 7 * HOUR, MIDNIGHT + 7 * HOUR)


def test_a_late_update_is_told_from_its_day_on(own: Stores) -> None:
    """What came too late takes back a stage of then, and what followed from it; what was before stays."""
    days = [MIDNIGHT + n * DAY for n in range(4)]
    seen = {
        day.date(): [Seen(day + HOUR, "a", sessions=50), Seen(day + HOUR, "b", sessions=5)] for day in days
    }
    seen[days[1].date()] = [Seen(days[1] + HOUR, "b", sessions=50)]
    for day, rows in seen.items():
        write_day(own.state, own.lake, day, rows)
    now = days[3] + 12 * HOUR
    tell(own, now)
    assert stages_at(own, days[1] + 2 * HOUR, "production") == {"a": "replaced", "b": "adopted"}
    assert stages_at(own, days[2] + 2 * HOUR, "production") == {"a": "adopted", "b": "replaced"}
    first = stored(own)

    late = days[1].date()
    write_day(own.state, own.lake, late, [*seen[late], Seen(days[1] + HOUR, "a", sessions=950)])
    report = tell(own, now)
    assert report.days == (late,)
    assert report.gone == 4
    assert stages_at(own, now, "production") == {"a": "adopted", "b": "low_adoption"}
    assert [row for row in stored(own) if row[3] <= days[1]] == [
        (*row[:4], None, *row[5:]) for row in first if row[3] <= days[1]
    ]
    write_day(own.state, own.lake, late, seen[late])
    tell(own, now)
    assert stored(own) == first


def test_a_stretch_of_downtime_is_told_in_bounded_pieces(own: Stores) -> None:
    """And all of it becomes visible at once, as if every hour had been told in its time."""
    versions = "abcdefg"
    seen = [
        Seen(
            MIDNIGHT + n * 7 * HOUR,
            versions[n // 9 % 7],
            ("production", "staging")[n % 2],
            sessions=n % 5 + 1,
        )
        for n in range(60)
    ]
    write_health(own.state, own.lake, seen)
    end = MIDNIGHT + 19 * DAY
    spans: list[timedelta] = []
    real = adoption.windows_between

    def watched(lake: Any, first: datetime, until: datetime) -> Any:
        spans.append(until - first + WINDOW)
        assert stored(own) == []
        return real(lake, first, until)

    with patch.object(adoption, "windows_between", watched):
        at_once = tell(own, end)
    assert max(spans) == adoption.STRETCH
    assert len(spans) == 7
    whole = stored(own)
    assert at_once.stages()["replaced"] > 5
    forget(own)
    write_health(own.state, own.lake, seen)
    for n in range(1, 19 * 24 + 1, 11):
        tell(own, MIDNIGHT + n * HOUR)
    tell(own, end)
    assert stored(own) == whole


_seen = st.lists(
    st.builds(
        lambda hours, release, environment, sessions: Seen(
            MIDNIGHT + hours * HOUR, release, environment=environment, sessions=sessions
        ),
        st.integers(0, 71), st.sampled_from("abc"), st.sampled_from(["production", "staging", ""]),
        st.sampled_from([1, 9, 10, 91]),
    ),
    min_size=1, max_size=12,
)  # fmt: skip


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_seen, st.lists(st.tuples(st.integers(0, 2), st.integers(1, 80)), max_size=4))
def test_days_in_any_order_are_the_same_as_all_at_once(
    own: Stores, seen: list[Seen], steps: Sequence[tuple[int, int]]
) -> None:
    """A step computes one of three days, maybe half of it, and stages are told at some hour."""
    forget(own)
    days = [(MIDNIGHT + n * DAY).date() for n in range(3)]

    def of(day: date) -> list[Seen]:
        return [one for one in seen if one.started.date() == day]

    def compute(days: Iterable[date], part: int = 1) -> None:
        for day in days:
            write_day(own.state, own.lake, day, of(day)[::part])

    compute(days)
    end = MIDNIGHT + 4 * DAY
    tell(own, end)
    whole = stored(own)
    forget(own)
    for number, hours in steps:
        compute([days[number]], part=2)
        tell(own, MIDNIGHT + hours * HOUR)
    compute(days)
    tell(own, end)
    assert stored(own) == whole


def test_shares_of_sessions_and_users(own: Stores) -> None:
    """Of the 24 hours before; a user of two releases is one of all; what has no environment counts where all are asked for."""
    noon = MIDNIGHT + 12 * HOUR
    write_health(
        own.state,
        own.lake,
        [
            Seen(noon - DAY - HOUR, "a", user=9),  # too early, on the same day as the next
            Seen(noon - DAY, "a", user=1),
            Seen(noon - HOUR, "a", user=1),
            Seen(noon - HOUR, "b", user=1),
            Seen(noon - HOUR, "b", user=2),
            Seen(noon - HOUR, "b", environment="", user=3),
            Seen(noon - HOUR, "b", project=2, user=3),
            Seen(noon, "b", user=4),  # not over yet
        ],
    )
    found = adoption_at(own.lake, noon, [1])
    a, b, everywhere = found[1, "production", "a"], found[1, "production", "b"], found[1, None, "b"]
    assert (a.sessions, a.users, a.all_sessions, a.all_users) == (2, 1, 4, 2)
    assert (b.sessions, b.users, b.of_sessions, b.of_users) == (2, 2, 0.5, 1.0)
    assert (everywhere.sessions, everywhere.users, everywhere.all_sessions, everywhere.all_users) == (
        3,
        3,
        5,
        3,
    )
    assert {place for _, place, _ in found} == {"production", "", None}
    only = adoption_at(own.lake, noon, [1, 2], named=[(1, "a"), (2, "nope")], environment="production")
    assert only == {(1, "production", "a"): a}
    at_midnight = adoption_at(own.lake, MIDNIGHT + DAY, [1])
    assert at_midnight[1, None, "b"].users == 4


def test_current_stages(own: Stores) -> None:
    write_health(
        own.state,
        own.lake,
        [Seen(MIDNIGHT, "a"), Seen(MIDNIGHT, "a", environment="staging"), Seen(MIDNIGHT + 8 * HOUR, "b")],
    )
    tell(own, MIDNIGHT + DAY)
    with own.state.read() as connection:
        found = current_stages(connection, [(1, "a"), (1, "nope"), (2, "a")])
    assert {place: stage.stage for place, stage in found[1, "a"].items()} == {
        "production": "replaced",
        "staging": "adopted",
    }
    assert found[1, "a"]["production"] == Stage(
        1, "production", "a", MIDNIGHT + 9 * HOUR, "replaced", MIDNIGHT + HOUR
    )
    assert found.keys() == {(1, "a")}


def test_every_query_finds_its_rows_by_an_index(own: Stores) -> None:
    """Also those of a day that changes again, with history beside."""
    seen = [Seen(MIDNIGHT + n * HOUR, "ab"[n // 8 % 2], sessions=20) for n in range(48)]
    write_health(own.state, own.lake, seen)
    old = datetime(2025, 1, 1, tzinfo=UTC)
    history = [
        {"project_id": 1 + n % 7, "environment": f"e{n % 5000}", "version": f"v{n}", "since": old, "until": None if n % 3 else old + HOUR,
         "stage": "adopted" if n % 2 else "low_adoption", "adopted_at": old} for n in range(30_000)
    ]  # fmt: skip
    with own.state.write() as connection:
        connection.execute(insert(release_stages), history)
        known = {"created_at": old, "order_date": old, "processed_at": old}
        connection.execute(
            insert(releases),
            [{"project_id": row["project_id"], "version": row["version"], **known} for row in history[::5]],
        )
    days = [
        {"day": date(2020, 1, 1) + n * DAY, "changed_at": old, "computed_at": old} | COUNTED
        for n in range(2000)
    ]
    with own.state.write() as connection:
        connection.execute(insert(health_days), days)
    with recorded(own.state) as statements:
        tell(own, MIDNIGHT + DAY)
        write_health(own.state, own.lake, seen[::2])
        tell(own, MIDNIGHT + 3 * DAY)
        with own.state.read() as connection:
            current_stages(connection, [(1, "a")])
            stages_due(connection, MIDNIGHT + 3 * DAY)
            has_health(connection)
    assert len(statements) > 8
    found = scans(own.state, statements)
    assert found == [], "\n\n".join(found)


def test_what_is_no_release_counts_and_has_no_stage(own: Stores) -> None:
    """Invented names would be rows for ever; and a release that was deleted does not come back when its day is told again."""
    names = [f"invented {n}" for n in range(30)]
    seen = [Seen(MIDNIGHT, "a"), *(Seen(MIDNIGHT + HOUR, name, sessions=9) for name in names)]
    write_day(own.state, own.lake, MIDNIGHT.date(), seen, releases=False)
    save_release(own.state, [1], "a", {})
    save_release(own.state, [2], names[0], {})
    tell(own, MIDNIGHT + DAY)
    assert [(row.version, row.stage) for row in stages(own)] == [("a", "adopted"), ("a", "replaced")]
    write_day(own.state, own.lake, MIDNIGHT.date(), seen, releases=False)
    delete_release(own.state, [1], "a")
    tell(own, MIDNIGHT + DAY)
    assert stages(own) == []


def test_a_release_that_is_deleted_while_stages_are_told_gets_none(own: Stores) -> None:
    write_health(own.state, own.lake, [Seen(MIDNIGHT, "a"), Seen(MIDNIGHT + 9 * HOUR, "b")])
    tell(own, MIDNIGHT + DAY)
    write_health(own.state, own.lake, [Seen(MIDNIGHT, "b"), Seen(MIDNIGHT + 9 * HOUR, "a")])
    real = adoption.windows_between

    def deleted(*given: Any) -> Any:
        delete_release(own.state, [1], "a")
        return real(*given)

    with patch.object(adoption, "windows_between", deleted):
        added = tell(own, MIDNIGHT + DAY).added
    assert {stage.version for stage in added} == {"b"}
    assert {row.version for row in stages(own)} == {"b"}


def test_names_that_no_column_holds_are_passed_over(own: Stores) -> None:
    write_health(own.state, own.lake, [Seen(MIDNIGHT, "a" * 300), Seen(MIDNIGHT, "b", environment="e" * 99)])
    assert tell(own, MIDNIGHT + DAY).added == []


def test_of_a_place_those_with_the_most_sessions_are_looked_at(own: Stores) -> None:
    """Whatever names strangers invent; shares stay those of all, and who was adopted is replaced in any case."""
    names = [f"invented {n}" for n in range(40)]
    seen = [
        Seen(MIDNIGHT, "a", sessions=10),
        *(Seen(MIDNIGHT + HOUR, name, sessions=3) for name in names),  # a has 10 of 130
        *(Seen(MIDNIGHT + 2 * HOUR, name, sessions=2) for name in names),
    ]
    write_health(own.state, own.lake, seen)
    with patch.object(adoption, "MOST_RELEASES", 4):
        tell(own, MIDNIGHT + 2 * HOUR)
        assert stages_at(own, MIDNIGHT + 2 * HOUR, "production") == {
            "a": "replaced", **dict.fromkeys(["invented 0", "invented 1", "invented 10"], "low_adoption"),
        }  # fmt: skip
        tell(own, MIDNIGHT + DAY)
        by_hours = stored(own)
        forget(own)
        write_health(own.state, own.lake, seen)
        tell(own, MIDNIGHT + DAY)
        assert stored(own) == by_hours
    assert stages_at(own, MIDNIGHT + DAY, "production").items() >= {"a": "replaced"}.items()
    assert len(by_hours) == 6


def test_of_a_project_the_places_with_the_most_sessions_are_looked_at(own: Stores) -> None:
    """And of each of them those that may be adopted, before more of any other."""
    seen = [Seen(MIDNIGHT, f"r{n}", environment="busy", sessions=20 - n) for n in range(9)]
    seen += [Seen(MIDNIGHT, "r0", environment=f"e{n}", sessions=9 - n) for n in range(8)]
    write_health(own.state, own.lake, [*seen, Seen(MIDNIGHT, "other", environment="e7", project=2)])
    with patch.multiple(adoption, MOST_PLACES=3, MOST_KEYS=5):
        tell(own, MIDNIGHT + DAY)
    assert {row[:3] for row in stored(own)} == {
        (1, "busy", "r0"), (1, "e0", "r0"), (1, "e1", "r0"), (1, "busy", "r1"), (1, "busy", "r2"), (2, "e7", "other"),
    }  # fmt: skip


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_seen)
def test_a_bound_takes_nothing_from_those_that_are_adopted(own: Stores, seen: list[Seen]) -> None:
    """Only those that never had a tenth are missing."""
    found = []
    for most in (1000, 10):
        forget(own)
        more = [Seen(one.started, f"low {n}", one.environment) for one in seen for n in range(12)]
        write_health(own.state, own.lake, [*seen, *more])
        with patch.object(adoption, "MOST_RELEASES", most):
            tell(own, MIDNIGHT + 4 * DAY)
        found.append({row for row in stored(own) if row[6] is not None})
    assert found[0] == found[1]


def test_a_day_that_has_only_begun_waits(own: Stores) -> None:
    write_health(own.state, own.lake, [Seen(MIDNIGHT, "a")])
    with own.state.read() as connection:
        assert stages_due(connection, MIDNIGHT + timedelta(minutes=59)) is None
        due = stages_due(connection, MIDNIGHT + HOUR)
    assert due is not None
    assert (due.start, due.end) == (MIDNIGHT, MIDNIGHT + HOUR)
    assert begin_of(MIDNIGHT.date()) == MIDNIGHT


def test_what_stages_were_told_from_is_remembered_by_day(own: Stores) -> None:
    for n in range(3):
        write_health(own.state, own.lake, [Seen(MIDNIGHT + n * DAY, "a")])
        tell(own, MIDNIGHT + n * DAY + 12 * HOUR)
    tell(own, MIDNIGHT + 9 * DAY)
    with own.state.read() as connection:
        rows = connection.execute(select(stage_days).order_by(stage_days.c.day)).all()
    through = defaultdict[date, datetime](lambda: MIDNIGHT, {row.day: row.through for row in rows})
    assert [through[(MIDNIGHT + n * DAY).date()] - MIDNIGHT for n in range(3)] == [
        12 * HOUR, DAY + 12 * HOUR, 3 * DAY + 6 * HOUR,
    ]  # fmt: skip


# ── the edge


def test_the_schedule_starts_a_run_that_says_what_it_told(
    own: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And skips when nothing changed since."""
    monkeypatch.setenv(DATABASE_VARIABLE, own.home.database_url)
    stores = StoresResource(home=str(own.home.root))
    at = begin_of(datetime.now(UTC).date()) - 3 * DAY
    with dg.DagsterInstance.ephemeral() as instance:

        def tick() -> Any:
            with dg.build_schedule_context(instance=instance, resources={"stores": stores}) as context:
                return release_adoption_schedule(context)

        assert isinstance(tick(), dg.SkipReason)
        write_health(own.state, own.lake, [Seen(at, "a", sessions=50), Seen(at + 8 * HOUR, "b")])
        assert isinstance(tick(), dg.RunRequest)
        result = (
            build_defs({"stores": stores})
            .resolve_job_def("update_release_adoption")
            .execute_in_process(instance=instance)
        )
        assert result.success
        (made,) = result.asset_materializations_for_node("release_adoption")
        figures = {name: value.value for name, value in made.metadata.items()}
        assert [figures[name] for name in ("hours", "transitions", "taken_back")] == [30, 3, 0]
        assert (figures["now_adopted"], figures["now_replaced"]) == (2, 1)
        assert figures["changed_days"] == at.date().isoformat()
        skipped = tick()
        assert isinstance(skipped, dg.SkipReason)
        assert "no health was computed since" in str(skipped.skip_message)
