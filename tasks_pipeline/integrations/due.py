"""What is to be done for integrations now: asked every few seconds, so it is looked up in indexes, and nothing is asked outside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from tasks_pipeline.config import Config
from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.integrations.changes import note_changes
from tasks_pipeline.integrations.gate import REFUSALS
from tasks_pipeline.integrations.polling import Polled, cursors, has_links
from tasks_pipeline.links.intents import intents_due
from tasks_pipeline.links.rows import links_to_look_at
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import integration_states
from tasks_pipeline.stores import Stores
from tasks_pipeline.trackers.issue import Cursor

SILENT = ("auth_failed", "disabled")
"""States of an integration in which nothing is sent and nothing is polled until a check says that it works again."""


@dataclass(frozen=True, slots=True)
class Due:
    """What is due of one integration: intents, trackers to look at links of, trackers to poll, and those to pass over whole."""

    intents: int = 0
    looks: tuple[str, ...] = ()
    polls: tuple[str, ...] = ()
    full_passes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.intents or self.looks or self.polls or self.full_passes)


def sync_due(stores: Stores, now: datetime) -> dict[str, Due]:
    """By integration: what is due; those that have nothing to do are missing."""
    return work_due(stores.state, stores.config, now)


def work_due(state: StateDatabase, config: Config, now: datetime) -> dict[str, Due]:
    """The same for whoever has no stores."""
    if not config.integrations:
        return {}
    note_changes(state, now)
    with state.read() as connection:
        silent = _silent(connection, now)
        known = cursors(connection)
        asked = [each for each in config.integrations if each.enabled and each.name not in silent]
        found = {each.name: _due(connection, config, each.name, known, now) for each in asked}
    found = {
        name: Due(intents_due(state, name, now), due.looks, due.polls, due.full_passes)
        for name, due in found.items()
    }
    return {name: due for name, due in found.items() if due}


def _due(
    connection: Connection, config: Config, integration: str, known: dict[str, Polled], now: datetime
) -> Due:
    trackers = [each for each in config.trackers if each.integration == integration]
    linked = [each for each in trackers if has_links(connection, each.name)]
    return Due(
        looks=tuple(each.name for each in linked if links_to_look_at(connection, each.name, now, 1)),
        polls=tuple(each.name for each in linked if is_poll_due(known.get(each.name), each, now)),
        full_passes=tuple(
            each.name for each in linked if known.get(each.name, Polled(Cursor())).is_full_pass_due(now)
        ),
    )


def is_poll_due(polled: Polled | None, tracker: Tracker, now: datetime) -> bool:
    """Whether it is time to ask a tracker what changed."""
    at = None if polled is None else polled.due_at(tracker)
    return at is None or at <= now


def _silent(connection: Connection, now: datetime) -> set[str]:
    """Integrations that nothing is asked of just now."""
    c = integration_states.c
    query = select(c.integration, c.status, c.open_until, c.disabled_at, c.refused).where(c.tracker == "")
    return {
        row.integration
        for row in connection.execute(query)
        if row.status in SILENT
        or row.disabled_at is not None
        or row.refused >= REFUSALS
        or (row.open_until is not None and row.open_until > now)
    }
