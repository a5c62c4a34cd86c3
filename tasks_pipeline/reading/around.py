"""What belongs to an event beside its payload: attachments, what users wrote about it, and the batch that stored it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from tasks_pipeline.reading.asked import Asked
from tasks_pipeline.reading.lake import ReadLake
from tasks_pipeline.storage.state.tables import batches, drains

MOST = 100
_DAYS_BEHIND = timedelta(days=30)
"""So much later users may still write about an event."""


@dataclass(frozen=True, slots=True)
class Around:
    """Rows of `lake.attachments` and `lake.user_reports`, in the order in which they came."""

    attachments: list[dict[str, Any]]
    reports: list[dict[str, Any]]


def around(lake: ReadLake, row: Mapping[str, Any]) -> Around:
    """What came with an event, and about it."""
    day, project_id, event_id = row["day"], row["project_id"], row["event_id"]
    attachments = lake.query(
        "SELECT name, content_type, attachment_type, size, digest FROM lake.attachments WHERE day BETWEEN ? AND ? AND project_id = ? "
        f"AND event_id = ? ORDER BY day, part, position, item LIMIT {MOST}",
        [day - timedelta(days=1), day + timedelta(days=1), project_id, event_id],
    )
    reports = lake.query(
        "SELECT kind, name, email, message, url, received_at FROM lake.user_reports WHERE day BETWEEN ? AND ? AND project_id = ? "
        f"AND associated_event_id = ? ORDER BY received_at LIMIT {MOST}",
        [day, day + _DAYS_BEHIND, project_id, event_id],
    )
    return Around(attachments, reports)


@dataclass(frozen=True, slots=True)
class Stored:
    """The batch that stored an event, and the Dagster run that did it, where they are still known."""

    batch: int | None
    run_id: str | None


def stored_by(asked: Asked, row: Mapping[str, Any]) -> Stored:
    """Which batch an event came with."""
    b = batches.c
    query = (
        select(b.id, drains.c.run_id)
        .join(drains, drains.c.id == b.drain_id, isouter=True)
        .where(b.day == row["day"], b.part == row["part"], b.first_position <= row["position"])
        .where(b.last_position >= row["position"])
    )
    with asked.state.read() as connection:
        found = connection.execute(query.order_by(b.first_position.desc()).limit(1)).first()
    return Stored(None, None) if found is None else Stored(found.id, found.run_id)
