"""Integrations and trackers under another name: names are the keys of stored links, so a new one in the file is not enough."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import Connection, Table, delete, exists, select, update

from tasks_pipeline.config import Config
from tasks_pipeline.storage.state.tables import (
    integration_requests,
    integration_states,
    issue_intents,
    issue_links,
    tracker_cursors,
)

What = Literal["integration", "tracker"]


class RenameError(ValueError):
    """A name cannot take the place of another; the message says why, for people."""


def rename(connection: Connection, config: Config, old: str, new: str) -> tuple[What, int]:
    """Give what is stored of an integration or tracker to another name, which the configuration has and the old one not any more. Gives
    which of both it was, and how many links have the new name. Raises RenameError."""
    what = _what(connection, config, old, new)
    mine = {"integration": issue_links.c.integration, "tracker": issue_links.c.tracker}[what]
    links = connection.execute(update(issue_links).where(mine == old).values({mine: new})).rowcount
    column = {"integration": issue_intents.c.integration, "tracker": issue_intents.c.tracker}[what]
    connection.execute(update(issue_intents).where(column == old).values({column: new}))
    tables = (
        (integration_states, integration_requests)
        if what == "integration"
        else (integration_states, tracker_cursors)
    )
    for table in tables:
        _give(connection, table, what, old, new)
    return what, links


def _what(connection: Connection, config: Config, old: str, new: str) -> What:
    names: dict[What, set[str]] = {
        "tracker": {each.name for each in config.trackers},
        "integration": {each.name for each in config.integrations},
    }
    for what in names:
        column = issue_links.c[what]
        is_stored = connection.execute(select(exists().where(column == old))).scalar_one()
        if not is_stored or old in names[what]:
            continue
        if new not in names[what]:
            known = ", ".join(sorted(names[what])) or "none"
            raise RenameError(
                f"{new} is no {what} of the configuration; there are: {known}. Rename it in the file first"
            )
        return what
    if old in names["tracker"] | names["integration"]:
        raise RenameError(f"{old} is in the configuration still: rename it in the file first")
    raise RenameError(f"no link names {old}: there is nothing to rename")


def _give(connection: Connection, table: Table, what: What, old: str, new: str) -> None:
    """Rows of the old name have the new one; where that has rows already, the old ones go."""
    column = table.c[what]
    if connection.execute(select(exists().where(column == new))).scalar_one():
        connection.execute(delete(table).where(column == old))
    else:
        connection.execute(update(table).where(column == old).values({column: new}))
