"""Archives: what goes is kept elsewhere as plain Parquet, and comes back row for row, with its groups."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from click.testing import CliRunner
from sqlalchemy import select

from tasks_pipeline.archive.manifest import ArchiveError
from tasks_pipeline.archive.opened import opened_day
from tasks_pipeline.archive.restore import restore_day
from tasks_pipeline.archive.rewrite import counted, rewritten, sweep
from tasks_pipeline.archive.store import Archive, Part, open_archive
from tasks_pipeline.archive.verify import verify_archive
from tasks_pipeline.cli import main
from tasks_pipeline.config import Config, Project, ProjectRetention, Retention
from tasks_pipeline.groups.merging import discard_groups, merge_groups
from tasks_pipeline.groups.regrouping import finish_regroupings
from tasks_pipeline.home import Home
from tasks_pipeline.retention.blobs import delete_old_file_attachments
from tasks_pipeline.retention.cleanup import cleanup_old_events, left_over, plan_cleanup, unarchived_days
from tasks_pipeline.storage.state.tables import retention_removals
from tasks_pipeline.stores import open_stores
from tests.support.day import Day
from tests.support.events import event, item
from tests.support.figures import count
from tests.support.sessions import compute, session

UNTIL = date(2199, 1, 1)


def archiving(day: Day, url: str | Path, **of_project: Any) -> Day:
    """The same day where what goes is archived."""
    config = day.stores.config
    own = Project(
        id=day.project, slug="own", keys=config.projects[0].keys, retention=ProjectRetention(**of_project)
    )
    changed = config.model_copy(
        update={"retention": Retention(archive_url=str(url)), "projects": (own, *config.projects[1:])}
    )
    return replace(day, stores=replace(day.stores, config=changed))


def of(day: Day) -> Archive:
    """The archive of a day's installation."""
    url = day.stores.config.retention.archive_url
    assert url is not None
    return open_archive(day.stores.home, url)


def night(day: Day, days: int = 200) -> datetime:
    return datetime.combine(day.date, datetime.min.time(), UTC) + timedelta(days=days, hours=2)


def transaction() -> dict[str, Any]:
    return {
        "type": "transaction", "event_id": os.urandom(16).hex(), "transaction": "/pay", "start_timestamp": 1577836800.0,
        "timestamp": 1577836801.5, "platform": "python", "contexts": {"trace": {"trace_id": "a" * 32, "span_id": "b" * 16, "op": "http"}},
    }  # fmt: skip


def fill(day: Day) -> None:
    """Something of everything that is received, with final figures."""
    sent = event("A", user={"id": "1"}, release="1.0", tags={"k": "v"})
    day.spool(
        day.receipt(sent, item("attachment", b"core", filename="core")),
        day.receipt(event("A", user={"id": "2"}), item("attachment", b"log", filename="log")),
        day.receipt(event("B", release="2.0")),
        day.receipt(item("transaction", transaction())),
        day.receipt(session(day, 1), session(day, 2)),
        day.receipt(item("user_report", {"event_id": sent["event_id"], "comments": "it broke", "email": "u@acme.example"})),
        day.receipt(item("event", b"not json")),
    )  # fmt: skip
    day.drain()
    compute(day)
    count(day, now=night(day, 9))


def clean(day: Day, days: int = 200) -> None:
    """Remove all that is over, as a night does."""
    cleanup_old_events(day.stores, night(day, days))
    for digest in day.stores.blobs.digests():
        os.utime(day.stores.blobs.local_path(digest) or "", (0, 0))
    delete_old_file_attachments(day.stores, night(day, days))


def removals(day: Day) -> list[str]:
    with day.stores.state.read() as connection:
        query = select(retention_removals.c.name).where(retention_removals.c.project_id.in_((0, day.project)))
        return sorted(connection.execute(query.distinct()).scalars())


@contextmanager
def installed(root: Path) -> Iterator[Day]:
    """The day of an installation that has its archive beside it."""
    with open_stores(Home(root=root / "home")) as stores:
        yield archiving(Day(stores, date(2020, 1, 1), 1000), root / "archive")


