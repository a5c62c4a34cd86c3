"""kill -9 of archiving, restoring and rewriting at every step: nothing kept is lost, nothing deleted comes back, and the next run finishes
the work."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks_pipeline.archive import restore, write
from tasks_pipeline.archive.restore import restore_day
from tasks_pipeline.archive.store import Archive
from tasks_pipeline.archive.verify import verify_archive
from tasks_pipeline.home import Home
from tasks_pipeline.retention import lake as retention_lake
from tasks_pipeline.retention.blobs import delete_old_file_attachments
from tasks_pipeline.retention.cleanup import cleanup_old_events
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.targets import Tree
from tasks_pipeline.stores import open_stores
from tests.integration.test_archive import UNTIL, archiving, fill, of, taken_out
from tests.support.crash import Moment, at, die, left_at, run_in_process
from tests.support.day import Day

FIRST = date(2020, 1, 1)
PROJECT = 1000
NOW = datetime(2020, 8, 1, 2, tzinfo=UTC)
ARCHIVE_MOMENTS = {
    "rows written, not their groups": Moment(write._PartBeingWritten, "_of_state", after=False),
    "all files, no manifest": Moment(Archive, "publish", after=False),
    "manifest, not noted": Moment(Archive, "publish"),
    "noted, not removed": Moment(retention_lake, "note_going"),
    "removed": Moment(Lake, "drop"),
    "the former part is none any more": Moment(Tree, "remove"),
}
RESTORE_MOMENTS = {
    "noted, nothing done": Moment(restore, "note_restoring"),
    "groups made": Moment(restore, "bring_back"),
    "files written": Moment(Lake, "register", after=False),
    "rows are there, not counted": Moment(Lake, "register"),
    "counted, not noted": Moment(restore, "note_restored", after=False),
}


@contextmanager
def day_of(home: Home) -> Iterator[Day]:
    """The day of a home, whose installation has its archive beside it."""
    with open_stores(home) as stores:
        yield archiving(Day(stores, FIRST, PROJECT), home.root.with_name("archive"))


def clean(day: Day) -> None:
    cleanup_old_events(day.stores, NOW)
    delete_old_file_attachments(day.stores, NOW)


def clean_and_die(home: Home, moment: str) -> None:
    """For a process of its own."""
    with day_of(home) as day, at(ARCHIVE_MOMENTS[moment], die):
        clean(day)


def clean_for(home: Home, seconds: float) -> None:
    """The same, until some moment."""
    with day_of(home) as day:
        threading.Timer(seconds, die).start()
        clean(day)
    die()


def restore_and_leave(home: Home, into: Path) -> None:
    """The same of a restore, copied at each moment."""
    with day_of(home) as day, left_at(RESTORE_MOMENTS, home.root.parent, into):
        restore_day(day.stores, of(day), FIRST, UNTIL)


def rewrite_and_die(home: Home) -> None:
    with day_of(home) as day, at(Moment(Archive, "publish"), die):
        taken_out(day, {"events": "user_id = '1'"})


@dataclass(frozen=True)
class Filled:
    """A home with a day, one whose day is archived and gone, and what the day was."""

    home: Home
    gone: Home
    lake: dict[str, Any]
    groups: list[Any]

    def copy(self, of_home: Home, to: Path) -> Home:
        shutil.copytree(of_home.root.parent, to, symlinks=True, ignore=shutil.ignore_patterns("run"))
        return Home(root=to / "home")


@pytest.fixture(scope="module")
def filled(_new_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    root = tmp_path_factory.mktemp("filled")
    home, gone = Home(root=root / "there" / "home"), Home(root=root / "gone" / "home")
    shutil.copytree(_new_home.root, home.root, symlinks=True, ignore=shutil.ignore_patterns("run"))
    with day_of(home) as day:
        fill(day)
        for digest in day.stores.blobs.digests():
            os.utime(day.stores.blobs.local_path(digest) or "", (0, 0))
        made = Filled(home, gone, day.lake(), day.state()["groups"])
    made.copy(home, gone.root.parent)
    with day_of(gone) as day:
        clean(day)
    return made


def assert_archived_once(home: Home, filled: Filled) -> None:
    """After another cleanup: the lake holds nothing of the day, and the archive all of it, once."""
    with day_of(home) as day:
        clean(day)
        assert not any(day.lake().values())
        assert (day.groups(), day.state()["event_ids"], list(day.stores.blobs.digests())) == ([], [], [])
        report = verify_archive(of(day))
        assert (report.problems, report.unfinished) == ([], [])
        assert report.rows == sum(map(len, filled.lake.values()))
        assert_restored(day, filled)


def assert_restored(day: Day, filled: Filled) -> None:
    restore_day(day.stores, of(day), FIRST, UNTIL)
    assert day.lake() == filled.lake
    assert day.state()["groups"] == filled.groups
    assert len(list(day.stores.blobs.digests())) == 2
    day.assert_balanced()
    cleanup_old_events(day.stores, NOW)
    assert day.lake() == filled.lake


@pytest.mark.slow
@pytest.mark.parametrize("moment", [m for m in ARCHIVE_MOMENTS if not m.startswith("the former")])
def test_an_archiving_that_is_killed_is_finished_by_the_next(
    filled: Filled, tmp_path: Path, moment: str
) -> None:
    home = filled.copy(filled.home, tmp_path / "copy")
    assert run_in_process(clean_and_die, home, moment) == -signal.SIGKILL
    if moment == "manifest, not noted":  # and the next one too, while it replaces what that left
        assert run_in_process(clean_and_die, home, "the former part is none any more") == -signal.SIGKILL
    assert_archived_once(home, filled)


@pytest.mark.slow
def test_one_killed_at_any_moment_too(filled: Filled, tmp_path: Path) -> None:
    home, dice = filled.copy(filled.home, tmp_path / "copy"), random.Random()
    moments = [dice.uniform(0, 1.5) for _ in range(3)]
    for seconds in moments:
        assert run_in_process(clean_for, home, seconds) == -signal.SIGKILL, moments
    assert_archived_once(home, filled)


@pytest.fixture(scope="module")
def left(filled: Filled, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a restore leaves that is killed at each moment."""
    into = tmp_path_factory.mktemp("left")
    assert run_in_process(restore_and_leave, filled.copy(filled.gone, into / "copy"), into) == 0
    return into


@pytest.mark.slow
@pytest.mark.parametrize("moment", RESTORE_MOMENTS)
def test_a_restore_that_is_killed_is_finished_by_the_next(filled: Filled, left: Path, moment: str) -> None:
    with day_of(Home(root=left / moment / "home")) as day:
        there = day.lake()
        assert there == filled.lake or not any(there.values())
        cleanup_old_events(day.stores, NOW)
        assert day.lake() == there
        assert_restored(day, filled)


@pytest.mark.slow
def test_rows_that_were_taken_out_stay_out(filled: Filled, tmp_path: Path) -> None:
    home = filled.copy(filled.gone, tmp_path / "copy")
    assert run_in_process(rewrite_and_die, home) == -signal.SIGKILL
    with day_of(home) as day:
        archive = of(day)
        assert taken_out(day, {"events": "user_id = '1'"}) == {}
        files = [path for path in archive.tree.find() if "/events." in path]
        assert [path.rpartition("/")[2] for path in files] == ["events.2.parquet"]
        assert verify_archive(archive).problems == []
