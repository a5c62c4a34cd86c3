"""Drafts of blobs: kept ones are blobs, others are gone, and what a kill leaves can be removed."""

from __future__ import annotations

import hashlib
import os
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks_pipeline.storage.blobs import BlobMissing, BlobStore


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return BlobStore(str(tmp_path) if request.param == "folder" else f"memory://{uuid.uuid4().hex}")


def test_a_kept_draft_is_a_blob_and_the_others_are_gone(store: BlobStore) -> None:
    paths = []
    for keep in (False, True, True):
        with store.draft() as draft:
            draft.write(b"in ")
            draft.write(b"pieces")
            draft.flush()
            assert draft.path.read_bytes() == b"in pieces"
            assert draft.size == 9
            paths.append(draft.path)
            if keep:
                assert draft.keep() == hashlib.sha256(b"in pieces").hexdigest()
        assert not draft.path.exists()
    (digest,) = store.digests()
    assert store.get(digest) == b"in pieces"


def test_a_draft_is_gone_after_an_error(store: BlobStore) -> None:
    with pytest.raises(ZeroDivisionError), store.draft() as draft:
        raise ZeroDivisionError
    assert not draft.path.exists()
    assert list(store.digests()) == []


def test_what_a_kill_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    store = BlobStore(str(tmp_path))
    with store.draft() as young:
        folder = young.path.parent
        (folder / "unzip-1").mkdir()
        (folder / "unzip-1" / "0").write_bytes(b"a")
        (folder / "blob-1").write_bytes(b"b")
        for name in ("unzip-1", "blob-1"):
            os.utime(folder / name, (0, 0))
        assert store.drop_drafts(datetime.now(UTC) - timedelta(hours=1)) == 2
        assert list(folder.iterdir()) == [young.path]
    assert BlobStore(str(tmp_path / "none")).drop_drafts(datetime.now(UTC)) == 0


def test_a_blob_as_a_local_file(tmp_path: Path) -> None:
    store, remote = BlobStore(str(tmp_path)), BlobStore(f"memory://{uuid.uuid4().hex}")
    path = store.local_path(store.put(b"here"))
    assert path is not None
    assert path.read_bytes() == b"here"
    assert remote.local_path(remote.put(b"there")) is None
    with pytest.raises(BlobMissing):
        store.local_path("0" * 64)
