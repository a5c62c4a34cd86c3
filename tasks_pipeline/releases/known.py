"""Releases: made through the Web API, or first heard of from what clients send."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from typing import Any, Literal, Self

from sqlalchemy import Connection, case, delete, func, select

from tasks_pipeline.facts.firsts import record_firsts
from tasks_pipeline.facts.record import Happened, record_all
from tasks_pipeline.facts.types import Fact, ReleaseArchived, ReleaseCreated, ReleaseFinalised
from tasks_pipeline.protocol.release import parse_release, why_no_release
from tasks_pipeline.releases.commits import LOCK as COMMITS
from tasks_pipeline.releases.commits import forget_release
from tasks_pipeline.releases.deploys import lock_deploys
from tasks_pipeline.releases.environments import Seen, known_environments, note_environments
from tasks_pipeline.releases.stages import LOCK as STAGES
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import deploys, release_environments, release_stages, releases

OPEN, ARCHIVED = STATUSES = ("open", "archived")

BEHIND = 4
"""Releases after one in which its commits may be suspected: see changes.py."""

Row = dict[str, Any]


class TooManyReleases(Exception):
    """A name that was received would make one release more than a project may have from one day."""

    def __str__(self) -> str:
        return "its project has as many releases of that day as `releases.max_new_per_day` lets received names make"


@dataclass(frozen=True, slots=True)
class Heard:
    """What was sent with the name of a release: when the first was received, the first and the last timestamp of events
    among it, and when the first and the last of sessions began; None when there were none of them."""

    received_at: datetime
    first: datetime | None = None
    last: datetime | None = None
    first_session: datetime | None = None
    last_session: datetime | None = None

    def joined(self, other: Self) -> Self:
        """Both of them."""
        return type(self)(
            min(self.received_at, other.received_at),
            _least(self.first, other.first),
            _greatest(self.last, other.last),
            _least(self.first_session, other.first_session),
            _greatest(self.last_session, other.last_session),
        )


def _least(a: datetime | None, b: datetime | None) -> datetime | None:
    return b if a is None else a if b is None or a < b else b


def _greatest(a: datetime | None, b: datetime | None) -> datetime | None:
    return b if a is None else a if b is None or a > b else b


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
    state: StateDatabase,
    connection: Connection,
    project_id: int,
    heard: Mapping[str, Heard],
    *,
    environments: Seen = MappingProxyType({}),
    create: bool = True,
    most_new: int | None = None,
) -> list[str]:
    """Note releases, by version, that something was received of, and from which environments. Noting them again changes
    nothing but `changed_at`.

    What can be no release is passed over: what was received keeps it as text. So are those that are not known yet when
    none is to be created, or as many as `most_new` came into being on the UTC day of their receipt: gives the latter.
    """
    named = {version: sent for version, sent in heard.items() if why_no_release(version) is None}
    seen = {pair: at for pair, at in environments.items() if pair[0] in named}
    noted = known_environments(connection, project_id, seen)
    # Whose environment is noted is known: of most batches this is all that is asked.
    known = {version for version, _ in noted}
    known.update(order_dates(connection, project_id, named.keys() - known))
    fresh = {version: sent.received_at for version, sent in named.items() if version not in known}
    made = _within_bound(connection, project_id, fresh, most_new) if create else set()
    kept = known | made
    now = datetime.now(UTC)
    rows = [_heard_row(project_id, version, named[version], now) for version in sorted(kept)]
    for some in chunks(rows):
        state.put(connection, _heard_releases, some)
    _record_created(state, connection, [(project_id, version) for version in sorted(made)], "event", now)
    unnoted = {pair: at for pair, at in seen.items() if pair[0] in kept and pair not in noted}
    note_environments(state, connection, project_id, unnoted)
    return sorted(fresh.keys() - made) if create else []


def _record_created(
    state: StateDatabase,
    connection: Connection,
    named: Sequence[tuple[int, str]],
    by: Literal["api", "event"],
    now: datetime,
) -> None:
    """Record releases, as project and version, that were made by what clients sent or through the API."""
    created = [Happened(ReleaseCreated(version=version, by=by), now, project) for project, version in named]
    record_all(state, connection, created)
    if named:
        record_firsts(state, connection, {(project, "release"): "" for project, _ in named}, now)


def _within_bound(
    connection: Connection, project_id: int, fresh: Mapping[str, datetime], most: int | None
) -> set[str]:
    """Those of new releases, given with their receipt, that a bound per UTC day leaves: the first received of each day."""
    if most is None:
        return set(fresh)
    by_day: dict[date, list[tuple[datetime, str]]] = {}
    for version, at in fresh.items():
        by_day.setdefault(at.astimezone(UTC).date(), []).append((at, version))
    made: set[str] = set()
    for day, received in by_day.items():
        room = max(0, most - _made_on(connection, project_id, day))
        made.update(version for _, version in sorted(received)[:room])
    return made


def _made_on(connection: Connection, project_id: int, day: date) -> int:
    """How many of a project's releases came into being on a UTC day, however."""
    c, begin = releases.c, datetime.combine(day, time(), UTC)
    made = select(func.count()).where(
        c.project_id == project_id, c.created_at >= begin, c.created_at < begin + timedelta(days=1)
    )
    return int(connection.execute(made).scalar_one())


