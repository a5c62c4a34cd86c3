"""Blobs: bytes named by their SHA-256, in a folder or in object storage. What they mean is known elsewhere."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

from tasks_pipeline.storage.disk import make_folder, sync_folder
from tasks_pipeline.storage.remote import Pace
from tasks_pipeline.storage.targets import Draft, Tree

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHARD = re.compile(r"[0-9a-f]{2}")
_SWEPT = ".swept"
YOUNG = timedelta(hours=12)
"""Objects are written again when they are older, so that nobody sweeps what was stored again."""


class BlobMissing(Exception):
    """No blob has this digest; the message names it."""


class BlobStore:
    """Blobs below a folder or an fsspec URL (`s3://bucket/prefix`, `memory://name`), at `ab/<digest ab…>`.

    A digest is 64 lower-case hex digits; every method that takes one raises ValueError for anything else. Trouble
    with the storage is OSError, as with every `Tree`.
    """

    def __init__(self, url_or_path: str, pace: Pace | None = None) -> None:
        self._tree = Tree(url_or_path, pace)
        self._folder = self._tree.folder

    def put(self, data: bytes) -> str:
        """Store bytes and give their digest. On return they are durable; storing them again only makes them young again."""
        digest = hashlib.sha256(data).hexdigest()
        if self._folder is not None:
            _put_file(self._folder / _path(digest), data)
        elif not self._is_young(digest):
            self._tree.publish(_path(digest), data)
        return digest

    @contextmanager
    def draft(self) -> Iterator[BlobDraft]:
        """A local file to write to, which becomes a blob with `keep` or else is gone at the end.

        For what is too large to hold in memory, or must be looked at before it is stored.
        """
        with self._tree.drafted() as (path, file):
            yield BlobDraft(path, file, self._tree, self)

    def drop_drafts(self, older_than: datetime) -> int:
        """Remove drafts that killed processes left behind; gives how many."""
        return self._tree.drop_drafts(older_than)

    def local_path(self, digest: str) -> Path | None:
        """Where a blob lies as a file; None when it lies in object storage. Raises BlobMissing."""
        if self._folder is None:
            return None
        path = self._folder / _path(digest)
        if not path.exists():
            raise BlobMissing(digest)
        return path

    @contextmanager
    def local(self, digest: str) -> Iterator[tuple[Path, str, int]]:
        """A blob as a local file for the time of the block, with the digest and number of its bytes as they are. Raises BlobMissing."""
        with ExitStack() as stack:
            with _missing(digest):
                found = stack.enter_context(self._tree.local(_path(digest)))
            yield found

    def get(self, digest: str) -> bytes:
        """The bytes of a blob. Raises BlobMissing."""
        with _missing(digest):
            return self._tree.read(_path(digest))

    def open(self, digest: str) -> IO[bytes]:
        """A blob as a binary file to read from; close it. Raises BlobMissing."""
        with _missing(digest):
            return self._tree.open(_path(digest))

    def exists(self, digest: str) -> bool:
        """Whether there is such a blob."""
        return self._tree.exists(_path(digest))

    def size(self, digest: str) -> int:
        """Bytes of a blob. Raises BlobMissing."""
        with _missing(digest):
            return self._tree.size(_path(digest))

    def delete(self, digest: str) -> None:
        """Remove a blob, if it is there."""
        self._tree.remove(_path(digest))

    def digests(self, shard: str | None = None) -> Iterator[str]:
        """The digests of all blobs, in order, a shard of 1/256 at a time in memory; or of one shard, its two hex digits."""
        for name in self._tree.names() if shard is None else [shard]:
            if _SHARD.fullmatch(name):
                yield from filter(_DIGEST.fullmatch, self._tree.names(name))

    def old(self, before: datetime) -> Iterator[tuple[str, int]]:
        """Digest and size of the blobs that were last stored before a moment, in order."""
        for digest in self.digests():
            with suppress(FileNotFoundError):
                if self._tree.modified(_path(digest)) < before:
                    yield digest, self._tree.size(_path(digest))

    def settle(self, before: datetime) -> None:
        """Put back what a killed process was about to sweep, and remove what others were writing before a moment."""
        if self._folder is not None:
            for shard in filter(_SHARD.fullmatch, self._tree.names()):
                _settle_folder(self._folder / shard, before)

    def sweep(self, digest: str, before: datetime) -> bool:
        """Remove a blob unless it was stored again since that moment; gives whether. Whoever stores it at the same time has it."""
        if self._folder is None:
            with suppress(FileNotFoundError):
                if self._tree.modified(_path(digest)) < before:
                    self._tree.remove(_path(digest))
                    return True
            return False
        path = self._folder / _path(digest)
        aside = path.with_name(f".{digest}{_SWEPT}")
        with suppress(FileNotFoundError):
            path.rename(aside)  # from here on whoever stores it writes it anew
            if _modified_at(aside) < before:
                aside.unlink()
                return True
            _put_back(aside)
        return False

    def _is_young(self, digest: str) -> bool:
        """Whether there is such a blob in object storage and nobody is about to sweep it."""
        try:
            return datetime.now(UTC) - self._tree.modified(_path(digest)) < YOUNG
        except FileNotFoundError:
            return False

    def keep(self, path: Path, digest: str) -> None:
        """Make a durable local file a blob; the file may be gone afterwards."""
        if self._folder is not None or not self._is_young(digest):
            self._tree.keep(path, _path(digest))


class BlobDraft(Draft):
    """Bytes that may become a blob: `write` them, look at the file at `path`, then `keep` it or not."""

    def __init__(self, path: Path, file: IO[bytes], tree: Tree, store: BlobStore) -> None:
        super().__init__(path, file, tree)
        self._store = store

    def keep(self) -> str:
        """Make it a blob, durably, and give its digest. Nothing may be written afterwards."""
        self.settle()
        self._store.keep(self.path, self.digest)
        return self.digest


def _path(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"digest: found {digest[:80]!r}, allowed are 64 lower-case hex digits")
    return f"{digest[:2]}/{digest}"


@contextmanager
def _missing(digest: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BlobMissing(digest) from error


def _settle_folder(folder: Path, before: datetime) -> None:
    for path in folder.glob(".*"):
        if path.name.endswith(_SWEPT):
            _put_back(path)
        else:
            with suppress(FileNotFoundError):
                if _modified_at(path) < before:
                    path.unlink()


def _put_back(aside: Path) -> None:
    target = aside.with_name(aside.name[1 : -len(_SWEPT)])
    with suppress(FileExistsError):  # it was stored anew
        os.link(aside, target)
    aside.unlink()


def _modified_at(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _put_file(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, and durable on return."""
    make_folder(path.parent)
    try:
        os.utime(path)  # nobody sweeps what was stored again
    except FileNotFoundError:
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)  # also when another process has just renamed it and not synced yet
