"""Reading releases for lists: pages by key, and what is said of the releases of a page, in a fixed number of queries.

What a page costs does not grow with the number of releases on it, nor with how many pages came before: each list is read in an
order of its own, beginning behind the last entry of the page before.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, and_, func, or_, select, true, union_all

from tasks_pipeline.releases.commit_lists import pending_releases
from tasks_pipeline.releases.deploys import deploys_in, last_first
from tasks_pipeline.releases.known import Row
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import (
    commit_authors,
    commit_files,
    commits,
    deploys,
    groups,
    release_commits,
    releases,
    repositories,
)
from tasks_pipeline.storage.state.wanted import wanted as as_table

BRANCHES = 100  # parts of one UNION, of which SQLite takes 500
MOST_AUTHORS = 100  # of a release
MOST_RELEASES_OF_COMMITS = 1000  # that are named beside a page of commits
Key = tuple[Any, ...]
"""What a list is ordered by, of one of its entries: the next page begins behind it."""
Condition = Callable[[Any], ColumnElement[bool]]
"""A condition on the columns of `releases`, or of an alias of it."""
Entry = tuple[Key, str]
"""The key and the version of an entry of a list."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which releases a list is of: of these projects, with this status, and all of these conditions."""

    project_ids: Sequence[int]
    status: str
    conditions: Sequence[Condition] = ()

    def hold(self, columns: Any) -> list[ColumnElement[bool]]:
        """All conditions but those on the project and the status."""
        return [condition(columns) for condition in self.conditions]


def by_date(connection: Connection, wanted: Wanted, after: Key | None, limit: int) -> list[Entry]:
    """Releases, newest first: key (order date, version). One in several projects stands where the newest of its dates is."""
    return _listed(connection, wanted, lambda r: (r.order_date, r.version), after, limit)


def by_version(connection: Connection, wanted: Wanted, after: Key | None, limit: int) -> list[Entry]:
    """Releases that tell a version, the highest first, whatever their packages; then the others by date. Key (version key,
    order date, version). All open releases of the projects are looked at, in an index."""
    return _listed(
        connection,
        wanted,
        lambda r: (func.coalesce(r.version_key, ""), r.order_date, r.version),
        after,
        limit,
    )


def _listed(
    connection: Connection,
    wanted: Wanted,
    order: Callable[[Any], tuple[ColumnElement[Any], ...]],
    after: Key | None,
    limit: int,
) -> list[Entry]:
    """A page of the projects' releases by some columns, the last of which is the version, greatest first."""
    columns = order(releases.c)
    behind = true() if after is None else _before(columns, after)
    is_newest = _is_newest(connection, wanted)
    found: list[Entry] = []
    projects = sorted(set(wanted.project_ids))
    for start in range(0, len(projects), BRANCHES):
        # Each project in the order of its index: of all at once a database would read and sort all.
        parts = [
            select(*(column.label(f"k{n}") for n, column in enumerate(columns)))
            .where(releases.c.project_id == project_id, releases.c.status == wanted.status, behind)
            .where(*wanted.hold(releases.c), is_newest)
            .order_by(*(column.desc() for column in columns))
            .limit(limit)
            .subquery()
            for project_id in projects[start : start + BRANCHES]
        ]
        union = union_all(*(select(part) for part in parts))
        found += [(tuple(row), row[-1]) for row in connection.execute(union)]
    return heapq.nlargest(limit, found)


def _before(columns: Sequence[ColumnElement[Any]], key: Key) -> ColumnElement[bool]:
    """What comes behind a key in falling order. That it is at most as great in the first column is said apart, for indexes."""
    smaller = [
        and_(*(columns[i] == key[i] for i in range(n)), columns[n] < key[n]) for n in range(len(columns))
    ]
    return and_(columns[0] <= key[0], or_(*smaller))


def _is_newest(connection: Connection, wanted: Wanted) -> ColumnElement[bool]:
    """That no row of the release in another of the projects comes before it in the list.

    The projects are one parameter, since each branch of a UNION says this: with a few hundred projects their ids were more
    parameters than PostgreSQL takes.
    """
    if len(wanted.project_ids) < 2:
        return true()
    other = releases.alias("other")
    r, o = releases.c, other.c
    before = or_(o.order_date > r.order_date, and_(o.order_date == r.order_date, o.project_id < r.project_id))
    twice = select(o.version).where(
        o.version == r.version,
        _is_one_of(connection, o.project_id, wanted.project_ids),
        o.status == wanted.status,
        before,
        *wanted.hold(o),
    )
    return ~looked_up(twice)


