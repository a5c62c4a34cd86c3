"""Lists of groups: both compilers find what a plain walk over groups and events finds, and pages have no gaps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from tasks_pipeline.groups.merging import discard_groups, merge_groups
from tasks_pipeline.groups.regrouping import finish_regroupings
from tasks_pipeline.reading.asked import Asked
from tasks_pipeline.reading.cursors import CursorError, parse_cursor
from tasks_pipeline.reading.events_where import events_where, needs_events, of_event, of_listed_event
from tasks_pipeline.reading.filtered import Period
from tasks_pipeline.reading.group_list import GroupQuery, list_groups, matching_groups, status_counts
from tasks_pipeline.reading.parse import QueryError, parse_query
from tasks_pipeline.reading.tree import All, Filter, Node, Some, Words, positive
from tasks_pipeline.storage.state.tables import group_texts, group_values, groups
from tests.support.day import Day
from tests.support.events import event
from tests.support.walk import Around, event_holds, group_holds, holds

TITLES = ("KeyError", "ValueError: 50% of A_B", "Timeout")
RELEASES = (None, "shop@1.0", "shop@1.10", "shop@1.2", "other")


class World:
    """A small lake of one project, and all of it in memory."""

    def __init__(
        self,
        day: Day,
        asked: Asked,
        groups: dict[int, dict[str, Any]],
        events: list[dict[str, Any]],
        around: Around,
    ) -> None:
        self.day, self.asked, self.groups, self.events, self.around = day, asked, groups, events, around

    def __repr__(self) -> str:
        return "a small lake"

    @property
    def period(self) -> Period:
        return Period(self.day.at(-86_400), self.asked.now)

    def of_group(self, leaf: Filter | Words, group_id: int) -> bool:
        return group_holds(self.groups[group_id], self.around)(leaf)

    def events_that(self, tree: Node, own: Callable[[Filter | Words], bool]) -> list[dict[str, Any]]:
        """Events that a tree holds for, one by one."""

        def is_one(row: dict[str, Any]) -> bool:
            def of_group(leaf: Filter | Words) -> bool:
                return self.of_group(leaf, row["group_id"])

            return holds(tree, event_holds(row, own, of_group, self.around))

        return [row for row in self.events if is_one(row)]


def fill(day: Day) -> None:
    """Events of some groups: each value is there, is missing, and is something else."""
    for n in range(24):
        user = ({"id": str(n % 4)}, {"email": "a@example.org"}, {})[n % 3]
        day.send(
            event(
                TITLES[n % 3],
                fingerprint=[str(n % 6)],
                level=("error", "fatal", "warning")[n % 3],
                release=RELEASES[n % 5],
                environment=(None, "production", "staging")[n // 2 % 3],
                user=user,
                tags={"browser": f"Firefox {n % 2}"} if n % 4 else {"empty": "x"},
                transaction=f"/checkout/{n % 2}",
                logger=(None, "shop")[n % 2],
                timestamp=day.at(60 * n - 1800).timestamp(),
            )
        )
    day.drain()


@pytest.fixture(scope="module")
def world(stores: Any) -> World:
    day = Day(stores, date(2021, 3, 1), 77)
    fill(day)
    state = stores.state
    ids = sorted(g["id"] for g in day.groups())
    with state.write() as connection:
        connection.execute(update(groups).where(groups.c.id == ids[0]).values(status="resolved"))
        connection.execute(
            update(groups).where(groups.c.id == ids[1]).values(status="ignored", assignee="team:a")
        )
    slugs = {77: "shop"}
    asked = Asked(state, day.at(3600), slugs, frozenset({77}), ("me@acme.example",))
    with state.read() as connection:
        seen: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for row in connection.execute(select(group_values)):
            seen[row.group_id][row.kind].append(row.value)
        texts = {r.group_id: (r.said, r.stack) for r in connection.execute(select(group_texts))}
    known = {
        g["id"]: {**g, "project": "shop", "seen": seen[g["id"]], "texts": texts[g["id"]]}
        for g in day.groups()
    }
    for group in known.values():
        group["short_id"] = group["short_id"].replace("77-", "SHOP-")
    return World(day, asked, known, day.rows("events"), Around(asked.now, {77: "shop@1.10"}, slugs))


_words = st.sampled_from(["error", "timeout", "50%", "a_b", "%", "_", "\\", "Key", "nothing"]).map(
    lambda t: (t,)
)
_of = {
    "is": st.sampled_from(["unresolved", "resolved", "ignored", "assigned", "unassigned"]),
    "level": st.sampled_from(["error", "fatal"]),
    "assigned": st.sampled_from(["nobody", "team:a", "x@example.org"]),
    "timesSeen": st.sampled_from(["4", "3"]), "users": st.sampled_from(["0", "2"]),
    "firstSeen": st.sampled_from(["2021-03-01", "2021-03-01T12:00:00", "-30m", "+1h"]),
    "lastSeen": st.sampled_from(["2021-03-02", "-55m"]),
    "firstRelease": st.sampled_from(["shop@1.0", "latest", ""]),
    "issue": st.sampled_from(["shop-1", "SHOP-2", "X-1", "999999"]), "project": st.sampled_from(["shop", "77", "x"]),
    "release": st.sampled_from(["shop@1.2", "latest", "other", ""]),
    "environment": st.sampled_from(["production", "Production", ""]),
    "user": st.sampled_from(["1", "id:1", "a@example.org"]), "stack": st.sampled_from(["shop", "PAY", "e_r"]),
}  # fmt: skip
_of_events = {
    "browser": st.sampled_from(["Firefox 1", ""]), "tags[empty]": st.just("x"), "error.type": st.sampled_from(["KeyError", ""]),
    "transaction": st.just("/checkout/1"), "logger": st.sampled_from(["shop", ""]),
    "has": st.sampled_from(["browser", "release", "user", "logger"]), "handled": st.just("true"),
    "timestamp": st.sampled_from(["2021-03-01", "-40m"]), "message": st.just("timeout"), "user.id": st.just("1"),
}  # fmt: skip
_patterned: dict[str, list[tuple[str, ...]]] = {
    "title": [("", "error", ""), ("Key", ""), ("a_b",), ("", "A_B", "")], "culprit": [("",), ("", "")],
    "release": [("shop@1.", ""), ("", "")], "environment": [("PROD", ""), ("", "ag", "")], "browser": [("fire", " 1")],
    "user": [("id:", "")], "error.value": [("", "")],
}  # fmt: skip


@st.composite
def _leaf(draw: st.DrawFn, *, events: bool) -> Filter | Words:
    negated = draw(st.booleans())
    kind = draw(st.sampled_from(["exact", "exact", "pattern", "words", "compared"]))
    if kind == "words":
        return Words(draw(_words), negated)
    if kind == "compared":
        key = draw(st.sampled_from(["timesSeen", "release", "firstSeen"]))
        value = {"timesSeen": "4", "release": "shop@1.2", "firstSeen": "2021-03-01T12:00:00"}[key]
        return Filter(key, ((value,),), draw(st.sampled_from(["<", "<=", ">", ">="])), negated)
    if kind == "pattern":
        usable = [k for k in _patterned if events or k not in ("browser", "error.value")]
        key = draw(st.sampled_from(usable))
        return Filter(key, (draw(st.sampled_from(_patterned[key])),), "", negated)
    of = {**_of, **_of_events} if events else _of
    key = draw(st.sampled_from(sorted(of)))
    values = draw(st.lists(of[key], min_size=1, max_size=2))
    return Filter(key, tuple((v,) for v in values), "", negated)


def _trees(*, events: bool) -> st.SearchStrategy[Node]:
    return st.recursive(
        _leaf(events=events),
        lambda inner: (
            st.builds(lambda t: All(tuple(t)), st.lists(inner, min_size=2, max_size=3))
            | st.builds(lambda t: Some(tuple(t)), st.lists(inner, min_size=2, max_size=3))
        ),
        max_leaves=5,
    )


_settings = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_settings
@given(_trees(events=False))
def test_the_state_database_finds_what_a_walk_over_groups_finds(world: World, tree: Node) -> None:
    right = {i for i, g in world.groups.items() if holds(tree, group_holds(g, world.around))}
    page = list_groups(world.asked, None, GroupQuery(tree))
    assert {g["id"] for g in page.groups} == right
    assert matching_groups(world.asked, None, tree) == sorted(right)


@_settings
@given(_trees(events=True))
def test_the_lake_finds_what_a_walk_over_events_finds(world: World, tree: Node) -> None:
    """In lists of groups, where level and title are those of the group, and of events, where they are those of each."""
    for own in (of_event, of_listed_event):
        with world.asked.state.read() as connection:
            where = events_where(
                connection,
                world.asked,
                tree,
                own,
                lambda leaf: [i for i in world.groups if world.of_group(positive(leaf), i)],
            )
        rows = world.day.stores.lake.query(
            f"SELECT event_id FROM lake.events WHERE project_id = 77 AND {where.text}", where.parameters
        )
        right = {row["event_id"] for row in world.events_that(tree, own)}
        assert {row["event_id"] for row in rows} == right


@_settings
@given(_trees(events=True))
def test_groups_are_found_and_counted_by_their_events(world: World, tree: Node) -> None:
    counted: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in world.events_that(tree, of_event):
        counted[row["group_id"]].append(row)
    wanted = GroupQuery(tree, "events", period=world.period)
    if not needs_events(tree):
        return
    page = list_groups(world.asked, world.day.stores.lake, wanted)
    found = {i: (c.times_seen, c.first_seen, c.last_seen) for i, c in page.of_filter.items()}
    right = {
        i: (len(rows), min(r["timestamp"] for r in rows), max(r["timestamp"] for r in rows))
        for i, rows in counted.items()
    }
    assert found == right
    sizes = [page.of_filter[g["id"]].times_seen for g in page.groups]
    assert sizes == sorted(sizes, reverse=True)


def query(text: str, world: World, **more: Any) -> GroupQuery:
    return GroupQuery(parse_query(text), **more)


def test_a_filter_counts_and_the_totals_stand_beside(world: World) -> None:
    lake = world.day.stores.lake
    page = list_groups(world.asked, lake, query("environment:production", world, period=world.period))
    assert page.groups
    for group in page.groups:
        of_filter = page.of_filter[group["id"]]
        assert 0 < of_filter.times_seen <= group["times_seen"] == 4
    # Without a period it is what a group was ever seen with, and no events are asked.
    plain = list_groups(world.asked, None, query("environment:production", world))
    assert {g["id"] for g in plain.groups} == {g["id"] for g in page.groups}
    with pytest.raises(QueryError, match="period"):
        list_groups(world.asked, lake, query("browser:x", world))


def test_counts_by_status_pass_over_what_the_query_says_of_it(world: World) -> None:
    tree = parse_query("is:resolved level:[error,fatal,warning]")
    assert status_counts(world.asked, None, tree) == {"resolved": 1, "ignored": 1, "unresolved": 4}
    events = parse_query("is:resolved browser:*")
    assert sum(status_counts(world.asked, world.day.stores.lake, events, world.period).values()) == 6


def test_projects_that_may_not_be_seen_are_not_found(world: World) -> None:
    """Whatever names them: their group's id, their number, or an event of theirs."""
    blind = replace(world.asked, projects=frozenset({1}))
    one = next(iter(world.groups))
    for text in ("", f"issue:{one}", "project:77", "is:[merged,discarded,unresolved]", "!title:x"):
        assert matching_groups(blind, None, parse_query(text)) == []
    found = list_groups(
        blind, world.day.stores.lake, query("browser:* OR !browser:*", world, period=world.period)
    )
    assert found.groups == []


