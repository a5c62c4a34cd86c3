"""What is deleted on purpose goes from archives too: found and exported there, nowhere after it, and it does not come back with its day."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from tasks_pipeline.archive import rewrite
from tasks_pipeline.archive.manifest import ArchiveError
from tasks_pipeline.archive.restore import restore_day
from tasks_pipeline.archive.store import Archive, open_archive
from tasks_pipeline.archive.verify import verify_archive
from tasks_pipeline.deletion.chosen import Chosen
from tasks_pipeline.deletion.groups import choose_groups
from tasks_pipeline.deletion.run import delete, plan
from tasks_pipeline.erasure import archives, erase, progress
from tasks_pipeline.erasure.certificate import certificates
from tasks_pipeline.erasure.finish import finish_open
from tasks_pipeline.erasure.raw import Waits
from tasks_pipeline.home import Home
from tasks_pipeline.privacy.delete import KINDS, delete_person
from tasks_pipeline.privacy.export import export_person
from tasks_pipeline.privacy.person import Person
from tasks_pipeline.releases.health import compute_health
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.state.tables import erasures
from tasks_pipeline.stores import open_stores
from tasks_pipeline.watch.probes import deletions
from tests.integration.test_archive import UNTIL, archiving, clean, copied, installed, night, of
from tests.integration.test_privacy import ANN, EMAIL, NOWHERE, PLANTED, everywhere, kept_rows, plant
from tests.support.crash import Moment, left_at, run_in_process
from tests.support.day import Day
from tests.support.events import event, item
from tests.support.figures import count
from tests.support.planted import each_found_in, found_in

FIRST, PROJECT = date(2020, 1, 1), 1000


def planted_and_archived(day: Day) -> tuple[set[str], dict[str, list[object]]]:
    """A day of Ann and of others, archived and gone; gives the ids of her events, and the rows of others."""
    hers, _ = plant(day)
    flush(day.stores.state, day.stores.lake)
    compute_health(day.stores.lake, day.stores.state, day.date)
    count(day, now=night(day, 9))
    ids = {each["event_id"] for each in hers}
    kept = kept_rows(day, ids)
    clean(day)
    assert not any(day.lake().values())
    return ids, kept


def in_archive(folder: Path) -> dict[bytes, list[Path]]:
    return each_found_in(folder, PLANTED)


def restored(day: Day) -> dict[str, list[object]]:
    restore_day(day.stores, of(day), day.date, UNTIL)
    day.assert_balanced()
    return kept_rows(day, set())


def test_a_person_is_nowhere_in_the_archive_either(own_day: Day, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    day = archiving(own_day, folder)
    _, kept = planted_and_archived(day)
    assert all(in_archive(folder).values())
    shutil.copytree(folder, tmp_path / "copy")

    found = {each.where: each.rows for each in Person(ANN).look(day.stores).places}
    assert (found["archive.events"], found["archive.sessions"], found["archive.attachments"]) == (5, 1, 2)
    exported = export_person(day.stores, ANN, tmp_path / "ann.zip")
    assert (exported["archive.events"], exported["archive.files"]) == (5, 2)
    with zipfile.ZipFile(tmp_path / "ann.zip") as archive:
        payloads = archive.read(f"archive/{day.project}/{day.date}/event_payloads.jsonl").decode()
    assert EMAIL in payloads

    deleted = {each.where: each.rows for each in delete_person(day.stores, ANN, "tester").erased}
    assert in_archive(folder) == everywhere(day.stores) == NOWHERE
    assert (deleted["archive.events"], deleted["archive.event_payloads"], deleted["archive.blobs"]) == (
        5,
        5,
        1,
    )
    assert (certificates(day.stores.home)[0]["valid"], verify_archive(of(day)).problems) == (True, [])
    assert Person(ANN).look(day.stores).places == []

    with pytest.raises(ArchiveError, match="as it was before a deletion"):
        restore_day(day.stores, open_archive(day.stores.home, str(tmp_path / "copy")), day.date, UNTIL)
    restored(day)
    assert {name: day.rows(name) for name in kept} == kept
    assert everywhere(day.stores) == NOWHERE
    titles = {group["title"] for group in day.groups()}
    assert titles == {"Shared: it went wrong", "Other: it went wrong"}
    clean(day, 200_000 // 3)  # goes again, and is archived again
    assert in_archive(folder) == NOWHERE


BAD = (b"Bad: it", b"core of bad", b"bad.txt", b"bad it was")
"""What the archive says of a group; longer than what digests hold by chance."""


@pytest.fixture(scope="module")
def two_days_of(new_home: Callable[[Path], Home], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("two-days")
    new_home(root / "home")
    with installed(root) as day:
        fill_two_days(day)
    return root


@pytest.fixture
def two_days(two_days_of: Path, tmp_path: Path) -> Iterator[tuple[Day, Path]]:
    """A day that is archived, with groups that are still there since they came again, and one that was forgotten."""
    root = copied(two_days_of, tmp_path / "own")
    with installed(root) as day:
        yield day, root / "archive"


def fill_two_days(day: Day) -> None:
    sent = event("Bad", release="1.0")
    day.spool(
        day.receipt(sent, item("attachment", b"core of bad", filename="bad.txt")),
        day.receipt(item("user_report", {"event_id": sent["event_id"], "comments": "bad it was"})),
        day.receipt(
            event("Good", release="2.0"), item("attachment", b"kept", filename="good.txt"), seconds=1
        ),
        day.receipt(event("Old", release="1.0"), seconds=2),
    )
    day.drain()
    later = day.next()
    later.send(event("Bad", release="2.0"), event("Good", release="2.0"))
    later.drain()
    for each in (day, later):
        count(each, now=night(day, 20))
    clean(day, 91)
    assert titles(day) == ["Bad", "Good"]


def titles(day: Day) -> list[str]:
    return sorted(
        row["title"].partition(":")[0] for row in day.stores.lake.query("SELECT title FROM lake.events")
    )


def test_a_group_goes_from_the_archive_and_others_do_not(two_days: tuple[Day, Path]) -> None:
    day, folder = two_days
    (bad,) = [group["id"] for group in day.groups() if group["title"].startswith("Bad")]
    chosen = choose_groups(day.stores.state, [bad])
    assert {each.where for each in plan(day.stores, chosen)} >= {"archive.events", "archive.attachments"}
    delete(day.stores, chosen, "tester")
    assert not any(each_found_in(folder, BAD).values())
    assert titles(day) == ["Good"]
    restore_day(day.stores, of(day), day.date, UNTIL)
    assert titles(day) == ["Good", "Good", "Old"]
    assert [row["name"] for row in day.rows("attachments")] == ["good.txt"]
    assert sorted(group["title"].partition(":")[0] for group in day.groups()) == ["Good", "Old"]


def test_a_release_goes_and_numbers_that_were_given_again_mislead_nobody(two_days: tuple[Day, Path]) -> None:
    day, folder = two_days
    new = day.next().next()
    new.send(event("New"))
    new.drain()
    (again,) = [group["id"] for group in day.groups() if group["title"].startswith("New")]
    delete(day.stores, choose_groups(day.stores.state, [again]), "tester")
    assert found_in(folder, b"Old: ") != []  # had the same number, once
    delete(day.stores, Chosen("release", (day.project,), version="1.0"), "tester")
    assert (found_in(folder, b"Old: "), found_in(folder, b"bad.txt")) == ([], [])
    restore_day(day.stores, of(day), day.date, UNTIL)
    assert titles(day) == ["Bad", "Good", "Good"]


def test_a_project_goes_as_a_whole_and_a_copy_of_it_does_not_come_back(
    two_days: tuple[Day, Path], tmp_path: Path
) -> None:
    day, folder = two_days
    shutil.copytree(folder, tmp_path / "copy")
    part = next(p for p in of(day).parts() if p.category == "events")
    (folder / part.path / "events.parquet").write_bytes(b"damaged")  # what goes as a whole need not be read
    done = delete(day.stores, Chosen("project", (day.project,), names=("own",)), "tester")
    assert {each.where: each.rows for each in done.erased}["archive.events"] == 3
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["README.txt"]
    with pytest.raises(ArchiveError, match="was deleted, and does not come back"):
        restore_day(day.stores, open_archive(day.stores.home, str(tmp_path / "copy")), day.date, UNTIL)


# ── when it cannot be done at once


def test_a_deletion_stays_open_until_the_archive_is_back(alone: Day, tmp_path: Path) -> None:
    folder, away = tmp_path / "archive", tmp_path / "away"
    day = archiving(alone, folder)
    _, kept = planted_and_archived(day)
    later = day.next()
    later.send(event("Later", user={"email": EMAIL}))
    later.drain()
    folder.rename(away)
    folder.mkdir()  # as a disk that is not mounted
    (unseen,) = Person(ANN).look(day.stores).unseen
    assert "cannot be reached" in unseen
    with pytest.raises(Waits, match="is it mounted"):
        delete_person(day.stores, ANN, "tester")
    assert (later.rows("events"), certificates(day.stores.home)) == ([], [])
    assert list(finish_open(day.stores, KINDS)) == []
    late = deletions(day.stores, datetime.now(UTC) + timedelta(days=2))
    assert (late.status, late.value) == ("critical", 1)
    assert "cannot be reached" in late.detail
    assert deletions(day.stores, datetime.now(UTC)).status == "ok"
    folder.rmdir()
    away.rename(folder)
    with pytest.raises(ArchiveError, match="is not finished"):
        restore_day(day.stores, of(day), day.date, UNTIL)
    part = next(p for p in of(day).parts() if p.category == "events")
    file = folder / part.path / "event_payloads.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(Waits, match=f"{part.path}/event_payloads.parquet is damaged"):
        delete_person(day.stores, ANN, "tester")
    file.write_bytes(content)
    (done,) = finish_open(day.stores, KINDS)
    assert deletions(day.stores, datetime.now(UTC) + timedelta(days=2)).status == "ok"
    rows = {each.where: each.rows for each in done.erased}
    assert (rows["lake.events"], rows["archive.events"], rows["archive.attachments"]) == (1, 5, 2)
    assert in_archive(folder) == everywhere(day.stores) == NOWHERE
    with day.stores.state.read() as connection:
        (data,) = connection.execute(select(erasures.c.data)).scalars()
    assert set(data) == {"superseded"}
    restored(day)
    assert {name: day.rows(name) for name in kept} == kept


MOMENTS = {
    "new files there, not noted": Moment(progress.Superseded, "note", after=False),
    "noted, not published": Moment(progress.Superseded, "note"),
    "published, old files there": Moment(Archive, "publish"),
    "followers gone": Moment(archives.Archives, "take_followers"),
    "rows of the lake gone": Moment(erase, "remove_rows"),
    "half swept": Moment(rewrite, "_digests"),
    "all gone, not told": Moment(archives.Archives, "take_owners"),
}


@pytest.fixture(scope="module")
def archived(
    _new_home: Home, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Home, dict[str, list[object]]]:
    home = Home(root=tmp_path_factory.mktemp("archived") / "home")
    shutil.copytree(_new_home.root, home.root, symlinks=True, ignore=shutil.ignore_patterns("run"))
    with open_stores(home) as stores:
        _, kept = planted_and_archived(archiving(Day(stores, FIRST, PROJECT), home.root.with_name("archive")))
    return home, kept


def delete_and_leave(home: Home, into: Path) -> None:
    """For a process of its own."""
    with open_stores(home) as stores, left_at(MOMENTS, home.root.parent, into):
        day = archiving(Day(stores, FIRST, PROJECT), home.root.with_name("archive"))
        delete_person(day.stores, ANN, "tester")


@pytest.fixture(scope="module")
def left(
    archived: tuple[Home, dict[str, list[object]]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, list[object]]]:
    """What a deletion leaves that is killed at each moment; and rows of others."""
    home, kept = archived
    into = tmp_path_factory.mktemp("left")
    assert run_in_process(delete_and_leave, home, into) == 0
    return into, kept


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_deletion_killed_within_the_archive_is_finished_by_the_next(
    left: tuple[Path, dict[str, list[object]]], moment: str
) -> None:
    into, kept = left
    home = Home(root=into / moment / "home")
    folder = home.root.with_name("archive")
    with open_stores(home) as stores:
        day = archiving(Day(stores, FIRST, PROJECT), folder)
        (done,) = finish_open(day.stores, KINDS)
        assert in_archive(folder) == everywhere(stores) == NOWHERE
        rows = {each.where: each.rows for each in done.erased}
        assert (rows["archive.events"], rows["archive.attachments"]) == (5, 2)
        assert verify_archive(of(day)).ok
        restored(day)
        assert {name: day.rows(name) for name in kept} == kept