def _is_one_of(connection: Connection, column: ColumnElement[int], ids: Sequence[int]) -> ColumnElement[bool]:
    """That a number is one of these, said in one parameter that is read once, and not for each row."""
    table = as_table(connection, ([one] for one in sorted(set(ids))), id=BigInteger())
    if connection.dialect.name == "sqlite":
        return column.in_(select(table.c.id))
    return column == func.any(func.array(select(table.c.id).scalar_subquery()))


def looked_up(query: Select[Any]) -> ColumnElement[bool]:
    """Whether a query that names a row around it finds something, asked for each row that is read: PostgreSQL would rather join
    all there is, and reads whole tables where it knows nothing of their sizes. `OFFSET 0` keeps it from that."""
    return query.offset(0).exists()


@dataclass(slots=True)
class ReleaseFacts:
    """What is known of a release in some projects: its rows, a row for each, and what came with it.

    `last_commit` and `last_deploy` as in lists of these. `new_groups` by project. `pending`: it waits for commits.
    """

    rows: list[Row] = field(default_factory=list)
    authors: list[Row] = field(default_factory=list)
    last_commit: Row | None = None
    deploy_count: int = 0
    last_deploy: Row | None = None
    new_groups: dict[int, int] = field(default_factory=dict)
    pending: bool = False


def facts_of(
    connection: Connection, project_ids: Sequence[int], versions: Sequence[str]
) -> dict[str, ReleaseFacts]:
    """The facts of releases in those of the projects that have them, in the order given; unknown ones are left out."""
    facts: dict[str, ReleaseFacts] = defaultdict(ReleaseFacts)
    for row in rows_of(connection, project_ids, versions):
        facts[row["version"]].rows.append(row)
    known = [version for version in versions if version in facts]
    for row in _rows(
        connection, _commits().where(release_commits.c.version.in_(known), release_commits.c.position == 0)
    ):
        facts[row["version"]].last_commit = row
    for row in _rows(connection, _authors(known)):
        if len(facts[row["version"]].authors) < MOST_AUTHORS:
            facts[row["version"]].authors.append(row)
    for row in _rows(connection, _newest_deploys(project_ids, known)):
        facts[row["version"]].deploy_count, facts[row["version"]].last_deploy = row["n"], row
    for row in _rows(connection, _new_groups(project_ids, known)):
        facts[row["version"]].new_groups[row["project_id"]] = row["n"]
    for version in pending_releases(connection, known):
        facts[version].pending = True
    return {version: facts[version] for version in known}


def rows_of(connection: Connection, project_ids: Sequence[int], versions: Sequence[str]) -> list[Row]:
    """The rows of releases in those of the projects that have them."""
    found: list[Row] = []
    for some in chunks(versions):
        named = releases.c.project_id.in_(project_ids) & releases.c.version.in_(some)
        found += _rows(connection, select(releases).where(named).order_by(releases.c.project_id))
    return found


def _rows(connection: Connection, query: Select[Any]) -> Iterator[Row]:
    return (dict(row) for row in connection.execute(query).mappings())


def _commits() -> Select[Any]:
    """Commits of releases, with their author and repository."""
    rc, c, a, r = release_commits.c, commits.c, commit_authors.c, repositories.c
    return (
        select(
            rc.version, rc.position, rc.sha, c.message, c.committed_at, c.created_at, a.name, a.email,
            c.repository, r.id.label("repository_id"), r.url.label("repository_url"), r.provider,
            r.created_at.label("repository_created_at"),
        )
        .join_from(release_commits, commits, c.sha == rc.sha)
        .join(commit_authors, a.author_key == c.author_key, isouter=True)
        .join(repositories, r.name == c.repository, isouter=True)
    )  # fmt: skip


def _authors(versions: Sequence[str]) -> Select[Any]:
    """Authors of releases, in the order of their first commit in the list."""
    rc, c, a = release_commits.c, commits.c, commit_authors.c
    first = func.min(rc.position)
    return (
        select(rc.version, a.name, a.email)
        .join_from(release_commits, commits, c.sha == rc.sha)
        .join(commit_authors, a.author_key == c.author_key)
        .where(rc.version.in_(versions))
        .group_by(rc.version, a.author_key, a.name, a.email)
        .order_by(rc.version, first)
    )


