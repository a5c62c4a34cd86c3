"""Decisions about groups: what people say of them, and the log of it that is only ever appended to.

A decision changes columns of `groups` that nothing computes, so storing a day again leaves it as it is.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from tasks_pipeline.facts.actors import actor_of_log, hashed
from tasks_pipeline.facts.record import Happened, record_all
from tasks_pipeline.groups.action_facts import Entry, fact_of
from tasks_pipeline.groups.lifecycle import (
    Lifecycle,
    Resolution,
    Status,
    fixed_in_commit,
    fixed_in_next_release,
    fixed_in_release,
    ignore,
    reopen,
    resolve,
)
from tasks_pipeline.protocol.release import SEARCH_WORD, parse_release, why_no_release
from tasks_pipeline.releases.known import latest_release, order_dates
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import commits, group_actions, group_values, groups

AUTOMATIC = "tasks-pipeline"  # the actor of what events and rules decide
MERGED = "merged"
"""In the log, the status of a group that is part of another."""
LENGTH_OF_COMMIT = 64
_HEX = re.compile("[0-9a-f]{4,64}")
_SHORTEST_SHA, _WHOLE_SHA = 7, 40
"""Digits that name a git commit, as git itself shortens them, and all of them. Shorter numbers are ids of others."""
_ASSIGNEE = re.compile(r"team:[a-z0-9][a-z0-9_-]{0,49}|[^\s@]{1,64}@[^\s@]{1,130}")
Change = Callable[[Connection, Row[Any], datetime], tuple[Lifecycle, dict[str, Any]]]


class DecisionError(ValueError):
    """What was decided cannot be done; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class Action:
    """An entry for the log. Actions: resolve, unresolve, ignore, assign, unassign, merge, unmerge, discard, keep, undo; by
    events: regress, unignore; where events are processed again: move, inherit. `release` in the data: that in which
    it was resolved, or came back. `before`: the group's row as it was, for figures of the fact. `status` and `assignee` (empty
    for nobody) are those of the group from now on; None: they stay. What a group was at any moment follows from these two
    (analytics/statistics/status.py): who changes it says so."""

    project_id: int
    group_id: int
    action: str
    data: Mapping[str, Any] = field(default_factory=dict)
    actor: str = AUTOMATIC
    before: Row[Any] | None = None
    status: str | None = None
    assignee: str | None = None


def log_action(
    state: StateDatabase,
    connection: Connection,
    project_id: int,
    group_id: int,
    action: str,
    data: Mapping[str, Any] | None = None,
    actor: str = AUTOMATIC,
    *,
    before: Row[Any] | None = None,
    status: str | None = None,
    assignee: str | None = None,
) -> None:
    """Append an entry to the log, see Action, and record the fact that it is."""
    entry = Action(project_id, group_id, action, dict(data or {}), actor, before, status, assignee)
    log_actions(state, connection, [entry])


def log_actions(state: StateDatabase, connection: Connection, actions: Sequence[Action]) -> None:
    """Append entries to the log, in their order, and record them as facts."""
    at = datetime.now(UTC)
    for some in chunks(actions):
        rows = [
            {
                "project_id": each.project_id,
                "group_id": each.group_id,
                "action": each.action,
                "data": dict(each.data),
                "release": each.data.get("release"),
                "actor": each.actor[:200],
                "at": at,
                "status": each.status,
                "assignee": each.assignee,
            }
            for each in some
        ]
        connection.execute(group_actions.insert(), rows)
        numbers = _numbers(connection, at, some)
        found = [_happened(state, connection, each, next(numbers[each.group_id]), at) for each in some]
        record_all(state, connection, [each for each in found if each is not None])


def _numbers(connection: Connection, at: datetime, actions: Sequence[Action]) -> dict[int, Iterator[int]]:
    """The numbers of entries that were just written, by group, in their order: asking for them with the INSERT would make one of
    each row in SQLite. Nobody else writes about these groups meanwhile."""
    c = group_actions.c
    wrote = select(c.id, c.group_id).where(c.at == at, c.group_id.in_({each.group_id for each in actions}))
    many, found = Counter(each.group_id for each in actions), defaultdict[int, list[int]](list)
    for number, group_id in connection.execute(wrote.order_by(c.id)):
        found[group_id].append(number)
    # Of a group that was in the chunk before too, the last ones.
    return {group_id: iter(numbers[-many[group_id] :]) for group_id, numbers in found.items()}


