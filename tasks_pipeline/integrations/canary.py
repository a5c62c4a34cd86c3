"""The canary: links whose two sides differ, and nothing says why. Where sync goes silent nothing else tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, exists, func, or_, select

from tasks_pipeline.config import Config
from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.groups.lifecycle import Status
from tasks_pipeline.groups.short_id import format_short_id
from tasks_pipeline.links.agree import CLOSED, OPEN, projection
from tasks_pipeline.links.intents import UNFINISHED
from tasks_pipeline.links.rows import LINKED, ask_for_looks, our_word
from tasks_pipeline.storage.state.tables import groups, issue_intents, issue_links

AFTER = timedelta(hours=1)
MOST = 100
"""So many are remembered: one is enough to tell of."""


def differing(
    connection: Connection, config: Config, integration: str, known: Mapping[str, str], now: datetime
) -> tuple[dict[str, str], list[str]]:
    """Since when the sides of links of an integration differ, by link (`known` is what that was at the last look, ISO 8601), and for people
    those for which it is an hour by now. Each is asked to be looked at: that may be all that was missing."""
    slugs = {project.id: project.slug for project in config.projects}
    since: dict[str, str] = {}
    told = []
    for row in unexplained(connection, config, integration):
        began = since[str(row.id)] = known.get(str(row.id), now.isoformat())
        if now - datetime.fromisoformat(began) >= AFTER:
            short_id = format_short_id(slugs.get(row.project_id, str(row.project_id)), row.short_id)
            told.append(f"{short_id} is {our_word(row)}, {row.shown_key} is {row.theirs_state}")
    ask_for_looks(connection, (int(link_id) for link_id in since), now)
    return since, told


def unexplained(connection: Connection, config: Config, integration: str) -> list[Row[Any]]:
    """Links of an integration whose sides differ, with no change on its way and no reason noted; at most MOST."""
    found = [
        row
        for tracker in config.trackers
        if tracker.integration == integration and tracker.sync.status != "off"
        for row in _candidates(connection, tracker)
        if projection(our_word(row), tracker.closed) not in (None, row.theirs_state)
    ]
    return found[:MOST]


def _candidates(connection: Connection, tracker: Tracker) -> list[Row[Any]]:
    """Links that nothing is on its way for, where the words of both sides are not the same at a first look."""
    c, made_for, owner = issue_links.c, groups.alias("made_for"), groups.alias("owner")
    theirs = c.theirs["state"].as_string()
    on_its_way = exists().where(issue_intents.c.link_id == c.id, issue_intents.c.status.in_(UNFINISHED))
    differs = or_(
        and_(owner.c.status.in_([Status.UNRESOLVED, Status.REGRESSED]), theirs == CLOSED),
        and_(owner.c.status.in_([Status.RESOLVED, Status.IGNORED]), theirs == OPEN),
    )
    query = (
        select(
            c.id,
            c.project_id,
            c.shown_key,
            c.last_looked_at,
            owner.c.short_id,
            owner.c.status,
            owner.c.resolution,
            theirs.label("theirs_state"),
        )
        .join(made_for, made_for.c.id == c.group_id)
        .join(owner, owner.c.id == func.coalesce(made_for.c.merged_into, made_for.c.id))
        .where(
            c.tracker == tracker.name, c.state == LINKED, c.held == "", c.settled == "", differs, ~on_its_way
        )
        .order_by(c.id)
        .limit(10 * MOST)
    )
    return list(connection.execute(query))
