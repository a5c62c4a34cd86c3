"""Names of assignees: tables of figures hold members as keyed hashes, reports are for people who know them."""

from __future__ import annotations

from tasks_pipeline.storage.state.facts import member_hash, user_key
from tasks_pipeline.stores import Stores


def names_of_assignees(stores: Stores) -> dict[str, str]:
    """The address of each configured member by its hash in the tables."""
    key = user_key(stores.state)
    return {member_hash(key, member.email): member.email for member in stores.config.members}