def test_discarded_and_merged_groups_are_found_when_they_are_named(day: Day) -> None:
    day.send(event("A"), event("B"), event("C"), event("D"))
    day.drain()
    ids = {g["title"][0]: g["id"] for g in day.groups()}
    merge_groups(day.stores.state, ids["A"], [ids["B"]])
    discard_groups(day.stores.state, [ids["C"]])
    with day.stores.lake.lock():
        finish_regroupings(day.stores.state, day.stores.lake)
    asked = Asked(day.stores.state, day.at(60), {day.project: "x"}, {day.project})

    def found(text: str) -> set[str]:
        page = list_groups(asked, None, GroupQuery(parse_query(text)))
        named = {group_id: letter for letter, group_id in ids.items()}
        return {named[g["id"]] for g in page.groups}

    assert found("") == {"A", "D"}
    assert found("is:discarded") == {"C"}
    assert found("is:merged") == {"B"}
    assert found("is:unresolved OR is:discarded") == {"A", "C", "D"}


@contextmanager
def arriving(day: Day) -> Iterator[Callable[[], None]]:
    """New groups and new events of old ones, one batch each time it is called."""
    numbers = iter(range(100))

    def come() -> None:
        n = next(numbers)
        day.send(event(f"New {n}"), event("G3", timestamp=day.at(300 + n).timestamp()))
        day.drain()

    yield come


