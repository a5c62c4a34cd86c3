"""Debug files and artifact bundles: making uploaded ones known, and finding them again for symbolication."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, and_, select, true

from tasks_pipeline.storage.arrivals import Wanted, announce, last_arrival
from tasks_pipeline.storage.blobs import BlobStore
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import artifact_bundles, artifacts, debug_files
from tasks_pipeline.symbolication.keys import debug_id_key, release_key
from tasks_pipeline.symbolication.source import Artifact, DebugFile
from tasks_pipeline.uploads.facts import Bundle, DebugObject

MOST_FOUND = 100
"""Most files that one lookup gives, the newest."""
CACHE_BYTES = 4 * 1024**3
_UNTOUCHED_SECONDS = 3600.0
"""Cached files younger than this may be in use by another process."""

Row = dict[str, Any]


def add_debug_file(
    state: StateDatabase,
    project_id: int,
    *,
    sha1: str,
    digest: str,
    size: int,
    name: str,
    objects: Sequence[DebugObject],
) -> None:
    """Make a stored debug file known, with all its objects, and announce it; doing it again changes nothing."""
    now = datetime.now(UTC)
    file = {
        "project_id": project_id,
        "sha1": sha1,
        "digest": digest,
        "size": size,
        "name": name,
        "created_at": now,
    }
    rows: dict[str, Row] = {}
    for found in objects:  # architectures may share an id; the first object has it then
        facts = {
            "debug_id": found.debug_id,
            "code_id": found.code_id,
            "kind": found.kind,
            "object_kind": found.object_kind,
            "arch": found.arch,
            "features": list(found.features),
        }
        rows.setdefault(found.debug_id, file | facts)
    statement = state.insert(debug_files).on_conflict_do_nothing(
        index_elements=["project_id", "sha1", "debug_id"]
    )
    with state.write() as connection:
        connection.execute(statement, list(rows.values()))
        announce(state, connection, [(project_id, debug_id_key(debug_id)) for debug_id in rows])


def add_bundle(
    state: StateDatabase,
    project_ids: Sequence[int],
    *,
    sha1: str,
    digest: str,
    size: int,
    release: str | None,
    dist: str | None,
    bundle: Bundle,
) -> None:
    """Make a stored artifact bundle known to projects, and announce what is in it; again changes nothing."""
    with state.write() as connection:
        state.serialise(connection, "artifact_bundles")
        for project_id in sorted(set(project_ids)):
            if has_bundle(connection, project_id, sha1, release, dist):
                continue
            shared = {"project_id": project_id, "release": release, "dist": dist}
            row = shared | {"sha1": sha1, "digest": digest, "size": size, "files": len(bundle.files)}
            bundle_id = connection.execute(
                artifact_bundles.insert().values(row | {"created_at": datetime.now(UTC)}).returning(artifact_bundles.c.id)
            ).scalar_one()  # fmt: skip
            rows = [
                shared
                | {
                    "bundle_id": bundle_id,
                    "path": file.path,
                    "type": file.type,
                    "url": file.url,
                    "debug_id": file.debug_id,
                    "source_map": file.source_map,
                }
                for file in bundle.files
            ]
            for some in chunks(rows):
                connection.execute(artifacts.insert(), list(some))
            announce(state, connection, _arrived(project_id, release, dist, bundle))


def _arrived(project_id: int, release: str | None, dist: str | None, bundle: Bundle) -> list[Wanted]:
    keys = {debug_id_key(file.debug_id) for file in bundle.files if file.debug_id}
    if release is not None:
        keys.add(release_key(release, dist))
    return [(project_id, key) for key in keys]


def has_bundle(
    connection: Connection, project_id: int, sha1: str, release: str | None, dist: str | None
) -> bool:
    """Whether the project knows this bundle under this release and dist."""
    bundle = artifact_bundles.c
    query = select(bundle.id).where(
        bundle.project_id == project_id,
        bundle.sha1 == sha1,
        bundle.release.is_not_distinct_from(release),
        bundle.dist.is_not_distinct_from(dist),
    )
    return connection.execute(query.limit(1)).scalar() is not None


def debug_files_by_sha1(
    connection: Connection, project_id: int, sha1s: Sequence[str]
) -> dict[str, list[Row]]:
    """The project's debug files with these SHA-1: a row per object, oldest first."""
    found: dict[str, list[Row]] = {}
    for some in chunks(sorted(set(sha1s))):
        query = select(debug_files).where(
            debug_files.c.project_id == project_id, debug_files.c.sha1.in_(some)
        )
        for row in connection.execute(query.order_by(debug_files.c.id)).mappings():
            found.setdefault(row["sha1"], []).append(dict(row))
    return found


def list_debug_files(
    connection: Connection, project_id: int | None, *, limit: int, offset: int = 0
) -> list[Row]:
    """Debug files of a project, or of all, newest first."""
    return _listed(connection, debug_files, project_id, limit, offset)


def list_bundles(connection: Connection, project_id: int | None, *, limit: int, offset: int = 0) -> list[Row]:
    """Artifact bundles of a project, or of all, newest first."""
    return _listed(connection, artifact_bundles, project_id, limit, offset)


def _listed(connection: Connection, table: Any, project_id: int | None, limit: int, offset: int) -> list[Row]:
    chosen: ColumnElement[bool] = true() if project_id is None else table.c.project_id == project_id
    query = select(table).where(chosen).order_by(table.c.id.desc()).limit(limit).offset(offset)
    return [dict(row) for row in connection.execute(query).mappings()]


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
        """The blob as a local file, which stays there at least for the process. Raises BlobMissing."""
        local = self._blobs.local_path(digest)
        return local or self._cached(digest)

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
