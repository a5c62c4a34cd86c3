"""Suspect commits of groups: what was found of each, for people, and of which groups it is to be found yet.

How commits are suspected is in `releases/suspects.py`, when they are looked for in `shipping/suspects.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    TextClause,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    update,
)

from tasks_pipeline.groups.decisions import Action, lock_groups, log_actions
from tasks_pipeline.groups.lifecycle import Status
from tasks_pipeline.releases.changes import (
    MESSAGE_READ,
    any_commits,
    have_commits,
    releases_from,
    releases_up_to,
)
from tasks_pipeline.releases.suspects import Suspect, first_line
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import (
    SUSPECTS_DUE,
    commit_authors,
    commits,
    group_actions,
    groups,
    suspect_commits,
)


def keep_suspects(connection: Connection, found: Mapping[int, Sequence[Suspect]], at: datetime) -> None:
    """Store what was found of groups, also when it is nothing, in the place of what was found before."""
    if not found:
        return
    ids = sorted(found)
    rows = [
        {
            "group_id": group_id,
            "rank": rank,
            "sha": suspect.sha,
            "version": suspect.version,
            "path": suspect.path,
            "frame": suspect.frame,
            "score": suspect.score,
        }
        for group_id in ids
        for rank, suspect in enumerate(found[group_id])
    ]
    lock_groups(connection, ids)
    for some in chunks(ids):
        connection.execute(delete(suspect_commits).where(suspect_commits.c.group_id.in_(some)))
        connection.execute(update(groups).where(groups.c.id.in_(some)).values(suspects_at=at))
    for part in chunks(rows):
        connection.execute(insert(suspect_commits), list(part))


def suspects_of(connection: Connection, group_ids: Collection[int]) -> dict[int, list[dict[str, Any]]]:
    """Suspect commits of the groups that have some, the likeliest first. Of a group whose earliest event tells no release (any
    more) none: those of its former first release stay stored, and are nobody's.

    Each: sha, author {name, email}, message (its first line), path, frame, score, release, committed_at. What a commit does not
    tell is None.
    """
    held: list[Row[Any]] = []
    for some in chunks(sorted(set(group_ids))):
        of_groups = select(suspect_commits).where(suspect_commits.c.group_id.in_(some))
        held += connection.execute(of_groups.order_by(suspect_commits.c.group_id, suspect_commits.c.rank))
    named = _with_first_release(connection, {row.group_id for row in held})
    held = [row for row in held if row.group_id in named]
    known = _commits(connection, {row.sha for row in held})
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in held:
        found[row.group_id].append(
            {
                "sha": row.sha,
                **known.get(row.sha, _UNKNOWN),
                "path": row.path,
                "frame": row.frame,
                "score": row.score,
                "release": row.version,
            }
        )
    return dict(found)


def _with_first_release(connection: Connection, group_ids: Collection[int]) -> set[int]:
    """Those that have one. Asked for and not joined: a planner may read all groups that do."""
    found: set[int] = set()
    for some in chunks(sorted(group_ids)):
        rows = connection.execute(select(groups.c.id, groups.c.first_release).where(groups.c.id.in_(some)))
        found.update(row.id for row in rows if row.first_release is not None)
    return found


_UNKNOWN = {"author": {"name": None, "email": None}, "message": "", "committed_at": None}


def _commits(connection: Connection, shas: Collection[str]) -> dict[str, dict[str, Any]]:
    """Author, message and time of commits. Authors are asked for apart: joined, a planner may read all of them."""
    c, a = commits.c, commit_authors.c
    rows: list[Row[Any]] = []
    names: dict[str, dict[str, Any]] = {}
    for some in chunks(sorted(shas)):
        message = func.substr(c.message, 1, MESSAGE_READ).label("message")
        rows += connection.execute(
            select(c.sha, c.author_key, c.committed_at, message).where(c.sha.in_(some))
        )
    for keys in chunks(sorted({row.author_key for row in rows if row.author_key is not None})):
        authors = connection.execute(select(commit_authors).where(a.author_key.in_(keys)))
        names |= {row.author_key: {"name": row.name, "email": row.email} for row in authors}
    return {
        row.sha: {
            "author": names.get(row.author_key, _UNKNOWN["author"]),
            "message": first_line(row.message),
            "committed_at": row.committed_at,
        }
        for row in rows
    }


def author_of(suspect: Mapping[str, Any]) -> str:
    """What people call the author of a commit; empty when nobody said."""
    author = suspect["author"]
    return str(author["name"] or author["email"] or "")


def mails_of(connection: Connection, group_ids: Collection[int]) -> dict[int, list[str]]:
    """Addresses of the authors of suspect commits, the likeliest first, in lower case."""
    return {
        group_id: list(dict.fromkeys(s["author"]["email"].lower() for s in suspects if s["author"]["email"]))
        for group_id, suspects in suspects_of(connection, group_ids).items()
    }


def why_none(connection: Connection, group_id: int) -> str:
    """Why no commit is suspected of a group that has no suspects, for people."""
    g = groups.c
    group = connection.execute(
        select(g.project_id, g.first_release, g.suspects_at).where(g.id == group_id)
    ).one()
    if group.first_release is None:
        return "its first event tells no release"
    versions = releases_up_to(connection, group.project_id, group.first_release)
    if not versions:
        return f"the release {group.first_release} is not known any more"
    if not have_commits(connection, versions):
        before = f", nor have the {len(versions) - 1} before it" if len(versions) > 1 else ""
        return f"{group.first_release} has no commits{before}"
    if group.suspects_at is None:
        return "not looked for yet"
    return "no commit changed a file of its frames"


def due_groups(connection: Connection, limit: int) -> list[tuple[int, int, str]]:
    """(id, project, first release) of groups whose suspects were never looked for, or not since commits came; the newest first."""
    query = (
        select(groups.c.id, groups.c.project_id, groups.c.first_release)
        .where(text(SUSPECTS_DUE))
        .order_by(groups.c.id.desc())
        .limit(limit)
    )
    return [(row.id, row.project_id, row.first_release) for row in connection.execute(query)]


def still_due(connection: Connection, group_ids: Iterable[int], release: str) -> set[int]:
    """Those of some groups whose suspects are due, and that were first seen in a release."""
    found: set[int] = set()
    for some in chunks(sorted(group_ids)):
        query = select(groups.c.id).where(groups.c.id.in_(some), text(SUSPECTS_DUE))
        found.update(connection.execute(query.where(groups.c.first_release == release)).scalars())
    return found


def to_look_at_again(connection: Connection, project_id: int, version: str) -> list[int]:
    """Groups that were first seen in a release, or in the four after it, and whose suspects were looked for, in order."""
    named = releases_from(connection, project_id, version) or [version]
    return _first_seen_in(connection, project_id, named, groups.c.suspects_at.is_not(None))


def look_again(connection: Connection, group_ids: Collection[int]) -> None:
    """Commits of a release came: suspects of these groups are due. In the caller's transaction, which holds `group_hashes`
    and the groups."""
    for some in chunks(sorted(group_ids)):
        connection.execute(update(groups).where(groups.c.id.in_(some)).values(suspects_at=None))


def nothing_to_find(connection: Connection, project_id: int, versions: Iterable[str], at: datetime) -> int:
    """Note that there is nothing to find of the groups that were first seen in these releases, since no commits are known; gives
    how many were due."""
    asked = connection, project_id, [*versions], text(SUSPECTS_DUE)
    lock_groups(connection, _first_seen_in(*asked))
    group_ids = _first_seen_in(*asked)  # again, without those that changed meanwhile
    for some in chunks(group_ids):
        connection.execute(update(groups).where(groups.c.id.in_(some)).values(suspects_at=at))
    return len(group_ids)


def _first_seen_in(
    connection: Connection, project_id: int, versions: Iterable[str], where: ColumnElement[bool] | TextClause
) -> list[int]:
    """Groups that were first seen in releases and meet a condition, in the order in which they are locked.

    One release at a time: for a list of them SQLite reads all groups of the project that have any.
    """
    found: list[int] = []
    known = groups.c.first_release.is_not(None)
    for release in versions:
        of_release = (groups.c.project_id == project_id, groups.c.first_release == release)
        found += connection.execute(select(groups.c.id).where(*of_release, known, where)).scalars()
    return sorted(found)


def forget_suspects(connection: Connection, project_id: int, version: str) -> None:
    """Drop what was found before of the due groups that were first seen in a release, of which there is nothing to find."""
    of_release = (groups.c.project_id == project_id, groups.c.first_release == version, text(SUSPECTS_DUE))
    due = select(groups.c.id).where(*of_release)
    connection.execute(delete(suspect_commits).where(suspect_commits.c.group_id.in_(due)))


def any_suspects(connection: Connection) -> bool:
    """Whether a commit may be among suspects, or is said to be: else nothing is looked for."""
    known = select(suspect_commits.c.group_id).limit(1)
    return any_commits(connection) or connection.execute(known).first() is not None


def assign_suspects(
    state: StateDatabase, connection: Connection, chosen: Mapping[int, tuple[str, str]]
) -> dict[int, str]:
    """Assign open groups to members, (address, sha of their commit) by group, but those that are, or were, somebody's: what people
    decided stays. Gives who got which. The caller holds `group_hashes`, or the rows."""
    if not chosen:
        return {}
    decided = select(group_actions.c.group_id).where(
        group_actions.c.group_id.in_(chosen), group_actions.c.action.in_(("assign", "unassign", "inherit"))
    )
    taken = set(connection.execute(decided).scalars())
    free = select(groups.c.id, groups.c.project_id).where(
        groups.c.id.in_(chosen),
        groups.c.assignee.is_(None),
        groups.c.merged_into.is_(None),
        groups.c.status.in_((Status.UNRESOLVED, Status.REGRESSED)),
    )
    rows = [row for row in connection.execute(free.order_by(groups.c.id)) if row.id not in taken]
    if rows:
        connection.execute(
            update(groups).where(groups.c.id == bindparam("group")).values(assignee=bindparam("to")),
            [{"group": row.id, "to": chosen[row.id][0]} for row in rows],
        )
    given = ((row, *chosen[row.id]) for row in rows)
    log_actions(
        state,
        connection,
        [
            Action(row.project_id, row.id, "assign", {"assignee": mail, "commit": sha}, assignee=mail)
            for row, mail, sha in given
        ],
    )
    return {row.id: chosen[row.id][0] for row in rows}


def suspects_due(state: StateDatabase) -> bool:
    """Whether suspects of a group are due, and there may be some: what a sensor asks."""
    with state.read() as connection:
        return any_suspects(connection) and bool(due_groups(connection, 1))