@pytest.mark.parametrize("sort", ["last_seen", "first_seen", "events", "users"])
def test_pages_have_no_gaps_while_rows_arrive(own_day: Day, sort: str) -> None:
    """What does not change stands on one page, once, forwards and backwards, ties included."""
    day = own_day
    day.send(*(event(f"G{n}", timestamp=day.at(n // 2).timestamp()) for n in range(11)))
    day.drain()
    asked = Asked(day.stores.state, day.at(3600), day.stores.slugs | {day.project: "shop"})
    still = {g["id"] for g in day.groups() if not g["title"].startswith("G3")}
    forwards: list[int] = []
    wanted = GroupQuery(sort=sort, limit=3)
    with arriving(day) as come:
        while True:
            page = list_groups(asked, None, wanted)
            forwards += [g["id"] for g in page.groups if g["id"] in still]
            if page.older is None:
                break
            come()
            wanted = replace(wanted, cursor=parse_cursor(str(page.older)))
    assert sorted(forwards) == sorted(still)
    backwards: list[int] = []
    while page.newer is not None:
        page = list_groups(asked, None, replace(wanted, cursor=parse_cursor(str(page.newer))))
        backwards = [g["id"] for g in page.groups if g["id"] in still] + backwards
    last = forwards[len(backwards) :]
    assert forwards == backwards + last
    assert len(last) <= 3


def test_what_is_no_cursor_is_told(own_day: Day) -> None:
    for text in ("", "x", "1", "1:", "1:x", "-", "1:" + "9" * 40, "0:0:0"):
        with pytest.raises(CursorError):
            parse_cursor(text)
    asked = Asked(own_day.stores.state, own_day.at(), {})
    with pytest.raises(CursorError):
        list_groups(asked, None, GroupQuery(cursor=parse_cursor("9" * 18 + ":1")))
