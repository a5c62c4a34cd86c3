"""Figures of integrations for people and programs: how each is, what it has to do, what it costs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, case, exists, func, select

from tasks_pipeline.config import Config
from tasks_pipeline.integrations.gate import DISABLED, requests_within_an_hour, states_of
from tasks_pipeline.integrations.judging import CANNOT_BE_ASKED
from tasks_pipeline.links.intents import UNFINISHED, waiting_figures
from tasks_pipeline.links.rows import LIVE
from tasks_pipeline.storage.state.tables import UtcDateTime, groups, issue_intents, issue_links

NOT_CHECKED, NOT_CONFIGURED = "not_checked", "not_configured"


def integration_figures(connection: Connection, config: Config, now: datetime) -> list[dict[str, Any]]:
    """By integration, those that are configured first and then those that only links name: name, type, state, since, cause, links,
    waiting, oldest_waiting_seconds, dead, requests_last_hour, limit {total, remaining, resets_at}, identity, expires_at, checked_at,
    trackers [{name, state, since, cause, links}]."""
    states, waiting = states_of(connection), waiting_figures(connection)
    requests, links = requests_within_an_hour(connection, now), _links(connection)
    looks = _looks(connection)
    configured = {each.name: each for each in config.integrations}
    orphans = {integration for integration, _ in links} - configured.keys()
    found = []
    for name in [*configured, *sorted(orphans)]:
        integration, rows = configured.get(name), states.get(name, {})
        row, waits = rows.get(""), waiting.get(name, {"waiting": 0, "oldest": None, "dead": 0})
        trackers = [each.name for each in config.trackers if each.integration == name]
        trackers += sorted({tracker for of, tracker in links if of == name} - set(trackers))
        state, cause = (row.status, row.cause) if row is not None and row.status else (NOT_CHECKED, "")
        if integration is None:
            said = f"links name it; tasks-pipeline integrations rename {name} NEW gives them to another"
            state, cause = NOT_CONFIGURED, said
        elif not integration.enabled or (row is not None and row.disabled_at is not None):
            state = DISABLED
        if (
            state in CANNOT_BE_ASKED and name in looks
        ):  # nobody looks, so nobody knows yet what has to be made there
            oldest = min(filter(None, (waits["oldest"], looks[name].oldest)), default=None)
            waits = {**waits, "waiting": waits["waiting"] + looks[name].many, "oldest": oldest}
        total = None if row is None else row.limit_remaining
        found.append(
            {
                "name": name,
                "type": None if integration is None else integration.type,
                "state": state,
                "since": row.since if row is not None and row.status else None,
                "cause": cause,
                "links": sum(many for (of, _), many in links.items() if of == name),
                "waiting": waits["waiting"],
                "oldest_waiting_seconds": _seconds(waits["oldest"], now),
                "dead": waits["dead"],
                "requests_last_hour": requests.get(name, 0),
                "limit": None
                if row is None or total is None
                else {
                    "total": row.limit_total,
                    "remaining": row.limit_remaining,
                    "resets_at": row.limit_resets_at,
                },
                "identity": "" if row is None else row.identity,
                "expires_at": None if row is None else row.expires_at,
                "checked_at": None if row is None else row.checked_at,
                "trackers": [
                    _tracker(each, config, rows.get(each), links.get((name, each), 0)) for each in trackers
                ],
            }
        )
    return found


def _tracker(name: str, config: Config, row: Any, links: int) -> dict[str, Any]:
    known = config.tracker(name) is not None
    said = f"links name it; tasks-pipeline integrations rename {name} NEW gives them to another"
    return {
        "name": name,
        "state": NOT_CONFIGURED
        if not known
        else row.status
        if row is not None and row.status
        else NOT_CHECKED,
        "since": row.since if row is not None and row.status else None,
        "cause": said if not known else "" if row is None else row.cause,
        "links": links,
    }


def _links(connection: Connection) -> dict[tuple[str, str], int]:
    """How many links are there, by integration and tracker."""
    c = issue_links.c
    query = select(c.integration, c.tracker, func.count().label("many")).where(c.state.in_(LIVE))
    rows = connection.execute(query.group_by(c.integration, c.tracker))
    return {(row.integration, row.tracker): row.many for row in rows}


def _looks(connection: Connection) -> dict[str, Row[Any]]:
    """By integration: how many links wait for a look and have nothing else waiting, and since when the first of their groups has
    another status than was agreed on."""
    c, intents = issue_links.c, issue_intents.c
    changed = groups.c.status_changed_at > func.coalesce(c.agreed_at, c.created_at)
    query = (
        select(
            c.integration,
            func.count().label("many"),
            func.min(case((changed, groups.c.status_changed_at)), type_=UtcDateTime()).label("oldest"),
        )
        .join(groups, groups.c.id == c.group_id)
        .where(c.look_at.is_not(None), c.state.in_(LIVE))
        .where(~exists().where(intents.link_id == c.id, intents.status.in_(UNFINISHED)))
        .group_by(c.integration)
    )
    return {row.integration: row for row in connection.execute(query)}


def _seconds(at: datetime | None, now: datetime) -> float | None:
    return None if at is None else round(max(0.0, (now - at).total_seconds()), 1)
