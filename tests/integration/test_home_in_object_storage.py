"""A home whose files are in object storage: uploads over real HTTP, blobs that retention takes and leaves, and a backup that is restored into
another bucket's prefix."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks_pipeline.backup.create import create_backup
from tasks_pipeline.backup.restore import restore_backup
from tasks_pipeline.backup.target import Target
from tasks_pipeline.erasure.certificate import certificates, write_certificate
from tasks_pipeline.home import Home
from tasks_pipeline.processing.books import books_of_state
from tasks_pipeline.retention.blobs import delete_old_file_attachments
from tasks_pipeline.retention.upload_chunks import drop_stale_chunks
from tasks_pipeline.storage.blobs import BlobStore
from tasks_pipeline.storage.targets import Tree
from tasks_pipeline.stores import open_stores
from tasks_pipeline.upkeep.health import look_at_lake_files
from tests.integration.test_web_api_uploads import (
    Installation,
    running,
    test_a_bundle_becomes_known_to_its_projects,  # noqa: F401
    test_a_chunk_whose_bytes_are_gone_is_asked_for_again,  # noqa: F401
    test_a_debug_file_becomes_known_once,  # noqa: F401
)
from tests.support.backups import everything
from tests.support.day import Day
from tests.support.events import event, item
from tests.support.figures import count
from tests.support.s3 import BUCKET, FaultyProxy, reached_s3
from tests.support.uploads import sha1
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyProxy]:
    with reached_s3(tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.fixture
def far(proxy: FaultyProxy, tmp_path: Path, new_home: Callable[[Path], Home]) -> Home:
    """An embedded home with a place of its own in the bucket."""
    return replace(new_home(tmp_path / "home"), data_url=f"s3://{BUCKET}/{tmp_path.name}")


@pytest.fixture
def any_installation(far: Home) -> Iterator[Installation]:
    with running(far) as found:
        yield found


def test_pieces_of_uploads_go_when_nobody_asked_for_them(any_installation: Installation, far: Home) -> None:
    client = any_installation.client
    client.send({sha1(b"a chunk"): b"a chunk"})
    with open_stores(far) as stores:
        assert drop_stale_chunks(stores, datetime.now(UTC) - timedelta(hours=1)) == 0
        assert drop_stale_chunks(stores, datetime.now(UTC) + timedelta(hours=1)) == 1
    assert list(BlobStore(far.chunks_url).digests()) == []
    assert client.ask_debug_file(b"a chunk", "a")["missingChunks"] == [sha1(b"a chunk")]


def test_blobs_go_with_the_rows_that_need_them_and_no_others(far: Home) -> None:
    with open_stores(far) as stores:
        days = [Day(stores, datetime.now(UTC).date() - timedelta(days=ago), 1) for ago in (60, 1)]
        for day, contents in zip(days, ([b"old", b"of both"], [b"of both"]), strict=True):
            for content in contents:
                day.spool(day.receipt(event("C"), item("attachment", content, filename="core")))
            day.drain()
            count(day, now=day.at() + timedelta(days=3))
        orphan = stores.blobs.put(b"orphan")
        kept = {row["digest"] for row in days[1].rows("attachments")}
        assert len(set(stores.blobs.digests()) - kept - {orphan}) == 1
        delete_old_file_attachments(stores, datetime.now(UTC))
        assert orphan in set(stores.blobs.digests()), "somebody may be about to name it"
        delete_old_file_attachments(stores, datetime.now(UTC) + timedelta(days=2))
        assert set(stores.blobs.digests()) == kept
        assert days[0].rows("attachments") == []
        days[1].assert_balanced()


def test_a_backup_in_object_storage_becomes_another_home_there(far: Home, tmp_path: Path) -> None:
    to = f"s3://{BUCKET}/backups-{tmp_path.name}"
    with open_stores(far) as stores:
        day = Day(stores, datetime.now(UTC).date(), 1)
        for number in range(3):
            day.spool(
                day.receipt(event(f"E{number}"), item("attachment", b"core %d" % number, filename="core"))
            )
            day.drain()
        day.send(event("waits"))
        write_certificate(far, {"id": "of-a-deletion", "done_at": "2026-11-22"})
        there = everything(stores)
        assert create_backup(stores, to).problems == ()
        day.send(event("later"))
    objects = {name for name in Tree(far.data_url).find() if not name.startswith("backups")}
    assert any(name.startswith("blobs/") for name in objects)
    assert "certificates/of-a-deletion.json" in objects
    new = Home(root=tmp_path / "new", data_url=f"s3://{BUCKET}/new-{tmp_path.name}")
    restore_backup(new, Target(to))
    assert [each["path"] for each in certificates(new)] == [f"{new.data_url}/certificates/of-a-deletion.json"]
    with open_stores(new) as stores:
        assert everything(stores) == there
        day = Day(stores, day.date, 1)
        day.drain()
        day.assert_balanced()
        assert books_of_state(stores, day.date).stored == 7
        assert len(day.rows("events")) == 4


def test_a_backup_while_events_come_holds_all_that_came_before(far: Home, tmp_path: Path) -> None:
    """Restored elsewhere every event can be read, the books balance, and files and catalog agree."""
    to, over, sent = f"s3://{BUCKET}/backups-{tmp_path.name}", threading.Event(), list[str]()

    def come(day: Day) -> None:
        while not over.is_set():
            sent.extend(day.send(event("A"), event("B")))
            day.drain()

    with open_stores(far) as stores:
        day = Day(stores, datetime.now(UTC).date(), 1)
        coming = threading.Thread(target=come, args=(day,))
        coming.start()
        try:
            wait_for("events", lambda: len(sent) >= 6)
            before = set(sent)
            assert create_backup(stores, to).problems == ()
        finally:
            over.set()
            coming.join()
    new = Home(root=tmp_path / "new", data_url=f"s3://{BUCKET}/new-{tmp_path.name}")
    restore_backup(new, Target(to))
    with open_stores(new) as stores:
        day = Day(stores, day.date, 1)
        day.drain()
        ids = day.ids()
        assert before <= set(ids) <= set(sent)
        assert len(ids) == len(set(ids)) == len(day.rows("event_payloads"))
        day.assert_balanced()
        assert look_at_lake_files(stores, datetime.now(UTC)).missing == []
