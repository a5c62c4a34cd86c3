"""Uploads: pieces of files, putting them together, ProGuard mappings in a zip, the list of what is there."""

from __future__ import annotations

import hashlib
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tasks_pipeline.config.uploads import CHUNK_BYTES
from tasks_pipeline.protocol.release import why_no_release
from tasks_pipeline.releases.known import find_releases, save_release
from tasks_pipeline.storage.blobs import BlobDraft
from tasks_pipeline.storage.disk import DiskFull, Room
from tasks_pipeline.uploads.assembling import BundleUpload, DebugFileUpload, Progress
from tasks_pipeline.uploads.chunks import Chunk, ChunkStore
from tasks_pipeline.uploads.facts import UploadError
from tasks_pipeline.uploads.known import list_debug_files
from tasks_pipeline.web_api.calls import (
    PER_PAGE,
    ApiError,
    Call,
    answer,
    find_project,
)
from tasks_pipeline.web_api.multipart import Part, read_form
from tasks_pipeline.web_api.paging import counted_page, page_offset

CHUNKS_PER_REQUEST = 64
CONCURRENCY = 4
ACCEPTED = (
    "debug_files", "release_files", "pdbs", "sources", "portablepdbs", "artifact_bundles", "artifact_bundles_v2", "proguard",
)  # fmt: skip
PATIENCE_SECONDS = 3.0
"""How long an answer waits for files to be put together, so that small ones need no second question."""
MAX_NAME = 500
_FORM_BYTES = 1024 * 1024
"""What a form may have beside the bytes of its chunks."""

Sha1 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{40}$")]
_SHA1 = re.compile("[0-9a-f]{40}")


class BundleRequest(msgspec.Struct, frozen=True):
    """What `artifactbundle/assemble` is sent."""

    checksum: Sha1
    chunks: tuple[Sha1, ...]
    projects: Annotated[tuple[str | int, ...], msgspec.Meta(min_length=1, max_length=1000)]
    version: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    dist: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class DebugFileRequest(msgspec.Struct, frozen=True):
    """What `files/difs/assemble` is sent for each file, by the SHA-1 of the whole."""

    chunks: tuple[Sha1, ...]
    name: str = ""


DebugFileRequests = Annotated[dict[Sha1, DebugFileRequest], msgspec.Meta(max_length=10_000)]


def options(call: Call) -> Response:
    """How files are sent. The URL is relative to /api/0, so that it is right behind any proxy."""
    limits = call.config.uploads
    return answer(
        {
            "url": f"/organizations/{call.config.organisation.slug}/chunk-upload/",
            "chunkSize": CHUNK_BYTES,
            "chunksPerRequest": CHUNKS_PER_REQUEST,
            "maxFileSize": limits.max_file_bytes,
            "maxRequestSize": limits.max_request_bytes,
            "concurrency": CONCURRENCY,
            "hashAlgorithm": "sha1",
            "compression": ["gzip"],
            "accept": ACCEPTED,
        }
    )


async def receive_chunks(call: Call) -> Response:
    """Keep pieces of files: parts `file` (plain) or `file_gzip`, named by the SHA-1 of what they unpack to."""
    _check_disk(call)
    kept: list[Chunk] = []
    with ExitStack() as stack:

        def open_part(field: str, filename: str) -> Part:
            if field not in ("file", "file_gzip"):
                raise ApiError(400, f"found a part {field!r}, allowed are file and file_gzip")
            if not _SHA1.fullmatch(filename):
                raise ApiError(400, f"a chunk is named {filename[:80]!r} instead of by its SHA-1")
            _check_disk(call)  # a chunk is small, but there may be many of them
            chunk = _IncomingChunk(call.services.chunks, filename, gzipped=field == "file_gzip", kept=kept)
            stack.callback(chunk.close)
            return chunk

        try:
            limit = call.config.uploads.max_request_bytes + _FORM_BYTES
            await read_form(call.request, open_part, max_bytes=limit, max_parts=CHUNKS_PER_REQUEST)
        finally:  # what came whole need not be sent again, whatever became of the rest
            await run_in_threadpool(call.services.chunks.add, kept)
    return answer({})


class _IncomingChunk:
    """A chunk on its way into the chunk store; added to `kept` when it is whole and what its name says."""

    def __init__(self, chunks: ChunkStore, sha1: str, *, gzipped: bool, kept: list[Chunk]) -> None:
        self._name = sha1
        self._kept = kept
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._inflate = zlib.decompressobj(31) if gzipped else None
        self._stack = ExitStack()
        self._draft = self._stack.enter_context(chunks.draft())

    def write(self, data: bytes) -> None:
        if self._inflate is None:
            self._take(data)
            return
        while data:
            if self._inflate.eof:
                raise ApiError(400, f"chunk {self._name} goes on after the end of its gzip data")
            try:
                self._take(self._inflate.decompress(data, CHUNK_BYTES + 1 - self._draft.size))
            except zlib.error as error:
                raise ApiError(400, f"chunk {self._name} is no gzip data: {error}") from error
            data = self._inflate.unconsumed_tail or self._inflate.unused_data

    def finish(self) -> None:
        if self._inflate is not None and not self._inflate.eof:
            raise ApiError(400, f"chunk {self._name} is cut off")
        found = self._sha1.hexdigest()
        if found != self._name:
            raise ApiError(400, f"chunk {self._name} has the checksum {found}")
        self._kept.append(Chunk(self._name, self._draft.keep(), self._draft.size))
        self.close()

    def close(self) -> None:
        self._stack.close()

    def _take(self, data: bytes) -> None:
        if self._draft.size + len(data) > CHUNK_BYTES:
            raise ApiError(400, f"chunk {self._name} is larger than {CHUNK_BYTES} bytes")
        self._draft.write(data)
        self._sha1.update(data)


