"""Erasure: rows that are deleted on purpose go from every store, and what stays says that they went, and nothing of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sqlalchemy import select

from tasks_pipeline.analytics.statistics import compute
from tasks_pipeline.archive.opened import OpenedDay
from tasks_pipeline.deletion.found_again import found_again
from tasks_pipeline.deletion.groups import choose_groups, forget_keys
from tasks_pipeline.deletion.run import delete
from tasks_pipeline.erasure.certificate import certificates
from tasks_pipeline.erasure.finish import finish, finish_open
from tasks_pipeline.erasure.selection import Certified, Erased, Reason, Selection
from tasks_pipeline.privacy.delete import delete_person
from tasks_pipeline.privacy.identity import Identity
from tasks_pipeline.privacy.person import Person
from tasks_pipeline.processing import recompute, reprocess
from tasks_pipeline.processing.books import books_of_lake
from tasks_pipeline.processing.process_batch import RawGone
from tasks_pipeline.releases.health import SessionsGone, compute_health
from tasks_pipeline.storage.lake.files import DayFiles
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.storage.state.erasures import Request, open_request, remember
from tasks_pipeline.storage.state.tables import erasures
from tasks_pipeline.stores import Stores
from tasks_pipeline.watch.probes import deletions
from tests.support.day import Day, damage
from tests.support.events import event, item
from tests.support.figures import count


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


ANN = "ann-48151623"


def once(before: Callable[[], object], then: Callable[..., Any]) -> Callable[..., Any]:
    """The same, with something that happens before its first call."""
    first = iter([True])

    def call(*args: Any, **options: Any) -> Any:
        if next(first, False):
            before()
        return then(*args, **options)

    return call


def test_what_was_read_before_a_deletion_is_not_written_after_it(
    alone: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever computes figures reads first; the deletion comes to its end, and then they write."""
    _, other = alone.send(event("A", user={"id": ANN}), event("A", user={"id": "bo"}))
    alone.drain()
    who = Identity.of([ANN])

    def deletes() -> None:
        delete_person(alone.stores, who, "tester")

    with monkeypatch.context() as patch:
        patch.setattr(compute, "_put", once(deletes, compute._put))
        count(alone)  # closed from here on: nobody would compute it again
    assert (alone.ids(), len(alone.rows("event_users"))) == ([other], 1)

    said = {"sid": "a" * 32, "did": ANN, "status": "exited", "attrs": {"release": "s@1"}}
    alone.spool(alone.receipt(item("session", {**said, "started": alone.at().isoformat()}), seconds=9))
    alone.drain()
    finish_files = DayFiles.finish

    def then_deletes(files: DayFiles) -> Any:
        written = finish_files(files)
        if files._label == "health":
            monkeypatch.undo()
            deletes()
        return written

    monkeypatch.setattr(DayFiles, "finish", then_deletes)
    with pytest.raises(SessionsGone):  # by then
        compute_health(alone.stores.lake, alone.stores.state, alone.date)
    assert alone.rows("session_users") == alone.rows("sessions") == []
    assert Person(who).look(alone.stores).places == []


def test_a_day_that_is_recomputed_meanwhile_leaves_no_empty_group(
    alone: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone.send(event("First", message="of planted-4471", user={"id": ANN}), event("Second"))
    alone.drain()
    number = next(each["id"] for each in alone.groups() if "First" in each["title"])
    read = recompute.staged_chunks

    def reads_and_is_overtaken(*args: Any) -> Any:
        chunks = list(read(*args))
        monkeypatch.undo()
        delete(alone.stores, choose_groups(alone.stores.state, [number]), "tester")
        return iter(chunks)

    monkeypatch.setattr(recompute, "staged_chunks", reads_and_is_overtaken)
    with pytest.raises(RawGone, match="deleted"):
        alone.recompute()
    assert [each["title"].partition(":")[0] for each in alone.groups()] == ["Second"]
    with pytest.raises(RawGone, match="deleted by a person"):
        alone.recompute()


def test_groups_that_were_made_before_the_deletion_was_over_go(
    alone: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys of a group go first: who computes the day again makes it anew from the envelopes that are still there."""
    alone.send(event("First"), event("Second"))
    alone.drain()
    number = next(each["id"] for each in alone.groups() if "First" in each["title"])
    finish_files = DayFiles.finish

    def then_deletes(files: DayFiles) -> Any:
        written = finish_files(files)
        if files._label == "recomputed":
            monkeypatch.undo()
            delete(alone.stores, choose_groups(alone.stores.state, [number]), "tester")
        return written

    forget_keys(alone.stores, choose_groups(alone.stores.state, [number]))
    monkeypatch.setattr(DayFiles, "finish", then_deletes)
    with pytest.raises(RawGone, match="deleted"):
        alone.recompute()
    assert [each["title"].partition(":")[0] for each in alone.groups()] == ["Second"]


def test_what_is_there_again_after_it_was_deleted_is_found(alone: Day) -> None:
    alone.send(event("First"), event("Second"))
    alone.drain()
    number = next(each["id"] for each in alone.groups() if "First" in each["title"])
    done = delete(alone.stores, choose_groups(alone.stores.state, [number]), "tester")
    assert found_again(alone.stores) == []
    damage(alone.stores, "UPDATE stored.events SET group_id = ?", [number])
    path = Path(done.path)
    path.write_text(path.read_text().replace("tester", "nobody"))
    changed, again = found_again(alone.stores)
    assert changed == f"certificate {done.certificate['id']} is not as it was written"
    assert again == "1 event and 0 groups of deleted groups are there again"
