"""Telling people of integrations: an alert of kind `integration` through the outbox, one thread for each thing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from tasks_pipeline.alerts.fire import fire
from tasks_pipeline.alerts.firing import Firing
from tasks_pipeline.config import Config
from tasks_pipeline.config.projects import PIPELINE
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.texts import clean

RULE, KIND = "integrations", "integration"
OPERATORS = ("operators",)


def tell(
    state: StateDatabase,
    connection: Connection,
    config: Config,
    now: datetime,
    *,
    integration: str,
    key: str,
    title: str,
    detail: str,
    what_to_do: str = "",
    thread: str = "",
    status: str = "firing",
    severity: str = "warning",
    targets: Sequence[str] = OPERATORS,
    **data: Any,
) -> None:
    """Tell of an integration, in the caller's transaction; with the same `key` once. `thread`: what messages about one thing share, the
    integration as a whole when empty. Takes the lock `alerts`: whoever holds rows takes it before them.

    The words of the far side in `title` and `detail` are hostile, and without secrets already.
    """
    firing = Firing(
        key=f"{KIND}:{integration}:{key}",
        project_id=PIPELINE,
        rule=RULE,
        kind=KIND,
        thread=thread or f"{KIND}:{integration}",
        targets=tuple(targets),
        at=now,
        status=status,
        severity=severity,
        data={
            "integration": integration,
            "category": KIND,
            "title": clean(title, 300),
            "detail": clean(detail, 500),
            "changed": clean(what_to_do, 500),
            **data,
        },
    )
    fire(state, connection, config, [firing], now)
