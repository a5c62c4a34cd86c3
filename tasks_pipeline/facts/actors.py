"""Who made a fact so: members as keyed hashes, everything else by name. No address leaves this module."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

from sqlalchemy import Connection

from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.facts import key_of_users, member_hash

ActorKind = Literal["member", "rule", "commit", "client", "system"]
_COMMIT = re.compile(r"commit [\w.-]{1,64}")
_TEAM = "team:"
_keys: WeakKeyDictionary[StateDatabase, bytes] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something. `name` of a member is the address, or what a person calls themselves: it is hashed when recorded."""

    kind: ActorKind
    name: str = ""


SYSTEM = Actor("system")
CLIENT = Actor("client")


def member(name: str) -> Actor:
    """A person."""
    return Actor("member", name)


def actor_of_log(name: str, automatic: str) -> Actor:
    """Who the log of a group means: `automatic` is the product itself, `commit 1a2b3c (author)` a commit, all else a person."""
    if name == automatic:
        return SYSTEM
    if found := _COMMIT.match(name):
        return Actor("commit", found[0])
    return member(name)


def named(state: StateDatabase, connection: Connection, actor: Actor) -> str:
    """What is stored of an actor."""
    return hashed(state, connection, actor.name) if actor.kind == "member" else actor.name


def hashed(state: StateDatabase, connection: Connection, address: str) -> str:
    """16 hex digits for a person, the same for the same address in any case; a team (`team:slug`) stays, nobody stays empty."""
    if not address or address.startswith(_TEAM):
        return address
    key = _keys.get(state)
    if key is None:
        key = _keys[state] = key_of_users(connection)
    return member_hash(key, address)
