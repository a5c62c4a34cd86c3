"""Blobs come back as they went in, under names that cannot leave the store, from a folder and from a URL."""

from __future__ import annotations

import hashlib
import os
import stat
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks_pipeline.storage.blobs import BlobMissing, BlobStore

ABSENT = "0" * 64


@pytest.fixture(params=["folder", "file-url", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobStore]:
    name = uuid.uuid4().hex
    urls = {
        "folder": str(tmp_path / "blobs"),
        "file-url": f"file://{tmp_path}/blobs/",
        "memory": f"memory://bucket/{name}",
    }
    yield BlobStore(urls[request.param])
    if request.param == "memory":
        memory = fsspec.filesystem("memory")
        if memory.exists(f"/bucket/{name}"):
            memory.rm(f"/bucket/{name}", recursive=True)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=2000))
def test_what_is_put_can_be_got(store: BlobStore, data: bytes) -> None:
    digest = store.put(data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert store.get(digest) == data
    assert store.size(digest) == len(data)
    assert store.exists(digest)
    with store.open(digest) as file:
        assert file.read(10) + file.read() == data


def test_putting_again_changes_nothing(store: BlobStore) -> None:
    first, again, other = store.put(b"same"), store.put(b"same"), store.put(b"other")
    assert first == again != other
    assert sorted(store.digests()) == sorted([first, other])


def test_what_is_missing_says_so(store: BlobStore) -> None:
    assert not store.exists(ABSENT)
    assert list(store.digests()) == []
    store.delete(ABSENT)
    for method in (store.get, store.open, store.size):
        with pytest.raises(BlobMissing, match=ABSENT):
            method(ABSENT)


def test_a_deleted_blob_is_gone(store: BlobStore) -> None:
    kept, deleted = store.put(b"kept"), store.put(b"deleted")
    store.delete(deleted)
    assert list(store.digests()) == [kept]
    assert not store.exists(deleted)
    with pytest.raises(BlobMissing):
        store.get(deleted)
    assert store.put(b"deleted") == deleted, "and can come back"
    assert store.get(deleted) == b"deleted"


@pytest.mark.parametrize(
    "digest", ["", "..", "../../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n", "/" + "a" * 63, "é" * 64]
)
def test_a_digest_is_never_a_path(store: BlobStore, digest: str) -> None:
    for method in (store.get, store.open, store.exists, store.size, store.delete):
        with pytest.raises(ValueError, match="digest"):
            method(digest)


def test_digests_are_listed_in_order_and_see_what_others_put(tmp_path: Path) -> None:
    store, other = BlobStore(str(tmp_path / "blobs")), BlobStore(str(tmp_path / "blobs"))
    assert list(store.digests()) == []
    expected = sorted(other.put(b"%d" % n) for n in range(50))
    assert list(store.digests()) == expected


def test_strange_files_are_not_blobs(tmp_path: Path) -> None:
    store = BlobStore(str(tmp_path / "blobs"))
    digest = store.put(b"data")
    folder = tmp_path / "blobs" / digest[:2]
    (folder / f".{digest}.12345678").write_bytes(b"half of a killed write")
    (tmp_path / "blobs" / "lost+found").mkdir()
    assert list(store.digests()) == [digest]


def test_threads_that_put_the_same_bytes_agree(tmp_path: Path) -> None:
    store = BlobStore(str(tmp_path / "blobs"))
    data = os.urandom(200_000)
    with ThreadPoolExecutor(4) as pool:
        digests = set(pool.map(lambda _: store.put(data), range(16)))
    assert digests == {hashlib.sha256(data).hexdigest()}
    assert store.get(digests.pop()) == data
    files = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert len(files) == 1, "no temporary file is left"


def test_only_the_owner_can_read_a_folder_of_blobs(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        BlobStore(str(tmp_path / "blobs")).put(b"private")
    finally:
        os.umask(before)
    modes = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "blobs").rglob("*")}
    assert modes == {True: 0o700, False: 0o600}
    assert stat.S_IMODE((tmp_path / "blobs").stat().st_mode) == 0o700


def test_a_failed_put_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = BlobStore(str(tmp_path / "blobs"))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            store.put(b"data")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert store.get(store.put(b"data")) == b"data"