def copied(root: Path, to: Path) -> Path:
    """A copy of an installation with its archive."""
    return shutil.copytree(root, to, symlinks=True, ignore=shutil.ignore_patterns("run"))


@pytest.fixture(scope="module")
def gone(new_home: Callable[[Path], Home], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("gone")
    new_home(root / "home")
    with installed(root) as day:
        fill(day)
        clean(day)
        assert not any(day.lake().values())
    return root


@pytest.fixture
def kept(gone: Path, tmp_path: Path) -> Iterator[Day]:
    """A day that was archived and is gone."""
    with installed(copied(gone, tmp_path / "kept")) as day:
        yield day


# ── there and back


def test_a_day_comes_back_row_for_row_with_its_groups(own_day: Day, tmp_path: Path) -> None:
    day = archiving(own_day, tmp_path / "archive")
    fill(day)
    before, state = day.lake(), day.state()
    blobs = {digest: day.stores.blobs.get(digest) for digest in day.stores.blobs.digests()}
    assert {name for name, rows in before.items() if rows} == {*before} - {"check_ins"}
    clean(day)
    assert not any(day.lake().values())
    assert (day.groups(), day.state()["event_ids"], list(day.stores.blobs.digests())) == ([], [], [])
    assert verify_archive(of(day)).problems == []

    report = restore_day(day.stores, of(day), day.date, UNTIL)
    assert day.lake() == before
    after = day.state()
    assert {name: after[name] for name in state} == state
    assert {digest: day.stores.blobs.get(digest) for digest in blobs} == blobs
    assert (report.whole, report.rows["events"], len(report.groups_made), removals(day)) == (True, 3, 2, [])
    day.assert_balanced()

    again = restore_day(day.stores, of(day), day.date, UNTIL)
    assert (again.was_there, day.lake()) == (True, before)
    resent = day.rows("events")[0]["event_id"]
    later = day.next()
    later.send({**event("A"), "event_id": resent})
    later.drain()
    assert later.outcomes() == {("duplicate", "event_id"): 1}


def test_outcomes_of_several_projects_at_one_place_all_come_back(alone: Day, tmp_path: Path) -> None:
    day = archiving(alone, tmp_path / "archive")
    day.spool(day.receipt(event("A")), replace(day, project=day.project + 1).receipt(event("A")))
    day.drain()
    compute(day)
    count(day, now=night(day, 9))
    before = day.lake()
    assert len({row["project_id"] for row in before["outcomes"]}) == 2
    clean(day)
    assert not any(day.lake().values())
    restore_day(day.stores, of(day), day.date, UNTIL)
    assert day.lake() == before
    day.assert_balanced()


def test_the_next_nights_leave_a_restored_day_alone(kept: Day) -> None:
    until = night(kept, 210).date()
    restore_day(kept.stores, of(kept), kept.date, until)
    there = kept.lake(), kept.state()["event_ids"], kept.state()["values"]
    clean(kept, 201)
    assert (kept.lake(), kept.state()["event_ids"], kept.state()["values"]) == there
    assert left_over(kept.stores, night(kept, 205)) == []
    assert (
        plan_cleanup(kept.stores, night(kept, 205))
        .waiting[kept.date]
        .startswith("it was restored, and stays through")
    )
    parts = of(kept).parts()
    clean(kept, 211)
    assert not any(kept.lake().values())
    assert {p.key for p in of(kept).parts()} == {p.key for p in parts}
    assert len(of(kept).parts()) == len(parts), "a day that was restored is archived twice"
    restore_day(kept.stores, of(kept), kept.date, UNTIL)
    assert kept.lake() == there[0]


def test_a_second_removal_of_the_same_adds_to_the_archive(alone: Day, tmp_path: Path) -> None:
    """Transactions go after 30 days and events after 90, and of a loud project a sample before that."""
    day = archiving(alone, tmp_path / "archive", max_events=1000)
    sent = [event("A") for _ in range(8)]
    day.send(*sent)
    day.spool(day.receipt(item("transaction", transaction())))
    day.drain()
    count(day, now=night(day, 9))
    before = day.lake()
    few = day.stores.config.projects[0].model_copy(
        update={"retention": ProjectRetention.model_construct(max_events=4, archive=None)}
    )
    loud = replace(day.stores, config=day.stores.config.model_copy(update={"projects": (few,)}))
    cleanup_old_events(loud, night(day, 20))
    assert len(day.rows("events")) == 3
    clean(day, 60)
    clean(day)
    numbers = [(p.category, p.number) for p in of(day).parts()]
    assert [n for n in numbers if n[0] in ("events", "transactions")] == [
        ("events", 1),
        ("events", 2),
        ("transactions", 1),
    ]
    restore_day(day.stores, of(day), day.date, UNTIL)
    assert day.lake() == before
    assert day.group()["times_seen"] == 8


def test_one_project_comes_back_and_one_that_is_not_archived_stays_gone(own_day: Day, tmp_path: Path) -> None:
    day = archiving(own_day, tmp_path / "archive")
    config = day.stores.config
    silent = config.projects[0].model_copy(
        update={"id": 1001, "slug": "silent", "retention": ProjectRetention(archive=False)}
    )
    config = config.model_copy(update={"projects": (config.projects[0], silent)})
    day = replace(day, stores=replace(day.stores, config=config))
    other, third = replace(day, project=1001), replace(day, project=1002)
    for each in (day, other, third):
        each.spool(each.receipt(event("A", user={"id": "1"})))
    day.drain()
    count(day, now=night(day, 9))
    kept = [row for row in day.rows("events") if row["project_id"] == day.project]
    state = day.state()
    clean(day)
    assert [part.project_id for part in of(day).parts() if part.category == "events"] == [day.project, 1002]
    restore_day(day.stores, of(day), day.date, UNTIL, day.project)
    assert day.rows("events") == kept
    assert {name: rows for name, rows in day.state().items() if name != "batches"} == {
        name: rows for name, rows in state.items() if name != "batches"
    }
    assert (removals(day), removals(other)) == ([], ["event_payloads", "events", "outcomes"])
    assert (other.groups(), third.groups()) == ([], [])
    restore_day(day.stores, of(day), day.date, UNTIL)
    assert sorted(row["project_id"] for row in day.rows("events")) == [day.project, 1002]


# ── groups of later


def test_events_follow_what_became_of_their_groups(alone: Day, tmp_path: Path) -> None:
    """A came again and is a new group, B is part of C now, D was discarded, E is as it was."""
    day = archiving(alone, tmp_path / "archive")
    later = day.next()
    names = "ABCDE"
    day.send(*(event(name) for name in names))
    day.drain()
    later.send(*(event(name) for name in "BCDE"))
    later.drain()
    for each in (day, later):
        count(each, now=night(day, 20))
    numbers = {g["title"].partition(":")[0]: g["id"] for g in day.groups()}
    short = night(day, 91)
    cleanup_old_events(day.stores, short)
    assert {g["title"].partition(":")[0] for g in day.groups()} == set("BCDE")
    new = later.next()
    new.send(event("A"))
    new.drain()
    state, lake = day.stores.state, day.stores.lake
    merge_groups(state, numbers["C"], [numbers["B"]])
    discard_groups(state, [numbers["D"]])
    with lake.lock():
        finish_regroupings(state, lake)
    report = restore_day(day.stores, of(day), day.date, UNTIL)
    now = {g["title"].partition(":")[0]: g for g in day.groups()}
    assert report.groups_joined == {numbers["A"]: now["A"]["id"], numbers["B"]: numbers["C"]}
    assert (report.discarded, report.groups_made) == (1, [])
    counted = {name: now[name]["times_seen"] for name in "ACE"}
    assert counted == {"A": 2, "C": 4, "E": 2}
    assert len(day.rows("events")) == len(day.rows("event_payloads")) == 4


def test_a_number_that_was_given_to_another_group_stays_that_of_the_other(kept: Day) -> None:
    new = kept.next()
    new.send(event("X"), event("Y"))
    new.drain()
    taken = {group["id"] for group in new.groups()}
    resent = restore_day(kept.stores, of(kept), kept.date, UNTIL)
    assert set(resent.groups_renumbered) <= taken
    assert {row["group_id"] for row in kept.rows("events")} == set(resent.groups_made)
    titles = [group["title"].partition(":")[0] for group in kept.groups()]
    assert sorted(titles) == ["A", "B", "X", "Y"]


def test_what_was_sent_again_after_it_was_forgotten_comes_back_once(kept: Day) -> None:
    archive = of(kept)
    path = archive.tree.folder
    assert path is not None
    (again,) = duckdb.sql(
        f"SELECT event_id FROM '{path}/*/*/events-*/events.parquet' ORDER BY event_id LIMIT 1"
    ).fetchall()
    later = kept.next()
    later.send({**event("A"), "event_id": again[0]})
    later.drain()
    assert len(later.rows("events")) == 1
    report = restore_day(kept.stores, archive, kept.date, UNTIL)
    assert (report.duplicates, len(kept.rows("events")), len(kept.rows("event_payloads"))) == (1, 2, 2)


# ── without us


def test_plain_duckdb_and_pandas_read_it(kept: Day) -> None:
    folder = of(kept).tree.folder
    assert folder is not None
    seen = duckdb.sql(
        f"SELECT e.title, g.short_id, json_extract_string(p.payload, '$.platform') FROM '{folder}/*/*/events-*/events*.parquet' e "
        f"JOIN '{folder}/*/*/events-*/event_payloads*.parquet' p USING (project_id, event_id) "
        f"JOIN '{folder}/*/*/events-*/groups.parquet' g ON g.id = e.group_id ORDER BY ALL"
    ).fetchall()
    assert seen == [("A: it went wrong", 1, "python")] * 2 + [("B: it went wrong", 2, "python")]
    part = next(p for p in of(kept).parts() if p.category == "events")
    frame = pd.read_parquet(folder / part.path / "events.parquet")
    assert sorted(frame["title"]) == [row[0] for row in seen]
    assert dict(frame["tags"].dropna().iloc[0]) in ({"k": "v"}, {})


# ── what is wrong


def damaged(archive: Archive, part: Part, how: str) -> None:
    folder = archive.tree.folder
    assert folder is not None
    file = folder / part.path / ("manifest.json" if how in ("newer", "manifest") else "events.parquet")
    text = file.read_bytes()
    match how:
        case "newer":
            file.write_bytes(json.dumps(json.loads(text) | {"format": 99}).encode())
        case "manifest":
            file.write_bytes(text.replace(b'"reason": "age"', b'"reason": "ago"'))
        case "cut":
            file.write_bytes(text[: len(text) // 2])
        case "changed":
            file.write_bytes(text[:300] + bytes([text[300] ^ 1]) + text[301:])
        case "gone":
            file.unlink()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("newer", "is of format 99"),
        ("manifest", "manifest.json is damaged"),
        ("cut", "bytes instead of"),
        ("changed", "its bytes are not those that were stored"),
        ("gone", "events.parquet is gone"),
    ],
)
def test_a_damaged_archive_is_refused_and_nothing_is_touched(kept: Day, how: str, said: str) -> None:
    archive = of(kept)
    part = next(p for p in archive.parts() if p.category == "events")
    damaged(archive, part, how)
    assert [problem for problem in verify_archive(archive).problems if said in problem]
    before = kept.state(), removals(kept)
    with pytest.raises(ArchiveError, match=said):
        restore_day(kept.stores, archive, kept.date, UNTIL)
    assert not any(kept.lake().values())
    assert (kept.state(), removals(kept), list(kept.stores.blobs.digests())) == (*before, [])


def test_a_day_with_its_rows_and_one_that_nobody_archived_are_refused(alone: Day, tmp_path: Path) -> None:
    day = archiving(alone, tmp_path / "archive")
    fill(day)
    with pytest.raises(ArchiveError, match="has nothing of 2020-01-01"):
        restore_day(day.stores, of(day), day.date, UNTIL)
    before = day.lake(), day.state()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(day.stores.lake), "exchange", lambda *_args: False)
        patch.setattr(Archive, "withdraw", lambda *_args: None)
        cleanup_old_events(day.stores, night(day))  # archived, and not removed
    assert of(day).parts()
    with pytest.raises(ArchiveError, match="still has all rows"):
        restore_day(day.stores, of(day), day.date, UNTIL)
    assert day.lake() == before[0]
    clean(day)
    assert {p.number for p in of(day).parts() if p.category == "events"} == {4}, (
        "what was not removed is archived once"
    )


