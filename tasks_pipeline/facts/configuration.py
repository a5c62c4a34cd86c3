"""The configuration in force as a fact: that it changed, and in which sections. What they say is hashed and never stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b

from tasks_pipeline.config import Config
from tasks_pipeline.facts.record import record
from tasks_pipeline.facts.types import ConfigChanged
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.facts import key_of_users, probe, set_probe

IN_FORCE = "configuration_in_force"
"""The single fact that remembers the digest of each section."""


def note_configuration(state: StateDatabase, config: Config, now: datetime) -> None:
    """Record that another configuration is in force than when this was last asked; the first one is only remembered."""
    with state.read() as connection:
        digests = _digests(config, key_of_users(connection))
        if _remembered(probe(connection, IN_FORCE)) == digests:
            return
    with state.write() as connection:
        known = _remembered(probe(connection, IN_FORCE))
        if known == digests:
            return
        set_probe(state, connection, IN_FORCE, now, status="ok", detail=json.dumps(digests))
        if known:
            differ = sorted(
                name for name in digests.keys() | known.keys() if digests.get(name) != known.get(name)
            )
            whole = blake2b(json.dumps(digests).encode(), digest_size=8).hexdigest()
            record(state, connection, ConfigChanged(digest=whole, sections=", ".join(differ)), at=now)


def _digests(config: Config, key: bytes) -> dict[str, str]:
    """By section. Keyed: what a section says could be guessed, and compared with a plain digest."""
    return {
        name: blake2b(json.dumps(section, sort_keys=True).encode(), key=key[:64], digest_size=8).hexdigest()
        for name, section in sorted(config.model_dump(mode="json").items())
    }


def _remembered(row: Mapping[str, object] | None) -> dict[str, str]:
    found: dict[str, str] = json.loads(str(row["detail"])) if row and row["detail"] else {}
    return found
