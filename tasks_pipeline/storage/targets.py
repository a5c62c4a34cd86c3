"""Places outside of the home that files are stored in under names: a folder, or object storage. A file appears whole and durable, or
not at all. What the files mean is known elsewhere: `backup`, `archive`."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from tasks_pipeline.storage.disk import make_folder, sync_folder

PIECE = 1024 * 1024
_DRAFT = ".draft-"
"""Names of files in a folder that are not whole yet begin so."""


class TargetUnusable(Exception):
    """What should be a folder or URL is neither; the message says why."""


class Tree:
    """Files by their names below a folder or an fsspec URL (`s3://bucket/prefix`, `memory://name`). Trouble with it is OSError, as
    everywhere in fsspec."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._fs, root = url_to_fs(self.url, use_listings_cache=False)
        self._root = str(root).rstrip("/")
        self._local = isinstance(self._fs, LocalFileSystem)

    @property
    def folder(self) -> Path | None:
        """The folder that it is; None for object storage."""
        return Path(self._root) if self._local else None

    def names(self, path: str = "") -> list[str]:
        """Names of what lies at a path, in order; drafts are not among them."""
        try:
            found = self._fs.ls(self._path(path), detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        names = (str(each).rstrip("/").rpartition("/")[2] for each in found)
        return sorted(name for name in names if not name.startswith("."))

    def find(self, path: str = "") -> list[str]:
        """Paths of all files below a path, in order; drafts are not among them."""
        prefix = f"{self._root}/"
        found = (str(each).removeprefix(prefix) for each in self._fs.find(self._path(path)))
        return sorted(each for each in found if not each.rpartition("/")[2].startswith("."))

    def size(self, path: str) -> int:
        """Bytes of a file. Raises FileNotFoundError."""
        return int(self._fs.size(self._path(path)))

    def read(self, path: str) -> bytes:
        """The bytes of a small file. Raises FileNotFoundError."""
        return bytes(self._fs.cat_file(self._path(path)))

    def open(self, path: str) -> IO[bytes]:
        """A file to read from; close it. Raises FileNotFoundError."""
        file: IO[bytes] = self._fs.open(self._path(path), "rb")
        return file

    def publish(self, path: str, data: bytes) -> None:
        """Store a small file, in the place of what has this name."""
        with self.draft() as draft:
            draft.write(data)
            draft.keep(path)

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone is fine."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._path(path))

    def remove_folder(self, path: str) -> None:
        """Remove all files below a path; none is fine."""
        with suppress(FileNotFoundError):
            self._fs.rm(self._path(path), recursive=True)

    @contextmanager
    def draft(self) -> Iterator[Draft]:
        """A local file to write to, which becomes a file of this with `keep` or else is gone at the end."""
        if self._local:
            make_folder(Path(self._root))
        descriptor, name = tempfile.mkstemp(dir=self._root if self._local else None, prefix=_DRAFT)
        with os.fdopen(descriptor, "wb") as file:
            try:
                yield Draft(Path(name), file, self)
            finally:
                Path(name).unlink(missing_ok=True)

    def drop_drafts(self) -> None:
        """Remove drafts that killed processes left behind in a folder, when nobody writes to it."""
        for path in Path(self._root).glob(f"{_DRAFT}*") if self._local else ():
            path.unlink(missing_ok=True)

    @contextmanager
    def local(self, path: str) -> Iterator[tuple[Path, str, int]]:
        """A file as a local one for the time of the block, with the sha256 and number of its bytes. Raises FileNotFoundError."""
        if self._local:
            place = Path(self._path(path))
            with place.open("rb") as source:
                digest, size = copied(source)
            yield place, digest, size
            return
        with tempfile.NamedTemporaryFile(prefix="copy-") as copy:
            with self.open(path) as source:
                digest, size = copied(source, copy)
            copy.flush()
            yield Path(copy.name), digest, size

    def _keep(self, draft: Path, path: str) -> None:
        target = self._path(path)
        if not self._local:
            self._fs.put_file(str(draft), target)
            return
        make_folder(Path(target).parent)
        draft.replace(target)
        sync_folder(Path(target).parent)

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root


class Draft:
    """Bytes that may become a file: `write` them, then `keep` them under a name or not."""

    def __init__(self, path: Path, file: IO[bytes], tree: Tree) -> None:
        self.size = 0
        self._path, self._file, self._tree = path, file, tree
        self._hash: Any = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Append bytes. Raises OSError."""
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

    def keep(self, path: str) -> None:
        """Make it a file, durably. Nothing may be written afterwards."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._tree._keep(self._path, path)


class Written(Protocol):
    """What can be written to and knows how much that was: a draft of a file, or of a blob."""

    @property
    def size(self) -> int:
        """Bytes so far."""

    def write(self, data: bytes) -> None:
        """Append bytes."""

    def flush(self) -> None:
        """Let others see them."""


class Sink:
    """A draft as the file that libraries write to."""

    closed = False

    def __init__(self, draft: Written) -> None:
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
    """A folder as its whole path, a URL as it is. Raises TargetUnusable for what is neither."""
    found = url if "://" in url else str(Path(url).expanduser().resolve())
    try:
        url_to_fs(found)
    except (ImportError, ValueError) as error:
        raise TargetUnusable(f"{url} is no folder and no URL that can be used: {error}") from error
    return found


def pieces_of(source: IO[bytes]) -> Iterator[bytes]:
    """The bytes of an open file."""
    while piece := source.read(PIECE):
        yield piece


def copied(source: IO[bytes], copy: IO[bytes] | None = None) -> tuple[str, int]:
    """The sha256 and number of the bytes of an open file, which are written to another one on the way."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces_of(source):
        digest.update(piece)
        size += len(piece)
        if copy is not None:
            copy.write(piece)
    return digest.hexdigest(), size