@pytest.fixture
def unwritable(alone: Day, tmp_path: Path) -> Day:
    """A day whose archive cannot be written: its folder is a file."""
    (tmp_path / "archive").write_text("")
    day = archiving(alone, tmp_path / "archive")
    fill(day)
    return day


def test_what_cannot_be_archived_stays_and_says_why(unwritable: Day) -> None:
    day = unwritable
    before, state = day.lake(), day.state()
    clean(day)
    report = cleanup_old_events(day.stores, night(day))
    assert report.waiting[day.date].startswith("it cannot be archived: ")
    assert [each for each in report.removed if each.day == day.date] == []
    assert (day.lake(), day.state(), removals(day)) == (before, state, [])
    assert unarchived_days(day.stores)[0].startswith(f"{day.date} stays: it cannot be archived")
    assert left_over(day.stores, night(day)) != []
    of_nobody = archiving(day, of_url(day), archive=False)
    clean(of_nobody)
    assert not any(day.lake().values())
    assert unarchived_days(day.stores) == []


def of_url(day: Day) -> str:
    assert day.stores.config.retention.archive_url is not None
    return day.stores.config.retention.archive_url


def test_an_archive_within_the_home_is_refused(alone: Day) -> None:
    day = archiving(alone, alone.stores.home.root / "archive")
    fill(day)
    assert "lies within the home" in cleanup_old_events(day.stores, night(day)).waiting[day.date]
    assert day.rows("events")


