"""Rows of releases and their commits, written as the Web API writes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, update

from tasks_pipeline.releases.known import save_release
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import (
    commit_authors,
    commit_files,
    commits,
    release_commits,
    releases,
)

AT = datetime(2020, 1, 1, tzinfo=UTC)


def commit(
    sha: str, *paths: str, at: datetime | None = AT, by: str = "jo", message: str = "Change it", **facts: Any
) -> dict[str, Any]:
    """A commit by a person of this name, whose address is NAME@acme.example."""
    return {"sha": sha, "paths": paths, "at": at, "by": by, "message": message} | facts


def ship(
    state: StateDatabase,
    project_ids: Sequence[int],
    version: str,
    *shipped: dict[str, Any],
    at: datetime = AT,
) -> None:
    """A release of some date with these commits, the newest first."""
    save_release(state, project_ids, version, {"released_at": at})
    with state.write() as connection:
        for row in shipped:
            author = {
                "author_key": f"{row['by']}@acme.example",
                "name": row["by"].title(),
                "email": f"{row['by']}@acme.example",
            }
            connection.execute(state.insert(commit_authors).values(author).on_conflict_do_nothing())
            values = {
                "sha": row["sha"], "repository": row.get("repository"), "message": row["message"], "author_key": author["author_key"],
                "committed_at": row["at"], "files": row.get("files", len(row["paths"])), "created_at": AT,
            }  # fmt: skip
            connection.execute(state.insert(commits).values(values).on_conflict_do_nothing())
        files = [{"sha": row["sha"], "path": path, "type": "M"} for row in shipped for path in row["paths"]]
        for some in chunks(files):
            connection.execute(state.insert(commit_files).on_conflict_do_nothing(), list(some))
        held = [{"version": version, "position": n, "sha": row["sha"]} for n, row in enumerate(shipped)]
        if held:
            connection.execute(insert(release_commits), held)
        counted = update(releases).where(
            releases.c.version == version, releases.c.project_id.in_(project_ids)
        )
        connection.execute(counted.values(commit_count=len(shipped)))
