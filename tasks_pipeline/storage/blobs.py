"""Blobs: bytes named by their SHA-256, in a folder or in object storage. What they mean is known elsewhere."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from tasks_pipeline.storage.disk import make_folder, sync_folder

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHARD = re.compile(r"[0-9a-f]{2}")
_DRAFTS = ".drafts"
"""Folder of a local store for files that are not blobs yet; on the same disk, so that they become one by a rename."""


_SWEPT = ".swept"
YOUNG = timedelta(hours=12)
"""Objects are written again when they are older, so that nobody sweeps what was stored again."""


class BlobMissing(Exception):
    """No blob has this digest; the message names it."""


class BlobStore:
    """Blobs below a folder or an fsspec URL (`s3://bucket/prefix`, `memory://name`), at `ab/<digest ab…>`.

    A digest is 64 lower-case hex digits; every method that takes one raises ValueError for anything else. Trouble
    with the storage is OSError, as everywhere in fsspec.
    """

    def __init__(self, url_or_path: str) -> None:
        # A cached listing would not show what other processes put or deleted.
        self._fs, root = url_to_fs(url_or_path, use_listings_cache=False)
        self._root = str(root).rstrip("/")
        self._local = isinstance(self._fs, LocalFileSystem)

    def put(self, data: bytes) -> str:
        """Store bytes and give their digest. On return they are durable; storing them again only makes them young again."""
        digest = hashlib.sha256(data).hexdigest()
        if self._local:
            _put_file(Path(self._path(digest)), data)
        elif not self._is_young(digest):
            self._fs.pipe_file(self._path(digest), data)
        return digest

    @contextmanager
    def draft(self) -> Iterator[BlobDraft]:
        """A local file to write to, which becomes a blob with `keep` or else is gone at the end.

        For what is too large to hold in memory, or must be looked at before it is stored.
        """
        folder = Path(self._root) / _DRAFTS if self._local else None
        if folder is not None:
            make_folder(folder)
        descriptor, name = tempfile.mkstemp(dir=folder, prefix="blob-")
        with os.fdopen(descriptor, "wb") as file:
            draft = BlobDraft(Path(name), file, self)
            try:
                yield draft
            finally:
                draft.path.unlink(missing_ok=True)

    def drop_drafts(self, older_than: datetime) -> int:
        """Remove drafts that killed processes left behind in a local store; gives how many."""
        dropped = 0
        for path in (Path(self._root) / _DRAFTS).glob("*") if self._local else ():
            with suppress(FileNotFoundError):  # its process has just finished with it
                if datetime.fromtimestamp(path.stat().st_mtime, UTC) < older_than:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                    dropped += 1
        return dropped

    def local_path(self, digest: str) -> Path | None:
        """Where a blob lies as a file; None when it lies in object storage. Raises BlobMissing."""
        if not self._local:
            return None
        path = Path(self._path(digest))
        if not path.exists():
            raise BlobMissing(digest)
        return path

    def get(self, digest: str) -> bytes:
        """The bytes of a blob. Raises BlobMissing."""
        try:
            return bytes(self._fs.cat_file(self._path(digest)))
        except FileNotFoundError as error:
            raise BlobMissing(digest) from error

    def open(self, digest: str) -> IO[bytes]:
        """A blob as a binary file to read from; close it. Raises BlobMissing."""
        try:
            file: IO[bytes] = self._fs.open(self._path(digest), "rb")
        except FileNotFoundError as error:
            raise BlobMissing(digest) from error
        return file

    def exists(self, digest: str) -> bool:
        """Whether there is such a blob."""
        return bool(self._fs.exists(self._path(digest)))

    def size(self, digest: str) -> int:
        """Bytes of a blob. Raises BlobMissing."""
        try:
            return int(self._fs.size(self._path(digest)))
        except FileNotFoundError as error:
            raise BlobMissing(digest) from error

    def delete(self, digest: str) -> None:
        """Remove a blob, if it is there."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._path(digest))

    def digests(self, shard: str | None = None) -> Iterator[str]:
        """The digests of all blobs, in order, a shard of 1/256 at a time in memory; or of one shard, its two hex digits."""
        for name in self._names(self._root) if shard is None else [shard]:
            if _SHARD.fullmatch(name):
                yield from filter(_DIGEST.fullmatch, self._names(f"{self._root}/{name}"))

    def old(self, before: datetime) -> Iterator[tuple[str, int]]:
        """Digest and size of the blobs that were last stored before a moment, in order."""
        for shard in filter(_SHARD.fullmatch, self._names(self._root)):
            for digest in filter(_DIGEST.fullmatch, self._names(f"{self._root}/{shard}")):
                with suppress(FileNotFoundError):
                    if self._modified(digest) < before:
                        yield digest, self.size(digest)

    def settle(self, before: datetime) -> None:
        """Put back what a killed process was about to sweep, and remove what others were writing before a moment."""
        for shard in filter(_SHARD.fullmatch, self._names(self._root) if self._local else ()):
            _settle_folder(Path(self._root, shard), before)

    def sweep(self, digest: str, before: datetime) -> bool:
        """Remove a blob unless it was stored again since that moment; gives whether. Whoever stores it at the same time has it."""
        path = self._path(digest)
        if not self._local:
            with suppress(FileNotFoundError):
                if self._modified(digest) < before:
                    self._fs.rm_file(path)
                    return True
            return False
        aside = Path(path).with_name(f".{digest}{_SWEPT}")
        with suppress(FileNotFoundError):
            Path(path).rename(aside)  # from here on whoever stores it writes it anew
            if _modified_at(aside) < before:
                aside.unlink()
                return True
            _put_back(aside)
        return False

    def _modified(self, digest: str) -> datetime:
        found: datetime = self._fs.modified(self._path(digest))
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def _is_young(self, digest: str) -> bool:
        """Whether there is such a blob and nobody is about to sweep it."""
        try:
            return datetime.now(UTC) - self._modified(digest) < YOUNG
        except FileNotFoundError:
            return False

    def _keep(self, path: Path, digest: str) -> None:
        """Make a durable local file a blob; the file may be gone afterwards."""
        target = self._path(digest)
        if not self._local:
            if not self._is_young(digest):
                self._fs.put_file(str(path), target)
            return
        make_folder(Path(target).parent)
        path.replace(target)
        sync_folder(Path(target).parent)

    def _names(self, folder: str) -> list[str]:
        try:
            paths = self._fs.ls(folder, detail=False)
        except FileNotFoundError:
            return []
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in paths)

    def _path(self, digest: str) -> str:
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"digest: found {digest[:80]!r}, allowed are 64 lower-case hex digits")
        return f"{self._root}/{digest[:2]}/{digest}"


class BlobDraft:
    """Bytes that may become a blob: `write` them, look at the file at `path`, then `keep` it or not."""

    def __init__(self, path: Path, file: IO[bytes], store: BlobStore) -> None:
        self.path = path
        self.size = 0
        self._file = file
        self._store = store
        self._hash: Any = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Append bytes; they are in the file after `flush`. Raises OSError."""
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def flush(self) -> None:
        """Let others that open the file see all of it."""
        self._file.flush()

    @property
    def digest(self) -> str:
        """The digest of what was written so far."""
        return str(self._hash.hexdigest())

    def keep(self) -> str:
        """Make it a blob, durably, and give its digest. Nothing may be written afterwards."""
        self._file.flush()
        os.fsync(self._file.fileno())
        digest = self.digest
        self._store._keep(self.path, digest)
        return digest


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
