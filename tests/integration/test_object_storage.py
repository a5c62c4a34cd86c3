"""Archives and backups in object storage: a real S3 server, and one that breaks on purpose, which costs bounded time and no data."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from tasks_pipeline.archive.manifest import ArchiveError
from tasks_pipeline.archive.restore import restore_day
from tasks_pipeline.archive.verify import verify_archive
from tasks_pipeline.backup.create import create_backup
from tasks_pipeline.backup.manifest import BackupError
from tasks_pipeline.backup.restore import restore_backup
from tasks_pipeline.backup.target import Target
from tasks_pipeline.backup.verify import verify_backup
from tasks_pipeline.home import Home
from tasks_pipeline.retention.cleanup import cleanup_old_events
from tasks_pipeline.storage import remote, s3
from tasks_pipeline.storage.remote import Pace, Trouble
from tasks_pipeline.storage.targets import Tree
from tasks_pipeline.stores import open_stores
from tests.integration.test_archive import archiving, clean, fill, night, of
from tests.support.day import Day
from tests.support.events import event
from tests.support.s3 import BUCKET, SECRET, Fault, FaultyProxy, forget_clients, reached_s3

PUT, GET = frozenset({"PUT"}), frozenset({"GET"})
BEFORE = date(2020, 1, 2)
"""What was restored until then goes again with the next cleanup."""
REFUSED = "the credentials are refused; allowed are those of this storage"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyProxy]:
    """An S3 server behind a proxy, and the variables by which everybody finds it."""
    with reached_s3(tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.fixture(scope="module")
def day(new_home: Callable[[Path], Home], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """A day of an installation, whose rows each test leaves as they were."""
    with open_stores(new_home(tmp_path_factory.mktemp("home") / "home")) as stores:
        found = Day(stores, date(2020, 1, 1), 1000)
        fill(found)
        yield found


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A place of its own for each test."""
    return f"s3://{BUCKET}/{tmp_path.name}"


# ── there and back


def test_an_archive_and_backups_in_a_bucket(proxy: FaultyProxy, day: Day, url: str, tmp_path: Path) -> None:
    stores, to = day.stores, f"{url}/backups"
    assert create_backup(stores, to).stored > 0
    assert create_backup(stores, to, keep=1).stored == 0
    assert len(Target(to).names()) == 1
    assert verify_backup(Target(to)).ok
    before, kept = day.lake(), archiving(day, f"{url}/archive")
    clean(kept)
    assert not any(day.lake().values())
    assert verify_archive(of(kept)).ok
    restore_day(kept.stores, of(kept), day.date, BEFORE)
    assert day.lake() == before
    assert restore_backup(Home(root=tmp_path / "new"), Target(to)).ok
    with open_stores(Home(root=tmp_path / "new")) as restored:
        assert Day(restored, day.date, day.project).lake() == before
    assert SECRET.encode() not in b"".join(
        p.read_bytes()
        for p in (*tmp_path.rglob("*"), *stores.home.root.rglob("*"))
        if p.is_file() and not p.is_symlink()  # links lead to DuckDB's extensions
    )
    assert list(Path(tempfile.gettempdir(), f"tasks-pipeline-{os.getuid()}").iterdir()) == []


# ── bad weather

