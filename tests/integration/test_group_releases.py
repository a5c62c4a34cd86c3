"""First and last release of groups: counted in any order, derived from the lake, caught up with; and the groups of a release."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from tasks_pipeline.cli import main
from tasks_pipeline.groups.counting import GroupCounts, count_events
from tasks_pipeline.groups.decisions import resolve_groups, unresolve_groups
from tasks_pipeline.groups.merging import discard_groups, merge_groups, unmerge_group
from tasks_pipeline.groups.of_release import new_group_counts, new_groups, regressed_groups, resolved_groups
from tasks_pipeline.groups.regrouping import finish_regroupings
from tasks_pipeline.home import DATABASE_VARIABLE, Home
from tasks_pipeline.processing import catch_up
from tasks_pipeline.processing.catch_up import CaughtUp, catch_up_releases
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import group_days, groups
from tasks_pipeline.stores import open_stores
from tests.support.day import Day, damage
from tests.support.events import event

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAYS = [NOON.date() + timedelta(days=n) for n in range(2)]
Counted = tuple[int, int, str | None]
"""When an event happened (seconds after NOON), on which of DAYS it was received, and its release."""


def releases_of(day: Day) -> dict[str, tuple[str | None, str | None]]:
    """First and last release by the type of the exception, of all groups of the project."""
    with day.stores.state.read() as connection:
        query = select(groups).where(groups.c.project_id == day.project)
        return {
            row.metadata["type"]: (row.first_release, row.last_release) for row in connection.execute(query)
        }


def send_at(day: Day, *sent: tuple[float, str | None], received: Day | None = None) -> None:
    """Events of the group A that happened so many seconds after noon, in one batch; `received` on another day."""
    received = received or day
    for seconds, release in sent:
        made = event("A", release=release, timestamp=day.at(seconds).isoformat())
        received.spool(received.receipt(made))
    received.drain()


# ── counting


def test_the_first_release_is_that_of_the_earliest_event_and_not_the_lowest_version(day: Day) -> None:
    send_at(day, (0, "shop@2.0"), (10, "shop@1.0"))
    assert releases_of(day) == {"A": ("shop@2.0", "shop@1.0")}
    send_at(day, (-50, "shop@3.0"))  # it comes late
    assert releases_of(day) == {"A": ("shop@3.0", "shop@1.0")}
    send_at(day, (-100, None), (100, None), received=day.next())
    assert releases_of(day) == {"A": (None, "shop@1.0")}
    for each in (day, day.next()):
        state = each.state()
        each.recompute()
        assert each.state() == state


@pytest.mark.parametrize("release", ["", "latest", "LATEST"])
def test_words_that_are_no_release(day: Day, release: str) -> None:
    send_at(day, (0, release), (1, "shop@1"), (2, release))
    assert releases_of(day) == {"A": (None, "shop@1")}
    state = day.state()
    day.recompute()
    assert day.state() == state


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def state(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StateDatabase]:
    """A state database of this module alone."""
    if request.param == "postgres":
        server = request.getfixturevalue("postgres_server")
        with server.home(tmp_path_factory.mktemp("home"), request.getfixturevalue("_new_database")) as home:
            opened = StateDatabase(home)
            yield opened
            opened.close()
        return
    opened = StateDatabase(request.getfixturevalue("new_home")(tmp_path_factory.mktemp("home")))
    yield opened
    opened.close()


_numbers = itertools.count(1)


def new_group(state: StateDatabase) -> int:
    number = next(_numbers)
    row = {
        "id": number, "project_id": 1, "short_id": number, "title": "t", "culprit": "", "level": "error", "platform": "python",
        "type": "error", "metadata": {}, "algorithm": "a", "created_at": NOON,
    }  # fmt: skip
    with state.write() as connection:
        connection.execute(insert(groups), [row])
    return number


def count(state: StateDatabase, group_id: int, batches: Sequence[Sequence[tuple[int, Counted]]]) -> list[Any]:
    """Count events, given with their position, batch by batch; gives the rows of the group and of its days without its id."""
    for batch in batches:
        for on, day in enumerate(DAYS):
            counts = GroupCounts()
            for position, (seconds, received, release) in batch:
                if received == on:
                    at = NOON + timedelta(seconds=seconds)
                    counts.add(at, ("r0", position, 0), [("release", release)], {})
            if counts.times_seen:
                with state.write() as connection:
                    count_events(state, connection, day, {group_id: counts})
    with state.read() as connection:
        names = "times_seen first_seen last_seen first_release last_release last_release_at".split()
        group = connection.execute(select(*(groups.c[n] for n in names)).where(groups.c.id == group_id)).one()
        columns = [c for c in group_days.columns if c.name != "group_id"]
        days = connection.execute(
            select(*columns).where(group_days.c.group_id == group_id).order_by(group_days.c.day)
        )
        return [tuple(group), *map(tuple, days)]


EVENTS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.sampled_from([None, "a@1", "a@2", "b"])),
    min_size=1,
    max_size=7,
)


@given(EVENTS, st.randoms(use_true_random=False), st.integers(1, 4))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_batches_leaves_no_trace(
    state: StateDatabase, events: list[Counted], random: Any, size: int
) -> None:
    """Events of one moment are decided by their places, whichever batch is counted first."""
    placed = list(enumerate(events, 1))
    batches = [placed[start : start + size] for start in range(0, len(placed), size)]
    random.shuffle(batches)
    found = count(state, new_group(state), batches)
    assert found == count(state, new_group(state), [placed])
    first = min(placed, key=lambda e: (e[1][0], e[1][1], e[0]))
    last = max((e for e in placed if e[1][2]), key=lambda e: (e[1][0], e[1][1], e[0]), default=None)
    assert found[0][3:5] == (first[1][2], last and last[1][2])


def test_events_of_one_moment_are_decided_by_place_live_and_recomputed(day: Day) -> None:
    one_by_one = day.configured(batch_envelopes=1)
    for release in ("shop@3", "shop@1", None, "shop@2"):
        one_by_one.spool(one_by_one.receipt(event("A", release=release, timestamp=day.at(5).isoformat())))
    one_by_one.drain()
    assert releases_of(day) == {"A": ("shop@3", "shop@2")}
    state = day.state()
    day.recompute()
    assert day.state() == state


def test_merged_groups_have_the_releases_of_all_together(day: Day) -> None:
    day.send(
        event("A", release="a@2", timestamp=day.at(10).isoformat()),
        event("B", release="a@1", timestamp=day.at(0).isoformat()),
        event("B", release="a@3", timestamp=day.at(20).isoformat()),
        event("A", timestamp=day.at(30).isoformat()),  # by which people know the group
    )
    day.drain()
    ids, before = {g["title"][0]: g["id"] for g in day.groups()}, day.state()
    merge_groups(day.stores.state, ids["A"], [ids["B"]])
    regroup(day)
    assert releases_of(day) == {"A": ("a@1", "a@3"), "B": (None, None)}
    unmerge_group(day.stores.state, ids["B"])
    regroup(day)
    assert day.state() == before
    discard_groups(day.stores.state, [ids["B"]])
    regroup(day)
    assert releases_of(day) == {"A": ("a@2", "a@2"), "B": (None, None)}


def regroup(day: Day) -> None:
    with day.stores.lake.lock():
        finish_regroupings(day.stores.state, day.stores.lake)


# ── days that were counted by an earlier version


def forget(day: Day) -> None:
    """As an earlier version left it."""
    state = day.stores.state
    nothing = dict.fromkeys(("first_release", "last_release", "last_release_at"))
    places = dict.fromkeys(("first_place", "last_release_place"))
    with state.write() as connection:
        connection.execute(update(group_days).values(**nothing, **places))
        connection.execute(update(groups).values(**nothing))


def test_what_was_counted_before_learns_its_releases(own_day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    day = own_day
    for n, each in enumerate((day, day.next())):
        each.send(*(event(f"K{letter}", release=f"a@{n}") for letter in "ABCDE"))
        each.drain()
    right = day.state()
    forget(day)
    monkeypatch.setattr(catch_up, "PIECE", 3)
    assert catch_up_releases(day.stores, pieces=2) == CaughtUp(5, 5)
    assert releases_of(day)["KA"] == ("a@0", "a@0")
    assert catch_up_releases(day.stores) == CaughtUp(5, 0)
    assert day.state() == right
    assert catch_up_releases(day.stores) == CaughtUp(0, 0)


def test_what_comes_before_it_was_caught_up_with_is_right_afterwards(own_day: Day) -> None:
    day = own_day
    send_at(day, (0, "a@1"), (10, "a@2"))
    forget(day)
    send_at(day, (-5, "a@0"), (5, None))
    send_at(day, (-5, "a@9"))
    assert catch_up_releases(day.stores).left == 0
    assert releases_of(day) == {"A": ("a@0", "a@2")}
    state = day.state()
    day.recompute()
    assert day.state() == state


def test_days_whose_events_are_gone_keep_what_was_counted(own_day: Day) -> None:
    day = own_day
    day.send(event("A", release="a@1"), event("B", release="a@1"))
    day.drain()
    forget(day)
    damage(day.stores, "DELETE FROM stored.events WHERE title LIKE 'A%'")
    assert catch_up_releases(day.stores) == CaughtUp(2, 0)
    assert [g["times_seen"] for g in day.groups()] == [1, 1]
    assert releases_of(day) == {"A": (None, None), "B": ("a@1", "a@1")}


# ── groups of a release


@pytest.fixture
def shipped(day: Day) -> Day:
    """Groups that are new in shop@1: A, B, C and D, of which C is merged into B and D is discarded; E in shop@2."""
    day.send(*(event(name, release="shop@1") for name in "ACBD"), event("E", release="shop@2"))
    day.drain()
    ids = {g["title"][0]: g["id"] for g in day.groups()}
    merge_groups(day.stores.state, ids["B"], [ids["C"]])
    discard_groups(day.stores.state, [ids["D"]])
    regroup(day)
    return day


def listed(found: Any) -> list[str]:
    assert found.count == len(found.groups)
    return [str(group["title"])[0] for group in found.groups]


def test_new_groups_are_those_whose_first_release_it_is(shipped: Day) -> None:
    state, project = shipped.stores.state, shipped.project
    with state.read() as connection:
        counts = new_group_counts(connection, [(project, f"shop@{n}") for n in (1, 2, 3)])
        assert counts == {(project, "shop@1"): 2, (project, "shop@2"): 1}
        assert listed(new_groups(connection, project, "shop", "shop@1")) == ["B", "A"]
        assert new_groups(connection, project + 1, "shop", "shop@1").count == 0
    send_at(shipped, (-9, "shop@0"))
    with state.read() as connection:
        assert listed(new_groups(connection, project, "shop", "shop@1")) == ["B"]


def test_resolved_and_regressed_groups(shipped: Day) -> None:
    state, project = shipped.stores.state, shipped.project
    ids = {g["title"][0]: g["id"] for g in shipped.groups()}
    resolve_groups(state, [ids["A"], ids["B"], ids["E"]], "ann", in_release="shop@2")
    unresolve_groups(state, [ids["E"]], "ann")
    resolve_groups(state, [ids["E"]], "ann")
    shipped.send(event("A", release="shop@2"), event("C", release="shop@3"), event("A", release="shop@2"))
    shipped.drain()
    with state.read() as connection:
        assert sorted(listed(resolved_groups(connection, project, "shop", "shop@2"))) == ["A", "B", "E"]
        assert listed(resolved_groups(connection, project, "shop", "shop@3")) == []
        assert listed(regressed_groups(connection, project, "shop", "shop@2")) == ["A"]
        (back,) = regressed_groups(connection, project, "shop", "shop@3").groups
        assert (back["short_id"], back["status"], back["times_seen"]) == ("SHOP-3", "regressed", 3)
        assert back["at"] > back["last_seen"]


def test_releases_show_tells_of_their_groups(any_home: Home) -> None:
    with open_stores(any_home) as stores:
        day = Day(stores, datetime.now(UTC).date() - timedelta(days=1), 1)
        day.send(*(event(f"Kind{letter}", release="shop@1.0") for letter in "ABCDEFG"))
        day.drain()
        first = day.groups()[0]
        resolve_groups(stores.state, [first["id"]], "ann", in_release="shop@1.1")
        day.send(event("KindA", release="shop@1.1"))
        day.drain()

    def call(*words: str) -> str:
        runner = CliRunner(env={DATABASE_VARIABLE: any_home.database_url})
        result = runner.invoke(main, ["--home", str(any_home.root), "releases", *words])
        assert result.exit_code == 0, result.output
        return result.stdout

    rows = {row["version"]: row for row in json.loads(call("list", "--json"))}
    assert {version: row["new_groups"] for version, row in rows.items()} == {"shop@1.0": 7, "shop@1.1": 0}
    old = json.loads(call("show", "shop@1.0", "--json"))
    assert (old["new_groups"], len(old["groups_new"]), old["groups_regressed"]) == (7, 7, [])
    new = json.loads(call("show", "shop@1.1", "--json"))
    assert (new["new_groups"], new["resolved_groups"], new["regressed_groups"]) == (0, 1, 1)
    assert [g["short_id"] for g in new["groups_resolved"]] == [first["short_id"].upper()] == ["SHOP-1"]
    (back,) = new["groups_regressed"]
    assert (back["title"], back["status"]) == ("KindA: it went wrong", "regressed")
    text = call("show", "shop@1.0")
    assert "7 new groups, the newest 5" in text
    assert "1 regressed group" in call("show", "shop@1.1")
