"""`--query`: the query language on the command line, its mistakes, and who asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.output import cell

if TYPE_CHECKING:
    from tasks_pipeline.reading.asked import Asked
    from tasks_pipeline.reading.filtered import Period
    from tasks_pipeline.reading.tree import Node
    from tasks_pipeline.storage.state.database import StateDatabase

EVENT_DAYS = 14
_SHOWN = 30

query_option: Callable[[Any], Any] = click.option(
    "--query", metavar="QUERY", help="What a query finds (docs/queries.md), instead of other filters."
)


def read_query(text: str, project_id: int | None) -> Node:
    """The tree of a query, of a project where one is named. Raises BadParameter; keys that are taken for tags are told on stderr."""
    from tasks_pipeline.reading.parse import QueryError, parse_query, unknown_keys
    from tasks_pipeline.reading.tree import Filter, both, leaves

    try:
        tree = parse_query(text)
    except QueryError as error:
        raise mistake(text, error) from error
    for name in unknown_keys(leaves(tree)):
        click.echo(f"{cell(name)[:_SHOWN]} is no key of queries, so it is taken for a tag", err=True)
    return tree if project_id is None else both(tree, Filter("project", ((str(project_id),),)))


def mistake(text: str, error: Any) -> click.BadParameter:
    """What is wrong with a query, and where, as the end of a command."""
    rest = cell(text[error.at : error.at + _SHOWN])
    where = f" (at character {error.at + 1}: {rest})" if rest else f" (at character {error.at + 1})"
    return click.BadParameter(f"{error}{where}", param_hint="--query")


def refuse_beside(query: str | None, others: Mapping[str, object]) -> None:
    """Raises UsageError for options that filter, given beside a query."""
    named = [name for name, value in others.items() if value]
    if query is not None and named:
        raise click.UsageError(f"{' and '.join(named)}: put it into --query, which filters by itself")


def asked_of(state: StateDatabase, slugs: Mapping[int, str], now: datetime) -> Asked:
    """A question of whoever has the files of a home: about all projects."""
    from tasks_pipeline.reading.asked import Asked

    return Asked(state, now, slugs)


def period_of(since: datetime | None, now: datetime) -> Period:
    """Since a time, else of the last EVENT_DAYS days."""
    from tasks_pipeline.reading.filtered import Period

    return Period(since or now.astimezone(UTC) - timedelta(days=EVENT_DAYS), now + timedelta(minutes=1))
