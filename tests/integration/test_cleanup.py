"""Cleanup: what is older than its retention goes from every store, what waits stays, and what was counted stays counted."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from tasks_pipeline.config import Project, ProjectRetention, Retention
from tasks_pipeline.groups.decisions import resolve_groups
from tasks_pipeline.groups.merging import merge_groups, unmerge_group
from tasks_pipeline.groups.regrouping import finish_regroupings
from tasks_pipeline.home import Home
from tasks_pipeline.processing.books import books_of_lake
from tasks_pipeline.processing.process_batch import RawGone
from tasks_pipeline.retention.blobs import GRACE, delete_old_file_attachments, unreferenced
from tasks_pipeline.retention.cleanup import cleanup_old_events, plan_cleanup
from tasks_pipeline.retention.plan import Asked
from tasks_pipeline.retention.spool import drop_expired_days
from tasks_pipeline.storage.lake.compaction import tidy
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.storage.sizes import store_sizes
from tasks_pipeline.storage.state.tables import debug_files
from tasks_pipeline.stores import Stores, open_stores
from tasks_pipeline.uploads.symbol_source import StateSymbolSource
from tasks_pipeline.watch.probes import early_removals
from tests.support.day import Day
from tests.support.events import event, item
from tests.support.facts import types
from tests.support.figures import count
from tests.support.planted import found_in


def settings(stores: Stores, **days: Any) -> Stores:
    """The same stores with another retention."""
    return replace(stores, config=stores.config.model_copy(update={"retention": Retention(**days)}))


def of_project(stores: Stores, project_id: int, **days: Any) -> Stores:
    """The same stores with a project that has a retention of its own."""
    own = Project(
        id=project_id, slug="own", keys=stores.config.projects[0].keys, retention=ProjectRetention(**days)
    )
    return replace(stores, config=stores.config.model_copy(update={"projects": (own,)}))


def night(day: Day, days: int) -> datetime:
    """So many days later, at night."""
    return datetime(day.date.year, day.date.month, day.date.day, 2, tzinfo=UTC) + timedelta(days=days)


def filled(day: Day, *events: dict[str, Any]) -> None:
    """A day with events whose figures are final."""
    day.send(*events)
    day.drain()
    count(day, now=night(day, 3))


def test_days_that_are_over_go_and_the_others_stay(alone: Day) -> None:
    later = alone.next()
    filled(alone, event("A", user={"id": "1"}), event("A", user={"id": "2"}))
    filled(later, event("A", user={"id": "2"}), event("B"))
    kept = {name: later.rows(name) for name in RECEIVED_TABLES}

    assert cleanup_old_events(alone.stores, night(alone, 90)).removed == []
    report = cleanup_old_events(alone.stores, night(alone, 91))
    assert {(r.table, r.day, r.rows) for r in report.removed if r.table in ("events", "event_payloads", "outcomes")} == {
        ("events", alone.date, 2), ("event_payloads", alone.date, 2), ("outcomes", alone.date, 1),
    }  # fmt: skip
    assert {name for name in RECEIVED_TABLES if alone.rows(name)} == set()
    assert {name: later.rows(name) for name in RECEIVED_TABLES} == kept
    state = alone.state()
    assert {row[2] for row in state["event_ids"]} == {later.date}
    assert {row[3] for row in state["values"]} == {later.date}
    groups = {group["title"].partition(":")[0]: group for group in alone.groups()}
    assert (groups["A"]["times_seen"], groups["A"]["users"]) == (3, 1)  # users of the days that are kept
    alone.assert_balanced()
    assert cleanup_old_events(alone.stores, night(alone, 91)).removed == []


def test_it_is_so_on_both_databases(own_day: Day) -> None:
    filled(own_day, event("A", user={"id": "1"}))
    short = of_project(own_day.stores, own_day.project, event_days=10)
    assert plan_cleanup(short, night(own_day, 11)).removals != []
    cleanup_old_events(short, night(own_day, 11))
    assert (own_day.rows("events"), own_day.state()["values"]) == ([], [])
    cleanup_old_events(own_day.stores, night(own_day, 900))
    delete_old_file_attachments(own_day.stores, night(own_day, 900))
    assert (own_day.state()["event_ids"], own_day.groups()) == ([], [])
    own_day.assert_balanced()


def test_the_plan_says_what_goes(alone: Day) -> None:
    filled(alone, event("A", user={"id": "1"}))
    flush(alone.stores.state, alone.stores.lake)
    plan = plan_cleanup(alone.stores, night(alone, 91))
    before = {(r.table, r.project_id, r.day): r.rows for r in plan.removals}
    assert before[("events", 0, alone.date)] == 1
    assert before[("event_ids", 0, None)] == 1
    assert all(r.files and r.size for r in plan.removals if r.table == "events")
    removed = cleanup_old_events(alone.stores, night(alone, 91)).removed
    assert {(r.table, r.project_id, r.day): r.rows for r in removed} == before


@pytest.mark.parametrize("why", ["envelopes wait", "figures"])
def test_a_day_stays_while_something_of_it_waits(alone: Day, why: str) -> None:
    if why == "figures":
        alone.send(event("A"))
        alone.drain()
    else:
        filled(alone, event("A"))
        alone.send(event("B"))
    report = cleanup_old_events(alone.stores, night(alone, 200), Asked(categories={"events"}))
    assert report.removed == []
    assert list(report.waiting) == [alone.date]
    assert alone.ids() != []


def test_a_project_may_keep_its_events_for_longer_or_shorter(alone: Day) -> None:
    other = replace(alone, project=alone.project + 1)
    other.send(event("B"))
    filled(alone, event("A"), event("A"))
    events = Asked(categories={"events"})
    short = of_project(alone.stores, alone.project, event_days=10)
    (removed,) = {
        r for r in cleanup_old_events(short, night(alone, 11), events).removed if r.table == "events"
    }
    assert (removed.project_id, removed.rows) == (alone.project, 2)
    assert [row["project_id"] for row in alone.rows("events")] == [other.project]
    assert [row["project_id"] for row in alone.rows("event_payloads")] == [other.project]
    assert [g["times_seen"] for g in alone.groups()] == [2]
    long = of_project(alone.stores, other.project, event_days=500)
    assert cleanup_old_events(long, night(alone, 100), events).removed == []
    assert cleanup_old_events(short, night(alone, 100), events).removed != []
    assert alone.rows("events") == []


def test_a_day_that_retention_came_to_is_not_computed_again(alone: Day) -> None:
    filled(alone, event("A"))
    cleanup_old_events(alone.stores, night(alone, 9), Asked(categories={"events"}, before=alone.next().date))
    assert alone.ids() == []
    with pytest.raises(RawGone, match="removed by retention"):
        alone.recompute()
    assert alone.ids() == []
    assert [g["times_seen"] for g in alone.groups()] == [1]


def test_before_and_what_and_project(alone: Day) -> None:
    other = replace(alone, project=alone.project + 1)
    other.send(event("B"))
    filled(alone, event("A"))
    asked = Asked(categories={"events"}, project_id=alone.project, before=date(2030, 1, 1))
    cleaned = cleanup_old_events(alone.stores, night(alone, 5), asked)
    assert cleaned.waiting[night(alone, 5).date()].startswith("it is not over")
    assert [row["project_id"] for row in alone.rows("events")] == [other.project]
    assert len(alone.rows("outcomes")) == 2


# ── blobs


def attached(day: Day, content: bytes) -> dict[str, Any]:
    sent = event("A")
    day.spool(day.receipt(sent, item("attachment", content, filename="core")))
    return sent


def make_old(day: Day) -> None:
    """Blobs that were stored long ago."""
    moment = datetime(2019, 1, 1, tzinfo=UTC).timestamp()
    for digest in day.stores.blobs.digests():
        os.utime(day.stores.blobs.local_path(digest) or "", (moment, moment))


def test_files_of_attachments_go_with_their_rows_and_no_others(alone: Day) -> None:
    later = alone.next()
    attached(alone, b"old")
    attached(alone, b"of both")
    attached(later, b"of both")
    for each in (alone, later):
        each.drain()
        count(each, now=night(each, 3))
    kept = {row["digest"] for row in later.rows("attachments")}
    digests = set(alone.stores.blobs.digests())
    make_old(alone)
    delete_old_file_attachments(alone.stores, night(alone, 31))
    assert alone.rows("attachments") == []
    assert alone.ids() != []
    assert set(alone.stores.blobs.digests()) == kept < digests


def test_a_blob_that_is_stored_again_is_not_swept(alone: Day) -> None:
    blobs, before = alone.stores.blobs, datetime.now(UTC) - GRACE
    digest = blobs.put(b"orphan")
    make_old(alone)
    assert [found for found, _ in unreferenced(alone.stores, before)] == [digest]
    blobs.put(b"orphan")  # a batch is on its way
    assert not blobs.sweep(digest, before)
    assert blobs.get(digest) == b"orphan"
    make_old(alone)
    assert delete_old_file_attachments(alone.stores, datetime.now(UTC)).rows == 1
    assert list(blobs.digests()) == []


def test_what_a_killed_sweep_left_is_there_again(alone: Day) -> None:
    blobs = alone.stores.blobs
    path = blobs.local_path(blobs.put(b"young"))
    assert path
    path.rename(path.with_name(f".{path.name}.swept"))
    path.with_name(f".{path.name}.0123abcd").touch()
    blobs.settle(datetime.now(UTC) + timedelta(minutes=1))
    assert [p.name for p in path.parent.iterdir()] == [path.name]


# ── groups, files of symbols, rows


def test_groups_without_events_go_unless_somebody_decided(alone: Day) -> None:
    filled(alone, event("A"), event("B"))
    kept = alone.groups()[0]
    resolve_groups(alone.stores.state, [kept["id"]], actor="m@acme.example")
    cleanup_old_events(alone.stores, alone.at(0) + timedelta(days=200))
    assert [group["id"] for group in alone.groups()] == [kept["id"]]
    again = alone.next()
    again.send(event("A"), event("B"))
    again.drain()
    assert sorted(group["times_seen"] for group in again.groups()) == [1, 2]
    again.assert_balanced()


def test_debug_files_go_when_nobody_used_them(alone: Day) -> None:
    state, now = alone.stores.state, datetime.now(UTC)
    row = {
        "project_id": 1, "sha1": "0" * 40, "kind": "elf", "object_kind": "dbg", "arch": "x86_64", "features": [], "name": "app",
        "digest": "a" * 64, "size": 1, "created_at": now - timedelta(days=500),
    }  # fmt: skip
    with state.write() as connection:
        connection.execute(debug_files.insert(), [row | {"debug_id": "used"}, row | {"debug_id": "not"}])
    source = StateSymbolSource(state, alone.stores.blobs, alone.stores.home.cache_dir)
    assert source.debug_files(1, "used")
    delete_old_file_attachments(alone.stores, now)
    with state.read() as connection:
        assert list(connection.execute(select(debug_files.c.debug_id)).scalars()) == ["used"]


# ── what was counted stays counted


def test_merging_groups_keeps_what_was_counted_of_days_that_are_gone(alone: Day) -> None:
    later = alone.next()
    filled(alone, event("A"), event("B"), event("B"))
    filled(later, event("A"), event("B"))
    cleanup_old_events(alone.stores, night(alone, 91))
    first, second = (group["id"] for group in alone.groups())
    assert [group["times_seen"] for group in alone.groups()] == [2, 3]
    merge_groups(alone.stores.state, first, [second])
    with alone.stores.lake.lock():
        finish_regroupings(alone.stores.state, alone.stores.lake)
    assert alone.group()["times_seen"] == 3  # two days of its own, and the other's that is kept
    unmerge_group(alone.stores.state, second)
    with alone.stores.lake.lock():
        finish_regroupings(alone.stores.state, alone.stores.lake)
    assert [group["times_seen"] for group in alone.groups()] == [2, 3]


def test_the_books_of_a_day_without_outcomes_are_those_of_its_batches(alone: Day) -> None:
    filled(alone, event("A"), event("A"))
    cleanup_old_events(alone.stores, night(alone, 91), Asked(categories={"outcomes"}))
    books = books_of_lake(alone.stores, alone.date)
    assert (books.stored, books.difference) == (2, 0)
    assert "removed by retention" in books.gone


def test_figures_stay_when_their_rows_go(alone: Day) -> None:
    filled(alone, event("A", user={"id": "1"}))
    before = alone.rows("group_moves"), alone.rows("event_stats")
    cleanup_old_events(alone.stores, night(alone, 91))
    assert alone.groups() == []
    count(alone, now=night(alone, 92))
    assert (alone.rows("group_moves"), alone.rows("event_stats")) == before
    assert types(alone.stores, 0)["retention.dropped"] == 3


# ── nothing is left


def test_a_secret_of_an_event_is_nowhere_any_more(home: Home) -> None:
    secret = "xq-4471-planted"
    with open_stores(home) as stores:
        day = Day(stores, date(2020, 1, 1), 1000)
        sent = event("A", message=f"it is {secret}", user={"id": secret})
        sent["exception"]["values"][0]["value"] = secret
        sent["exception"]["values"][0]["type"] = secret
        day.spool(day.receipt(sent, item("attachment", secret.encode(), filename=secret)))
        day.drain()
        count(day, now=night(day, 3))
        make_old(day)
    assert found_in(home.root, secret.encode())
    with open_stores(home) as stores:
        day = replace(day, stores=stores)
        now = night(day, 500)
        drop_expired_days(stores, now.date())
        cleanup_old_events(stores, now)
        delete_old_file_attachments(stores, now)
        tidy(stores.lake, datetime.now(UTC) + timedelta(days=1))  # files that snapshots of today still held
        stores.lake.scrub_catalog()
    assert found_in(home.root, secret.encode()) == []


def test_rows_of_today_are_seen_after_the_catalog_was_written_anew(alone: Day) -> None:
    """They lie in the tail, of which each connection has a copy."""
    alone.send(event("A"))
    alone.drain()
    alone.stores.lake.scrub_catalog()
    assert len(alone.ids()) == 1


def test_pages_of_the_state_database_are_free_again(alone: Day) -> None:
    filled(alone, *(event("A", user={"id": str(n)}) for n in range(300)))

    def free() -> int:
        with alone.stores.state.read() as connection:
            return int(connection.execute(text("PRAGMA freelist_count")).scalar_one())

    before = free()
    cleanup_old_events(alone.stores, night(alone, 91))
    assert free() > before


# ── before their time


def test_the_oldest_days_go_while_too_much_disk_is_taken(alone: Day) -> None:
    later = alone.next()
    for day in (alone, later):
        filled(day, event("A"))
    flush(alone.stores.state, alone.stores.lake)
    sizes = store_sizes(alone.stores.home, alone.stores.state)
    used = sum(sizes[name] or 0 for name in ("spool", "state", "blobs")) + sum(
        each.size for each in alone.stores.lake.day_totals()
    )
    limited = settings(alone.stores, max_disk=64 * 2**20)
    assert cleanup_old_events(limited, night(alone, 3)).removed == []
    config = limited.config.model_copy(
        update={"retention": limited.config.retention.model_copy(update={"max_disk": used - 1})}
    )
    removed = cleanup_old_events(replace(limited, config=config), night(alone, 3)).removed
    assert {(r.day, r.reason) for r in removed} == {(alone.date, "max_disk")}
    assert (alone.ids(), len(later.ids())) == ([], 1)
    told = early_removals(alone.stores)
    assert (told.status, told.value) == ("warning", 1)
    assert f"{alone.date} went with" in told.detail
    assert cleanup_old_events(replace(limited, config=config), night(alone, 1)).removed == []  # today never
    assert early_removals(alone.stores).status == "ok"


def test_of_too_many_events_a_sample_stays_with_what_is_rare(alone: Day) -> None:
    loud = [event("A", timestamp=alone.at(n).timestamp()) for n in range(30)]
    rare = [event("B"), event("A", release="shop@1")]
    filled(alone, *loud, *rare)
    stores = of_project(alone.stores, alone.project)
    (own,) = stores.config.projects
    kept = own.model_copy(update={"retention": own.retention.model_copy(update={"max_events": 10})})
    stores = replace(stores, config=stores.config.model_copy(update={"projects": (kept,)}))
    removed = cleanup_old_events(stores, night(alone, 3)).removed
    assert {(r.table, r.rows, r.reason) for r in removed} == {
        ("events", 23, "max_events"), ("event_payloads", 23, "max_events"),
    }  # fmt: skip
    ids = set(alone.ids())
    assert ids == set(alone.ids("event_payloads"))
    assert ids >= {loud[0]["event_id"], loud[-1]["event_id"], *(each["event_id"] for each in rare)}
    assert sum(group["times_seen"] for group in alone.groups()) == 32
    assert cleanup_old_events(stores, night(alone, 3)).removed == []
    alone.assert_balanced()
