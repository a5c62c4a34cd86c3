"""Reading the commits of releases: lists of them, who wrote them, what is still awaited."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, func, select

from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import (
    commit_authors,
    commit_files,
    commits,
    release_commits,
    release_heads,
    releases,
)

Row = dict[str, Any]
_OF_RELEASE = (
    release_commits.join(commits, commits.c.sha == release_commits.c.sha)
    .join(commit_authors, commit_authors.c.author_key == commits.c.author_key, isouter=True)
)  # fmt: skip
_SHOWN = (
    release_commits.c.position, commits.c.sha, commits.c.message, commits.c.repository, commits.c.committed_at,
    commits.c.created_at, commits.c.files, commits.c.author_key, commit_authors.c.name, commit_authors.c.email,
)  # fmt: skip


@dataclass
class Author:
    """Somebody who wrote commits of a release, and how many."""

    name: str | None
    email: str | None
    commits: int = 0


@dataclass
class Contents:
    """What a release is made of: authors in the order of their newest commits, and how many files they changed."""

    commits: int = 0
    files: int = 0
    authors: list[Author] = field(default_factory=list)


def list_commits(connection: Connection, version: str, *, limit: int) -> list[Row]:
    """Commits of a release, newest first: position, sha, message, repository, committed_at, created_at (when it was first
    sent), files (how many), author_key, and the author's name and email."""
    query = select(*_SHOWN).select_from(_OF_RELEASE).where(release_commits.c.version == version)
    rows = connection.execute(query.order_by(release_commits.c.position).limit(limit)).mappings()
    return [dict(row) for row in rows]


def contents_of(connection: Connection, version: str) -> Contents:
    """Authors of a release and how much it changed; its list has a bound, so that is one look at all of it."""
    found = authors_of(connection, version)
    found.files = count_changed(connection, version) if found.commits else 0
    return found


def authors_of(connection: Connection, version: str) -> Contents:
    """The same without the files, which cost more than all else."""
    c = release_commits.c
    query = select(commits.c.author_key, commit_authors.c.name, commit_authors.c.email).select_from(
        _OF_RELEASE
    )
    found, authors = Contents(), dict[str, Author]()
    for row in connection.execute(query.where(c.version == version).order_by(c.position)):
        found.commits += 1
        if row.author_key is not None:
            authors.setdefault(row.author_key, Author(row.name, row.email)).commits += 1
    found.authors = [*authors.values()]
    return found


def count_changed(connection: Connection, version: str) -> int:
    """How many files the commits of a release changed."""
    c = release_commits.c
    changed = (
        select(func.count(func.distinct(commit_files.c.path)))
        .select_from(release_commits.join(commit_files, commit_files.c.sha == c.sha))
        .where(c.version == version)
    )
    return connection.execute(changed).scalar_one()


def messages_of(connection: Connection, version: str) -> list[Row]:
    """What the commits of a release say, oldest first: sha, message, and the author's name and email."""
    c = release_commits.c
    shown = (commits.c.sha, commits.c.message, commit_authors.c.name, commit_authors.c.email)
    query = select(*shown).select_from(_OF_RELEASE).where(c.version == version).order_by(c.position.desc())
    return [dict(row) for row in connection.execute(query).mappings()]


def pending_heads() -> Select[tuple[str]]:
    """Releases that wait for commits: a newest commit of theirs is named that is not among their commits."""
    h, c = release_heads.c, release_commits.c
    held = select(c.sha).where(c.sha == h.sha, c.version == h.version).exists()
    return select(h.version).where(~held)


def pending_releases(connection: Connection, versions: Collection[str]) -> set[str]:
    """Which of these releases wait for commits."""
    found: set[str] = set()
    for chunk in chunks(sorted(set(versions))):
        query = pending_heads().where(release_heads.c.version.in_(chunk)).distinct()
        found.update(connection.execute(query).scalars())
    return found


def previous_with_commits(connection: Connection, project_ids: Sequence[int], version: str) -> str | None:
    """The release with commits that came last before another one, which it never is, in the projects that have both.

    By order date, since a client looks for its newest commit in its own history; of one date the last by name.
    """
    c = releases.c
    asked = select(c.project_id, c.order_date).where(c.project_id.in_(project_ids), c.version == version)
    found = []
    for project_id, order_date in connection.execute(asked):
        query = (
            select(c.order_date, c.version)
            .where(
                c.project_id == project_id,
                c.commit_count > 0,
                c.order_date <= order_date,
                c.version != version,
            )
            .order_by(c.order_date.desc(), c.version.desc())
            .limit(1)
        )
        found += [tuple(row) for row in connection.execute(query)]
    return max(found)[1] if found else None


def author_counts(authors: Sequence[Author]) -> dict[str, int]:
    """How many commits are by each, by the name for people, most first."""
    counts = Counter[str]()
    for author in authors:
        counts[author.name or author.email or ""] += author.commits
    return dict(counts.most_common())
