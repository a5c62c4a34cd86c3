"""Notices: comments that we write in issues by ourselves, about what became of the group. Their texts, before they are made harmless."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.links.making import put_notice
from tasks_pipeline.links.rows import Link
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import issue_intents
from tasks_pipeline.words import counted

REGRESSION, MERGED = "regression", "merged"


def put_regression(
    state: StateDatabase, connection: Connection, link: Link, tracker: Tracker, now: datetime
) -> None:
    """Have an issue say that the group came back, at most once in `regression_comment_hours`."""
    c = issue_intents.c
    since = now - timedelta(hours=tracker.regression_comment_hours)
    told = select(c.id).where(
        c.link_id == link.id, c.kind == "comment", c.key.like(f"notice:{REGRESSION}:%"), c.created_at > since
    )
    if connection.execute(told.limit(1)).first() is None:
        put_notice(state, connection, link, REGRESSION, now)


def notice_text(data: Mapping[str, Any], group: Row[Any], short_id: str, safe: Callable[[str], str]) -> str:
    """What a notice says of a group, which people may look at by the command in it. `safe` makes texts harmless."""
    name, show = safe(short_id), f"`tasks-pipeline groups show {short_id}`"
    match data.get("notice"):
        case "linked":
            return f"{name} is linked to this issue.\n\n{show}"
        case "unlinked":
            return f"{name} is not linked to this issue any more."
        case "merged":
            return f"What this issue is about was merged into {name}.\n\n{show}"
        case "unmerged":
            return f"What this issue is about is a group of its own again: {name}.\n\n{show}"
        case "duplicate":
            return f"This is a duplicate of {safe(str(data.get('of') or 'another issue'))}."
    release = f" in {safe(group.last_release)}" if group.last_release else ""
    return f"{name} is back{release}: it was seen {counted(group.times_seen, 'time')}.\n\n{show}"
