"""Comments of groups: rows of issue_comments and of their copies in issues, written, changed and deleted here or there.

A comment of ours has a copy in each issue that its group is linked to when it is written; what a copy lacks is made there by an
intent. One of theirs is taken over, and copied nowhere.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, and_, or_, select, update

from tasks_pipeline.groups.decisions import cluster, log_action, merged_targets
from tasks_pipeline.links.rows import LIVE, Link, ask_for_looks, links_of_groups
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import groups, issue_comment_copies, issue_comments, issue_links
from tasks_pipeline.texts import clean
from tasks_pipeline.trackers.issue import Comment, Person
from tasks_pipeline.trackers.markers import marker_in, without_marker

LONGEST = 30_000
"""Characters of a comment. GitHub, which takes the fewest of those that are known, takes 65,536 with what is put around it."""
SHOWN = 100
_INVISIBLE = re.compile("[\u200b\u200c\u200d\u2060\ufeff]")
_FIRST_LINE = re.compile(r"\A\*{0,2}[^\n]{1,300} wrote in Tasks Pipeline:\s*\n")


class CommentError(ValueError):
    """What was asked cannot be done; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A change of a copy that has to be made there."""

    comment_id: int
    version: int
    kind: Literal["comment", "edit", "delete"]


def add_comment(state: StateDatabase, group_id: int, author: str, text: str) -> int:
    """Comment on a group, or the one that it is part of, and on all issues that are linked to it; gives the comment's number.
    Raises CommentError."""
    body, now = _usable(text), datetime.now(UTC)
    with state.write() as connection:
        group_id = merged_targets(connection, [group_id]).get(group_id, group_id)
        row = connection.execute(
            select(groups.c.id, groups.c.project_id).where(groups.c.id == group_id)
        ).first()
        if row is None:
            raise CommentError("there is no such group")
        made = issue_comments.insert().values(
            project_id=row.project_id, group_id=group_id, side="ours", author=author[:200], body=body,
            body_hash=hash_of(body), created_at=now,
        )  # fmt: skip
        number = int(connection.execute(made.returning(issue_comments.c.id)).scalar_one())
        links = [
            each for each in links_of_groups(connection, [group_id]).get(group_id, ()) if each.state in LIVE
        ]
        if links:
            copies = [{"comment_id": number, "link_id": link.id} for link in links]
            connection.execute(issue_comment_copies.insert(), copies)
        _ask(connection, links, now)
        log_action(state, connection, row.project_id, group_id, "comment", {"comment": number}, author)
    return number


def edit_comment(state: StateDatabase, comment_id: int, actor: str, text: str) -> None:
    """Change a comment that was written here, and its copies. Raises CommentError."""
    body, now = _usable(text), datetime.now(UTC)
    with state.write() as connection:
        row = _ours(connection, comment_id)
        if hash_of(body) == row.body_hash:
            return
        _change(
            connection, comment_id, body=body, body_hash=hash_of(body), version=row.version + 1, edited_at=now
        )
        _ask(connection, _copied_to(connection, comment_id), now)
        log_action(
            state, connection, row.project_id, row.group_id, "edit_comment", {"comment": comment_id}, actor
        )


def delete_comment(state: StateDatabase, comment_id: int, actor: str) -> None:
    """Delete a comment that was written here, and its copies. Its text is dropped. Raises CommentError."""
    now = datetime.now(UTC)
    with state.write() as connection:
        row = _ours(connection, comment_id)
        _drop(connection, [comment_id], now)
        _ask(connection, _copied_to(connection, comment_id), now)
        log_action(
            state, connection, row.project_id, row.group_id, "delete_comment", {"comment": comment_id}, actor
        )


def comments_of(connection: Connection, group_id: int, limit: int = SHOWN) -> list[dict[str, Any]]:
    """The newest comments of a group and of those that are part of it, oldest first: id, at, author, body, side, edited_at,
    issue_key and issue_url (of those that were written there; else empty). Deleted ones are left out."""
    c, link = issue_comments.c, issue_links.c
    query = (
        select(
            c.id, c.created_at.label("at"), c.author, c.body, c.side, c.edited_at,
            link.shown_key.label("issue_key"), link.url.label("issue_url"),
        )
        .join(issue_links, link.id == c.link_id, isouter=True)
        .where(c.group_id.in_(cluster(connection, group_id)), c.deleted_at.is_(None))
        .order_by(c.created_at.desc(), c.id.desc())
        .limit(limit)
    )  # fmt: skip
    rows = [dict(row._mapping) for row in connection.execute(query)]
    return [
        row | {"issue_key": row["issue_key"] or "", "issue_url": row["issue_url"] or ""} for row in rows[::-1]
    ]


def canonical(text: str) -> str:
    """A text as both sides would write it: what mark-up that is harmless hid in it, and line ends, make no difference."""
    plain = unicodedata.normalize("NFC", _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))
    return "\n".join(line.rstrip() for line in plain.split("\n")).strip()


def hash_of(text: str) -> str:
    """What tells one version of a text from another."""
    return hashlib.sha256(canonical(text).encode("utf-8", "surrogatepass")).hexdigest()


def marker_of(comment_id: int | str, version: int) -> str:
    """The marker of a copy: whoever reads it knows that it came from us."""
    return f"c:{comment_id}:{version}"


def is_ours(comment: Comment, marker: str = "") -> bool:
    """Whether a comment there ends with a marker of ours: any, or this one."""
    if marker:
        return marker_in(comment.body) == marker
    return without_marker(comment.body) != comment.body


def text_of_copy(body: str) -> str:
    """What somebody made of a copy of ours: without the marker and the line that says who wrote it."""
    return canonical(_FIRST_LINE.sub("", without_marker(body.replace("\r\n", "\n"))))


def wanted_copies(connection: Connection, link_id: int, limit: int = 100) -> list[Wanted]:
    """What has to be made, changed or removed in an issue so that it has the comments of ours that belong there, oldest first."""
    c, copy = issue_comments.c, issue_comment_copies.c
    behind = and_(c.deleted_at.is_(None), copy.agreed_version < c.version)
    to_remove = and_(c.deleted_at.is_not(None), copy.external_id.is_not(None))
    query = (
        select(c.id, c.version, c.deleted_at, copy.external_id)
        .join(issue_comment_copies, copy.comment_id == c.id)
        .where(copy.link_id == link_id, copy.deleted_at.is_(None), or_(behind, to_remove))
        .order_by(c.id)
        .limit(limit)
    )
    return [
        Wanted(
            row.id,
            row.version,
            "delete" if row.deleted_at is not None else "comment" if row.external_id is None else "edit",
        )
        for row in connection.execute(query)
    ]


def copy_of(connection: Connection, comment_id: int, link_id: int) -> Row[Any] | None:
    """A comment of ours with its copy in an issue: author, body, version, deleted (of the comment), external_id,
    agreed_version, agreed_hash, copy_deleted (of the copy)."""
    c, copy = issue_comments.c, issue_comment_copies.c
    query = (
        select(
            c.id, c.author, c.body, c.version, c.deleted_at.label("deleted"), copy.external_id, copy.agreed_version,
            copy.agreed_hash, copy.deleted_at.label("copy_deleted"),
        )
        .join(issue_comment_copies, copy.comment_id == c.id)
        .where(copy.comment_id == comment_id, copy.link_id == link_id)
    )  # fmt: skip
    return connection.execute(query).first()


def sharing(connection: Connection, link_id: int, external_id: str) -> list[Row[Any]]:
    """Comments of ours whose copies are one comment there, since there were too many of them: as copy_of, oldest first."""
    c, copy = issue_comments.c, issue_comment_copies.c
    query = (
        select(c.id, c.author, c.body, c.version, c.deleted_at.label("deleted"))
        .join(issue_comment_copies, copy.comment_id == c.id)
        .where(copy.link_id == link_id, copy.external_id == external_id)
        .order_by(c.id)
    )
    return list(connection.execute(query))


def note_copy(connection: Connection, comment_id: int, link_id: int, **columns: Any) -> None:
    """Change columns of a copy."""
    copy = issue_comment_copies.c
    connection.execute(
        update(issue_comment_copies)
        .where(copy.comment_id == comment_id, copy.link_id == link_id)
        .values(**columns)
    )


def take_theirs(
    state: StateDatabase,
    connection: Connection,
    link: Link,
    group_id: int,
    found: Sequence[Comment],
    *,
    whole: bool,
    actor: Callable[[Person | None], str],
) -> dict[str, int]:
    """Take over comments that were written in an issue; gives how many were taken, edited and deleted. `found` are those that may
    be copied. `whole`: all of the issue are among them, so that what is missing was deleted. `actor`: what the log calls an author."""
    now, known = datetime.now(UTC), _known(connection, link.id)
    done = {"taken": 0, "edited": 0, "deleted": 0}
    new: list[Comment] = []
    rows: list[dict[str, Any]] = []
    for each in found:
        row = known.get(each.external_id)
        body = clean(each.body, LONGEST, lines=True)
        if row is None:
            new.append(each)
            rows.append(_new_row(link, group_id, each, body, now))
        elif row.deleted_at is None and row.body_hash != hash_of(body):
            _change(
                connection, row.id, body=body, body_hash=hash_of(body), version=row.version + 1, edited_at=now
            )
            done["edited"] += 1
    for chunk in chunks(rows):
        again = state.insert(issue_comments).on_conflict_do_nothing()
        connection.execute(again, list(chunk))
    done["taken"] = len(new)
    for each in new:
        data = {"issue": link.url, "issue_key": link.shown_key}
        log_action(state, connection, link.project_id, group_id, "comment", data, actor(each.author))
    if whole:
        there = {each.external_id for each in found}
        gone = [row.id for key, row in known.items() if row.deleted_at is None and key not in there]
        _drop(connection, gone, now)
        done["deleted"] = len(gone)
    return done


def changed_copies(
    connection: Connection, link_id: int, found: Mapping[str, Comment], *, whole: bool
) -> list[tuple[Row[Any], Comment | None]]:
    """Copies of ours in an issue that somebody changed or (None) deleted there, of those that are on both sides."""
    c, copy = issue_comments.c, issue_comment_copies.c
    query = (
        select(
            c.id,
            c.version,
            c.deleted_at.label("deleted"),
            copy.external_id,
            copy.agreed_version,
            copy.agreed_hash,
        )
        .join(issue_comment_copies, copy.comment_id == c.id)
        .where(copy.link_id == link_id, copy.external_id.is_not(None), copy.deleted_at.is_(None))
    )
    changed: list[tuple[Row[Any], Comment | None]] = []
    for row in connection.execute(query):
        there = found.get(row.external_id)
        if there is None:
            if whole:
                changed.append((row, None))
        elif row.agreed_hash and hash_of(text_of_copy(there.body)) != row.agreed_hash:
            changed.append((row, there))
    return changed


def take_edit(connection: Connection, row: Row[Any], link_id: int, there: Comment) -> bool:
    """Make a comment of ours what somebody made of its copy. False when it was changed here too: then each side keeps its own."""
    text = clean(text_of_copy(there.body), LONGEST, lines=True)
    if row.version != row.agreed_version or row.deleted is not None or not text:
        note_copy(connection, row.id, link_id, agreed_hash=hash_of(text), agreed_version=row.version)
        return False
    version = row.version + 1
    _change(
        connection, row.id, body=text, body_hash=hash_of(text), version=version, edited_at=datetime.now(UTC)
    )
    note_copy(connection, row.id, link_id, agreed_hash=hash_of(text), agreed_version=version)
    return True


def has_comments(connection: Connection, link_ids: Collection[int]) -> set[int]:
    """Which of these links have comments on both sides: only there can one have been edited or deleted without a trace."""
    found: set[int] = set()
    c, copy = issue_comments.c, issue_comment_copies.c
    for chunk in chunks(sorted(set(link_ids))):
        theirs = select(c.link_id).where(c.link_id.in_(chunk), c.deleted_at.is_(None)).distinct()
        ours = select(copy.link_id).where(
            copy.link_id.in_(chunk), copy.external_id.is_not(None), copy.deleted_at.is_(None)
        )
        found.update(connection.execute(theirs).scalars())
        found.update(connection.execute(ours.distinct()).scalars())
    return found


def _new_row(link: Link, group_id: int, comment: Comment, body: str, now: datetime) -> dict[str, Any]:
    person = comment.author
    author = (person.name or person.login) if person else "somebody"
    return {
        "project_id": link.project_id, "group_id": group_id, "side": "theirs", "link_id": link.id,
        "external_id": comment.external_id, "author": clean(author, 200), "body": body, "body_hash": hash_of(body),
        "created_at": comment.created_at or now,
    }  # fmt: skip


def _known(connection: Connection, link_id: int) -> dict[str, Row[Any]]:
    c = issue_comments.c
    query = select(c.id, c.external_id, c.body_hash, c.version, c.deleted_at).where(c.link_id == link_id)
    return {row.external_id: row for row in connection.execute(query)}


def _usable(text: str) -> str:
    body = canonical(clean(text, 2 * LONGEST, lines=True))
    if not body:
        raise CommentError("a comment needs some text")
    if len(body) > LONGEST:
        raise CommentError(f"a comment has {LONGEST:,} characters at most, this one {len(body):,}")
    return body


def _ours(connection: Connection, comment_id: int) -> Row[Any]:
    c = issue_comments.c
    row = connection.execute(select(issue_comments).where(c.id == comment_id).with_for_update()).first()
    if row is None or row.deleted_at is not None:
        raise CommentError(f"there is no comment {comment_id}")
    if row.side != "ours":
        raise CommentError("it was written in a tracker: change it there")
    return row


def _change(connection: Connection, comment_id: int, **columns: Any) -> None:
    connection.execute(update(issue_comments).where(issue_comments.c.id == comment_id).values(**columns))


def _drop(connection: Connection, comment_ids: Iterable[int], now: datetime) -> None:
    """Mark comments deleted and drop their texts: they may hold what somebody wanted gone."""
    c = issue_comments.c
    for chunk in chunks(list(comment_ids)):
        connection.execute(
            update(issue_comments).where(c.id.in_(chunk)).values(body="", body_hash="", deleted_at=now)
        )


def _copied_to(connection: Connection, comment_id: int) -> list[int]:
    copy = issue_comment_copies.c
    return list(connection.execute(select(copy.link_id).where(copy.comment_id == comment_id)).scalars())


def _ask(connection: Connection, links: Iterable[Link | int], now: datetime) -> None:
    ids = [each.id if isinstance(each, Link) else each for each in links]
    ask_for_looks(connection, ids, now)
