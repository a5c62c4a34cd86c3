"""Deploys: a release came into an environment. Who is told of it is decided elsewhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select
from sqlalchemy import Row as SqlRow

from tasks_pipeline.facts.record import record
from tasks_pipeline.facts.types import ReleaseDeployed
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import deploys
from tasks_pipeline.storage.state.wanted import rows_among

MAX_ENVIRONMENT = 64
MAX_DEPLOY_NAME = 64
FACTS = ("environment", "name", "url", "started_at", "finished_at")

Row = dict[str, Any]


def why_no_environment(name: str) -> str | None:
    """Why nothing can be deployed into an environment of this name, for people; None when it can."""
    if not name.strip():
        return "missing"
    if len(name) > MAX_ENVIRONMENT:
        return f"longer than {MAX_ENVIRONMENT} characters"
    if name.lower() == "none":
        return f"{name!r} means no environment"
    if name in (".", "..") or name != name.strip() or not name.isprintable() or "/" in name or "\\" in name:
        return f"{name!r} cannot be the name of an environment"
    return None


def add_deploy(
    state: StateDatabase, project_ids: Sequence[int], version: str, facts: Mapping[str, Any]
) -> tuple[bool, int]:
    """Note that a release was deployed: environment, name, url, started_at, finished_at; a row per project.

    Gives whether that is new in any of them, since exactly the same again is no other deploy, and its id in lists.
    """
    now = datetime.now(UTC)
    said = {name: facts.get(name) for name in FACTS}
    row = {"version": version, **said, "digest": _digest(said), "created_at": now}
    rows = [{"project_id": project_id, **row} for project_id in sorted(set(project_ids))]
    same = (
        deploys.c.project_id.in_(project_ids),
        deploys.c.version == version,
        deploys.c.digest == row["digest"],
    )
    with state.write() as connection:
        known = connection.execute(select(func.count()).where(*same)).scalar_one()
        if known < len(rows):
            connection.execute(state.insert(deploys).on_conflict_do_nothing(), rows)
            numbers = connection.execute(
                select(deploys.c.id, deploys.c.project_id, deploys.c.created_at).where(*same)
            ).all()
            seconds = duration_of(facts.get("started_at"), facts.get("finished_at"))
            for number, project_id, said_at in numbers:
                fact = ReleaseDeployed(
                    version=version, deploy=number, environment=facts["environment"], seconds=seconds
                )
                record(state, connection, fact, at=said_at, project_id=project_id)
        number = connection.execute(select(func.min(deploys.c.id)).where(*same)).scalar_one()
    return known < len(rows), number


def _digest(said: Mapping[str, Any]) -> str:
    """SHA-256 of what was said of a deploy; moments are the same in every zone."""
    plain = [
        value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value for value in said.values()
    ]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def lock_deploys(connection: Connection, *which: ColumnElement[bool]) -> list[SqlRow[Any]]:
    """Rows of deploys, locked in the one order in which everybody locks them."""
    return [*connection.execute(select(deploys).where(*which).order_by(deploys.c.id).with_for_update())]


def deploys_in(project_ids: Sequence[int]) -> Select[Any]:
    """Deploys of releases into some projects, one to several of them is one: the id of its first row, the version, and what was
    said of it."""
    columns = [deploys.c[name] for name in ("version", *FACTS, "created_at")]
    return (
        select(func.min(deploys.c.id).label("id"), *columns)
        .where(deploys.c.project_id.in_(project_ids))
        .group_by(*columns)
    )


def last_first(columns: Any) -> tuple[ColumnElement[datetime], ColumnElement[int]]:
    """What deploys are ordered by, greatest first: when one was finished, and its id."""
    return func.coalesce(columns.finished_at, columns.created_at), columns.id


def list_deploys(connection: Connection, project_ids: Sequence[int], version: str, limit: int) -> list[Row]:
    """Deploys of a release, the last finished first; one to several projects is one."""
    d = deploys_in(project_ids).where(deploys.c.version == version).subquery()
    query = select(d).order_by(*(column.desc() for column in last_first(d.c))).limit(limit)
    return [dict(row) for row in connection.execute(query).mappings()]


def duration_of(started: datetime | None, finished: datetime | None) -> float | None:
    """How many seconds a deploy took; None where nobody said, or it ended before it began."""
    seconds = (finished - started).total_seconds() if started and finished else None
    return seconds if seconds is not None and seconds >= 0 else None


def deploy_counts(connection: Connection, named: Collection[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """How often each of these releases, given with its project, was deployed; those that never were are left out."""
    release = deploys.c.project_id, deploys.c.version
    query = select(*release, func.count().label("n")).group_by(*release)
    return {(row.project_id, row.version): row.n for row in rows_among(connection, query, named, *release)}
