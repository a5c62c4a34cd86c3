"""The source of symbols: uploaded files as the symbolicator asks for them, kept on disk while they are used."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from sqlalchemy import ColumnElement, and_, select

from tasks_pipeline.storage.blobs import BlobMissing, BlobStore
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import artifact_bundles, artifacts, debug_files
from tasks_pipeline.symbolication.source import Artifact, DebugFile, SymbolFileMissing
from tasks_pipeline.uploads.arrivals import last_arrival

MOST_FOUND = 100
"""Most files that one lookup gives, the newest."""
CACHE_BYTES = 4 * 1024**3
_UNTOUCHED_SECONDS = 3600.0
"""Cached files younger than this may be in use by another process."""


class StateSymbolSource:
    """`symbolication.source.SymbolSource` on the state database and the blobs.

    Blobs in object storage are downloaded into `cache_dir`. Above `cache_bytes` the files longest untouched go, except
    those this process has asked for.
    """

    def __init__(
        self, state: StateDatabase, blobs: BlobStore, cache_dir: Path, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self._state = state
        self._blobs = blobs
        self._cache_dir = cache_dir
        self._cache_bytes = cache_bytes
        self._fetched: set[str] = set()

    def generation(self) -> int:
        """Grows with every arrival; results of lookups may be kept while it stays the same."""
        with self._state.read() as connection:
            return last_arrival(connection)

    def debug_files(self, project_id: int, debug_id: str) -> Sequence[DebugFile]:
        """Debug files with this (normalised) debug id, newest first."""
        query = (
            select(debug_files)
            .where(debug_files.c.project_id == project_id, debug_files.c.debug_id == debug_id)
            .order_by(debug_files.c.id.desc())
            .limit(MOST_FOUND)
        )
        with self._state.read() as connection:
            return [
                DebugFile(row.debug_id, row.kind, tuple(row.features), row.arch, row.name, row.digest)
                for row in connection.execute(query)
            ]

    def artifacts_by_debug_id(self, project_id: int, debug_id: str) -> Sequence[Artifact]:
        """Artifacts with this debug id, whatever their type, newest bundle first."""
        return self._artifacts(and_(artifacts.c.project_id == project_id, artifacts.c.debug_id == debug_id))

    def artifacts_by_url(
        self, project_id: int, release: str, dist: str | None, urls: Sequence[str]
    ) -> Sequence[Artifact]:
        """Artifacts of a release and dist under any of these URLs, in the order of `urls`, newest bundle first."""
        named = and_(
            artifacts.c.project_id == project_id,
            artifacts.c.release == release,
            artifacts.c.dist.is_not_distinct_from(dist),
        )
        wanted = dict.fromkeys(urls)
        # One query per URL: there are few, and many uploads under one must not hide those under another.
        return [found for url in wanted for found in self._artifacts(and_(named, artifacts.c.url == url))]

    def _artifacts(self, wanted: ColumnElement[bool]) -> list[Artifact]:
        a = artifacts.c
        query = (
            select(artifact_bundles.c.digest, a.path, a.type, a.url, a.debug_id, a.source_map)
            .join(artifact_bundles, artifact_bundles.c.id == a.bundle_id)
            .where(wanted)
            .order_by(a.bundle_id.desc(), a.path)
            .limit(MOST_FOUND)
        )
        with self._state.read() as connection:
            return [Artifact(*row) for row in connection.execute(query)]

    def fetch(self, digest: str) -> Path:
        """The blob as a local file, which stays there at least for the process. Raises SymbolFileMissing."""
        try:
            return self._blobs.local_path(digest) or self._cached(digest)
        except BlobMissing as error:
            raise SymbolFileMissing(digest) from error

    def _cached(self, digest: str) -> Path:
        path = self._cache_dir / digest
        self._fetched.add(digest)
        try:
            os.utime(path)  # others see that it is in use
        except FileNotFoundError:
            self._download(digest, path)
        return path

    def _download(self, digest: str, path: Path) -> None:
        self._cache_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._make_room(self._blobs.size(digest))
        temporary = path.with_name(f".{digest}.{uuid4().hex[:8]}")
        try:
            with self._blobs.open(digest) as source, temporary.open("xb") as target:
                shutil.copyfileobj(source, target, 1024 * 1024)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _make_room(self, needed: int) -> None:
        """Remove what is longest untouched until `needed` bytes fit, but nothing that may be in use."""
        used, files = needed, []
        for entry in os.scandir(self._cache_dir):
            facts = entry.stat()
            used += facts.st_size
            files.append((facts.st_mtime, facts.st_size, entry.name))
        for touched, size, name in sorted(files):
            if used <= self._cache_bytes or time.time() - touched < _UNTOUCHED_SECONDS:
                return
            if name not in self._fetched:
                (self._cache_dir / name).unlink(missing_ok=True)
                used -= size