def _happened(
    state: StateDatabase, connection: Connection, action: Action, number: int, at: datetime
) -> Happened | None:
    who = actor_of_log(action.actor, AUTOMATIC)
    entry = Entry(
        number,
        action.group_id,
        action.action,
        action.data,
        who,
        at,
        action.before,
        lambda address: hashed(state, connection, address),
    )
    fact = fact_of(entry)
    return None if fact is None else Happened(fact, at, action.project_id, who)


def status_of(row: Row[Any], status: str | None = None) -> str:
    """What the log says that a group is: its status, or the one it gets; `merged` while it is part of another."""
    return MERGED if row.merged_into is not None else str(status or row.status)


def actions_of(state: StateDatabase, group_id: int, limit: int = 100) -> list[dict[str, Any]]:
    """The newest entries of a group's log, newest first: id, at, actor, action, data."""
    columns = group_actions.c
    with state.read() as connection:
        rows = connection.execute(
            select(columns.id, columns.at, columns.actor, columns.action, columns.data)
            .where(columns.group_id == group_id)
            .order_by(columns.id.desc())
            .limit(limit)
        )
        return [dict(row._mapping) for row in rows]


def resolve_groups(
    state: StateDatabase,
    group_ids: Sequence[int],
    actor: str,
    *,
    in_release: str | None = None,
    in_next_release: bool = False,
    in_commit: str | None = None,
    repository: str | None = None,
    together: str = "",
) -> list[dict[str, Any]]:
    """Say that groups are fixed: now, in a release, in the next one, or in the first that holds a commit. Gives what was
    logged of each.

    `in_release` may be one that is not known yet, when its name tells a version; `latest` is the latest one. The next
    release is the one after the latest of the project now. Latest: where the group was seen in packages of their own
    (`web@1.0`), the latest of those. `repository` is logged with the commit. Raises DecisionError.
    """

    def change(connection: Connection, row: Row[Any], at: datetime) -> tuple[Lifecycle, dict[str, Any]]:
        if in_release is not None:
            release, date = _release_named(connection, row, in_release)
            return fixed_in_release(at, release, date), {"release": release}
        if in_next_release:
            return in_release_after_newest(connection, row, at)
        if in_commit is not None:
            said = {"commit": _commit_named(connection, in_commit)}
            named = {"repository": repository[:200]} if repository else {}
            return fixed_in_commit(at, said["commit"]), said | named
        return resolve(at), {}

    return _decide(state, group_ids, actor, "resolve", change, together)


def resolve_in_release(
    state: StateDatabase,
    connection: Connection,
    reasons: Mapping[int, tuple[str, Mapping[str, Any]]],
    version: str,
) -> list[int]:
    """Resolve groups in a release, in the caller's transaction, and log it: `reasons` has the actor and the data of each.
    Gives the ids of those that it resolved: not those that are resolved already, or discarded; of merged ones the group
    that they are part of, once.

    However many they are, it asks little. The caller takes the lock `group_hashes` before any row, as here.
    """
    state.serialise(connection, "group_hashes")
    targets = merged_targets(connection, reasons)
    by_target: dict[int, tuple[str, Mapping[str, Any]]] = {}
    for group_id, reason in reasons.items():
        by_target.setdefault(targets.get(group_id, group_id), reason)
    rows = locked_groups(connection, by_target)
    before = {row.id: row for row in rows}
    by_project: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        if row.status not in (Status.RESOLVED, Status.DISCARDED):
            by_project[row.project_id].append(row.id)
    at = datetime.now(UTC)
    actions: list[Action] = []
    for project_id, group_ids in sorted(by_project.items()):
        date = order_dates(connection, project_id, [version]).get(version)
        columns = lifecycle_columns(fixed_in_release(at, version, date))
        for chunk in chunks(group_ids):
            connection.execute(update(groups).where(groups.c.id.in_(chunk)).values(**columns))
        for group_id in group_ids:
            actor, data = by_target[group_id]
            said = {**data, "release": version}
            row = before[group_id]
            status = status_of(row, Status.RESOLVED)
            actions.append(Action(project_id, group_id, "resolve", said, actor, row, status))
    log_actions(state, connection, actions)
    return sorted(action.group_id for action in actions)


