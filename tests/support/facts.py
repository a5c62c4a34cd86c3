"""Facts as they were recorded, read back from the outbox."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sqlalchemy import select

from tasks_pipeline.storage.state.tables import analytics_outbox
from tasks_pipeline.stores import Stores


def facts(stores: Stores, project: int | None = None) -> list[dict[str, Any]]:
    """What was recorded of a project, or of the installation, in its order."""
    of_project = analytics_outbox.c.project_id == (project or 0)
    with stores.state.read() as connection:
        query = select(analytics_outbox).where(of_project).order_by(analytics_outbox.c.id)
        return [dict(row._mapping) for row in connection.execute(query)]


def of_type(stores: Stores, project: int | None, name: str) -> list[dict[str, Any]]:
    """Those of one type."""
    return [row for row in facts(stores, project) if row["type"] == name]


def types(stores: Stores, project: int) -> Counter[str]:
    """How many there are of each type."""
    return Counter(row["type"] for row in facts(stores, project))
