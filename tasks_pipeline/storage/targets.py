"""Places outside of the home that files are stored in under names: a folder, or object storage. A file appears whole and durable, or
not at all. What the files mean is known elsewhere: `backup`, `archive`."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fsspec.implementations.local import LocalFileSystem

from tasks_pipeline.storage import remote
from tasks_pipeline.storage.disk import make_folder, sync_folder
from tasks_pipeline.storage.remote import Pace, TooLarge, Trouble
from tasks_pipeline.storage.scratch import scratch

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PIECE = 1024 * 1024
FAR_PIECE = 8 * PIECE
"""Bytes that are asked for at once from object storage: each has a deadline of its own."""
_DRAFTS = ".drafts"
"""Folder within a folder for files that are not whole yet; on the same disk, so that they become whole by a rename."""


class TargetUnusable(Exception):
    """What should be a folder or URL is neither; the message says why."""


class Tree:
    """Files by their names below a folder or an fsspec URL (`s3://bucket/prefix`, `memory://name`). Trouble with it is OSError, which
    comes in bounded time from object storage; `pace` bounds all that one piece of work does with it."""

    def __init__(self, url: str, pace: Pace | None = None) -> None:
        self.url = url.rstrip("/")
        self._fs, self._root = remote.open_place(self.url)
        self._pace = pace
        self._local = isinstance(self._fs, LocalFileSystem)

    @property
    def folder(self) -> Path | None:
        """The folder that it is; None for object storage."""
        return Path(self._root) if self._local else None

    def names(self, path: str = "") -> list[str]:
        """Names of what lies at a path, in order; hidden ones, such as drafts, are not among them."""
        try:
            if self._local:
                found = [entry.name for entry in os.scandir(self._path(path))]
            else:
                found = [str(each) for each in self._call("ls", self._path(path), detail=False)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (each.rstrip("/").rpartition("/")[2] for each in found)
        return sorted(name for name in names if not name.startswith("."))

    def find(self, path: str = "") -> list[str]:
        """Paths of all files below a path, in order; hidden ones are not among them."""
        prefix = f"{self._root}/"
        found = _files_below(self._path(path)) if self._local else self._call("find", self._path(path))
        paths = (str(each).removeprefix(prefix) for each in found)
        return sorted(each for each in paths if not any(word.startswith(".") for word in each.split("/")))

    def details(self, path: str = "") -> Iterator[tuple[str, int, datetime | None]]:
        """Path, bytes and time of writing of all files below a path, hidden ones too."""
        prefix = f"{self._root}/"
        if not self._local:
            found = self._call("find", self._path(path), detail=True)
            for name, about in found.items():
                yield str(name).removeprefix(prefix), int(about["size"] or 0), remote.written_at(about)
            return
        for name in _files_below(self._path(path)):
            with suppress(FileNotFoundError):  # its process has just finished with it
                about = Path(name).stat()
                yield name.removeprefix(prefix), about.st_size, datetime.fromtimestamp(about.st_mtime, UTC)

    def size(self, path: str) -> int:
        """Bytes of a file. Raises FileNotFoundError."""
        if self._local:
            return Path(self._path(path)).stat().st_size
        return int(self._call("info", self._path(path))["size"])

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        try:
            self.size(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def modified(self, path: str) -> datetime:
        """When a file was last written. Raises FileNotFoundError."""
        if self._local:
            return datetime.fromtimestamp(Path(self._path(path)).stat().st_mtime, UTC)
        found = remote.written_at(self._call("info", self._path(path)))
        if found is None:
            raise Trouble(f"{self._path(path)}: this kind of storage does not say when something was written")
        return found

    def read(self, path: str, most: int | None = None) -> bytes:
        """The bytes of a small file. Raises FileNotFoundError, and TooLarge for one of more bytes than may be."""
        size = self.size(path)
        if most is not None and size > most:
            raise TooLarge(f"{self._path(path)} has {size:,} bytes; allowed are {most:,}")
        if self._local:
            return Path(self._path(path)).read_bytes()
        return bytes(self._call("cat_file", self._path(path), size=size))

    def open(self, path: str) -> IO[bytes]:
        """A file to read from; close it. Raises FileNotFoundError."""
        if self._local:
            return Path(self._path(path)).open("rb")
        return io.BufferedReader(_Far(self, path, self.size(path)), PIECE)

    def publish(self, path: str, data: bytes) -> None:
        """Store a small file, in the place of what has this name."""
        if not self._local:
            self._call("pipe_file", self._path(path), data, size=len(data))
            return
        with self.draft() as draft:
            draft.write(data)
            draft.keep_as(path)

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone is fine."""
        with suppress(FileNotFoundError):
            if self._local:
                Path(self._path(path)).unlink()
            else:
                self._call("rm_file", self._path(path))

    def remove_folder(self, path: str) -> None:
        """Remove all files below a path; none is fine."""
        with suppress(FileNotFoundError):
            if self._local:
                shutil.rmtree(self._path(path))
            else:
                self._call("rm", self._path(path), recursive=True)

    @contextmanager
    def drafted(self) -> Iterator[tuple[Path, IO[bytes]]]:
        """A local file to write to, gone at the end unless `keep` took it. What lies beside it goes too, sooner or later."""
        if self._local:
            folder = Path(self._root, _DRAFTS)
            make_folder(folder)
            descriptor, name = tempfile.mkstemp(dir=folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    yield Path(name), file
            finally:
                Path(name).unlink(missing_ok=True)
            return
        with (
            scratch() as folder,
            open(os.open(folder / "draft", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file,
        ):
            yield folder / "draft", file

    @contextmanager
    def draft(self) -> Iterator[Draft]:
        """A local file to write to, which becomes a file of this with `keep_as` or else is gone at the end."""
        with self.drafted() as (path, file):
            yield Draft(path, file, self)

    def drop_drafts(self, older_than: datetime) -> int:
        """Remove drafts that killed processes left behind in a folder before a moment; gives how many. Those on their way to object
        storage are gone sooner."""
        dropped = 0
        for path in Path(self._root, _DRAFTS).glob("*") if self._local else ():
            with suppress(FileNotFoundError):  # its process has just finished with it
                if datetime.fromtimestamp(path.stat().st_mtime, UTC) < older_than:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                    dropped += 1
        return dropped

    @contextmanager
    def local(self, path: str) -> Iterator[tuple[Path, str, int]]:
        """A file as a local one for the time of the block, with the sha256 and number of its bytes. Raises FileNotFoundError."""
        if self._local:
            place = Path(self._path(path))
            with place.open("rb") as source:
                digest, size = copied(source)
            yield place, digest, size
            return
        with scratch() as folder, self.open(path) as source:
            expected, free = source.seek(0, io.SEEK_END), shutil.disk_usage(folder).free
            if expected > free:
                raise OSError(
                    errno.ENOSPC,
                    f"{self._path(path)} has {expected:,} bytes, and {folder.parent} has {free:,} left: make room or set TMPDIR",
                )
            source.seek(0)
            with (folder / "copy").open("xb") as copy:
                digest, size = copied(source, copy, FAR_PIECE)
            yield folder / "copy", digest, size

    def keep(self, draft: Path, path: str) -> None:
        """Make a durable local file one of these, whole or not at all; it may be gone afterwards."""
        target = self._path(path)
        if not self._local:
            self._call("put_file", str(draft), target, size=draft.stat().st_size)
            return
        make_folder(Path(target).parent)
        draft.replace(target)
        sync_folder(Path(target).parent)

    def part(self, path: str, start: int, size: int) -> bytes:
        """Bytes of a file in object storage from a position on."""
        found = bytes(self._call("cat_file", self._path(path), start=start, end=start + size, size=size))
        if len(found) != size:
            raise Trouble(f"reading {self._path(path)}: {len(found):,} bytes came instead of {size:,}")
        return found

    def _call(self, name: str, path: str, *arguments: Any, size: int = 0, **named: Any) -> Any:
        return remote.call(self._fs, self._pace, name, path, *arguments, size=size, **named)

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root


class _Far(io.RawIOBase):
    """A file in object storage as one to read from."""

    def __init__(self, tree: Tree, path: str, size: int) -> None:
        self._tree, self._file, self._size, self._at = tree, path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset)
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = memoryview(buffer).cast("B")
        size = min(len(room), FAR_PIECE, max(0, self._size - self._at))
        if size:
            room[:size] = self._tree.part(self._file, self._at, size)
            self._at += size
        return size


def _files_below(folder: str) -> Iterator[str]:
    """All files below a folder. What cannot be looked at is an error, and not nothing."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise error

    for found, _, names in os.walk(folder, onerror=refuse, followlinks=True):
        yield from (f"{found}/{name}" for name in names)


class Draft:
    """Bytes that may become a file: `write` them, look at the file at `path`, then `keep_as` or not."""

    def __init__(self, path: Path, file: IO[bytes], tree: Tree) -> None:
        self.path = path
        self.size = 0
        self._file, self._tree = file, tree
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
        """The sha256 of what was written so far."""
        return str(self._hash.hexdigest())

    def settle(self) -> None:
        """Have all of it on disk. Nothing may be written afterwards."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def keep_as(self, path: str) -> None:
        """Make it a file of this name, durably. Nothing may be written afterwards."""
        self.settle()
        self._tree.keep(self.path, path)


class Sink:
    """A draft as the file that libraries write to."""

    closed = False

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def write(self, data: bytes) -> int:
        self._draft.write(data)
        return len(data)

    def tell(self) -> int:
        return self._draft.size

    def flush(self) -> None:
        self._draft.flush()

    def close(self) -> None:
        """The draft is kept by whoever opened it."""


def target_url(url: str) -> str:
    """A folder as its whole path, a URL as it is. Raises TargetUnusable for what is neither, and for one that holds a password."""
    found = url if "://" in url else str(Path(url).expanduser().resolve())
    if "://" in url and urlsplit(url.rpartition("::")[2]).password is not None:
        raise TargetUnusable(
            "the URL holds a password, which would be written down: credentials belong into the variables of the object storage"
        )
    try:
        remote.open_place(found)
    except (ImportError, ValueError) as error:
        raise TargetUnusable(f"{url} is no folder and no URL that can be used: {error}") from error
    return found


def pieces_of(source: IO[bytes], size: int = PIECE) -> Iterator[bytes]:
    """The bytes of an open file."""
    while piece := source.read(size):
        yield piece


def copied(source: IO[bytes], copy: IO[bytes] | None = None, piece_size: int = PIECE) -> tuple[str, int]:
    """The sha256 and number of the bytes of an open file, which are written to another one on the way."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces_of(source, piece_size):
        digest.update(piece)
        size += len(piece)
        if copy is not None:
            copy.write(piece)
    return digest.hexdigest(), size
