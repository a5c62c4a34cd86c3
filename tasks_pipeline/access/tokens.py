"""Tokens of the Web API: minted, found, listed, revoked. Only their SHA-256 is kept."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import select

from tasks_pipeline.access.digests import digest
from tasks_pipeline.access.roles import viewer_of
from tasks_pipeline.access.viewer import Role, Viewer
from tasks_pipeline.config import Config
from tasks_pipeline.facts.record import record
from tasks_pipeline.facts.types import TokenCreated, TokenRevoked
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import tokens

PREFIX, MEMBER_PREFIX = "sntrys_", "sntryu_"
"""Of the organisation's tokens, and of members'."""
READS = ("org:read", "project:read", "team:read", "member:read", "event:read")
"""See the organisation, projects and what was uploaded and released, teams, members, and groups with their events."""
SCOPES = (*READS, "project:releases", "event:write", "event:admin")
"""All of them; the last three: upload, and write releases; decide about groups; discard them."""
SCOPES_OF: dict[Role, frozenset[str]] = {
    "viewer": frozenset(READS),
    "member": frozenset(READS) | {"project:releases", "event:write"},
    "admin": frozenset(SCOPES),
}
_HINT = 4
_SECRET_BYTES = 32
_MAX_LENGTH = 4096
_USED_EVERY = timedelta(minutes=1)
"""How exact `last_used_at` is: a command makes dozens of requests, and each write waits for the disk."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token that is in force: what it may do, and who its holder is. Of a member's it is what their role allows besides."""

    id: int
    name: str
    scopes: frozenset[str]
    viewer: Viewer


def role_of(scopes: Collection[str]) -> Role:
    """The role of who has these scopes and is no member."""
    if "event:admin" in scopes:
        return "admin"
    return "member" if "event:write" in scopes else "viewer"


def mint(url: str, org: str) -> str:
    """A new organisation token: sentry-cli takes the server's URL and the organisation from it.

    `sntrys_` + base64 of JSON {iat, url, region_url, org} + `_` + base64 of 32 secret bytes without padding.
    """
    facts = {"iat": datetime.now(UTC).timestamp(), "url": url, "region_url": url, "org": org}
    payload = base64.b64encode(msgspec.json.encode(facts)).decode()
    secret = base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode().rstrip("=")
    return f"{PREFIX}{payload}_{secret}"


def mint_for_member() -> str:
    """A new token of a member: `sntryu_` + 64 hex digits. Clients have to be told where the server is."""
    return MEMBER_PREFIX + secrets.token_hex(_SECRET_BYTES)


def create_token(
    state: StateDatabase, url: str, org: str, name: str, scopes: Sequence[str], member: str | None = None
) -> tuple[int, str]:
    """Make a token, of a member when one is named by address; gives its number and itself, which cannot be had again."""
    token = mint(url, org) if member is None else mint_for_member()
    row = {
        "name": name,
        "member": member,
        "digest": digest(token),
        "hint": token[-_HINT:],
        "scopes": sorted(scopes),
        "created_at": datetime.now(UTC),
    }
    with state.write() as connection:
        number = int(connection.execute(tokens.insert().values(row).returning(tokens.c.id)).scalar_one())
        fact = TokenCreated(token=number, scopes=" ".join(sorted(scopes)))
        record(state, connection, fact, at=datetime.now(UTC))
    return number, token


def find_token(state: StateDatabase, config: Config, token: str) -> Token | None:
    """The token with this text, unless it is unknown or revoked, or of nobody who is a member; that it was used is noted."""
    if len(token) > _MAX_LENGTH:
        return None
    found = digest(token)
    with state.read() as connection:
        row = connection.execute(select(tokens).where(tokens.c.digest == found)).one_or_none()
    if row is None or not hmac.compare_digest(row.digest, found) or row.revoked_at is not None:
        return None
    scopes, viewer = frozenset(row.scopes), None
    if row.member is None:
        viewer = Viewer(f"token:{row.name or row.id}", role_of(scopes))
    elif member := config.member(row.member):
        viewer = viewer_of(config, member)
        scopes &= SCOPES_OF[member.role]
        viewer = replace(viewer, role=role_of(scopes))
    if viewer is None:
        return None
    now = datetime.now(UTC)
    if row.last_used_at is None or now - row.last_used_at > _USED_EVERY:
        with state.write() as connection:
            connection.execute(tokens.update().where(tokens.c.id == row.id).values(last_used_at=now))
    return Token(row.id, row.name, scopes, viewer)


def list_tokens(state: StateDatabase) -> list[dict[str, Any]]:
    """Every token, oldest first: id, name, hint (its last characters), scopes, member, created_at, last_used_at, revoked_at."""
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
