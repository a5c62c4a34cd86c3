"""Environments that releases were seen in: noted with each batch, so that lists of releases need not ask the lake."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import release_environments
from tasks_pipeline.storage.state.wanted import rows_among

MOST_ENVIRONMENTS = 100
"""Of a release. Whoever may send may make up names; further ones are passed over."""
NONE = ""
"""Stands for the environment of what named none."""

Seen = Mapping[tuple[str, str], datetime]
"""When something was first received, by version and environment."""


def known_environments(
    connection: Connection, project_id: int, pairs: Collection[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Which of these pairs of version and environment are noted of a project."""
    c = release_environments.c
    query = select(c.version, c.environment)
    # The project is among the keys too: said apart, SQLite would go through all that is noted of it.
    keys = [(project_id, *pair) for pair in pairs]
    rows = rows_among(connection, query, keys, c.project_id, c.version, c.environment)
    return {(row.version, row.environment) for row in rows}


def note_environments(state: StateDatabase, connection: Connection, project_id: int, seen: Seen) -> None:
    """Note environments that are new for releases of a project, the first MOST_ENVIRONMENTS of each."""
    full = _full(
        connection, project_id, {version for version, _ in seen}
    )  # of which each batch may bring some more
    rows = [
        {"of_project": project_id, "of_version": version, "of_environment": environment, "at": at}
        for (version, environment), at in sorted(seen.items())
        if version not in full
    ]
    for some in chunks(rows):
        state.put(connection, _unless_many, some)


def _full(connection: Connection, project_id: int, versions: Collection[str]) -> set[str]:
    """Those of a project's releases of which no further environment is noted."""
    c = release_environments.c
    query = select(c.version).group_by(c.version).having(func.count() >= MOST_ENVIRONMENTS)
    keys = [(project_id, version) for version in versions]
    return {row.version for row in rows_among(connection, query, keys, c.project_id, c.version)}


def _unless_many(state: StateDatabase) -> Any:
    """An INSERT that counts first: rows of one statement are told one after the other, so the bound holds among them too."""
    c = release_environments.c
    values = [
        bindparam("of_project", type_=c.project_id.type),
        bindparam("of_version", type_=c.version.type),
        bindparam("of_environment", type_=c.environment.type),
        bindparam("at", type_=c.first_at.type),
    ]
    before = (
        select(func.count())
        .select_from(release_environments)
        .where(c.project_id == values[0], c.version == values[1])
    )
    row = select(*values).where(before.scalar_subquery() < MOST_ENVIRONMENTS)
    names = [c.project_id, c.version, c.environment, c.first_at]
    return state.insert(release_environments).from_select(names, row).on_conflict_do_nothing()
