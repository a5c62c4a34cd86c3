"""Where backups lie: files by the sha256 of their bytes, each once however many backups hold it, and manifests, which appear last.

```
files/ab/<sha256>            what never changes is stored once
backups/<time>-<hash>.json   a backup; without one the files are nothing
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks_pipeline.backup.manifest import BackupError, File, Manifest, decode, encode
from tasks_pipeline.storage.blobs import BlobDraft, BlobMissing, BlobStore
from tasks_pipeline.storage.remote import Pace, TooLarge
from tasks_pipeline.storage.targets import Sink, TargetUnusable, Tree, pieces_of, target_url

FILE_BYTES = 64 * 1024 * 1024
"""Rows of so many bytes in memory make a file."""
MANIFEST_BYTES = 512 * 1024 * 1024
"""At most: of a manifest with two million files."""


class Damaged(Exception):
    """A file of a backup is gone or is not what it was; the message says which and what to do."""


class Target:
    """A folder or fsspec URL that holds the backups of one installation. Trouble with it is OSError, as everywhere in fsspec.

    `known` are the files that need not be stored again, `stored` the bytes of those that were.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        pace = Pace()
        self.files = BlobStore(f"{self.url}/files", pace)
        self._manifests = Tree(f"{self.url}/backups", pace)
        self.known: set[str] = set()
        self.stored = 0

    def look_around(self) -> None:
        """Find out what is stored here, so that it is not stored again."""
        self.known = set(self.files.digests())

    def names(self) -> list[str]:
        """The names of all backups, oldest first."""
        found = self._manifests.names()
        return [name.removesuffix(".json") for name in found if name.endswith(".json")]

    def choose(self, name: str | None) -> tuple[str, Manifest]:
        """A backup by its name or how that begins, the newest without one. Raises BackupError."""
        found = self.find(name)
        return found, self.manifest(found)

    def find(self, name: str | None) -> str:
        """The whole name of a backup, by how that begins; of the newest without one. Raises BackupError."""
        names = self.names()
        if not names:
            raise BackupError(f"there is no backup in {self.url}")
        found = [known for known in names if known.startswith(name or "")]
        if not found or (name and len(found) > 1):
            raise BackupError(
                f"{'several backups begin' if found else 'no backup begins'} with {name!r}: `backup list` names them"
            )
        return found[-1]

    def manifest(self, name: str) -> Manifest:
        """A backup by its whole name. Raises BackupError when it is damaged or of a newer version."""
        try:
            return decode(name, self._manifests.read(f"{name}.json", MANIFEST_BYTES))
        except TooLarge as error:
            raise BackupError(f"the manifest of backup {name} is damaged: {error}") from error

    def publish(self, manifest: Manifest) -> str:
        """Make a backup visible, whose files are all there, and give its name."""
        name, text = encode(manifest)
        self._manifests.publish(f"{name}.json", text)
        return name

    def withdraw(self, name: str) -> None:
        """Remove a backup; its files go with the next `sweep`."""
        self._manifests.remove(f"{name}.json")

    def sweep(self, before: datetime) -> int:
        """Remove files of no backup, and what of this was being written before a moment; gives how many files went.

        Raises BackupError, and removes nothing, while a manifest cannot be read: nobody knows what is of that one.
        """
        wanted: set[bytes] = set()
        for name in self.names():
            wanted.update(bytes.fromhex(file.sha256) for file in self.manifest(name).files)
        self.files.drop_drafts(before)
        removed = 0
        for digest in self.files.digests():
            if bytes.fromhex(digest) not in wanted:
                self.files.delete(digest)
                removed += 1
        return removed

    def store(self, path: str, pieces: Iterable[bytes], rows: int = 0) -> File:
        """Store bytes as a file of a backup."""
        with self.files.draft() as draft:
            for piece in pieces:
                draft.write(piece)
            return self._kept(draft, path, rows)

    def store_written(self, path: str, write: Callable[[Sink], object]) -> File:
        """Store what is written to a sink."""
        with self.files.draft() as draft:
            write(Sink(draft))
            return self._kept(draft, path, 0)

    def store_rows(self, path: str, schema: pa.Schema, pieces: Iterable[pa.Table]) -> Iterator[File]:
        """Store rows as Parquet files `path/0000.parquet` and so on; one at least, so that a table without rows is there too.

        The same rows in the same pieces make the same files.
        """
        number, rows = 0, iter(pieces)
        piece = next(rows, None)
        while piece is not None or number == 0:
            with self.files.draft() as draft:
                count = size = 0
                with _parquet(draft, schema) as writer:
                    while piece is not None and size < FILE_BYTES:
                        writer.write_table(piece)
                        count, size = count + piece.num_rows, size + piece.nbytes
                        piece = next(rows, None)
                yield self._kept(draft, f"{path}/{number:04}.parquet", count)
            number += 1

    def store_one(self, path: str, schema: pa.Schema, pieces: Iterable[pa.Table]) -> File:
        """Store rows as one Parquet file of this name."""
        with self.files.draft() as draft:
            count = 0
            with _parquet(draft, schema) as writer:
                for piece in pieces:
                    writer.write_table(piece)
                    count += piece.num_rows
            return self._kept(draft, path, count)

    def _kept(self, draft: BlobDraft, path: str, rows: int) -> File:
        if draft.digest not in self.known:
            self.known.add(draft.keep())
            self.stored += draft.size
        return File(path, draft.digest, draft.size, rows)

    @contextmanager
    def verified(self, file: File) -> Iterator[Path]:
        """The file, proven to be what it was, as a local one for the time of the block. Raises Damaged."""
        with ExitStack() as stack:
            try:
                local, digest, size = stack.enter_context(self.files.local(file.sha256))
            except BlobMissing as error:
                raise self._missing(file) from error
            if size != file.size:
                raise self._changed(file, f"it has {size:,} bytes instead of {file.size:,}")
            if digest != file.sha256:
                raise self._changed(file, "its bytes are not those that were stored")
            yield local

    def look(self, file: File) -> None:
        """Raise Damaged when a file is gone or of another size; its bytes are not read."""
        try:
            size = self.files.size(file.sha256)
        except BlobMissing as error:
            raise self._missing(file) from error
        if size != file.size:
            raise self._changed(file, f"it has {size:,} bytes instead of {file.size:,}")

    def _missing(self, file: File) -> Damaged:
        return Damaged(f"{file.path} is gone ({self._place(file)}): {_WHAT_TO_DO}")

    def _changed(self, file: File, how: str) -> Damaged:
        return Damaged(f"{file.path} is damaged, {how}: remove {self._place(file)}; {_WHAT_TO_DO}")

    def _place(self, file: File) -> str:
        return f"{self.url}/files/{file.sha256[:2]}/{file.sha256}"


def open_target(url: str) -> Target:
    """The target of a folder or an fsspec URL. Raises BackupError for what is neither."""
    try:
        return Target(target_url(url))
    except TargetUnusable as error:
        raise BackupError(str(error)) from error


_WHAT_TO_DO = "the next backup stores it again where it still is as it was, and this backup is whole again then; else take another one"


@contextmanager
def _parquet(draft: BlobDraft, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    plain = [column.name for column in schema if not pa.types.is_binary(column.type)]
    sink = pa.PythonFile(Sink(draft), mode="w")
    with pq.ParquetWriter(
        sink, schema, compression="zstd", compression_level=1, use_dictionary=plain, write_statistics=False
    ) as writer:
        yield writer


def file_pieces(path: Path) -> Iterator[bytes]:
    """The bytes of a local file. Raises OSError."""
    with path.open("rb", buffering=0) as source:
        yield from pieces_of(source)
