"""What waits for a release: to be processed for the first time, to be looked at again, to be counted, deploys to be told.

Nothing waits at rest, and each question is a look into an index of what does. What is done then is in `shipping/`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, or_, select, text, update

from tasks_pipeline.releases.commit_lists import pending_heads
from tasks_pipeline.releases.pages import looked_up
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.facts import probe, set_probe
from tasks_pipeline.storage.state.tables import TO_COUNT, deploys, release_heads, releases

COUNT_EVERY = timedelta(minutes=15)
COUNT_NEW_EVERY = timedelta(minutes=1)
COUNTED, COUNTED_NEW = "releases_counted", "new_releases_counted"
"""The facts that say when all releases that changed were last counted, and those that were never counted."""
PATIENCE = timedelta(hours=1)
"""So long a deploy waits for commits of its release that are announced."""
LOOKED_AT = 1_000
"""Deploys that may wait are looked at so many at a time."""


@dataclass(frozen=True, slots=True)
class Due:
    """A release of a project, and the moment that makes it due: done is what was seen, not what came meanwhile."""

    project_id: int
    version: str
    at: datetime


def unprocessed(connection: Connection, limit: int) -> list[Due]:
    """Releases that nobody has processed, oldest first."""
    c = releases.c
    query = select(c.project_id, c.version, c.created_at).where(text("processed_at IS NULL"))
    return _due(connection, query.order_by(c.created_at).limit(limit))


def to_update(connection: Connection, limit: int) -> list[Due]:
    """Releases of which commits came, those that wait for longest first."""
    c = releases.c
    query = select(c.project_id, c.version, c.update_due_at).where(text("update_due_at IS NOT NULL"))
    return _due(connection, query.order_by(c.update_due_at).limit(limit))


def to_count(connection: Connection, now: datetime, limit: int) -> list[Due]:
    """Releases whose events changed since they were counted, those first that were never or not for long.

    All of them together every 15 minutes: each at its own time would be a look at all events, and a run, for each of them.
    Between, once a minute, those that were never counted: whoever names ever new releases costs no more than that.
    """
    c = releases.c
    query = select(c.project_id, c.version, c.changed_at).where(text(TO_COUNT))
    of_all = _is_over(connection, COUNTED, COUNT_EVERY, now)
    if not of_all and not _is_over(connection, COUNTED_NEW, COUNT_NEW_EVERY, now):
        return []
    found = _due(connection, query.where(c.figures_at.is_(None)).limit(limit))
    if of_all and len(found) < limit:
        counted = query.where(c.figures_at.is_not(None)).order_by(c.figures_at)
        found += _due(connection, counted.limit(limit - len(found)))
    return found


def note_counting(state: StateDatabase, connection: Connection, now: datetime) -> None:
    """Releases that were due are counted now."""
    names = [COUNTED_NEW, *([COUNTED] if _is_over(connection, COUNTED, COUNT_EVERY, now) else [])]
    for name in names:
        set_probe(state, connection, name, now, status="ok")


def _is_over(connection: Connection, name: str, pause: timedelta, now: datetime) -> bool:
    """Whether the pause after something that was done is over; also when the clock went back behind it."""
    done = probe(connection, name)
    return done is None or not timedelta(0) <= now - done["measured_at"] < pause


def _due(connection: Connection, query: Select[Any]) -> list[Due]:
    return [Due(*row) for row in connection.execute(query)]


def to_tell(connection: Connection, now: datetime) -> list[Row[Any]]:
    """Deploys that nobody was told of and that need not wait for commits any more, oldest first."""
    d = deploys.c
    # Those that wait are left out here: else many of one release would be all that is looked at, and hold up all others.
    ready = or_(
        d.created_at <= now - PATIENCE,
        ~looked_up(pending_heads().where(release_heads.c.version == d.version)),
    )
    query = select(deploys).where(text("told_at IS NULL"), ready)
    return [*connection.execute(query.order_by(d.created_at, d.id).limit(LOOKED_AT))]


def releases_due(state: StateDatabase, now: datetime) -> list[str]:
    """What waits, in words; empty when nothing does. Asked every second while something is written."""
    with state.read() as connection:
        waiting = {
            "new releases": unprocessed(connection, 1),
            "commits": to_update(connection, 1),
            "deploys": to_tell(connection, now),
            "figures": to_count(connection, now, 1),
        }
    return [name for name, rows in waiting.items() if rows]


def note_processed(connection: Connection, done: Sequence[Due], now: datetime) -> None:
    """These were processed."""
    _set(connection, done, processed_at=now)


def note_updated(connection: Connection, due: Due) -> None:
    """What was due of it was done."""
    c = releases.c
    seen = and_(c.project_id == due.project_id, c.version == due.version, c.update_due_at == due.at)
    connection.execute(update(releases).where(seen).values(update_due_at=None))


def note_told(connection: Connection, ids: Sequence[int], now: datetime) -> None:
    """It was decided who is told of these deploys."""
    for chunk in chunks(sorted(ids)):
        connection.execute(update(deploys).where(deploys.c.id.in_(chunk)).values(told_at=now))


def first_deploy(connection: Connection, row: Row[Any]) -> int:
    """The id of the first deploy of a release into an environment of a project: that of this one, or of one before."""
    d = deploys.c
    of_release = (d.project_id == row.project_id, d.version == row.version)
    query = select(func.min(d.id)).where(*of_release, d.environment == row.environment)
    return int(connection.execute(query).scalar_one())


def note_releases_changed(connection: Connection, named: Collection[tuple[int, str]], now: datetime) -> None:
    """What is stored of these releases, given with their projects, changed: as when a day is stored again."""
    _set(connection, [Due(project_id, version, now) for project_id, version in named], changed_at=now)


def _set(connection: Connection, named: Sequence[Due], **values: Any) -> None:
    """Set columns of releases, those of a project at a time."""
    by_project: dict[int, list[str]] = {}
    for due in named:
        by_project.setdefault(due.project_id, []).append(due.version)
    for project_id, versions in sorted(by_project.items()):
        for chunk in chunks(sorted(versions)):
            of_project = and_(releases.c.project_id == project_id, releases.c.version.in_(chunk))
            # In the order in which batches write them, so that none waits for another in a circle.
            ordered = select(releases.c.version).where(of_project).order_by(releases.c.version)
            connection.execute(ordered.with_for_update()).all()
            connection.execute(update(releases).where(of_project).values(**values))
