"""Events of a group: pages without gaps, neighbours within a filter, days first, and a reader that many ask at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import duckdb
import pytest

from tasks_pipeline.reading import lake_reader
from tasks_pipeline.reading.asked import Asked
from tasks_pipeline.reading.cursors import CursorError
from tasks_pipeline.reading.events import (
    EventQuery,
    find_row,
    list_events,
    neighbours,
    parse_place,
    payload_of,
    recommended_event,
)
from tasks_pipeline.reading.filtered import Period
from tasks_pipeline.reading.group_list import GroupQuery, list_groups
from tasks_pipeline.reading.group_numbers import days_of, hours_of, values_of
from tasks_pipeline.reading.lake_reader import LakeBusy, LakeReader, LakeTooSlow
from tasks_pipeline.reading.parse import parse_query
from tasks_pipeline.reading.tags import tags_of
from tasks_pipeline.storage.lake.flush import flush
from tests.support.day import Day
from tests.support.events import event

FRAME = {"filename": "a.py", "function": "f", "lineno": 1, "in_app": True}


@pytest.fixture
def reader(own_day: Day) -> Iterator[LakeReader]:
    with closing(LakeReader(own_day.stores.home, own_day.stores.state)) as opened:
        yield opened


def asked_of(day: Day, at: float = 86_400) -> Asked:
    return Asked(day.stores.state, day.at(at), {day.project: "shop"}, {day.project})


def sent(day: Day, n: int, **fields: Any) -> list[str]:
    """Events of one group, a second apart but for some at once; gives their ids, oldest first."""
    ids = day.send(
        *(
            event("A", timestamp=day.at(k // 2).timestamp(), tags={"n": str(k % 3)}, **fields)
            for k in range(n)
        )
    )
    day.drain()
    return ids


def walk(
    get: Callable[[EventQuery], Any], wanted: EventQuery, between: Callable[[], None] = lambda: None
) -> list[str]:
    """Ids of all pages, one after the other, and that the way back shows the same."""
    pages = []
    while True:
        page = get(wanted)
        pages.append(page)
        if page.older is None:
            break
        between()
        wanted = replace(wanted, cursor=parse_place(str(page.older)))
    there = [row["event_id"] for page in pages for row in page.events]
    back = list(pages[-1].events)
    while page.newer is not None:
        page = get(replace(wanted, cursor=parse_place(str(page.newer))))
        back = [*page.events, *back]
    assert [row["event_id"] for row in back if row["event_id"] in set(there)] == there
    return there


def test_pages_of_events_have_no_gaps_while_rows_arrive(own_day: Day, reader: LakeReader) -> None:
    """Over the tail, files and days; the oldest first, too."""
    day, late = own_day, own_day.next()
    ids = sent(day, 7)
    flush(day.stores.state, day.stores.lake)
    ids += sent(late, 6)
    asked = asked_of(late)
    group = late.group()["id"]

    def get(wanted: EventQuery) -> Any:
        return list_events(asked, reader, wanted)

    wanted = EventQuery(group_id=group, limit=3)
    found = walk(get, wanted, lambda: ids.extend(sent(late, 1)))
    assert len(found) == len(set(found))
    assert set(found) >= set(ids[:13])
    everything = walk(get, EventQuery(limit=4))
    assert sorted(everything) == sorted(ids)
    upwards = walk(get, EventQuery(group_id=group, limit=4, oldest=True))
    assert upwards == everything[::-1]
    rows = get(EventQuery(limit=100)).events
    assert [(r["day"], r["timestamp"], r["event_id"]) for r in rows] == sorted(
        ((r["day"], r["timestamp"], r["event_id"]) for r in rows), reverse=True
    )
    with pytest.raises(CursorError):
        parse_place("2020-01-01:1")


def test_neighbours_keep_the_filter(own_day: Day, reader: LakeReader) -> None:
    sent(own_day, 9)
    asked = asked_of(own_day)
    wanted = EventQuery(group_id=own_day.group()["id"], tree=parse_query("n:1"))
    rows = list_events(asked, reader, wanted).events
    assert [row["tags"]["n"] for row in rows] == ["1"] * 3
    middle = neighbours(asked, reader, wanted, rows[1])
    assert (middle.newer, middle.older) == (rows[0], rows[2])
    assert neighbours(asked, reader, wanted, rows[0]).newer is None
    assert neighbours(asked, reader, wanted, rows[2]).older is None
    assert list_events(asked, reader, replace(wanted, oldest=True, limit=1)).events[0] == rows[2]
    none = Period(own_day.at(100), own_day.at(200))
    assert list_events(asked, reader, replace(wanted, period=none)).events == []


def test_an_event_is_found_by_its_id_in_the_tail_and_in_files(own_day: Day, reader: LakeReader) -> None:
    (first,) = sent(own_day, 1)
    asked = asked_of(own_day)
    for _ in range(2):
        row = find_row(asked, reader, first.upper())
        assert row is not None
        assert (row["event_id"], row["tags"]) == (first, {"n": "0"})
        payload = payload_of(asked, reader, row)
        assert payload is not None
        assert payload["event_id"] == first
        flush(own_day.stores.state, own_day.stores.lake)
    assert find_row(asked, reader, "0" * 32) is None
    assert find_row(asked, reader, "no id") is None
    assert find_row(replace(asked, projects={1}), reader, first) is None
    assert find_row(replace(asked, projects={1}), reader, first, own_day.project) is None


def test_the_event_to_look_at_first_shows_source_of_the_program(own_day: Day, reader: LakeReader) -> None:
    def with_frame(**frame: Any) -> dict[str, Any]:
        stack = {"frames": [FRAME | frame]}
        return event(
            "A", fingerprint=["x"], exception={"values": [{"type": "A", "value": "v", "stacktrace": stack}]}
        )

    plain, shown = with_frame(), with_frame(context_line="return 1")
    day = own_day
    for n, each in enumerate((plain, shown, with_frame())):
        day.send(each | {"timestamp": day.at(n).timestamp()})
    day.drain()
    wanted = EventQuery(group_id=day.group()["id"])
    found = recommended_event(asked_of(day), reader, wanted)
    assert found is not None
    assert found["event_id"] == shown["event_id"]
    # After two weeks it is the newest.
    newest = recommended_event(asked_of(day, 20 * 86_400), reader, wanted)
    assert newest == list_events(asked_of(day), reader, wanted).events[0]
    assert recommended_event(asked_of(day), reader, EventQuery(group_id=10**9)) is None


def test_tags_and_numbers_of_a_group(own_day: Day, reader: LakeReader) -> None:
    day = own_day
    sent(day, 9, environment="production", release="shop@1", user={"id": "7"})
    asked, group = asked_of(day, 60), day.group()["id"]
    found = tags_of(asked, reader, EventQuery(group_id=group))
    tags = {tag.key: [(v.value, v.count) for v in tag.values] for tag in found.tags}
    assert found.events == 9
    assert tags["n"] == [("0", 3), ("1", 3), ("2", 3)]
    assert tags["environment"] == [("production", 9)]
    assert hours_of(asked, [group])[group][-1] == (day.at(), 9)
    assert [n for _, n in hours_of(asked, [group])[group]] == [0] * 23 + [9]
    assert days_of(asked, [group])[group][-1] == (day.date, 9)
    assert values_of(asked, group, "release").most == [("shop@1", 9)]
    assert values_of(asked, group, "user", limit=1).count == 1


def test_many_may_ask_at_once_and_what_is_too_slow_ends(
    own_day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent(own_day, 3)
    state, home = own_day.stores.state, own_day.stores.home
    slow = "SELECT count(*) FROM range(100000000000) a WHERE sqrt(range) < -1"
    with (
        closing(LakeReader(home, state, seconds=0.05)) as quick,
        pytest.raises(LakeTooSlow, match="longer than"),
    ):
        quick.query(slow)
    monkeypatch.setattr(lake_reader, "WAIT_SECONDS", 0.05)
    with closing(LakeReader(home, state)) as reader:
        asked = asked_of(own_day)
        wanted = GroupQuery(parse_query("n:*"), period=Period(own_day.at(-60), own_day.at(60)))
        assert len(list_groups(asked, reader, wanted).groups) == 1
        counts: list[int] = []

        def ask() -> None:
            counts.append(reader.query("SELECT count(*) AS n FROM lake.events")[0]["n"])

        threads = [threading.Thread(target=ask) for _ in range(lake_reader.AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counts == [3] * lake_reader.AT_ONCE
        held = [reader._places.acquire() for _ in range(lake_reader.AT_ONCE)]
        with pytest.raises(LakeBusy, match="try again"):
            ask()
        reader._places.release(len(held))
        # It closes when nobody asks, and opens for whoever does.
        reader.rest(reader._asked_at + lake_reader.IDLE_SECONDS + 1)
        assert reader._connection is None
        sent(own_day, 1)
        ask()
        assert counts[-1] == 4


def test_a_file_that_is_gone_is_asked_for_once_more(own_day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maintenance merged it between snapshot and reading."""
    sent(own_day, 2)
    with closing(LakeReader(own_day.stores.home, own_day.stores.state)) as reader:
        failures = iter([True, False])
        once = LakeReader._once

        def failing(self: LakeReader, ask: Any) -> Any:
            if next(failures):
                raise duckdb.IOException("no such file")
            return once(self, ask)

        monkeypatch.setattr(LakeReader, "_once", failing)
        assert reader.query("SELECT count(*) AS n FROM lake.events") == [{"n": 2}]
