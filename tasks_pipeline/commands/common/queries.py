"""What the commands that look things up share: opening the state, finding a group, ages and sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.output import cell, user_errors
from tasks_pipeline.texts import printable
from tasks_pipeline.words import counted

if TYPE_CHECKING:
    from tasks_pipeline.home import Home
    from tasks_pipeline.storage.lake.lake import Lake
    from tasks_pipeline.storage.state.database import StateDatabase
    from tasks_pipeline.stores import Stores

_LARGEST_ID = 2**63 - 1
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


@contextmanager
def open_state(home: Home) -> Iterator[tuple[StateDatabase, Mapping[int, str]]]:
    """The state database and the slugs of projects; a database that cannot be used ends the command with a line.

    While the configuration file is broken its mistake stands on stderr, and what it held before names the projects.
    """
    from tasks_pipeline.storage.state.database import StateDatabase

    with one_line(*database_errors(home)):
        config = home.config_to_look().config
        state = StateDatabase(home)
        try:
            yield state, {p.id: p.slug for p in config.projects}
        finally:
            state.close()


@contextmanager
def open_all(home: Home, *, to_look: bool = False) -> Iterator[Stores]:
    """All stores; one that cannot be used ends the command with a line. With `to_look` no secrets are needed, nor there."""
    import duckdb

    from tasks_pipeline.storage.spool.interface import SpoolError
    from tasks_pipeline.stores import open_stores

    with (
        one_line(SpoolError, duckdb.Error, *database_errors(home)),
        open_stores(home, home.config_to_look() if to_look else None) as stores,
    ):
        yield stores


@contextmanager
def lake_of(home: Home, state: StateDatabase) -> Iterator[Lake]:
    """The lake beside an open state database; one that cannot be used ends the command with a line."""
    import duckdb

    from tasks_pipeline.storage.lake.lake import Lake

    with one_line(duckdb.Error, OSError), closing(Lake(home, state)) as lake:
        yield lake


def what_waits(home: Home) -> str:
    """How many envelopes wait, as a clause that goes on a sentence: what a person misses may be among them. Empty for none."""
    from tasks_pipeline.storage.ledger.backlog import backlogs
    from tasks_pipeline.storage.spool.interface import SpoolError
    from tasks_pipeline.storage.spool.open import open_spool

    with open_state(home) as (state, _), one_line(SpoolError), closing(open_spool(home)) as spool:
        waiting = sum(day.envelopes for day in backlogs(state, spool))
    verb = "waits" if waiting == 1 else "wait"
    return (
        f"; {counted(waiting, 'envelope')} {verb} to be processed (tasks-pipeline status)" if waiting else ""
    )


def database_errors(home: Home) -> tuple[type[Exception], ...]:
    """What is raised when the databases of a home cannot be used. Raises ClickException for a URL that is none."""
    from sqlalchemy.exc import SQLAlchemyError

    with one_line(ValueError):
        _ = home.state_url
    if home.embedded:
        return SQLAlchemyError, OSError
    import psycopg2

    return SQLAlchemyError, psycopg2.Error, OSError


@contextmanager
def one_line(*kinds: type[Exception]) -> Iterator[None]:
    """These exceptions end the command with the first line of their message and status 1."""
    with user_errors():
        try:
            yield
        except kinds as error:
            raise click.ClickException(first_line(error)) from error


def first_line(error: Exception) -> str:
    """What an exception says, without the stack of causes and hints that database drivers append."""
    return printable((str(error).strip() or type(error).__name__).splitlines()[0])


def project_number(slugs: Mapping[int, str], project: str | None) -> int | None:
    """The number of the project with this slug, in any case, or number; None stays None. Raises ClickException when there is none."""
    if project is None:
        return None
    for number, slug in slugs.items():
        if project.lower() in (slug, str(number)):
            return number
    raise click.ClickException(f"no project {project!r}; there are: {', '.join(slugs.values())}")


def group_named(state: StateDatabase, slugs: Mapping[int, str], text: str) -> dict[str, Any]:
    """The group with this id or short id, in any case. Of one that was merged, or that lost all its events to another, the
    group that it lives on in; a line on stderr says so. Raises ClickException when there is none."""
    from tasks_pipeline.groups.lists import find_group
    from tasks_pipeline.groups.moves import leads_to

    named = group_itself(state, slugs, text)
    with state.read() as connection:
        target_id = leads_to(connection, [named["id"]]).get(named["id"])
    if target_id is None:
        return named
    target = find_group(state, slugs, group_id=target_id)
    assert target is not None
    what = "was merged into" if named["merged_into"] is not None else "has no events any more: they are in"
    click.echo(f"{named['short_id']} {what} {target['short_id']}", err=True)
    return target


def group_itself(state: StateDatabase, slugs: Mapping[int, str], text: str) -> dict[str, Any]:
    """The group with this id or short id, also one that was merged into another. Raises ClickException when there is none."""
    if (found := find_named(state, slugs, text)) is not None:
        return found
    raise click.ClickException(
        f"there is no group {cell(text)[:100]}; `tasks-pipeline groups list` shows what there is, as SHOP-3F"
    )


def find_named(state: StateDatabase, slugs: Mapping[int, str], text: str) -> dict[str, Any] | None:
    """The group with this id or short id, or None."""
    from tasks_pipeline.groups.lists import find_group
    from tasks_pipeline.groups.short_id import ShortIdError, parse_short_id

    if text.isascii() and text.isdecimal():
        if len(text) < 20 and int(text) <= _LARGEST_ID:
            return find_group(state, slugs, group_id=int(text))
        return None
    try:
        slug, number = parse_short_id(text)
    except ShortIdError:
        return None
    return find_group(state, slugs, short_id=(slug, number)) if number <= _LARGEST_ID else None


def age(moment: datetime | None, now: datetime) -> str:
    """How long ago something was, in its largest unit: 12 s, 5 min, 3 h, 4 d."""
    if moment is None:
        return ""
    return seconds_text((now - moment).total_seconds())


def seconds_text(seconds: float) -> str:
    """A length of time in its largest unit."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def size_text(size: int | None) -> str:
    """Bytes in the unit that keeps the number short."""
    if size is None:
        return ""
    amount, units = float(size), ["kB", "MB", "GB", "TB"]
    if amount < 1000:
        return f"{size} B"
    while amount >= 1000 and units:
        amount, unit = amount / 1000, units.pop(0)
    return f"{amount:.1f} {unit}"
