"""Commits of releases: the list of a release is replaced, commits are the organisation's, by their sha.

Reading them for people is in `commit_lists.py`, what clients send in `sent_commits.py`. What a commit fixes is not known here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, ScalarSelect, delete, exists, func, select, update

from tasks_pipeline.facts.record import Happened, record_all
from tasks_pipeline.facts.types import ReleaseCommitsSet
from tasks_pipeline.releases.deploys import lock_deploys
from tasks_pipeline.releases.repositories import learn_repositories
from tasks_pipeline.releases.sent_commits import SentCommit, SentRef
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import (
    commit_authors,
    commit_files,
    commits,
    deploys,
    group_commits,
    release_commits,
    release_heads,
    releases,
    suspect_commits,
)

LOCK = "commits"
"""One transaction at a time writes commits: two lists may share them in any order."""
LATE = timedelta(hours=1)
"""So long after a deploy its authors are told of it when commits arrive."""
_FACTS = ("repository", "message", "author_key", "committed_at")


def set_commits(
    state: StateDatabase,
    connection: Connection,
    version: str,
    sent: Sequence[SentCommit],
    refs: Sequence[SentRef] | None = None,
) -> bool:
    """Make these the commits of a release, newest first, in the caller's transaction; gives whether that changed anything.

    The head of each repository is its newest commit, unless refs say so.
    """
    state.serialise(connection, LOCK)
    learn_repositories(state, connection, (c.repository for c in sent if c.repository))
    changed = _put_commits(state, connection, sent)
    _put_heads(connection, version, refs or _heads_of(sent))
    relisted = _put_list(connection, version, [commit.sha for commit in sent])
    if changed or relisted:
        authors = len({commit.author_key for commit in sent if commit.author_key})
        _note_change(state, connection, version, len(sent), authors)
        _note_others(connection, version, changed)
    return bool(changed) or relisted


def _heads_of(sent: Sequence[SentCommit]) -> list[SentRef]:
    newest: dict[str, SentRef] = {}
    for commit in sent:
        if commit.repository:
            newest.setdefault(commit.repository, SentRef(commit.repository, commit.sha))
    return [*newest.values()]


def set_refs(state: StateDatabase, connection: Connection, version: str, refs: Sequence[SentRef]) -> bool:
    """Make these the heads of a release, in the caller's transaction, and its commits those of them that are known; gives
    whether that changed its commits. Without any the release has no commits any more."""
    state.serialise(connection, LOCK)
    if refs:
        learn_repositories(state, connection, (ref.repository for ref in refs))
    _put_heads(connection, version, refs)
    listed = shas_of(connection, version)
    known = known_shas(connection, [ref.sha for ref in refs])
    wanted = [ref.sha for ref in refs if ref.sha in known]
    if refs and set(wanted) <= set(listed):  # what is between them is there already
        return False
    if not _put_list(connection, version, list(dict.fromkeys(wanted))):
        return False
    wrote = select(func.count(func.distinct(commits.c.author_key))).where(commits.c.sha.in_(wanted))
    _note_change(state, connection, version, len(set(wanted)), connection.execute(wrote).scalar_one())
    return True


def shas_of(connection: Connection, version: str) -> list[str]:
    """The commits of a release, newest first."""
    c = release_commits.c
    return list(connection.execute(select(c.sha).where(c.version == version).order_by(c.position)).scalars())


def known_shas(connection: Connection, shas: Iterable[str]) -> set[str]:
    """Those that are commits that are known."""
    found: set[str] = set()
    for chunk in chunks(sorted(set(shas))):
        found.update(connection.execute(select(commits.c.sha).where(commits.c.sha.in_(chunk))).scalars())
    return found


def forget_release(connection: Connection, version: str) -> None:
    """Drop the list and the heads of a release that no project has any more, and commits that nothing else names.

    The caller holds the lock.
    """
    shas = shas_of(connection, version)
    connection.execute(delete(release_heads).where(release_heads.c.version == version))
    connection.execute(delete(release_commits).where(release_commits.c.version == version))
    _forget_commits(connection, shas)


def _put_commits(state: StateDatabase, connection: Connection, sent: Sequence[SentCommit]) -> set[str]:
    """Write authors, commits and their files where they differ from what is known; gives those that did."""
    _put_authors(state, connection, sent)
    known = _known(connection, [commit.sha for commit in sent])
    with_files = [commit for commit in sent if commit.files is not None]
    files = _files(connection, [commit.sha for commit in with_files if commit.sha in known])
    other_files = [commit for commit in with_files if commit.files != files.get(commit.sha, ())]
    now, rows = datetime.now(UTC), []
    for commit in sent:
        old = known.get(commit.sha)
        count = len(commit.files) if commit.files is not None else old["files"] if old else 0
        said = {name: getattr(commit, name) for name in _FACTS}
        row = {name: (old or {}).get(name) if value is None else value for name, value in said.items()}
        if old is None or row | {"files": count} != {name: old[name] for name in (*_FACTS, "files")}:
            rows.append({"sha": commit.sha, **row, "files": count, "created_at": now})
    for some in chunks(sorted(rows, key=lambda row: str(row["sha"]))):
        state.put(connection, _updated_commits, some)
    _put_files(connection, other_files, files)
    return {str(row["sha"]) for row in rows} | {commit.sha for commit in other_files}


def _updated_commits(state: StateDatabase) -> Any:
    insert = state.insert(commits)
    return insert.on_conflict_do_update(
        index_elements=["sha"], set_={name: insert.excluded[name] for name in (*_FACTS, "files")}
    )


def _known(connection: Connection, shas: Sequence[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for chunk in chunks(shas):
        rows = connection.execute(select(commits).where(commits.c.sha.in_(chunk))).mappings()
        found.update({row["sha"]: dict(row) for row in rows})
    return found


def _put_authors(state: StateDatabase, connection: Connection, sent: Sequence[SentCommit]) -> None:
    """Authors by key. Of one with a mail address the name is the newest that was said."""
    rows: dict[str, dict[str, Any]] = {}
    for commit in sent:
        if commit.author_key is not None:
            rows.setdefault(
                commit.author_key,
                {"author_key": commit.author_key, "name": commit.author_name, "email": commit.author_email},
            )
    for some in chunks([row for _, row in sorted(rows.items())]):
        state.put(connection, _updated_authors, some)


def _updated_authors(state: StateDatabase) -> Any:
    insert = state.insert(commit_authors)
    old, new = commit_authors.c, insert.excluded
    return insert.on_conflict_do_update(
        index_elements=["author_key"],
        set_={
            "name": func.coalesce(new["name"], old["name"]),
            "email": func.coalesce(new["email"], old["email"]),
        },
    )


def _files(connection: Connection, shas: Sequence[str]) -> dict[str, tuple[tuple[str, str], ...]]:
    """Changed files of commits as (path, type), by path."""
    c = commit_files.c
    found: dict[str, list[tuple[str, str]]] = {}
    for chunk in chunks(shas):
        for row in connection.execute(select(c.sha, c.path, c.type).where(c.sha.in_(chunk))):
            found.setdefault(row.sha, []).append((row.path, row.type))
    return {sha: tuple(sorted(each)) for sha, each in found.items()}


def _put_files(
    connection: Connection, sent: Sequence[SentCommit], known: Mapping[str, Collection[tuple[str, str]]]
) -> None:
    _drop_files(connection, [commit.sha for commit in sent if commit.sha in known])
    rows = [
        {"sha": commit.sha, "path": path, "type": kind}
        for commit in sent
        for path, kind in commit.files or ()
    ]
    if rows:
        connection.execute(commit_files.insert(), rows)


def _drop_files(connection: Connection, shas: Sequence[str]) -> None:
    for chunk in chunks(shas):
        connection.execute(delete(commit_files).where(commit_files.c.sha.in_(chunk)))


def _put_heads(connection: Connection, version: str, refs: Sequence[SentRef]) -> None:
    connection.execute(delete(release_heads).where(release_heads.c.version == version))
    rows = [
        {
            "version": version,
            "repository": ref.repository,
            "sha": ref.sha,
            "previous_sha": ref.previous_sha,
        }
        for ref in refs
    ]
    if rows:
        connection.execute(release_heads.insert(), rows)


def _put_list(connection: Connection, version: str, shas: Sequence[str]) -> bool:
    """Replace the list of a release; gives whether it was another one. What nothing names any more goes."""
    before = shas_of(connection, version)
    if before == [*shas]:
        return False
    connection.execute(delete(release_commits).where(release_commits.c.version == version))
    rows = [{"version": version, "position": n, "sha": sha} for n, sha in enumerate(shas)]
    if rows:
        connection.execute(release_commits.insert(), rows)
    _forget_commits(connection, sorted({*before}.difference(shas)))
    return True


def _forget_commits(connection: Connection, shas: Sequence[str]) -> None:
    """Remove those of the commits that no release holds, and that no group is known to be fixed or broken by."""
    naming = (release_commits, group_commits, suspect_commits)
    named = [exists().where(table.c.sha == commits.c.sha) for table in naming]
    for chunk in chunks(shas):
        query = select(commits.c.sha, commits.c.author_key).where(
            commits.c.sha.in_(chunk), *(~each for each in named)
        )
        gone = {row.sha: row.author_key for row in connection.execute(query)}
        _drop_files(connection, sorted(gone))
        connection.execute(delete(commits).where(commits.c.sha.in_(sorted(gone))))
        authors = sorted({key for key in gone.values() if key is not None})
        wrote = exists().where(commits.c.author_key == commit_authors.c.author_key)
        connection.execute(delete(commit_authors).where(commit_authors.c.author_key.in_(authors), ~wrote))


def _note_change(
    state: StateDatabase, connection: Connection, version: str, count: int, authors: int = 0
) -> None:
    """Have update_release_data look at the release in each project, and tell authors of a deploy of just now."""
    now = datetime.now(UTC)
    # In the order in which batches write them, so that none waits for another in a circle.
    rows = select(releases.c.project_id).where(releases.c.version == version).order_by(releases.c.project_id)
    having = connection.execute(rows.with_for_update()).scalars().all()
    fact = ReleaseCommitsSet(version=version, commits=count, authors=authors)
    record_all(state, connection, [Happened(fact, now, project_id) for project_id in having])
    of_release = update(releases).where(releases.c.version == version)
    connection.execute(of_release.values(commit_count=_counted(version), update_due_at=now))
    if count_commits(connection, [version]):
        projects = select(releases.c.project_id).where(releases.c.version == version)
        of_just_now = (
            deploys.c.project_id.in_(projects),
            deploys.c.version == version,
            deploys.c.created_at > now - LATE,
        )
        lock_deploys(connection, *of_just_now)  # whoever is telling of them does not know these commits
        connection.execute(update(deploys).where(*of_just_now).values(told_at=None))


def _note_others(connection: Connection, version: str, changed: Collection[str]) -> None:
    """Have update_release_data look at the other releases that hold commits which changed."""
    c, held = releases.c, release_commits.c
    versions: set[str] = set()
    for chunk in chunks(sorted(changed)):
        versions.update(connection.execute(select(held.version).where(held.sha.in_(chunk))).scalars())
    for other in sorted(versions - {version}):
        of_release = c.version == other
        rows = select(c.project_id).where(of_release).order_by(c.project_id)  # as batches lock them
        connection.execute(rows.with_for_update()).all()
        connection.execute(update(releases).where(of_release).values(update_due_at=datetime.now(UTC)))


def count_commits(connection: Connection, versions: Collection[str]) -> dict[str, int]:
    """How many commits each of these releases has; those without any are left out."""
    c = release_commits.c
    found: dict[str, int] = {}
    for chunk in chunks(sorted(set(versions))):
        query = select(c.version, func.count()).where(c.version.in_(chunk)).group_by(c.version)
        found.update({row[0]: row[1] for row in connection.execute(query)})
    return found


def set_count(connection: Connection, project_id: int, version: str) -> None:
    """Note how many commits a release of a project has."""
    named = (releases.c.project_id == project_id) & (releases.c.version == version)
    connection.execute(update(releases).where(named).values(commit_count=_counted(version)))


def _counted(version: str) -> ScalarSelect[int]:
    return select(func.count()).where(release_commits.c.version == version).scalar_subquery()