def _heard_row(project_id: int, version: str, sent: Heard, now: datetime) -> Row:
    """Figures are of events, so it is those that change them."""
    return _new_row(project_id, version, sent.received_at) | {
        "first_event_at": sent.first,
        "last_event_at": sent.last,
        "first_session_at": sent.first_session,
        "last_session_at": sent.last_session,
        "changed_at": None if sent.first is None else now,
    }


def _heard_releases(state: StateDatabase) -> Any:
    statement = state.insert(releases)
    old, new = releases.c, statement.excluded
    created = case((old.created_at < new.created_at, old.created_at), else_=new.created_at)

    def least(name: str) -> Any:
        return case((new[name].is_(None) | (old[name] < new[name]), old[name]), else_=new[name])

    def greatest(name: str) -> Any:
        return case((new[name].is_(None) | (old[name] > new[name]), old[name]), else_=new[name])

    return statement.on_conflict_do_update(
        index_elements=["project_id", "version"],
        set_={
            "created_at": created,
            "order_date": func.coalesce(old.released_at, created),
            **{name: least(name) for name in ("first_event_at", "first_session_at")},
            **{name: greatest(name) for name in ("last_event_at", "last_session_at", "changed_at")},
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
    """Create a release in each of the projects, or change what `facts` names of it (started_at, released_at, url, ref, status).

    Gives whether it is new in any of them.
    """
    with state.write() as connection:
        return put_release(state, connection, project_ids, version, facts)


def put_release(
    state: StateDatabase,
    connection: Connection,
    project_ids: Sequence[int],
    version: str,
    facts: Mapping[str, Any],
) -> bool:
    """The same in the caller's transaction."""
    now = datetime.now(UTC)
    rows = [_new_row(project_id, version, now) for project_id in sorted(set(project_ids))]
    before = {row["project_id"]: row for row in find_releases(connection, project_ids, version)}
    new = [(row["project_id"], version) for row in rows if row["project_id"] not in before]
    if new:
        connection.execute(state.insert(releases).on_conflict_do_nothing(), rows)
        _record_created(state, connection, new, "api", now)
    if facts:
        ordered = {"order_date": facts["released_at"]} if "released_at" in facts else {}
        named = _named(project_ids, version)
        connection.execute(releases.update().where(named).values(dict(facts) | ordered))
        said = [
            Happened(fact, now, row["project_id"])
            for row in rows
            for fact in _said(version, before.get(row["project_id"], {}), facts)
        ]
        record_all(state, connection, said)
    return bool(new)


def _said(version: str, before: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[Fact]:
    """What changed with what was said of a release that was so before."""
    if facts.get("released_at") is not None and before.get("released_at") is None:
        yield ReleaseFinalised(version=version)
    if facts.get("status") == ARCHIVED and before.get("status") != ARCHIVED:
        yield ReleaseArchived(version=version)


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


def first_after(connection: Connection, project_id: int, version: str, date: datetime | None) -> str | None:
    """The release that comes next after one, of those not archived: by version within its package; where the name tells no
    version by date, None without its order `date`. The release itself need not be known any more."""
    return _neighbour(connection, project_id, version, date, later=True)


def last_before(connection: Connection, project_id: int, version: str, date: datetime | None) -> str | None:
    """The one that came before it, in the same way."""
    return _neighbour(connection, project_id, version, date, later=False)


def _neighbour(
    connection: Connection, project_id: int, version: str, date: datetime | None, *, later: bool
) -> str | None:
    c, name = releases.c, parse_release(version)
    of_project = select(c.version).where(c.project_id == project_id, c.status == OPEN)
    if name.sort_key is not None:
        unknown = datetime.max.replace(tzinfo=UTC) if later else datetime.min.replace(tzinfo=UTC)
        place = name.sort_key, date or unknown, version
        package = c.package.is_(None) if name.package is None else c.package == name.package
        order: tuple[Any, ...] = (c.version_key, c.order_date, c.version)
        reached = c.version_key >= name.sort_key if later else c.version_key <= name.sort_key
        beyond = of_project.where(package, reached, _behind(order, place, later=later))
    elif date is not None:
        order = (c.order_date, c.version)
        beyond = of_project.where(c.order_date > date if later else c.order_date < date)
    else:
        return None
    ordered = order if later else [column.desc() for column in order]
    return connection.execute(beyond.order_by(*ordered).limit(1)).scalar()


def _behind(columns: Sequence[Any], place: Sequence[Any], *, later: bool) -> Any:
    """Rows that come after a place in the order of some columns, or before it."""
    first, *others = columns
    value, *rest = place
    beyond = first > value if later else first < value
    return beyond | ((first == value) & _behind(others, rest, later=later)) if others else beyond


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


def delete_release(state: StateDatabase, project_ids: Sequence[int], version: str) -> bool:
    """Forget a release, its deploys, environments and stages in these projects, and its commits when no other project has it;
    whether there was one. Its events and artifacts stay, and so do names in decisions.

    Those that came after it are due: its commits may be suspected of what broke in them.
    """
    with state.write() as connection:
        state.serialise(connection, COMMITS, STAGES)
        _note_behind(connection, project_ids, version)
        of_release = deploys.c.project_id.in_(project_ids), deploys.c.version == version
        lock_deploys(connection, *of_release)
        connection.execute(delete(deploys).where(*of_release))
        found = connection.execute(delete(releases).where(_named(project_ids, version))).rowcount > 0
        # In the order of a batch, which notes the release before its environments.
        for table in (release_environments, release_stages):
            there = table.c.project_id.in_(project_ids) & (table.c.version == version)
            connection.execute(delete(table).where(there))
        if (
            connection.execute(select(releases.c.version).where(releases.c.version == version)).first()
            is None
        ):
            forget_release(connection, version)
    return found


def _note_behind(connection: Connection, project_ids: Sequence[int], version: str) -> None:
    """Have update_release_data look at the few releases that came after one in each project."""
    c = releases.c
    for row in find_releases(connection, project_ids, version):
        of_project = c.project_id == row["project_id"]
        behind = _behind((c.order_date, c.version), (row["order_date"], version), later=True)
        names: set[str] = set()
        for status in STATUSES:  # one by one, each in the order of an index
            query = select(c.version).where(of_project, c.status == status, c.order_date >= row["order_date"])
            order = (c.order_date, c.version)
            names.update(connection.execute(query.where(behind).order_by(*order).limit(BEHIND)).scalars())
        these = (of_project, c.version.in_(names))
        # In the order in which batches write them, so that none waits for another in a circle.
        connection.execute(select(c.version).where(*these).order_by(c.version).with_for_update()).all()
        connection.execute(releases.update().where(*these).values(update_due_at=datetime.now(UTC)))


def _named(project_ids: Sequence[int], version: str) -> Any:
    return releases.c.project_id.in_(project_ids) & (releases.c.version == version)
