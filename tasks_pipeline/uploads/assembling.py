"""From pieces to files that are known: is it there, what is missing, is it at work, has it failed and why."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tasks_pipeline.config.uploads import Uploads
from tasks_pipeline.storage.blobs import BlobDraft, BlobMissing, BlobStore
from tasks_pipeline.storage.disk import DiskFull, Room
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.uploads.chunks import Chunk, ChunkStore
from tasks_pipeline.uploads.facts import UploadError, ZippedFile
from tasks_pipeline.uploads.inspect import proguard_id
from tasks_pipeline.uploads.inspection import Inspector
from tasks_pipeline.uploads.jobs import Jobs
from tasks_pipeline.uploads.known import add_bundle, add_debug_file, debug_files_by_sha1, has_bundle

_PIECE = 1024 * 1024

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a file is, in the words of the protocol; `missing` are chunks to send, `rows` what it became."""

    state: Literal["not_found", "created", "assembling", "ok", "error"]
    missing: tuple[str, ...] = ()
    detail: str | None = None
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class DebugFileUpload:
    """A debug file as a client names it: SHA-1 of the whole, of its chunks in order, and its name."""

    project_id: int
    sha1: str
    chunks: tuple[str, ...]
    name: str


@dataclass(frozen=True, slots=True)
class BundleUpload:
    """An artifact bundle as a client names it."""

    project_ids: tuple[int, ...]
    sha1: str
    chunks: tuple[str, ...]
    release: str | None
    dist: str | None


Upload = DebugFileUpload | BundleUpload


class Assembling:
    """Puts files together in the background. Killed at any moment, nothing of a file is known; asking again goes on."""

    def __init__(
        self,
        state: StateDatabase,
        blobs: BlobStore,
        chunks: ChunkStore,
        limits: Callable[[], Uploads],
        room: Callable[[], Room | None] = lambda: None,
    ) -> None:
        """`room` gives the free disk to look at for each file that is written, None where that is not ours to see."""
        self._state = state
        self._blobs = blobs
        self._chunks = chunks
        self._limits = limits
        self._room = room
        self._jobs = Jobs()
        self._inspector = Inspector()
        self._closing = threading.Event()

    def progress(self, uploads: Sequence[Upload], patience: float) -> list[Progress]:
        """How far each file is. What can go on is started, and waited for so many seconds at most."""
        first = [self._advance(upload) for upload in uploads]
        working = [
            upload for upload, found in zip(uploads, first, strict=True) if found.state == "assembling"
        ]
        self._jobs.wait(working, patience)
        return [
            self._advance(upload) if found.state == "assembling" else found
            for upload, found in zip(uploads, first, strict=True)
        ]

    def add_zipped(self, project_id: int, path: Path) -> list[Row]:
        """Make every debug file in a zip known, and give what they became. Raises UploadError at the first bad one, and
        DiskFull."""
        room = self._room()
        with tempfile.TemporaryDirectory(prefix="unzip-", dir=path.parent) as folder:
            rows: list[Row] = []
            for file in self._unzip(path, Path(folder), room):
                with self._blobs.draft() as draft, (Path(folder) / file.unpacked).open("rb") as source:
                    sha1 = _copy(iter(partial(source.read, _PIECE), b""), draft, room)
                    rows += self._add_debug_file(DebugFileUpload(project_id, sha1, (), file.name), draft)
        return rows

    def _unzip(self, path: Path, folder: Path, room: Room | None) -> tuple[ZippedFile, ...]:
        least = room.least if room is not None else 0
        try:
            return self._inspector.unzip(path, folder, self._limits().max_unpacked_bytes, least)
        except UploadError:
            if room is not None:
                room.look()  # then that is why
            raise

    def close(self) -> None:
        """End what is at work; it is done again when its file is asked for again."""
        self._closing.set()
        self._inspector.close()
        self._jobs.close()

    def _advance(self, upload: Upload) -> Progress:
        known = self._known(upload)
        if known is not None:
            return Progress("ok", rows=known)
        try:
            if self._jobs.running(upload):
                return Progress("assembling")
            chunks = self._chunks.find(upload.chunks)
            missing = tuple(sha1 for sha1 in dict.fromkeys(upload.chunks) if sha1 not in chunks)
            if missing:
                return Progress("not_found", missing)
            self._check_size(sum(chunks[sha1].size for sha1 in upload.chunks))
        except UploadError as error:
            return Progress("error", detail=str(error))
        in_order = [chunks[sha1] for sha1 in upload.chunks]
        started = self._jobs.start(upload, partial(self._assemble, upload, in_order))
        return Progress("assembling" if started else "created")

    def _known(self, upload: Upload) -> tuple[Row, ...] | None:
        """What the file became, when it is known already."""
        with self._state.read() as connection:
            if isinstance(upload, BundleUpload):
                known = all(
                    has_bundle(connection, project_id, upload.sha1, upload.release, upload.dist)
                    for project_id in upload.project_ids
                )
                return () if known else None
            rows = debug_files_by_sha1(connection, upload.project_id, [upload.sha1]).get(upload.sha1, [])
        named = proguard_id(upload.name)  # one mapping may be sent again under another id
        rows = [row for row in rows if (row["debug_id"] == named if named else row["kind"] != "proguard")]
        return tuple(rows) or None

    def _check_size(self, size: int) -> None:
        limit = self._limits().max_file_bytes
        if size > limit:
            raise UploadError(f"the file has {size} bytes, allowed are {limit}")
        if size == 0:
            raise UploadError("the file is empty")

    def _assemble(self, upload: Upload, chunks: Sequence[Chunk]) -> None:
        with self._blobs.draft() as draft:
            try:
                found = _copy(self._pieces(chunks), draft, self._room())
            except BlobMissing:
                return  # the chunk is no longer known; who asks next is told to send it
            except DiskFull as error:
                raise UploadError("not enough free disk; send it again when there is more") from error
            if found != upload.sha1:
                raise UploadError(f"the file has the checksum {found}, not {upload.sha1}")
            if isinstance(upload, BundleUpload):
                self._add_bundle(upload, draft)
            else:
                self._add_debug_file(upload, draft)

    def _pieces(self, chunks: Sequence[Chunk]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._closing.is_set():
                raise UploadError("the service is shutting down; send it again")
            yield from self._chunks.read(chunk)

    def _add_debug_file(self, upload: DebugFileUpload, draft: BlobDraft) -> tuple[Row, ...]:
        objects = self._inspector.debug_file(draft.path, upload.name)
        add_debug_file(
            self._state,
            upload.project_id,
            sha1=upload.sha1,
            digest=draft.keep(),
            size=draft.size,
            name=upload.name,
            objects=objects,
        )
        return self._known(upload) or ()

    def _add_bundle(self, upload: BundleUpload, draft: BlobDraft) -> None:
        limits = self._limits()
        bundle = self._inspector.bundle(draft.path, limits.max_bundle_files, limits.max_unpacked_bytes)
        add_bundle(
            self._state,
            upload.project_ids,
            sha1=upload.sha1,
            digest=draft.keep(),
            size=draft.size,
            release=upload.release,
            dist=upload.dist,
            bundle=bundle,
        )


def _copy(pieces: Iterable[bytes], draft: BlobDraft, room: Room | None) -> str:
    """Write everything to the draft, where others can then read it; gives its SHA-1. Raises DiskFull."""
    sha1 = hashlib.sha1(usedforsecurity=False)
    for piece in pieces:
        if room is not None:
            room.take(len(piece))
        draft.write(piece)
        sha1.update(piece)
    draft.flush()
    return sha1.hexdigest()
