"""Repositories: those of the configuration and those that commits were sent of, each under one name.

A git client calls the repository it is in `origin`. That identifies nothing: it stands for the repository of the project.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, or_, select

from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import repositories

if TYPE_CHECKING:
    from tasks_pipeline.config import Config, Project

ORIGIN = "origin"
UNKNOWN = "unknown"
"""The provider of a repository that nothing follows: clients then send commits, and not refs that nobody can resolve."""
MAX_LEARNED = 1_000
"""Repositories that are known by name because commits of them were sent; further ones are in their commits alone."""

Row = dict[str, Any]


def origin_of(config: Config, project: Project) -> str:
    """What `origin` stands for in a project: its configured repository, the only one there is, else
    ORGANISATION/PROJECT."""
    configured = config.organisation.repositories
    if project.repository is not None:
        return project.repository
    return configured[0].name if len(configured) == 1 else f"{config.organisation.slug}/{project.slug}"


def sync_repositories(state: StateDatabase, config: Config) -> None:
    """Give each configured repository its row, and no other one a provider; nothing is written when they are as configured."""
    wanted = {
        each.name: {"url": each.url, "provider": each.provider} for each in config.organisation.repositories
    }
    with state.read() as connection:
        c = repositories.c
        # Also those that are not configured any more: nothing follows them.
        query = select(c.name, c.url, c.provider).where(or_(c.name.in_(wanted), c.provider != UNKNOWN))
        known = {row.name: {"url": row.url, "provider": row.provider} for row in connection.execute(query)}
    wanted = {name: {**facts, "provider": UNKNOWN} for name, facts in known.items()} | wanted
    changed = [{"name": name, **facts} for name, facts in sorted(wanted.items()) if known.get(name) != facts]
    if not changed:
        return
    now = datetime.now(UTC)
    insert = state.insert(repositories)
    said = insert.on_conflict_do_update(
        index_elements=["name"], set_={name: insert.excluded[name] for name in ("url", "provider")}
    )
    with state.write() as connection:
        connection.execute(said, [{**row, "created_at": now} for row in changed])


def learn_repositories(state: StateDatabase, connection: Connection, names: Iterable[str]) -> None:
    """Note the repositories that commits are of, in the caller's transaction; those that are known stay as they are."""
    known = known_repositories(connection, wanted := sorted(set(names)))
    new = [name for name in wanted if name not in known]
    if not new:
        return
    count = connection.execute(select(func.count()).select_from(repositories)).scalar_one()
    now = datetime.now(UTC)
    rows = [{"name": name, "provider": UNKNOWN, "created_at": now} for name in new]
    if rows := rows[: max(0, MAX_LEARNED - count)]:
        connection.execute(state.insert(repositories).on_conflict_do_nothing(), rows)


def known_repositories(connection: Connection, names: Sequence[str]) -> set[str]:
    """Those of the names that are known."""
    query = select(repositories.c.name).where(repositories.c.name.in_(list(names)))
    return set(connection.execute(query).scalars())


def any_repository(connection: Connection) -> bool:
    """Whether any is known."""
    return connection.execute(select(repositories.c.id).limit(1)).first() is not None


def list_repositories(connection: Connection, *, limit: int, offset: int = 0) -> list[Row]:
    """Repositories in the order in which they became known: id, name, url, provider, created_at."""
    query = select(repositories).order_by(repositories.c.id).limit(limit).offset(offset)
    return [dict(row) for row in connection.execute(query).mappings()]
