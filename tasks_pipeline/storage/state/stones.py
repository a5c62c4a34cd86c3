"""Stones: projects that were deleted. Their numbers are never used again, and what comes for them is not kept."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, select, text

from tasks_pipeline.home import Home
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import projects


def deleted_projects(connection: Connection, among: Collection[int] | None = None) -> dict[int, datetime]:
    """Numbers of projects that were deleted, and when: of all, or of some."""
    query = select(projects.c.id, projects.c.deleted_at).where(text("deleted_at IS NOT NULL"))
    if among is not None:
        query = query.where(projects.c.id.in_(sorted(among)))
    return {row.id: row.deleted_at for row in connection.execute(query)}


def note_deleted_projects(home: Home, state: StateDatabase) -> None:
    """Have the configuration of a home know them, also where they were deleted from another host, or before it was restored."""
    with state.read() as connection:
        for project_id, at in deleted_projects(connection).items():
            home.note_deleted_project(project_id, at.date().isoformat())


def set_stone(state: StateDatabase, connection: Connection, project_id: int, now: datetime) -> None:
    """Mark a project as deleted. Its name goes, the moment of a former stone stays."""
    stone = state.insert(projects).values(id=project_id, slug="", last_short_id=0, deleted_at=now)
    connection.execute(
        stone.on_conflict_do_update(
            index_elements=[projects.c.id],
            set_={
                "slug": "",
                "last_short_id": 0,
                "deleted_at": text("coalesce(projects.deleted_at, excluded.deleted_at)"),
            },
        )
    )
