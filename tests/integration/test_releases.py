"""Releases in the state database: their order, the latest of them, on SQLite and Postgres."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from tasks_pipeline.home import Home
from tasks_pipeline.releases import pages
from tasks_pipeline.releases.environments import MOST_ENVIRONMENTS, known_environments
from tasks_pipeline.releases.known import (
    Heard,
    delete_release,
    latest_release,
    list_releases,
    note_releases,
    order_dates,
    save_release,
)
from tasks_pipeline.releases.versions import compare_versions, is_newer
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.passed_over import passed_over
from tasks_pipeline.storage.state.tables import release_environments, release_stages, releases
from tests.support.alerting import alerting
from tests.support.day import Day
from tests.support.events import event, item
from tests.support.plans import recorded, scans
from tests.support.release_cases import cases, release_names

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def state(any_home: Home) -> Iterator[StateDatabase]:
    state = StateDatabase(any_home)
    yield state
    state.close()


def hear(state: StateDatabase, versions: dict[str, datetime], project: int = 1) -> None:
    """Events of releases are received, at these times."""
    with state.write() as connection:
        note_releases(state, connection, project, {v: Heard(at, at, at) for v, at in versions.items()})


def latest(state: StateDatabase, *packages: str | None) -> str | None:
    with state.read() as connection:
        found = latest_release(connection, 1, packages or None)
    return found.version if found else None


@cases("ordering", "latest")
def test_the_latest(state: StateDatabase, case: dict[str, Any]) -> None:
    hear(state, {"elsewhere@999.0": NOON + 999_999 * HOUR}, project=2)
    for release in case["releases"]:
        hear(state, {release["version"]: datetime.fromisoformat(release["created_at"])})
        facts: dict[str, Any] = {}
        if "released_at" in release:
            facts["released_at"] = datetime.fromisoformat(release["released_at"])
        if release.get("archived"):
            facts["status"] = "archived"
        save_release(state, [1], release["version"], facts)
    assert latest(state) == case["latest"]


def test_the_latest_of_some_packages(state: StateDatabase) -> None:
    hear(state, {"shop@2.0": NOON, "web@3.0": NOON + HOUR, "1.0": NOON + 2 * HOUR, "c0ffee": NOON + 3 * HOUR})
    assert latest(state) == "c0ffee"
    assert latest(state, "shop", "web") == "web@3.0"
    assert latest(state, "shop", None) == "1.0"
    assert latest(state, None) == "1.0"
    assert latest(state, "other") is None


def test_why_it_is_the_latest(state: StateDatabase) -> None:
    hear(state, {"shop@2.0": NOON})
    with state.read() as connection:
        found = latest_release(connection, 1)
    assert found is not None
    assert found.reason == "the newest by date"
    hear(state, {"shop@1.9.1": NOON + HOUR})
    with state.read() as connection:
        found = latest_release(connection, 1)
    assert found is not None
    assert found.version == "shop@2.0"
    assert "shop@1.9.1 is the newest by date" in found.reason


def test_the_order_date(state: StateDatabase) -> None:
    """The date of release, else the receipt of the first event, in whatever order batches are stored."""

    def date() -> datetime:
        with state.read() as connection:
            return order_dates(connection, 1, ["f00", "never heard of"])["f00"]

    hear(state, {"f00": NOON})
    hear(state, {"f00": NOON - HOUR})
    hear(state, {"f00": NOON + HOUR})
    assert date() == NOON - HOUR
    save_release(state, [1], "f00", {"released_at": NOON + 5 * HOUR})
    hear(state, {"f00": NOON - 2 * HOUR})
    save_release(state, [1], "f00", {"url": "https://ci"})
    assert date() == NOON + 5 * HOUR


NAMES = st.dictionaries(
    release_names.map("app@{}".format) | st.sampled_from(["app@é", "app@Z", "app@a", "app@_"]),
    st.integers(0, 2).map(lambda n: NOON + n * HOUR),
    min_size=2,
    max_size=12,
)


@given(NAMES)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_database_sorts_as_the_parser_does(state: StateDatabase, dates: dict[str, datetime]) -> None:
    with state.write() as connection:
        connection.execute(delete(releases))
    hear(state, dates)
    c = releases.c
    with state.read() as connection:
        by_version = connection.execute(
            select(c.version)
            .where(c.version_key.is_not(None))
            .order_by(c.version_key, c.order_date, c.version)
        )
        versions = list(by_version.scalars())
        by_date = [row["version"] for row in list_releases(connection, [1], limit=99)]
        newest = latest_release(connection, 1)
    for older, newer in pairwise(versions):
        assert is_newer(newer, older, dates)
    assert by_date == sorted(dates, key=lambda version: (dates[version], version), reverse=True)
    assert newest is not None
    assert newest.newest == by_date[0]
    comparable = compare_versions(newest.newest, newest.newest) is not None
    assert newest.version == (versions[-1] if comparable else by_date[0])


# ── what clients send


def rows_of(day: Day) -> dict[str, Any]:
    with day.stores.state.read() as connection:
        query = select(releases).where(releases.c.project_id == day.project)
        return {row.version: row for row in connection.execute(query)}


def test_whatever_names_a_release_makes_it(day: Day) -> None:
    """`first_event_at` and `last_event_at` are of events alone."""
    started = day.at(-60).isoformat()
    times = {"start_timestamp": day.at(-2).timestamp(), "timestamp": day.at().timestamp()}
    trace = {"trace": {"trace_id": "a" * 32, "span_id": "b" * 16, "op": "http.server"}}
    day.spool(
        day.receipt(event("A", release="by@event"), seconds=1),
        day.receipt(
            item(
                "transaction", {"transaction": "/", "release": "by@transaction", **times, "contexts": trace}
            ),
            event_id=uuid.uuid4().hex,
            seconds=2,
        ),
        day.receipt(
            item("session", {"sid": "1" * 32, "started": started, "attrs": {"release": "by@session"}}),
            seconds=3,
        ),
        day.receipt(
            item(
                "sessions",
                {"aggregates": [{"started": started, "exited": 4}], "attrs": {"release": "by@bucket"}},
            ),
            seconds=4,
        ),
        day.receipt(
            item("check_in", {"monitor_slug": "m", "status": "ok", "release": "by@check-in"}), seconds=5
        ),
        day.receipt(
            item("feedback", {"release": "by@feedback", "contexts": {"feedback": {"message": "broken"}}}),
            event_id=uuid.uuid4().hex,
            seconds=6,
        ),
    )
    day.drain()
    found = rows_of(day)
    ways = "by@event by@transaction by@session by@bucket by@check-in by@feedback".split()
    assert {version: row.created_at for version, row in found.items()} == {
        version: day.at(n) for n, version in enumerate(ways, 1)
    }
    assert [version for version, row in found.items() if row.first_event_at or row.last_event_at] == [
        "by@event"
    ]
    session = {"sid": "2" * 32, "started": started, "attrs": {"release": "by@event"}}
    day.spool(
        day.receipt(item("session", session), seconds=7),
        day.receipt(event("A", release="by@session"), seconds=8),
    )
    day.drain()
    found = rows_of(day)
    assert found["by@event"].first_event_at == found["by@event"].last_event_at == day.at(1)
    assert found["by@session"].first_event_at == day.at(8)
    assert found["by@session"].created_at == day.at(3)


BAD = ["v" * 201, "a\nb", "a\x07b", "\u202e1.0", ".", "..", " "]
"""Names that are dropped from events, and refused with sessions, which are about nothing else."""


def test_bad_names_cost_their_neighbours_nothing(day: Day) -> None:
    named = [*BAD, "latest", "Latest", "@scope/shop@1.0", "a\\b", " shop@2.0 ", "v" * 200]
    started = day.at(-60).isoformat()
    sessions = [
        {"sid": f"{n:032x}", "started": started, "attrs": {"release": name}} for n, name in enumerate(named)
    ]
    day.spool(
        *(day.receipt(event("A", release=name), seconds=1) for name in named),
        *(day.receipt(item("session", session), seconds=2) for session in sessions),
    )
    counts = day.drain().counts
    taken = ["latest", "Latest", "@scope/shop@1.0", "a\\b", "shop@2.0", "v" * 200]
    assert (counts["stored"], counts["invalid"]) == (len(named) + len(taken), len(BAD))
    assert [row["release"] for row in day.rows("events")] == [None] * len(BAD) + taken
    assert [row["release"] for row in day.rows("sessions")] == taken
    assert sorted(rows_of(day)) == sorted(taken[2:])


def test_lists_of_hundreds_of_projects(state: StateDatabase) -> None:
    """Their ids are not said again for each project: PostgreSQL takes 65,535 parameters."""
    projects = range(1, 701)
    row = {"version": "shop@1.0.0", "version_key": "1", "created_at": NOON}
    rows = [{**row, "project_id": n, "order_date": NOON + n * HOUR} for n in projects]
    rows += [{**row, "project_id": n, "version": f"only@{n}", "order_date": NOON} for n in projects[-2:]]
    with state.write() as connection:
        connection.execute(insert(releases), rows)
    wanted = pages.Wanted(projects, "open")
    with recorded(state) as statements, state.read() as connection:
        by_date = pages.by_date(connection, wanted, None, 2)
        by_version = pages.by_version(connection, wanted, None, 99)
    assert [version for _, version in by_date] == ["shop@1.0.0", "only@700"]
    assert {version for _, version in by_version} == {"shop@1.0.0", "only@699", "only@700"}
    assert len(by_version) == 3
    assert max(len(parameters) for parameters in statements.values()) < 3000
    found = scans(state, statements)
    assert found == [], "\n\n".join(found)


# ── environments


def environments_of(day: Day) -> set[tuple[str, str]]:
    c = release_environments.c
    with day.stores.state.read() as connection:
        rows = connection.execute(select(c.version, c.environment).where(c.project_id == day.project))
        return {(row.version, row.environment) for row in rows}


def test_environments_of_a_release_are_noted(day: Day) -> None:
    """Of events, transactions and sessions, with and without; what a check-in says is where the job runs."""
    started = day.at(-60).isoformat()
    times = {"start_timestamp": day.at(-2).timestamp(), "timestamp": day.at().timestamp()}
    trace = {"trace": {"trace_id": "a" * 32, "span_id": "b" * 16, "op": "http.server"}}
    traced = {
        "transaction": "/",
        "release": "v1",
        "environment": "by-transaction",
        **times,
        "contexts": trace,
    }
    attributes = {"release": "v1", "environment": "by-session"}
    day.spool(
        day.receipt(event("A", release="v1", environment="by-event"), seconds=1),
        day.receipt(event("A", release="v1"), seconds=2),
        day.receipt(item("transaction", traced), event_id=uuid.uuid4().hex, seconds=3),
        day.receipt(item("session", {"sid": "1" * 32, "started": started, "attrs": attributes}), seconds=4),
        day.receipt(
            item("check_in", {"monitor_slug": "m", "status": "ok", "release": "v1", "environment": "cron"}),
            seconds=5,
        ),
        day.receipt(event("A", release="latest", environment="of-no-release"), seconds=6),
    )
    day.drain()
    found = {("v1", name) for name in ("", "by-event", "by-transaction", "by-session")}
    assert environments_of(day) == found
    day.spool(day.receipt(event("A", release="v1", environment="later"), seconds=7))
    day.drain()
    assert environments_of(day) == found | {("v1", "later")}
    with day.stores.state.read() as connection:
        c = release_environments.c
        mine = select(c.first_at).where(c.project_id == day.project, c.environment == "by-event")
        assert connection.execute(mine).scalar_one() == day.at(1)


def test_so_many_environments_of_a_release_are_noted(state: StateDatabase) -> None:
    def note(version: str, *names: str) -> None:
        with state.write() as connection:
            seen = {(version, name): NOON for name in names}
            note_releases(state, connection, 1, {version: Heard(NOON)}, environments=seen)

    note("v", *(f"e{n:03}" for n in range(MOST_ENVIRONMENTS - 1)))
    note("v", "f", "g", "h")
    note("v", "i", "e000")
    note("w", "i")
    with state.read() as connection:
        c = release_environments.c
        of_v = list(connection.execute(select(c.environment).where(c.version == "v")).scalars())
        of_w = list(connection.execute(select(c.environment).where(c.version == "w")).scalars())
    assert sorted(of_v) == [*(f"e{n:03}" for n in range(MOST_ENVIRONMENTS - 1)), "f"]
    assert of_w == ["i"]


def test_deleting_a_release_takes_its_environments_and_stages_in_that_project(state: StateDatabase) -> None:
    for project in (1, 2):
        with state.write() as connection:
            for version in ("v", "w"):
                seen = {(version, "production"): NOON}
                note_releases(state, connection, project, {version: Heard(NOON)}, environments=seen)
            stage = {"project_id": project, "environment": "production", "since": NOON, "stage": "adopted"}
            connection.execute(insert(release_stages), [{**stage, "version": v} for v in ("v", "w")])
    assert delete_release(state, [1], "v")
    with state.read() as connection:
        for table in (release_environments, release_stages):
            left = {(row.project_id, row.version) for row in connection.execute(select(table))}
            assert left == {(1, "w"), (2, "v"), (2, "w")}
    with state.write() as connection:
        note_releases(state, connection, 1, {"v": Heard(NOON)}, environments={("v", "production"): NOON})
        assert known_environments(connection, 1, {("v", "production")})


# ── how many a day


def test_names_that_are_received_make_so_many_releases_a_day(state: StateDatabase) -> None:
    def note(at: datetime, *names: str, project: int = 1) -> list[str]:
        with state.write() as connection:
            heard = {name: Heard(at + n * timedelta(seconds=1)) for n, name in enumerate(names)}
            seen = {(name, "production"): at for name in names}
            return note_releases(state, connection, project, heard, environments=seen, most_new=3)

    assert note(NOON, "c", "b") == []
    assert note(NOON, "z", "y", "x", "c") == ["x", "y"]
    assert note(NOON, "x", project=2) == []
    save_release(state, [1], "by@api", {})
    assert note(NOON, "by@api", "y") == ["y"]
    # Days are those of UTC: the next begins twelve hours after noon.
    assert note(NOON + 12 * HOUR - timedelta(seconds=1), "y") == ["y"]
    assert note(NOON + 12 * HOUR, "y") == []
    with state.read() as connection:
        known = order_dates(connection, 1, ["b", "c", "x", "y", "z", "by@api"])
        assert known.keys() == {"b", "c", "y", "z", "by@api"}
        assert known_environments(connection, 1, {("x", "production"), ("z", "production")}) == {
            ("z", "production")
        }


def test_too_many_names_stay_text_and_are_told(day: Day) -> None:
    few = alerting(day, "", "releases: {max_new_per_day: 2}")
    few.send(*(event("A", release=f"v{n}") for n in range(4)))
    few.drain()
    assert rows_of(few).keys() == {"v0", "v1"}
    assert {row["release"] for row in few.rows("events")} == {"v0", "v1", "v2", "v3"}
    with day.stores.state.read() as connection:
        told = {row["kind"]: row for row in passed_over(connection, datetime.now(UTC))}
    found = told["new releases above the limit"]
    assert found["count"] == 2
    assert f"release v3 of project {day.project}: TooManyReleases: its project has as many" in found["detail"]
    tomorrow = few.next()
    tomorrow.send(event("A", release="v3"))
    tomorrow.drain()
    assert rows_of(few).keys() == {"v0", "v1", "v3"}