def assemble_bundle(call: Call) -> Response:
    """How far an artifact bundle is; it is put together when every chunk is there."""
    request = call.parse(BundleRequest)
    upload = BundleUpload(
        project_ids=tuple(find_project(call.config, named).id for named in request.projects),
        sha1=request.checksum,
        chunks=request.chunks,
        release=request.version or None,
        dist=request.dist or None,
    )
    (progress,) = call.services.assembling.progress([upload], PATIENCE_SECONDS)
    if progress.state not in ("not_found", "error"):
        _note_release(call, upload)
    return answer(_progress_json(progress))


def _note_release(call: Call, upload: BundleUpload) -> None:
    """A bundle for a release makes it, in the projects that it is for."""
    if upload.release is None or not upload.project_ids or why_no_release(upload.release) is not None:
        return
    state = call.services.state
    with state.read() as connection:  # a client asks again and again how far it is
        known = find_releases(connection, upload.project_ids, upload.release)
    if len(known) < len(set(upload.project_ids)):
        save_release(state, upload.project_ids, upload.release, {})


def assemble_debug_files(call: Call) -> Response:
    """How far each debug file is; each is put together when all its chunks are there."""
    requests = call.parse(DebugFileRequests)
    project_id = call.project().id
    uploads = [
        DebugFileUpload(project_id, sha1, request.chunks, request.name[:MAX_NAME])
        for sha1, request in requests.items()
    ]
    found = call.services.assembling.progress(uploads, PATIENCE_SECONDS)
    return answer(
        {
            upload.sha1: _progress_json(progress)
            | ({"dif": _file_json(progress.rows[0])} if progress.rows else {})
            for upload, progress in zip(uploads, found, strict=True)
        }
    )


async def receive_zip(call: Call) -> Response:
    """Debug files in a zip, as sentry-cli 2 sends ProGuard mappings (`proguard/<uuid>.txt`)."""
    _check_disk(call)
    room = call.services.room()
    project = call.project()
    limit = call.config.uploads.max_file_bytes
    with call.services.blobs.draft() as draft:

        def open_part(field: str, filename: str) -> Part:
            return _ZipPart(draft if field == "file" else None, room)

        await read_form(call.request, open_part, max_bytes=limit, max_parts=CHUNKS_PER_REQUEST)
        return await run_in_threadpool(_add_zipped, call, project.id, draft.path)


class _ZipPart:
    """The part with the zip, or one that is passed over."""

    def __init__(self, draft: BlobDraft | None, room: Room | None) -> None:
        self._draft = draft
        self._room = room

    def write(self, data: bytes) -> None:
        if self._draft is None:
            return
        if self._room is not None:
            with _full_disk_is_507():
                self._room.take(len(data))
        self._draft.write(data)

    def finish(self) -> None:
        if self._draft is not None:
            self._draft.flush()


def _add_zipped(call: Call, project_id: int, path: Path) -> Response:
    try:
        with _full_disk_is_507():
            rows = call.services.assembling.add_zipped(project_id, path)
    except UploadError as error:
        raise ApiError(400, str(error)) from error
    return answer([_file_json(row) for row in rows])


def list_files(call: Call) -> Response:
    """The project's debug files, newest first."""
    offset = page_offset(call)
    with call.services.state.read() as connection:
        rows = list_debug_files(connection, call.project().id, limit=PER_PAGE + 1, offset=offset)
    return counted_page(call, [_file_json(row) for row in rows], offset)


def _progress_json(progress: Progress) -> dict[str, Any]:
    return {"state": progress.state, "missingChunks": progress.missing, "detail": progress.detail}


def _file_json(row: dict[str, Any]) -> dict[str, Any]:
    """An object of a debug file as clients know it."""
    return {
        "id": str(row["id"]),
        "uuid": row["debug_id"],
        "debugId": row["debug_id"],
        "codeId": row["code_id"],
        "cpuName": row["arch"],
        "objectName": row["name"],
        "symbolType": row["kind"],
        "sha1": row["sha1"],
        "size": row["size"],
        "dateCreated": row["created_at"],
        "data": _data_json(row["object_kind"], row["features"]),
    }


def _data_json(kind: str, features: list[str]) -> dict[str, Any]:
    """What is in an object. A mapping is no object: clients do not read an answer that names a kind they do not know."""
    return {"features": features} | ({} if kind == "proguard" else {"type": kind})


def _check_disk(call: Call) -> None:
    """Refuse uploads before the disk is full. Raises ApiError."""
    home = call.services.home
    free = shutil.disk_usage(home.root).free
    if not home.data_url and free < call.config.receiver.min_free_disk_bytes:
        raise ApiError(507, "not enough free disk")


@contextmanager
def _full_disk_is_507() -> Iterator[None]:
    """Clients try again after 507."""
    try:
        yield
    except DiskFull as error:
        raise ApiError(507, "not enough free disk") from error
