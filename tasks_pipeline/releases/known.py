"""Releases and deploys: made through the Web API, or first heard of from an event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, case, delete, func, select

from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import deploys, releases

MAX_VERSION = 200
MAX_ENVIRONMENT = 64
MAX_DEPLOY_NAME = 64

Row = dict[str, Any]


def note_releases(
    state: StateDatabase,
    connection: Connection,
    project_id: int,
    versions: Mapping[str, tuple[datetime, datetime]],
) -> None:
    """Note releases that events were seen of: version → (first, last) timestamp. Noting them again changes nothing."""
    now = datetime.now(UTC)
    rows = [
        {
            "project_id": project_id,
            "version": version,
            "created_at": now,
            "first_event_at": first,
            "last_event_at": last,
        }
        for version, (first, last) in sorted(versions.items())
        if 0 < len(version) <= MAX_VERSION
    ]
    for some in chunks(rows):
        state.put(connection, _seen_releases, some)


def _seen_releases(state: StateDatabase) -> Any:
    statement = state.insert(releases)
    first, last, new = releases.c.first_event_at, releases.c.last_event_at, statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["project_id", "version"],
        set_={
            "first_event_at": case((first < new.first_event_at, first), else_=new.first_event_at),
            "last_event_at": case((last > new.last_event_at, last), else_=new.last_event_at),
        },
    )


def save_release(
    state: StateDatabase, project_ids: Sequence[int], version: str, facts: Mapping[str, Any]
) -> bool:
    """Create a release in each of the projects, or change what `facts` names of it (started_at, released_at, url).

    Gives whether it is new in any of them.
    """
    now = datetime.now(UTC)
    rows = [{"project_id": p, "version": version, "created_at": now} for p in sorted(set(project_ids))]
    with state.write() as connection:
        before = len(find_releases(connection, project_ids, version))
        connection.execute(state.insert(releases).on_conflict_do_nothing(), rows)
        if facts:
            named = _named(project_ids, version)
            connection.execute(releases.update().where(named).values(dict(facts)))
    return before < len(rows)


def find_releases(connection: Connection, project_ids: Sequence[int], version: str) -> list[Row]:
    """The release in each of these projects that has it."""
    query = select(releases).where(_named(project_ids, version)).order_by(releases.c.project_id)
    return [dict(row) for row in connection.execute(query).mappings()]


def list_versions(
    connection: Connection, project_ids: Sequence[int], *, limit: int, offset: int = 0
) -> list[str]:
    """Versions of the projects' releases, newest first."""
    query = (
        select(releases.c.version)
        .where(releases.c.project_id.in_(project_ids))
        .group_by(releases.c.version)
        .order_by(func.max(releases.c.created_at).desc(), releases.c.version.desc())
    )
    return list(connection.execute(query.limit(limit).offset(offset)).scalars())


def delete_release(state: StateDatabase, project_ids: Sequence[int], version: str) -> bool:
    """Forget a release and its deploys in these projects; whether there was one. Its events and artifacts stay."""
    with state.write() as connection:
        connection.execute(
            delete(deploys).where(deploys.c.project_id.in_(project_ids), deploys.c.version == version)
        )
        return connection.execute(delete(releases).where(_named(project_ids, version))).rowcount > 0


def add_deploy(
    state: StateDatabase, project_ids: Sequence[int], version: str, facts: Mapping[str, Any]
) -> None:
    """Note that a release was deployed: environment, name, url, started_at, finished_at; a row per project."""
    now = datetime.now(UTC)
    rows = [{"project_id": p, "version": version, "created_at": now} | dict(facts) for p in project_ids]
    with state.write() as connection:
        connection.execute(deploys.insert(), rows)


def list_deploys(connection: Connection, project_ids: Sequence[int], version: str, limit: int) -> list[Row]:
    """Deploys of a release, newest first; one to several projects is one."""
    columns = [
        deploys.c[n] for n in ("environment", "name", "url", "started_at", "finished_at", "created_at")
    ]
    query = (
        select(func.min(deploys.c.id).label("id"), *columns)
        .where(deploys.c.project_id.in_(project_ids), deploys.c.version == version)
        .group_by(*columns)
        .order_by(func.min(deploys.c.id).desc())
    )
    return [dict(row) for row in connection.execute(query.limit(limit)).mappings()]


def _named(project_ids: Sequence[int], version: str) -> Any:
    return releases.c.project_id.in_(project_ids) & (releases.c.version == version)