def unresolve_groups(
    state: StateDatabase, group_ids: Sequence[int], actor: str, *, together: str = ""
) -> list[dict[str, Any]]:
    """Say that groups are not fixed, or are to be seen again."""
    return _decide(
        state, group_ids, actor, "unresolve", lambda _connection, _row, at: (reopen(at), {}), together
    )


def ignore_groups(
    state: StateDatabase,
    group_ids: Sequence[int],
    actor: str,
    *,
    until: datetime | None = None,
    more_events: int | None = None,
    more_users: int | None = None,
    together: str = "",
) -> list[dict[str, Any]]:
    """Say that groups are not to be seen: for good, until a time, until so many events or users more."""

    def change(_connection: Connection, row: Row[Any], at: datetime) -> tuple[Lifecycle, dict[str, Any]]:
        times_seen = None if more_events is None else row.times_seen + more_events
        users = None if more_users is None else row.users + more_users
        said = {
            "until": until.isoformat() if until else None,
            "more_events": more_events,
            "more_users": more_users,
        }
        life = ignore(at, until, times_seen, users)
        return life, {name: value for name, value in said.items() if value is not None}

    return _decide(state, group_ids, actor, "ignore", change, together)


def assign_groups_to(
    state: StateDatabase, group_ids: Sequence[int], actor: str, assignee: str | None, *, together: str = ""
) -> list[dict[str, Any]]:
    """Say who takes care of groups: a member's address, `team:SLUG`, or nobody (None). Raises DecisionError."""
    with state.write() as connection:
        assign_in(state, connection, group_ids, actor, assignee, together=together)
    return [{} if assignee is None else {"assignee": assignee} for _ in group_ids]


def assign_in(
    state: StateDatabase,
    connection: Connection,
    group_ids: Sequence[int],
    actor: str,
    assignee: str | None,
    said: Mapping[str, Any] | None = None,
    *,
    together: str = "",
) -> None:
    """As assign_groups_to, in the caller's transaction, which holds no row yet; `said` is logged with it."""
    if assignee is not None and not _ASSIGNEE.fullmatch(assignee):
        raise DecisionError(f"{assignee[:100]!r} is nobody; allowed are an e-mail address and team:SLUG")
    data = dict(said or {}) | ({} if assignee is None else {"assignee": assignee})
    action = "unassign" if assignee is None else "assign"
    state.serialise(connection, "group_hashes")  # as in decide_in
    for row in locked_groups(connection, group_ids):
        connection.execute(update(groups).where(groups.c.id == row.id).values(assignee=assignee))
        log_action(
            state, connection, row.project_id, row.id, action, data | undoable(row, together), actor,
            before=row, assignee=assignee or "",
        )  # fmt: skip


def locked_groups(connection: Connection, group_ids: Iterable[int]) -> list[Row[Any]]:
    """Rows of groups, in the order of their ids, that nobody else changes until the transaction ends."""
    rows: list[Row[Any]] = []
    for chunk in chunks(sorted(set(group_ids))):
        # key_share: batches may go on attaching keys, see groups/counting.py
        query = select(groups).where(groups.c.id.in_(chunk)).order_by(groups.c.id)
        rows += connection.execute(query.with_for_update(key_share=True))
    return rows


def lock_groups(connection: Connection, group_ids: Iterable[int]) -> None:
    """As `locked_groups`, for whoever goes on to change these in several steps: each would have an order of its own."""
    for chunk in chunks(sorted(set(group_ids))):
        query = select(groups.c.id).where(groups.c.id.in_(chunk)).order_by(groups.c.id)
        connection.execute(query.with_for_update(key_share=True)).all()


