"""Why groups are groups: the explanation of each one's first event, compressed, in a table of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import zstandard
from sqlalchemy import Connection, select

from tasks_pipeline.protocol.decode import encode_json
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import group_explanations


def keep_explanation(connection: Connection, group_id: int, explanation: Mapping[str, Any]) -> None:
    """Keep why a new group is one, in the caller's transaction."""
    packed = zstandard.ZstdCompressor(level=3).compress(encode_json(explanation))
    connection.execute(group_explanations.insert(), [{"group_id": group_id, "explanation": packed}])


def group_explanation(state: StateDatabase, group_id: int) -> dict[str, Any] | None:
    """Why the first event of a group was grouped as it was; None for groups of before that was kept."""
    with state.read() as connection:
        query = select(group_explanations.c.explanation).where(group_explanations.c.group_id == group_id)
        packed = connection.execute(query).scalar_one_or_none()
    if packed is None:
        return None
    explanation: dict[str, Any] = json.loads(zstandard.decompress(packed))
    return explanation