def _newest_deploys(project_ids: Sequence[int], versions: Sequence[str]) -> Select[Any]:
    """The newest deploy of each release, with how many there are as `n`."""
    d = deploys_in(project_ids).where(deploys.c.version.in_(versions)).subquery()
    order = [column.desc() for column in last_first(d.c)]
    place = func.row_number().over(partition_by=d.c.version, order_by=order)
    counted = select(
        d, place.label("place"), func.count().over(partition_by=d.c.version).label("n")
    ).subquery()
    return select(counted).where(counted.c.place == 1)


def _new_groups(project_ids: Sequence[int], versions: Sequence[str]) -> Select[Any]:
    """How many groups are new in each release, by project: those of `groups/of_release.py`, which lies above."""
    g = groups.c
    # Said so that no index of those that people see fits: PostgreSQL would read all of it, and not the releases alone.
    seen = g.times_seen > 0, func.coalesce(g.merged_into, 0) == 0, g.status != "discarded"
    return (
        select(g.project_id, g.first_release.label("version"), func.count().label("n"))
        .where(*seen, g.first_release.is_not(None))
        .where(g.project_id.in_(project_ids), g.first_release.in_(versions))
        .group_by(g.project_id, g.first_release)
    )


def list_commits(connection: Connection, version: str, after: int, limit: int) -> list[Row]:
    """Commits of a release behind a position, newest first."""
    rc = release_commits.c
    query = _commits().where(rc.version == version, rc.position > after).order_by(rc.position).limit(limit)
    return [*_rows(connection, query)]


def releases_with(
    connection: Connection, project_ids: Sequence[int], shas: Sequence[str]
) -> dict[str, list[Row]]:
    """The releases that hold each of these commits, in those of the projects that have them: version, ref, url, released_at,
    created_at. MOST_RELEASES_OF_COMMITS are looked at."""
    rc, r = release_commits.c, releases.c
    held = select(rc.sha, rc.version).where(rc.sha.in_(shas)).order_by(rc.sha).limit(MOST_RELEASES_OF_COMMITS)
    pairs = [(row.sha, row.version) for row in connection.execute(held)]
    names = sorted({version for _, version in pairs})
    query = (
        select(
            r.version, func.max(r.ref).label("ref"), func.max(r.url).label("url"),
            func.min(r.released_at, type_=r.released_at.type).label("released_at"),
            func.min(r.created_at, type_=r.created_at.type).label("created_at"),
        )
        .where(r.project_id.in_(project_ids), r.version.in_(names))
        .group_by(r.version)
    )  # fmt: skip
    known = {row["version"]: row for row in _rows(connection, query)}
    found: dict[str, list[Row]] = defaultdict(list)
    for sha, version in pairs:
        if version in known:
            found[sha].append(known[version])
    return found


def list_files(connection: Connection, version: str, after: tuple[int, str], limit: int) -> list[Row]:
    """Files that the commits of a release changed, behind (position of the commit, path), in this order."""
    rc, f, c, a = release_commits.c, commit_files.c, commits.c, commit_authors.c
    position, path = after
    query = (
        select(rc.position, rc.sha, f.path, f.type, c.message, a.name, a.email)
        .join_from(release_commits, commit_files, f.sha == rc.sha)
        .join(commits, c.sha == rc.sha)
        .join(commit_authors, a.author_key == c.author_key, isouter=True)
        .where(rc.version == version, rc.position >= position, or_(rc.position > position, f.path > path))
        .order_by(rc.position, f.path)
        .limit(limit)
    )
    return [*_rows(connection, query)]


def list_deploys_of(
    connection: Connection,
    project_ids: Sequence[int],
    version: str,
    after: tuple[datetime, int] | None,
    limit: int,
) -> list[Row]:
    """Deploys of a release behind (when one was finished, its id), newest first."""
    d = deploys_in(project_ids).where(deploys.c.version == version).subquery()
    order = last_first(d.c)
    query = select(d, order[0].label("at")).order_by(*(column.desc() for column in order)).limit(limit)
    if after is not None:
        query = query.where(_before(order, after))
    return [*_rows(connection, query)]


def is_release(connection: Connection, project_ids: Sequence[int], version: str) -> bool:
    """Whether one of the projects has the release."""
    query = select(releases.c.version).where(
        releases.c.project_id.in_(project_ids), releases.c.version == version
    )
    return connection.execute(query.limit(1)).first() is not None
