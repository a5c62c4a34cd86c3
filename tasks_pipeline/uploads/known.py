"""Debug files and artifact bundles: making uploaded ones known, and finding them again for symbolication."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, select, true

from tasks_pipeline.facts.firsts import record_firsts
from tasks_pipeline.facts.record import record
from tasks_pipeline.facts.types import SymbolsUploaded
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import artifact_bundles, artifacts, debug_files
from tasks_pipeline.symbolication.keys import debug_id_key, release_key
from tasks_pipeline.uploads.arrivals import Wanted, announce
from tasks_pipeline.uploads.facts import Bundle, DebugObject

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
        if objects:
            fact = SymbolsUploaded(file=sha1, kind=objects[0].kind)
            record(state, connection, fact, at=now, project_id=project_id)
            record_firsts(state, connection, {(project_id, "debug_file"): ""}, now)


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
            _record_bundle(state, connection, row, bundle)


def _record_bundle(
    state: StateDatabase, connection: Connection, row: Mapping[str, Any], bundle: Bundle
) -> None:
    now, project_id = datetime.now(UTC), row["project_id"]
    fact = SymbolsUploaded(
        file=row["sha1"],
        kind="artifact_bundle",
        release=row["release"],
        dist=row["dist"],
        files=row["files"],
    )
    record(state, connection, fact, at=now, project_id=project_id)
    if any(file.type == "source_map" for file in bundle.files):
        record_firsts(state, connection, {(project_id, "source_map"): ""}, now)


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