def test_a_full_disk_leaves_nothing_of_a_part(
    alone: Day, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = archiving(alone, tmp_path / "archive")
    fill(day)
    before = day.lake()

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Archive, "publish", full)
        assert "No space left" in cleanup_old_events(day.stores, night(day)).waiting[day.date]
    assert (day.lake(), [path for path in of(day).tree.find() if path != "README.txt"]) == (before, [])
    clean(day)
    with monkeypatch.context() as patch:
        patch.setattr(type(day.stores.lake), "register", full)
        with pytest.raises(OSError, match="No space left"):
            restore_day(day.stores, of(day), day.date, UNTIL)
    assert not any(day.lake().values())
    restore_day(day.stores, of(day), day.date, UNTIL)
    assert day.lake() == before


# ── in object storage, and for who has the right to be forgotten


def test_it_is_so_in_object_storage(alone: Day) -> None:
    day = archiving(alone, f"memory://archive-{os.urandom(4).hex()}")
    fill(day)
    before = day.lake()
    clean(day)
    assert verify_archive(of(day)).ok
    restore_day(day.stores, of(day), day.date, UNTIL)
    assert day.lake() == before


def taken_out(day: Day, gone: Mapping[str, str]) -> dict[str, int]:
    """Take rows out of what is archived of a day; gives how many there were of each table."""
    archive = of(day)
    with opened_day(day.stores.home, archive, archive.parts(day.date, day.project)) as opened:
        found = dict(counted(opened, gone))
        for each in opened.parts:
            new = rewritten(opened, each, gone, {}, "privacy")
            if new is not None:
                archive.publish(new.part, new.manifest)
            sweep(archive, each.part, each.manifest if new is None else new.manifest)
    return found


