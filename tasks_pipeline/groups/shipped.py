"""What shipped and concerns a group: the commits that name it, and the release with the fix. Suspects are in `suspects.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from tasks_pipeline.groups.known_releases import first_holding
from tasks_pipeline.groups.lifecycle import Resolution
from tasks_pipeline.releases.known import first_after
from tasks_pipeline.storage.state.tables import commit_authors, commits, group_commits

MOST_COMMITS = 100


def resolution_of(connection: Connection, group: Mapping[str, Any]) -> dict[str, Any] | None:
    """How a group (a row as of `find_group`) is resolved, None when it is not: `kind`, `at`, the `release` it was said of, that
    one's order date when it was said, `commit`, and in `resolved_in` the release that has the fix, as soon as there is one."""
    kind = group["resolution"]
    if kind is None:
        return None
    release, date, commit = (
        group[f"resolved_{name}"] for name in ("in_release", "release_date", "in_commit")
    )
    project_id, has_fix = group["project_id"], release
    if kind == Resolution.NEXT_RELEASE:
        has_fix = first_after(connection, project_id, release, date)
    elif kind == Resolution.IN_COMMIT:
        has_fix = first_holding(connection, [project_id], [commit]).get((project_id, commit))
    return {
        "kind": kind, "at": group["status_changed_at"], "release": release, "release_date": date, "commit": commit,
        "resolved_in": has_fix,
    }  # fmt: skip


def commits_of_group(connection: Connection, group_id: int) -> list[dict[str, Any]]:
    """Commits whose message says that they fix a group, with the release that brought each, the newest links first: sha,
    message, author, release, at, and whether it resolved the group. At most MOST_COMMITS."""
    g, author = group_commits.c, commit_authors.c
    query = (
        select(
            g.sha, g.version.label("release"), g.at, g.resolved, commits.c.message, author.name, author.email
        )
        .join_from(group_commits, commits, commits.c.sha == g.sha, isouter=True)
        .join(commit_authors, author.author_key == commits.c.author_key, isouter=True)
    )
    rows = connection.execute(
        query.where(g.group_id == group_id).order_by(g.at.desc(), g.sha, g.version).limit(MOST_COMMITS)
    )
    return [_shown(dict(row._mapping)) for row in rows]


def _shown(values: dict[str, Any]) -> dict[str, Any]:
    name, email = values.pop("name"), values.pop("email")
    return values | {"author": {"name": name, "email": email} if name or email else None}
