"""Releases and deploys as clients know them: one shape, whoever answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks_pipeline.config import Project
from tasks_pipeline.protocol.release import parse_release
from tasks_pipeline.releases import known
from tasks_pipeline.web_api.accounts import project_json


def release_json(rows: Sequence[dict[str, Any]], projects: Sequence[Project]) -> dict[str, Any]:
    """A release as clients know it, of its rows in one or more projects."""

    def values(name: str) -> list[Any]:
        return [row[name] for row in rows if row[name] is not None]

    having = {row["project_id"] for row in rows}
    return {
        "version": rows[0]["version"],
        "shortVersion": parse_release(rows[0]["version"]).short,
        "status": known.OPEN if known.OPEN in values("status") else known.ARCHIVED,
        "url": next(iter(values("url")), None),
        "dateCreated": min(values("created_at")),
        "dateStarted": min(values("started_at"), default=None),
        "dateReleased": min(values("released_at"), default=None),
        "firstEvent": min(values("first_event_at"), default=None),
        "lastEvent": max(values("last_event_at"), default=None),
        "projects": [project_json(project) for project in projects if project.id in having],
    }


def deploy_json(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "environment": row["environment"],
        "name": row["name"],
        "url": row["url"],
        "dateStarted": row["started_at"],
        "dateFinished": row["finished_at"],
    }
