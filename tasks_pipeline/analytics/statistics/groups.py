"""group_moves, group_levels: what became of groups on a day, when it was decided, and what they were at its end. From their log
and their creation, so that a past day comes out the same whatever becomes of them later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, or_, select

from tasks_pipeline.analytics.statistics.status import OPEN, Standing, standings, standings_of
from tasks_pipeline.analytics.statistics.visible import VISIBLE
from tasks_pipeline.analytics.statistics.work import Work
from tasks_pipeline.groups.decisions import AUTOMATIC, MERGED
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.facts import member_hash, user_key
from tasks_pipeline.storage.state.tables import group_actions, groups

TABLES = ("group_moves", "group_levels")
CREATED = "created"
AGES = (90, 30, 7, 1, 0)
"""Days that a group is open at least, from many to few."""
_TEAM = "team:"
_SAME = {"keep": "unresolve"}  # what is not discarded any more is open again


def write(work: Work, wanted: Collection[str]) -> None:
    """Add the rows of those of the tables that are wanted."""
    with work.stores.state.read() as connection:
        if "group_moves" in wanted:
            work.add_rows("group_moves", _moves(work, connection))
        if "group_levels" in wanted:
            work.add_rows("group_levels", _levels(work, connection))


def _moves(work: Work, connection: Connection) -> Iterator[dict[str, Any]]:
    made = _made(work, connection)
    actions = _actions(work, connection)
    shown = _shown(connection, {row.group_id for row in actions})
    before = standings_of(connection, work.begin, shown)
    key = user_key(work.stores.state)
    for row in made:
        yield _move(
            Standing(row.id, row.project_id, OPEN[0], None), None, CREATED, row.created_at, "system", key
        )
    for row in actions:
        if row.group_id not in shown:
            continue
        made_at = shown[row.group_id]
        was = before.get(row.group_id) or Standing(row.group_id, row.project_id, OPEN[0], made_at)
        now = before[row.group_id] = was.after(row.status, row.assignee, row.at)
        yield _move(now, was, _SAME.get(row.action, row.action), row.at, by(row), key) | {"action_id": row.id}


def _move(
    now: Standing, was: Standing | None, move: str, at: datetime, who: str, key: bytes
) -> dict[str, Any]:
    return {
        "project_id": now.project_id, "group_id": now.group_id, "at": at, "move": move,
        "status_from": None if was is None else was.status, "status_to": now.status, "by": who,
        "opened_at": None if was is None else was.opened_at, "assignee": told_assignee(key, now.assignee), "action_id": None,
    }  # fmt: skip


def _made(work: Work, connection: Connection) -> list[Row[Any]]:
    """Groups that were made on the day."""
    g = groups.c
    query = select(g.id, g.project_id, g.created_at)
    return list(connection.execute(query.where(g.created_at >= work.begin, g.created_at < work.end, VISIBLE)))


def _actions(work: Work, connection: Connection) -> list[Row[Any]]:
    """Entries of the log that changed a status or an assignee on the day, in their order."""
    a = group_actions.c
    columns = [
        a[name]
        for name in ("id", "group_id", "project_id", "action", "actor", "at", "data", "status", "assignee")
    ]
    changed = or_(a.status.is_not(None), a.assignee.is_not(None))
    query = select(*columns).where(a.at >= work.begin, a.at < work.end, changed).order_by(a.at, a.id)
    return list(connection.execute(query))


def _shown(connection: Connection, group_ids: Collection[int]) -> dict[int, datetime]:
    """When those of these groups were made that figures tell of."""
    found: dict[int, datetime] = {}
    for some in chunks(sorted(group_ids)):
        query = select(groups.c.id, groups.c.created_at).where(groups.c.id.in_(some), VISIBLE)
        found |= {row.id: row.created_at for row in connection.execute(query)}
    return found


def by(row: Row[Any]) -> str:
    """Who decided: person, rule (similarity, suspect commits), commit (that says it fixes something) or system (events)."""
    if row.actor.startswith("commit "):
        return "commit"
    if row.actor != AUTOMATIC:
        return "person"
    return "rule" if {"similarity", "commit"} & set(row.data or ()) else "system"


def told_assignee(key: bytes, assignee: str) -> str | None:
    """What figures say of who has a group: a team by its name, a member as a hash; None for nobody."""
    if not assignee or assignee.startswith(_TEAM):
        return assignee or None
    return member_hash(key, assignee)


def _levels(work: Work, connection: Connection) -> Iterator[dict[str, Any]]:
    moment = min(work.end, work.now)
    counted = Counter(
        (one.project_id, one.status, bool(one.assignee), _age(one, moment))
        for one in standings(connection, moment)
        if one.status != MERGED
    )
    for (project_id, status, assigned, open_days), n in counted.items():
        yield {
            "project_id": project_id, "status": status, "assigned": assigned, "open_days": open_days, "groups": n,
        }  # fmt: skip


def _age(one: Standing, moment: datetime) -> int | None:
    if one.opened_at is None:
        return None
    return next(days for days in AGES if days == 0 or moment - one.opened_at >= timedelta(days=days))
