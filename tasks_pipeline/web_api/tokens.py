"""Tokens of the Web API: minted, found, listed, revoked. Only their SHA-256 is kept. Who may do what is decided elsewhere."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import select

from tasks_pipeline.facts.record import record
from tasks_pipeline.facts.types import TokenCreated, TokenRevoked
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import tokens

PREFIX = "sntrys_"
SCOPES = ("org:read", "project:read", "project:releases")
"""See organisations and projects; see what was uploaded and released; upload, and write releases."""
_HINT = 4
_SECRET_BYTES = 32
_MAX_LENGTH = 4096
_USED_EVERY = timedelta(minutes=1)
"""How exact `last_used_at` is: a command makes dozens of requests, and each write waits for the disk."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token that is in force, as its holder is known."""

    id: int
    name: str
    scopes: frozenset[str]


def mint(url: str, org: str) -> str:
    """A new organisation token: sentry-cli takes the server's URL and the organisation from it.

    `sntrys_` + base64 of JSON {iat, url, region_url, org} + `_` + base64 of 32 secret bytes without padding.
    """
    facts = {"iat": datetime.now(UTC).timestamp(), "url": url, "region_url": url, "org": org}
    payload = base64.b64encode(msgspec.json.encode(facts)).decode()
    secret = base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode().rstrip("=")
    return f"{PREFIX}{payload}_{secret}"


def create_token(
    state: StateDatabase, url: str, org: str, name: str, scopes: Sequence[str]
) -> tuple[int, str]:
    """Make a token and give its number and itself, which cannot be had again."""
    token = mint(url, org)
    row = {
        "name": name,
        "digest": _digest(token),
        "hint": token[-_HINT:],
        "scopes": sorted(scopes),
        "created_at": datetime.now(UTC),
    }
    with state.write() as connection:
        number = int(connection.execute(tokens.insert().values(row).returning(tokens.c.id)).scalar_one())
        fact = TokenCreated(token=number, scopes=" ".join(sorted(scopes)))
        record(state, connection, fact, at=datetime.now(UTC))
    return number, token


def find_token(state: StateDatabase, token: str) -> Token | None:
    """The token with this text, unless it is unknown or revoked; that it was used is noted."""
    if len(token) > _MAX_LENGTH:
        return None
    digest = _digest(token)
    with state.read() as connection:
        row = connection.execute(select(tokens).where(tokens.c.digest == digest)).one_or_none()
    if row is None or not hmac.compare_digest(row.digest, digest) or row.revoked_at is not None:
        return None
    now = datetime.now(UTC)
    if row.last_used_at is None or now - row.last_used_at > _USED_EVERY:
        with state.write() as connection:
            connection.execute(tokens.update().where(tokens.c.id == row.id).values(last_used_at=now))
    return Token(row.id, row.name, frozenset(row.scopes))


def list_tokens(state: StateDatabase) -> list[dict[str, Any]]:
    """Every token, oldest first: id, name, hint (its last characters), scopes, created_at, last_used_at, revoked_at."""
    columns = [c for c in tokens.c if c.name != "digest"]
    with state.read() as connection:
        return [dict(row) for row in connection.execute(select(*columns).order_by(tokens.c.id)).mappings()]


def revoke_token(state: StateDatabase, number: int) -> bool:
    """End a token for good; False when there is none with this number. A revoked one stays revoked since then."""
    with state.write() as connection:
        known = connection.execute(select(tokens.c.id).where(tokens.c.id == number)).scalar() is not None
        now = datetime.now(UTC)
        connection.execute(
            tokens.update().where(tokens.c.id == number, tokens.c.revoked_at.is_(None)).values(revoked_at=now)
        )
        if known:
            record(state, connection, TokenRevoked(token=number), at=now)
    return known


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
