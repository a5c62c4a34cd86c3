"""Erasure: rows that are deleted on purpose go from every store, and what stays says that they went, and nothing of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from sqlalchemy import select

from tasks_pipeline.archive.opened import OpenedDay
from tasks_pipeline.erasure.certificate import certificates
from tasks_pipeline.erasure.finish import finish, finish_open
from tasks_pipeline.erasure.selection import Certified, Erased, Reason, Selection
from tasks_pipeline.processing import reprocess
from tasks_pipeline.processing.books import books_of_lake
from tasks_pipeline.processing.process_batch import RawGone
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.storage.state.erasures import Request, open_request, remember
from tasks_pipeline.storage.state.tables import erasures
from tasks_pipeline.stores import Stores
from tasks_pipeline.watch.probes import deletions
from tests.support.day import Day
from tests.support.events import event, item


@dataclass(frozen=True)
class Rows:
    """Rows that meet conditions."""

    rows: Mapping[str, str]
    kind: ClassVar[str] = "test"
    reason: ClassVar[Reason] = "privacy"
    projects: ClassVar[Collection[int] | None] = None
    is_whole: ClassVar[bool] = False

    @contextmanager
    def archived(self, stores: Stores, day: OpenedDay) -> Iterator[Mapping[str, str]]:
        yield self.rows

    @contextmanager
    def selected(self, stores: Stores) -> Iterator[Selection]:
        yield Selection(self.reason, self.rows)

    def forget(self, stores: Stores) -> list[Erased]:
        return []

    def begin(self, stores: Stores) -> None: ...

    def left(self, stores: Stores, request: Request) -> list[Erased]:
        return []

    def came_since(self, stores: Stores, left: Sequence[Erased], began: datetime) -> bool:
        return False

    def certified(self, stores: Stores, erased: Sequence[Erased], since: Sequence[Erased]) -> Certified:
        return Certified("rows", {}, {}, erased, {})

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Rows:
        return cls(data["rows"])


def erased(stores: Stores, rows: Mapping[str, str]) -> dict[str, int]:
    """What went, by where."""
    request = open_request(stores.state, "test", {"rows": dict(rows)}, "tester")
    return {each.where: each.rows for each in finish(stores, request, Rows.of).erased}


def asked(stores: Stores, problem: str) -> Request:
    """A deletion that is open."""
    return open_request(
        stores.state, "test", {"rows": {"events": f"starts_with(title, '{problem}')"}}, "tester"
    )


def test_one_that_fails_costs_itself_alone_and_is_told_until_it_is_done(
    alone: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores, kinds = alone.stores, {"test": Rows.of}
    alone.send(event("First"), event("Second"), event("Third"))
    alone.drain()
    first, second = asked(stores, "First"), asked(stores, "Second")

    def broken(self: Rows, _stores: Stores) -> list[Erased]:
        if "First" in self.rows["events"]:
            raise sqlite3.OperationalError("no such row: anna@acme.example")
        return []

    with monkeypatch.context() as patch:
        patch.setattr(Rows, "forget", broken)
        (done,) = finish_open(stores, kinds)
    assert (done.certificate["id"], [each["id"] for each in certificates(stores.home)]) == (
        second.id,
        [second.id],
    )
    now = datetime.now(UTC)
    assert deletions(stores, now).status == "ok"  # it has a night
    late = deletions(stores, now + timedelta(days=2))
    assert (late.status, late.value) == ("critical", 1)
    assert f"deletion {first.id} stays open: OperationalError" in late.detail
    assert "anna" not in late.detail

    assert [each.certificate["id"] for each in finish_open(stores, kinds)] == [first.id]
    assert deletions(stores, now + timedelta(days=2)).status == "ok"
    assert len(alone.ids()) == 1


def test_one_that_another_process_ended_meanwhile_says_nothing_again(alone: Day) -> None:
    stores = alone.stores
    alone.send(event("First"))
    alone.drain()
    request = asked(stores, "First")
    done = finish(stores, request, Rows.of)
    again = finish(stores, request, Rows.of)  # it had waited for the lock
    assert (again.erased, again.path, again.certificate) == (done.erased, done.path, done.certificate)
    remember(stores.state, request, found={"texts": ["anna@acme.example"]})
    with stores.state.read() as connection:
        assert [row.data for row in connection.execute(select(erasures))] == [None]


def test_what_is_deleted_while_its_day_is_processed_again_does_not_come_back(
    alone: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = alone.send(event("A"), event("A"))
    alone.drain()
    process, times = reprocess._process, iter((1, 2))

    def process_and_delete(*args: Any) -> Any:
        found = process(*args)
        if next(times) == 1:
            erased(alone.stores, {"events": f"event_id = '{mine}'"})
        return found

    monkeypatch.setattr(reprocess, "_process", process_and_delete)
    assert reprocess.reprocess_events(alone.stores, alone.date).events == 1
    assert alone.ids() == alone.ids("event_payloads") == [other]


def test_rows_go_with_all_that_follows_and_others_stay(own_day: Day) -> None:
    day = own_day
    mine, other = event("A", message="hello"), event("A", message="hello")
    mine["exception"]["values"][0]["value"] = "what she typed, xq-17"
    day.spool(
        day.receipt(other, item("attachment", b"same bytes", filename="other.txt")),
        day.receipt(mine, item("attachment", b"same bytes", filename="a.txt"), item("attachment", b"hers", filename="b.txt"), seconds=1),
    )  # fmt: skip
    day.drain()
    kept = {
        name: [r for r in day.rows(name) if r.get("event_id") != mine["event_id"]] for name in RECEIVED_TABLES
    }
    assert "xq-17" in day.group()["title"]
    hers = next(r["digest"] for r in day.rows("attachments") if r["name"] == "b.txt")

    where = erased(day.stores, {"events": f"event_id = '{mine['event_id']}'"})
    assert where == {
        "blobs": 1, "lake.attachments": 2, "lake.event_payloads": 1, "lake.events": 1, "spool": 1, "state.groups": 1,
    }  # fmt: skip
    assert {name: day.rows(name) for name in RECEIVED_TABLES} == kept
    assert not day.stores.blobs.exists(hers)
    assert ("xq-17" in day.group()["title"], day.group()["times_seen"]) == (False, 2)
    day.assert_balanced()
    assert "1 row of events was deleted for privacy on" in books_of_lake(day.stores, day.date).gone
    with pytest.raises(RawGone, match="deleted for privacy"):
        day.recompute()
    day.spool(day.receipt(mine, seconds=9))
    day.drain()
    assert day.ids() == [other["event_id"]]
    assert erased(day.stores, {"events": f"event_id = '{mine['event_id']}'"}) == {}