def merged_targets(connection: Connection, group_ids: Iterable[int]) -> dict[int, int]:
    """The group that each of these is part of now, for those that were merged into another."""
    targets: dict[int, int] = {}
    for chunk in chunks(sorted(group_ids)):
        # All of them: asked for those that were merged, Postgres would go through all merged groups.
        rows = connection.execute(select(groups.c.id, groups.c.merged_into).where(groups.c.id.in_(chunk)))
        targets.update({row.id: row.merged_into for row in rows if row.merged_into is not None})
    if targets:  # the target may have been merged in its turn
        further = merged_targets(connection, set(targets.values()))
        targets = {group_id: further.get(target, target) for group_id, target in targets.items()}
    return targets


def merged_groups(state: StateDatabase, group_id: int) -> list[int]:
    """The groups that were merged into this one, and into those, oldest first."""
    with state.read() as connection:
        return sorted(cluster(connection, group_id) - {group_id})


def cluster(connection: Connection, group_id: int) -> set[int]:
    """A group and all that are part of it."""
    found, new = {group_id}, [group_id]
    while new:
        rows = connection.execute(select(groups.c.id).where(groups.c.merged_into.in_(new))).scalars()
        new = [row for row in rows if row not in found]
        found.update(new)
    return found


def discarded_groups(connection: Connection, group_ids: Iterable[int]) -> set[int]:
    """Which of these groups are discarded."""
    found: set[int] = set()
    for chunk in chunks(sorted(set(group_ids))):
        query = select(groups.c.id).where(groups.c.id.in_(chunk), groups.c.status == Status.DISCARDED)
        found.update(connection.execute(query).scalars())
    return found


def lifecycle(row: Row[Any]) -> Lifecycle:
    """The lifecycle in a row of groups."""
    return Lifecycle(
        Status(row.status),
        row.status_changed_at,
        row.ignored_until,
        row.ignored_until_times_seen,
        row.ignored_until_users,
        Resolution(row.resolution) if row.resolution is not None else None,
        row.resolved_in_release,
        row.resolved_release_date,
        row.resolved_in_commit,
    )


def lifecycle_columns(life: Lifecycle) -> dict[str, Any]:
    """The columns of groups that hold a lifecycle."""
    return {
        "status": str(life.status),
        "status_changed_at": life.changed_at,
        "ignored_until": life.ignored_until,
        "ignored_until_times_seen": life.ignored_until_times_seen,
        "ignored_until_users": life.ignored_until_users,
        "resolution": None if life.resolution is None else str(life.resolution),
        "resolved_in_release": life.resolved_in_release,
        "resolved_release_date": life.resolved_release_date,
        "resolved_in_commit": life.resolved_in_commit,
    }


def undoable(row: Row[Any], together: str) -> dict[str, Any]:
    """What the log says of a decision that can be undone, beside it: which it was made together with, and what the group was. Nothing
    where `together` is empty."""
    if not together:
        return {}
    was = lifecycle_columns(lifecycle(row)) | {"assignee": row.assignee}
    dated = {
        name: v.isoformat() if isinstance(v, datetime) else v for name, v in was.items() if v is not None
    }
    return {"together": together, "was": dated}


def _decide(
    state: StateDatabase,
    group_ids: Sequence[int],
    actor: str,
    action: str,
    change: Change,
    together: str = "",
) -> list[dict[str, Any]]:
    """As decide_in, in a transaction of its own. Gives what was logged, in the order of the ids."""

    def told(connection: Connection, row: Row[Any], at: datetime) -> tuple[Lifecycle, dict[str, Any]]:
        life, said = change(connection, row, at)
        return life, said | undoable(row, together)

    with state.write() as connection:
        logged = decide_in(state, connection, group_ids, actor, action, told)
    return [logged[group_id] for group_id in group_ids]


