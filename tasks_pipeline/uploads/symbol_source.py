"""The source of symbols: uploaded files as the symbolicator asks for them, kept on disk while they are used."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from pathlib import Path
from uuid import uuid4

from sqlalchemy import ColumnElement, Table, and_, select, update
from sqlalchemy.exc import SQLAlchemyError

from tasks_pipeline.storage.blobs import BlobMissing, BlobStore
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import artifact_bundles, artifacts, debug_files
from tasks_pipeline.symbolication.source import Artifact, DebugFile, SymbolFileMissing
from tasks_pipeline.uploads.arrivals import last_arrival

log = logging.getLogger(__name__)

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
        self._used: dict[tuple[str, int], date] = {}

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
            rows = connection.execute(query).all()
        self._note_used(debug_files, [row.id for row in rows])
        return [
            DebugFile(row.debug_id, row.kind, tuple(row.features), row.arch, row.name, row.digest)
            for row in rows
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
            select(a.bundle_id, artifact_bundles.c.digest, a.path, a.type, a.url, a.debug_id, a.source_map)
            .join(artifact_bundles, artifact_bundles.c.id == a.bundle_id)
            .where(wanted)
            .order_by(a.bundle_id.desc(), a.path)
            .limit(MOST_FOUND)
        )
        with self._state.read() as connection:
            rows = connection.execute(query).tuples().all()
        self._note_used(artifact_bundles, [row[0] for row in rows])
        return [Artifact(*row[1:]) for row in rows]

    def _note_used(self, table: Table, ids: Sequence[int]) -> None:
        """Note that files were found, once a day: what nobody looks for goes some day. A database that is away costs the note, not
        the lookup."""
        now = datetime.now(UTC)
        new = sorted({number for number in ids if self._used.get((table.name, number)) != now.date()})
        if not new:
            return
        used, begin = table.c.used_at, datetime.combine(now.date(), time_of_day(), UTC)
        due = table.c.id.in_(new), used.is_(None) | (used < begin)
        try:
            with self._state.read() as connection:
                is_due = connection.execute(select(table.c.id).where(*due).limit(1)).first() is not None
            if is_due:
                with self._state.write() as connection:
                    connection.execute(update(table).where(*due).values(used_at=now))
        except SQLAlchemyError:
            log.warning("it could not be noted that files of symbols are used", exc_info=True)
            return
        self._used |= {(table.name, number): now.date() for number in new}

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