def test_rows_are_taken_out_of_an_archive(kept: Day) -> None:
    archive = of(kept)
    assert taken_out(kept, {"events": "user_id = '1'"}) == {"events": 1}
    assert taken_out(kept, {"events": "user_id = '1'"}) == {}
    assert taken_out(kept, {"attachments": "name = 'core'"}) == {"attachments": 1}
    assert len([path for path in archive.tree.find() if "/blobs/" in path]) == 1
    assert verify_archive(archive).problems == []
    restore_day(kept.stores, archive, kept.date, UNTIL)
    assert [row["user_id"] for row in kept.rows("events") if row["user_id"]] == ["2"]


def test_a_project_may_only_ask_for_an_archive_that_there_is() -> None:
    wanted = {"id": 1, "slug": "a", "keys": [{"public_key": "a" * 32}], "retention": {"archive": True}}
    with pytest.raises(ValueError, match=r"retention\.archive_url of the installation does not say where"):
        Config.model_validate({"projects": [wanted]})
    assert Config.model_validate({"projects": [wanted], "retention": {"archive_url": "/mnt/archive"}})


def test_commands_say_what_is_archived_and_bring_it_back(home: Home, tmp_path: Path) -> None:
    where = tmp_path / "archive"
    home.config_path.write_text(
        f"projects: [{{id: 1, slug: shop, keys: [{{public_key: abcdef}}]}}]\nretention: {{archive_url: '{where}'}}\n"
    )
    day = date(2020, 1, 1)
    with open_stores(home) as stores:
        fill(Day(stores, day, 1))

    def run(*words: str, status: int = 0) -> str:
        found = CliRunner().invoke(main, ["--home", str(home.root), *words])
        assert found.exit_code == status, found.output
        return found.output

    assert "nothing is archived yet" in run("archive", "verify")
    assert "archived before" in run(
        "cleanup", "--before", "2020-01-02", "--what", "events", "--what", "outcomes"
    )
    listed = json.loads(run("archive", "list", "--project", "shop", "--json"))
    assert [(row["category"], row["rows"], row["whole"], row["problem"]) for row in listed] == [
        ("events", 6, True, None), ("outcomes", 6, True, None),
    ]  # fmt: skip
    assert json.loads(run("archive", "verify", "2020-01-01", "--json"))["ok"]
    assert "nothing of 2020-01-02: `archive list` says" in run("archive", "restore", "2020-01-02", status=1)
    assert "has nothing of 2020-01-02" in run("archive", "verify", "2020-01-02", status=1)
    assert "has nothing: " in run("archive", "verify", "--from", str(tmp_path / "typo"), status=1)
    restored = json.loads(run("archive", "restore", "2020-01-01", "--json"))
    assert (restored["rows"], restored["projects"]) == (
        {"events": 3, "event_payloads": 3, "outcomes": 6},
        ["shop"],
    )
    assert "was restored before" in run("archive", "restore", "2020-01-01", "--keep-days", "3")
    stays = json.loads(run("cleanup", "--dry-run", "--json"))["waiting"]
    assert [each for each in stays if each["day"] == "2020-01-01" and "it was restored" in each["why"]]
    assert json.loads(run("archive", "list", "--json"))[0]["stays"]
    assert "the next cleanup takes it again" in run("archive", "restore", "2020-01-01", "--keep-days", "0")
    assert json.loads(run("archive", "list", "--json"))[0]["stays"] is None
    (where / "1" / "2020-01-01" / "outcomes-0001" / "outcomes.parquet").write_bytes(b"PAR1")
    assert "problem: " in run("archive", "verify", status=1)
    where.rename(tmp_path / "elsewhere")
    where.mkdir()
    for command in ("list", "verify"):
        assert "is it mounted?" in run("archive", command, status=1)