PASSING = {
    "busy": Fault("503 SlowDown", times=2),
    "answer lost": Fault("lost-answer", PUT, times=1),
    "cut on the way": Fault("cut", PUT, times=1),
    "answer cut": Fault("cut-answer", GET, times=1),
    "in trouble": Fault("500 InternalError", times=3),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_passes_is_not_noticed(proxy: FaultyProxy, url: str, fault: Fault) -> None:
    fault.done = 0
    with proxy.failing(fault):
        tree = Tree(url)
        tree.publish("a/b", b"0123456789" * 50)
        assert tree.read("a/b") == b"0123456789" * 50
        with tree.local("a/b") as (path, _, size):
            assert (path.stat().st_size, size) == (500, 500)
    assert tree.find() == ["a/b"]


LASTING = {
    "stalls": (Fault("stall"), "did not end within"),
    "drips": (Fault("drip", GET), "did not end within"),
    "answers are lost": (Fault("lost-answer"), "did not end within"),
    "cut": (Fault("cut", PUT), "did not end within"),
    "busy": (Fault("503 SlowDown"), "did not end within"),
    "read-only": (Fault("403 AccessDenied", PUT), "the right to list, read, write and delete"),
    "clock": (Fault("403 RequestTimeTooSkewed"), "the clock of this machine is wrong"),
    "credentials over": (Fault("400 ExpiredToken"), "the credentials are over"),
}


@pytest.mark.parametrize(("fault", "said"), LASTING.values(), ids=LASTING)
def test_what_lasts_ends_in_bounded_time_and_says_why(
    proxy: FaultyProxy, url: str, monkeypatch: pytest.MonkeyPatch, fault: Fault, said: str
) -> None:
    fault.done = 0
    monkeypatch.setattr(remote, "ANSWER", 0.4)
    monkeypatch.setattr(remote, "LISTING", 0.4)
    tree = Tree(url)
    tree.publish("there", b"before")

    def use() -> None:
        tree.names()
        tree.publish("new", b"0" * 100_000)

    began = time.monotonic()
    with proxy.failing(fault), pytest.raises(Trouble, match=said) as caught:
        use()
    assert time.monotonic() - began < 20
    assert f"{BUCKET}/" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert tree.read("there") == b"before"
    assert tree.find() == ["there"]


def test_tries_of_s3fs_and_of_its_driver_are_bounded_together(
    proxy: FaultyProxy, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked, a drain, comes again by itself; meanwhile nothing else of it would go on."""
    monkeypatch.setattr(s3, "TRIES", 1)
    forget_clients()
    tree, begin = Tree(url), len(proxy.log)
    with proxy.failing(Fault("503 SlowDown", PUT)), pytest.raises(Trouble):
        tree.publish("new", b"0" * 1000)
    forget_clients()
    assert sum(method == "PUT" for method, _, _ in proxy.log[begin:]) == 5


def test_a_piece_of_work_ends_when_nothing_comes_forward(
    proxy: FaultyProxy, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "EARNED", 0.0)
    monkeypatch.setattr(remote, "GRACE", 0.001)
    with pytest.raises(Trouble, match="far too little came forward"):
        Tree(url, Pace()).publish("a", b"a")


def test_a_backup_that_cannot_be_written_changes_nothing_and_the_next_is_whole(
    proxy: FaultyProxy, day: Day, url: str
) -> None:
    create_backup(day.stores, url)
    names = Target(url).names()
    for fault in (Fault("403 AccessDenied", PUT, "/backups/"), Fault("403 AccessDenied", PUT, after=1)):
        day.next().send(event("C"))
        with proxy.failing(fault), pytest.raises(BackupError, match="cannot be written") as caught:
            create_backup(day.stores, url)
        assert "the backups that are in it are as they were" in str(caught.value)
        assert Target(url).names() == names
        assert verify_backup(Target(url)).ok
    with proxy.failing(Fault("403 AccessDenied", frozenset({"DELETE", "POST"}))):
        assert any("was not removed" in said for said in create_backup(day.stores, url, keep=1).problems)
    assert create_backup(day.stores, url, keep=1).ok
    assert len(Target(url).names()) == 1
    assert verify_backup(Target(url)).ok


def test_a_day_that_cannot_be_archived_stays_and_goes_the_next_night(
    proxy: FaultyProxy, day: Day, url: str
) -> None:
    kept, before = archiving(day, url), day.lake()
    with proxy.failing(Fault("403 AccessDenied", PUT, after=2)):  # the first manifest
        report = cleanup_old_events(kept.stores, night(kept))
    assert "the right to list, read, write and delete" in str(report.waiting)
    assert day.lake() == before
    assert of(kept).parts() == []
    clean(kept)
    assert not any(day.lake().values())
    with (
        proxy.failing(Fault("403 AccessDenied", GET, "events.parquet")),
        pytest.raises((ArchiveError, Trouble)),
    ):
        restore_day(kept.stores, of(kept), day.date, BEFORE)
    restore_day(kept.stores, of(kept), day.date, BEFORE)
    assert day.lake() == before


# ── wrong places

WRONG = {
    "secret": ({"AWS_SECRET_ACCESS_KEY": "another-secret-of-mine"}, REFUSED),
    "key": ({"AWS_ACCESS_KEY_ID": "nobody"}, REFUSED),
    "none": (
        {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
        "there are no credentials: set AWS_ACCESS_KEY_ID",
    ),
}


@pytest.mark.parametrize(("changed", "said"), WRONG.values(), ids=WRONG)
def test_wrong_credentials_are_told_and_not_shown(
    proxy: FaultyProxy, url: str, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str | None], said: str
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    for name, value in changed.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    forget_clients()
    try:
        with pytest.raises(Trouble, match=said) as caught:
            Tree(url).publish("a", b"a")
    finally:
        forget_clients()
    assert "another-secret-of-mine" not in str(caught.value)


def test_a_missing_bucket_is_not_an_empty_one(proxy: FaultyProxy, day: Day) -> None:
    for act in (Tree("s3://nobody-made-it/a").names, Tree("s3://nobody-made-it/a").find):
        with pytest.raises(Trouble, match="there is no such bucket: make it"):
            act()
    with pytest.raises(BackupError, match="there is no such bucket"):
        create_backup(day.stores, "s3://nobody-made-it/a")
    with pytest.raises(BackupError, match="there is no such bucket"):
        verify_backup(Target("s3://nobody-made-it/a"))
