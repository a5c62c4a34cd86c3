"""Sessions of the pages: begun at a login, found by the cookie, ended. Of the cookie only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import delete, select, update

from tasks_pipeline.access.digests import digest
from tasks_pipeline.access.ends import IDLE_FOR
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import web_sessions

Way = Literal["password", "oidc"]
MOST = 20
"""Sessions of a member; a further one ends that which was not used for longest."""
_SEEN_EVERY = timedelta(minutes=5)
_BYTES = 32
_MAX_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Session:
    """A session that is in force."""

    member: str
    way: str
    created_at: datetime


def begin(state: StateDatabase, member: str, way: Way, now: datetime, before: str = "") -> str:
    """Begin a session and give its cookie, always a new one; the session of the cookie `before` ends: nobody who planted one gets in."""
    cookie = secrets.token_urlsafe(_BYTES)
    row = {"digest": digest(cookie), "member": member, "way": way, "created_at": now, "seen_at": now}
    c = web_sessions.c
    newest = select(c.digest).where(c.member == member).order_by(c.seen_at.desc()).limit(MOST - 1)
    with state.write() as connection:
        kept = [*connection.execute(newest).scalars()]
        connection.execute(delete(web_sessions).where(c.member == member, c.digest.not_in(kept)))
        if before:
            connection.execute(delete(web_sessions).where(c.digest == digest(before)))
        connection.execute(web_sessions.insert().values(row))
    return cookie


def find(state: StateDatabase, cookie: str, now: datetime) -> Session | None:
    """The session of a cookie, unless there is none or nobody used it for IDLE_FOR; that it was used is noted."""
    if not cookie or len(cookie) > _MAX_LENGTH:
        return None
    with state.read() as connection:
        query = select(web_sessions).where(web_sessions.c.digest == digest(cookie))
        row = connection.execute(query).one_or_none()
    if row is None or now - row.seen_at > IDLE_FOR:
        return None
    if now - row.seen_at > _SEEN_EVERY:
        with state.write() as connection:
            seen = update(web_sessions).where(web_sessions.c.digest == row.digest).values(seen_at=now)
            connection.execute(seen)
    return Session(row.member, row.way, row.created_at)


def end(state: StateDatabase, cookie: str) -> None:
    """End the session of a cookie."""
    with state.write() as connection:
        connection.execute(delete(web_sessions).where(web_sessions.c.digest == digest(cookie)))


def end_all(state: StateDatabase, member: str) -> int:
    """End all sessions of a member; gives how many."""
    with state.write() as connection:
        ended = connection.execute(delete(web_sessions).where(web_sessions.c.member == member))
        return int(ended.rowcount)


def count_of(state: StateDatabase, member: str, now: datetime) -> int:
    """How many sessions of a member are in force."""
    c = web_sessions.c
    with state.read() as connection:
        found = select(c.digest).where(c.member == member, c.seen_at >= now - IDLE_FOR)
        return len([*connection.execute(found)])


def csrf_of(cookie: str) -> str:
    """What forms of a session carry in the field `csrf`: nobody who does not know the cookie can know it."""
    return hmac.new(cookie.encode(), b"csrf", hashlib.sha256).hexdigest()[:32]


def is_csrf(cookie: str, text: str) -> bool:
    """Whether a form is of this session."""
    return hmac.compare_digest(csrf_of(cookie).encode(), text.encode("utf-8", "replace"))