def decide_in(
    state: StateDatabase,
    connection: Connection,
    group_ids: Sequence[int],
    actor: str,
    action: str,
    change: Change,
) -> dict[int, dict[str, Any]]:
    """Change the lifecycle of all groups, or of none when one of them is discarded, in the caller's transaction, which holds no
    row yet. Gives what was logged of each. Raises DecisionError."""
    logged: dict[int, dict[str, Any]] = {}
    at = datetime.now(UTC)
    # Monitors change groups one by one, in no order: with rows alone the two could wait for each other in a circle.
    state.serialise(connection, "group_hashes")
    for row in locked_groups(connection, group_ids):
        if row.status == Status.DISCARDED:
            raise DecisionError(
                "its events are discarded; `tasks-pipeline groups discard --undo ID` ends that"
            )
        life, logged[row.id] = change(connection, row, at)
        _apply(state, connection, row, life, action, logged[row.id], actor)
    return logged


def _apply(
    state: StateDatabase,
    connection: Connection,
    row: Row[Any],
    life: Lifecycle,
    action: str,
    said: Mapping[str, Any],
    actor: str,
) -> None:
    connection.execute(update(groups).where(groups.c.id == row.id).values(**lifecycle_columns(life)))
    status = status_of(row, life.status)
    log_action(state, connection, row.project_id, row.id, action, said, actor, before=row, status=status)


def in_release_after_newest(
    connection: Connection, row: Row[Any], at: datetime
) -> tuple[Lifecycle, dict[str, Any]]:
    """A Change: fixed in the release after the latest one that is known. Raises DecisionError when none is."""
    release, date = _newest_known(connection, row)
    return fixed_in_next_release(at, release, date), {"in_release_after": release}


def _release_named(connection: Connection, row: Row[Any], name: str) -> tuple[str, datetime | None]:
    """The release that somebody means, and its order date if it is known."""
    if name.lower() == SEARCH_WORD:
        return _newest_known(connection, row)
    if why := why_no_release(name):
        raise DecisionError(why)
    date = order_dates(connection, row.project_id, [name]).get(name)
    if date is None and parse_release(name).kind != "version":
        raise DecisionError(
            f"no release {name!r} of the project is known; one that is still to come has to be a version, as shop@1.2.3"
        )
    return name, date


def _commit_named(connection: Connection, name: str) -> str:
    """The id of the commit that somebody means: of a git commit the beginning is enough, once it is known.

    As it was sent, where that is known: others than git write capitals, and count.
    """
    if (
        not name
        or len(name) > LENGTH_OF_COMMIT
        or not name.isascii()
        or not name.isprintable()
        or " " in name
    ):
        raise DecisionError(f"{name[:80]!r} cannot be the id of a commit")
    if _is_known(connection, name):
        return name
    sha = name.lower()
    if not _HEX.fullmatch(sha) or (len(sha) < _SHORTEST_SHA and sha.isdecimal()):
        return name
    if len(sha) >= _WHOLE_SHA:
        return sha
    if len(sha) < _SHORTEST_SHA:
        raise DecisionError(f"{sha} is no known commit; give {_SHORTEST_SHA} of its digits or more")
    begins = select(commits.c.sha).where(commits.c.sha >= sha, commits.c.sha < f"{sha}g")
    found: list[str] = list(connection.execute(begins.order_by(commits.c.sha).limit(2)).scalars())
    if sha in found:
        return sha
    if len(found) > 1:
        raise DecisionError(f"several commits begin with {sha}; give more of its digits")
    if not found:
        raise DecisionError(f"no known commit begins with {sha}; give all of its 40 digits")
    return found[0]


def _is_known(connection: Connection, sha: str) -> bool:
    return connection.execute(select(commits.c.sha).where(commits.c.sha == sha)).first() is not None


def _newest_known(connection: Connection, row: Row[Any]) -> tuple[str, datetime | None]:
    """The latest release of the packages that a group was seen in, else of its project, and its order date."""
    own = connection.execute(
        select(group_values.c.value)
        .where(group_values.c.group_id == row.id, group_values.c.kind == "release")
        .distinct()
    ).scalars()
    packages = {name.package for name in map(parse_release, own) if name.kind == "version"}
    found = latest_release(connection, row.project_id, packages) if packages else None
    found = found or latest_release(connection, row.project_id)
    if found is None:
        raise DecisionError("no release of the project is known, so there is none to resolve it in, or after")
    return found.version, order_dates(connection, row.project_id, [found.version]).get(found.version)
