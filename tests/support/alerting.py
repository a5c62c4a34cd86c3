"""Days whose alerts are told: channels on real servers of this machine, rules, members; and sending what was decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import select

from tasks_pipeline.config import parse_config
from tasks_pipeline.notifications.sending import SendReport, send_alert_notification
from tasks_pipeline.storage.state.tables import alerts, notifications
from tasks_pipeline.stores import Stores
from tests.support.day import Day

PROJECT = "projects: [{{id: {id}, slug: shop, keys: [{{public_key: abcdef}}]{more}}}]\n"


def configured(stores: Stores, project: int, text: str, more: str = "") -> Stores:
    """The stores with another configuration; `more` is put into the project's entry."""
    config = parse_config(PROJECT.format(id=project, more=f", {more}" if more else "") + text)
    return replace(stores, config=config)


def alerting(day: Day, text: str, more: str = "") -> Day:
    """The day with another configuration."""
    return replace(day, stores=configured(day.stores, day.project, text, more))


def alert_rows(stores: Stores, project: int) -> list[dict[str, Any]]:
    """Alerts of a project, oldest first."""
    with stores.state.read() as connection:
        query = select(alerts).where(alerts.c.project_id == project).order_by(alerts.c.id)
        return [dict(row._mapping) for row in connection.execute(query)]


def outbox(stores: Stores, project: int) -> list[dict[str, Any]]:
    """Messages of a project, oldest first."""
    with stores.state.read() as connection:
        query = (
            select(notifications).where(notifications.c.project_id == project).order_by(notifications.c.id)
        )
        return [dict(row._mapping) for row in connection.execute(query)]


def send(stores: Stores, **options: Any) -> SendReport:
    """Send what is due, without lingering."""
    return send_alert_notification(stores, **{"linger_seconds": 0, "max_run_seconds": 60, **options})
