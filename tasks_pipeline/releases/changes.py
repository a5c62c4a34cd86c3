"""What came with a release and with those before it: commits and the files they changed, read for suspects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, or_, select

from tasks_pipeline.releases.known import STATUSES
from tasks_pipeline.releases.suspects import MOST_FILES, Changes, ChangeSet, first_line
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import commit_files, commits, release_commits, releases

RELEASES_LOOKED_AT = 5
"""The release in which a group was first seen, and four before it."""
MESSAGE_READ = 300  # characters


def any_commits(connection: Connection) -> bool:
    """Whether a commit of any release is known: where nobody sends commits, nothing else is asked."""
    query = select(release_commits.c.sha).order_by(release_commits.c.version).limit(1)
    return connection.execute(query).first() is not None


def releases_up_to(connection: Connection, project_id: int, version: str) -> list[str]:
    """A release of a project and those before it by order date, newest first; RELEASES_LOOKED_AT at most. Archived ones count.

    Empty where the project does not know the release (any more).
    """
    return _in_a_row(connection, project_id, version, later=False)


def releases_from(connection: Connection, project_id: int, version: str) -> list[str]:
    """A release and those that came after it, oldest first: whoever looks at RELEASES_LOOKED_AT of these sees it."""
    return _in_a_row(connection, project_id, version, later=True)


def _in_a_row(connection: Connection, project_id: int, version: str, *, later: bool) -> list[str]:
    r = releases.c
    known = select(r.order_date).where(r.project_id == project_id, r.version == version)
    date: datetime | None = connection.execute(known).scalar()
    if date is None:
        return []
    beyond = (
        (r.order_date >= date, or_(r.order_date > date, r.version >= version))
        if later
        else (r.order_date <= date, or_(r.order_date < date, r.version <= version))
    )
    order = (r.order_date, r.version) if later else (r.order_date.desc(), r.version.desc())
    found: list[tuple[datetime, str]] = []
    for status in STATUSES:  # one by one, each in the order of an index
        query = select(r.order_date, r.version).where(r.project_id == project_id, r.status == status, *beyond)
        rows = connection.execute(query.order_by(*order).limit(RELEASES_LOOKED_AT))
        found += [(row.order_date, row.version) for row in rows]
    return [name for _, name in sorted(found, reverse=not later)[:RELEASES_LOOKED_AT]]


def have_commits(connection: Connection, versions: Sequence[str]) -> bool:
    """Whether one of these releases has commits."""
    query = select(release_commits.c.sha).where(
        release_commits.c.version.in_(versions), release_commits.c.position >= 0
    )
    return bool(versions) and connection.execute(query.limit(1)).first() is not None


def count_files(connection: Connection, versions: Sequence[str]) -> int:
    """How many changed files `read_changes` would read."""
    rc, c = release_commits.c, commits.c
    query = (
        select(func.coalesce(func.sum(c.files), 0))
        .join_from(release_commits, commits, c.sha == rc.sha)
        .where(rc.version.in_(versions), c.files <= MOST_FILES)
    )
    return int(connection.execute(query).scalar_one())


def read_changes(connection: Connection, versions: Sequence[str]) -> Changes:
    """The commits of these releases, given newest first, and the files of those that changed few enough to tell anything."""
    found, f = change_sets(connection, versions), commit_files.c
    changed: list[tuple[str, str]] = []
    for some in chunks(sorted(found)):
        changed += [
            (sha, path) for sha, path in connection.execute(select(f.sha, f.path).where(f.sha.in_(some)))
        ]
    return Changes(found, changed)


def change_sets(connection: Connection, versions: Sequence[str]) -> dict[str, ChangeSet]:
    """The commits of `read_changes`, by sha, without the files."""
    rc, c = release_commits.c, commits.c
    place = {version: number for number, version in enumerate(versions)}
    query = (
        select(
            rc.version, rc.position, c.sha, c.committed_at, c.files, func.substr(c.message, 1, MESSAGE_READ).label("message")
        )
        .join_from(release_commits, commits, c.sha == rc.sha)
        .where(rc.version.in_(versions), c.files <= MOST_FILES)
    )  # fmt: skip
    rows = sorted(connection.execute(query), key=lambda row: (place[row.version], row.position))
    found: dict[str, ChangeSet] = {}
    for row in rows:  # a commit of several releases is that of the newest
        position = place[row.version], row.position
        found.setdefault(
            row.sha,
            ChangeSet(row.sha, row.version, row.committed_at, first_line(row.message), row.files, position),
        )
    return found
