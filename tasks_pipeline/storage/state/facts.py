"""Readings of probes, and other single facts that the pipeline remembers about itself: the keys of this installation."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from tasks_pipeline.protocol.sessions import user_hash
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import installation_keys, probes

USERS = "users"
UNSUBSCRIBE = "unsubscribe"
LOGINS = "logins"


def probe(connection: Connection, name: str) -> dict[str, Any] | None:
    """The row of a probe, or None."""
    row = connection.execute(select(probes).where(probes.c.name == name)).first()
    return None if row is None else dict(row._mapping)


def all_probes(connection: Connection) -> dict[str, dict[str, Any]]:
    """Rows of all probes by name."""
    return {
        row.name: dict(row._mapping) for row in connection.execute(select(probes).order_by(probes.c.name))
    }


def set_probe(
    state: StateDatabase,
    connection: Connection,
    name: str,
    now: datetime,
    *,
    status: str,
    value: float | None = None,
    detail: str = "",
    failures: int = 0,
    since: datetime | None = None,
) -> None:
    """Write the row of a probe."""
    values = {
        "status": status, "value": value, "detail": detail, "failures": failures, "since": since or now,
        "measured_at": now,
    }  # fmt: skip
    insert = state.insert(probes).values(name=name, **values)
    connection.execute(insert.on_conflict_do_update(index_elements=[probes.c.name], set_=values))


def user_key(state: StateDatabase) -> bytes:
    """What distinct users of sessions are hashed with."""
    return _installation_key(state, USERS)


def unsubscribe_key(state: StateDatabase) -> bytes:
    """What the links in mails are signed with that end a subscription."""
    return _installation_key(state, UNSUBSCRIBE)


def login_key(state: StateDatabase) -> bytes:
    """What is signed with that a browser keeps while its person logs in elsewhere."""
    return _installation_key(state, LOGINS)


def _installation_key(state: StateDatabase, name: str) -> bytes:
    """A key of this installation. A migration made it, so all processes find the same."""
    with state.read() as connection:
        return _key_of(connection, name)


def key_of_users(connection: Connection) -> bytes:
    """The key of users for a transaction that is open."""
    return _key_of(connection, USERS)


def _key_of(connection: Connection, name: str) -> bytes:
    query = select(installation_keys.c.key).where(installation_keys.c.name == name)
    return bytes.fromhex(connection.execute(query).scalar_one())


def member_hash(key: bytes, address: str) -> str:
    """What figures and facts say of a member instead of the address: 16 hex digits, the same for the same member of this
    installation in any case of letters. `key` is that of `user_key`."""
    return f"{user_hash(key, 0, address.strip().lower()) & (2**64 - 1):016x}"
