"""Passwords of members: how they are kept, and the links with which a member chooses one, once."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from datetime import datetime
from threading import BoundedSemaphore

from sqlalchemy import Connection, delete, select

from tasks_pipeline.access.digests import digest
from tasks_pipeline.access.ends import INVITED_FOR
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import invitations, member_passwords, web_sessions

SHORTEST, LONGEST = 12, 1024
"""Characters of a password: as NIST SP 800-63B wants them, length instead of rules."""
_N, _R, _P = 2**15, 8, 1
_MEMORY = 64 * 1024 * 1024
_SALT_BYTES, _HASH_BYTES = 16, 32
_at_once = BoundedSemaphore(2)
"""Each takes 32 MiB and a tenth of a second; strangers may ask for as many as they like."""


class BadPassword(ValueError):
    """A password that cannot be taken; the message says why."""


def check(password: str, member: str) -> None:
    """Raises BadPassword for one that is too short, too long, or of one character or the address."""
    if len(password) < SHORTEST:
        raise BadPassword(f"the password has {len(password)} characters; allowed are {SHORTEST} to {LONGEST}")
    if len(password) > LONGEST:
        raise BadPassword(f"the password is longer than {LONGEST} characters")
    if len(set(password)) < 4 or password.strip().lower() in (member, member.partition("@")[0] * 2):
        raise BadPassword("the password can be guessed; take several words")


def hashed(password: str) -> str:
    """`scrypt$N$r$p$salt$hash`, salt and hash in base64."""
    salt = secrets.token_bytes(_SALT_BYTES)
    parts = (salt, _scrypt(password, salt, _N, _R, _P))
    return "$".join(
        ["scrypt", str(_N), str(_R), str(_P), *(base64.b64encode(part).decode() for part in parts)]
    )


def matches(password: str, stored: str) -> bool:
    """Whether this is the password; False for a hash that cannot be read."""
    try:
        scheme, n, r, p, salt, expected = stored.split("$")
        wanted = base64.b64decode(expected, validate=True)
        found = _scrypt(password, base64.b64decode(salt, validate=True), int(n), int(r), int(p))
    except (ValueError, binascii.Error):
        return False
    return scheme == "scrypt" and hmac.compare_digest(found, wanted)


def is_right(state: StateDatabase, member: str, password: str) -> bool:
    """Whether a member has this password. Takes as long when there is none, so that nobody learns who is a member."""
    if len(password) > LONGEST:
        return False
    with state.read() as connection:
        query = select(member_passwords.c.hash).where(member_passwords.c.member == member)
        stored = connection.execute(query).scalar()
    if stored is None:
        _scrypt(password, b"nobody", _N, _R, _P)
        return False
    return matches(password, stored)


def invite(state: StateDatabase, member: str, now: datetime) -> str:
    """What a link has in it with which a member chooses a password; earlier ones end."""
    text = secrets.token_urlsafe(32)
    row = {
        "digest": digest(text), "member": member, "created_at": now, "expires_at": now + INVITED_FOR
    }  # fmt: skip
    with state.write() as connection:
        connection.execute(delete(invitations).where(invitations.c.member == member))
        connection.execute(invitations.insert().values(row))
    return text


def invited(state: StateDatabase, text: str, now: datetime) -> str | None:
    """The address of the member whom a link invites; None when it is of nobody, used or expired."""
    with state.read() as connection:
        return _invited(connection, text, now)


def accept(state: StateDatabase, text: str, password: str, now: datetime) -> str | None:
    """Set the password of the member whom a link invites, use up the link and end the member's sessions; gives the address, or None as `invited`.

    Raises BadPassword, and the link stays good.
    """
    member = invited(state, text, now)
    if member is None:
        return None
    check(password, member)
    stored = hashed(password)
    with state.write() as connection:
        used = delete(invitations).where(invitations.c.digest == digest(text), invitations.c.expires_at > now)
        if connection.execute(used).rowcount != 1:  # another request was faster
            return None
        _store(state, connection, member, stored, now)
    return member


def change(state: StateDatabase, member: str, password: str, now: datetime) -> None:
    """Give a member another password, and end all their sessions. Raises BadPassword."""
    check(password, member)
    stored = hashed(password)
    with state.write() as connection:
        _store(state, connection, member, stored, now)


def forget(state: StateDatabase, member: str) -> int:
    """Take away a member's password, invitations and sessions; gives how many sessions ended."""
    with state.write() as connection:
        connection.execute(delete(member_passwords).where(member_passwords.c.member == member))
        connection.execute(delete(invitations).where(invitations.c.member == member))
        return int(connection.execute(delete(web_sessions).where(web_sessions.c.member == member)).rowcount)


def _store(state: StateDatabase, connection: Connection, member: str, stored: str, now: datetime) -> None:
    insert = state.insert(member_passwords).values(member=member, hash=stored, changed_at=now)
    changed = {"hash": insert.excluded.hash, "changed_at": insert.excluded.changed_at}
    connection.execute(insert.on_conflict_do_update(index_elements=["member"], set_=changed))
    connection.execute(delete(web_sessions).where(web_sessions.c.member == member))


def _invited(connection: Connection, text: str, now: datetime) -> str | None:
    query = select(invitations.c.member).where(
        invitations.c.digest == digest(text), invitations.c.expires_at > now
    )
    member: str | None = connection.execute(query).scalar()
    return member


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    text = password.encode("utf-8", "surrogatepass")
    with _at_once:
        return hashlib.scrypt(text, salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=_HASH_BYTES)
