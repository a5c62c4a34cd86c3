"""Releases and deploys: made through the Web API, or first heard of from what clients send."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import Connection, case, delete, func, select, tuple_

from tasks_pipeline.protocol.release import parse_release, why_no_release
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import deploys, releases

OPEN, ARCHIVED = STATUSES = ("open", "archived")
MAX_ENVIRONMENT = 64
MAX_DEPLOY_NAME = 64

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Heard:
    """What was sent with the name of a release: when the first was received, and the first and the last timestamp of events
    among it; None when there were but sessions, say."""

    received_at: datetime
    first: datetime | None = None
    last: datetime | None = None

    def joined(self, other: Self) -> Self:
        """Both of them."""
        return type(self)(
            min(self.received_at, other.received_at),
            min(filter(None, (self.first, other.first)), default=None),
            max(filter(None, (self.last, other.last)), default=None),
        )


@dataclass(frozen=True, slots=True)
class Latest:
    """The release of a project that is taken for its latest, and the one with the newest order date."""

    version: str
    newest: str

    @property
    def reason(self) -> str:
        """Why it is the latest, for people."""
        if self.version == self.newest:
            return "the newest by date"
        return f"the highest version of its package, of which {self.newest} is the newest by date"


def note_releases(
    state: StateDatabase, connection: Connection, project_id: int, heard: Mapping[str, Heard]
) -> None:
    """Note releases, by version, that something was received of. Noting them again changes nothing.

    What can be no release is passed over: what was received keeps it as text.
    """
    rows = [
        _new_row(project_id, version, sent.received_at)
        | {"first_event_at": sent.first, "last_event_at": sent.last}
        for version, sent in sorted(heard.items())
        if why_no_release(version) is None
    ]
    for some in chunks(rows):
        state.put(connection, _heard_releases, some)


def _heard_releases(state: StateDatabase) -> Any:
    statement = state.insert(releases)
    old, new = releases.c, statement.excluded
    created = case((old.created_at < new.created_at, old.created_at), else_=new.created_at)
    first, last = old.first_event_at, old.last_event_at
    return statement.on_conflict_do_update(
        index_elements=["project_id", "version"],
        set_={
            "created_at": created,
            "order_date": func.coalesce(old.released_at, created),
            "first_event_at": case(
                (new.first_event_at.is_(None) | (first < new.first_event_at), first), else_=new.first_event_at
            ),
            "last_event_at": case(
                (new.last_event_at.is_(None) | (last > new.last_event_at), last), else_=new.last_event_at
            ),
        },
    )


def _new_row(project_id: int, version: str, at: datetime) -> Row:
    """A release that is first heard of, with what it is ordered by."""
    name = parse_release(version)
    return {
        "project_id": project_id,
        "version": version,
        "created_at": at,
        "order_date": at,
        "package": name.package,
        "version_key": name.sort_key,
    }


def save_release(
    state: StateDatabase, project_ids: Sequence[int], version: str, facts: Mapping[str, Any]
) -> bool:
    """Create a release in each of the projects, or change what `facts` names of it (started_at, released_at, url, status).

    Gives whether it is new in any of them.
    """
    now = datetime.now(UTC)
    rows = [_new_row(project_id, version, now) for project_id in sorted(set(project_ids))]
    with state.write() as connection:
        before = len(find_releases(connection, project_ids, version))
        connection.execute(state.insert(releases).on_conflict_do_nothing(), rows)
        if facts:
            ordered = {"order_date": facts["released_at"]} if "released_at" in facts else {}
            named = _named(project_ids, version)
            connection.execute(releases.update().where(named).values(dict(facts) | ordered))
    return before < len(rows)


def order_dates(connection: Connection, project_id: int, versions: Collection[str]) -> dict[str, datetime]:
    """The order dates of those of a project's releases that are known."""
    found: dict[str, datetime] = {}
    for chunk in chunks(sorted(set(versions))):
        query = select(releases.c.version, releases.c.order_date).where(
            releases.c.project_id == project_id, releases.c.version.in_(chunk)
        )
        found.update({row.version: row.order_date for row in connection.execute(query)})
    return found


def latest_release(
    connection: Connection, project_id: int, packages: Collection[str | None] | None = None
) -> Latest | None:
    """The latest release of a project, None where all are archived or none is known.

    It is the one with the newest order date; if that is a version, the highest version of its package, so that a
    correction of an old version is not taken for the latest. `packages`: only versions of these count.
    """
    c = releases.c
    of_project = select(c.version, c.package, c.version_key).where(
        c.project_id == project_id, c.status == OPEN
    )
    if packages is not None:
        named = c.package.in_([package for package in packages if package is not None])
        of_project = of_project.where(
            c.version_key.is_not(None), named | c.package.is_(None) if None in packages else named
        )
    newest = connection.execute(
        of_project.order_by(c.order_date.desc(), c.version.desc()).limit(1)
    ).one_or_none()
    if newest is None:
        return None
    if newest.version_key is None:
        return Latest(newest.version, newest.version)
    of_package = of_project.where(c.package == newest.package, c.version_key.is_not(None))
    highest = connection.execute(
        of_package.order_by(c.version_key.desc(), c.order_date.desc(), c.version.desc()).limit(1)
    ).one()
    return Latest(highest.version, newest.version)


def find_releases(connection: Connection, project_ids: Sequence[int], version: str) -> list[Row]:
    """The release in each of these projects that has it."""
    query = select(releases).where(_named(project_ids, version)).order_by(releases.c.project_id)
    return [dict(row) for row in connection.execute(query).mappings()]


def list_releases(
    connection: Connection, project_ids: Sequence[int], *, statuses: Sequence[str] = (OPEN,), limit: int
) -> list[Row]:
    """Releases of the projects, a row per project, newest first by order date, then by name."""
    c = releases.c
    query = (
        select(releases)
        .where(c.project_id.in_(project_ids), c.status.in_(statuses))
        .order_by(c.order_date.desc(), c.version.desc(), c.project_id)
        .limit(limit)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def deploy_counts(connection: Connection, named: Collection[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """How often each of these releases, given with its project, was deployed; those that never were are left out."""
    release = deploys.c.project_id, deploys.c.version
    found: dict[tuple[int, str], int] = {}
    for chunk in chunks(sorted(named)):
        query = (
            select(*release, func.count().label("n")).where(tuple_(*release).in_(chunk)).group_by(*release)
        )
        found.update({(row.project_id, row.version): row.n for row in connection.execute(query)})
    return found


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
