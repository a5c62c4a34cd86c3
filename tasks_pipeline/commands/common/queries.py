"""What the commands that look things up share: opening the state, finding a group, ages and sizes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.output import cell, table, user_errors

if TYPE_CHECKING:
    from tasks_pipeline.home import Home
    from tasks_pipeline.storage.state.database import StateDatabase

_LARGEST_ID = 2**63 - 1
_GAP = 3  # between two columns of a table on a terminal
_LEAST_WIDTH = 10
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


@contextmanager
def open_state(home: Home) -> Iterator[tuple[StateDatabase, Mapping[int, str]]]:
    """The state database and the slugs of projects; a database that cannot be used ends the command with a line.

    While the configuration file is broken its mistake stands on stderr, and what it held before names the projects.
    """
    from tasks_pipeline.storage.state.database import StateDatabase

    with one_line(*database_errors(home)):
        config = home.config_in_force().config
        state = StateDatabase(home)
        try:
            yield state, {p.id: p.slug for p in config.projects}
        finally:
            state.close()


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
    from tasks_pipeline.commands.common.output import printable

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
    """The group with this id or short id, in any case. Of one that was merged the group it is part of now; a line on
    stderr says so. Raises ClickException when there is none."""
    from tasks_pipeline.groups.decisions import merged_targets
    from tasks_pipeline.groups.lists import find_group

    named = group_itself(state, slugs, text)
    if named["merged_into"] is None:
        return named
    with state.read() as connection:
        target_id = merged_targets(connection, [named["id"]])[named["id"]]
    target = find_group(state, slugs, group_id=target_id)
    assert target is not None
    click.echo(f"{named['short_id']} was merged into {target['short_id']}", err=True)
    return target


def group_itself(state: StateDatabase, slugs: Mapping[int, str], text: str) -> dict[str, Any]:
    """The group with this id or short id, also one that was merged into another. Raises ClickException when there is none."""
    from tasks_pipeline.groups.lists import find_group
    from tasks_pipeline.groups.short_id import ShortIdError, parse_short_id

    found = None
    if text.isascii() and text.isdecimal():
        if len(text) < 20 and int(text) <= _LARGEST_ID:
            found = find_group(state, slugs, group_id=int(text))
    else:
        try:
            slug, number = parse_short_id(text)
        except ShortIdError as error:
            raise click.ClickException(cell(str(error))) from error
        if number <= _LARGEST_ID:
            found = find_group(state, slugs, short_id=(slug, number))
    if found is None:
        raise click.ClickException(f"there is no group {cell(text)}; `tasks-pipeline groups list` shows them")
    return found


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


def listing(rows: Sequence[dict[str, Any]], columns: Mapping[str, str], cut: str) -> None:
    """Print rows as a table in which the column `cut` takes what a terminal's width leaves, so that a row is a line."""
    if sys.stdout.isatty():
        from rich.cells import cell_len
        from rich.console import Console
        from rich.text import Text

        others = {key: title for key, title in columns.items() if key != cut}
        widths = [
            max(cell_len(text) for text in (title, *(cell(r[key]) for r in rows)))
            for key, title in others.items()
        ]
        left = Console().width - sum(widths) - _GAP * len(others)
        for row in rows:
            text = Text(cell(row[cut]))
            text.truncate(max(_LEAST_WIDTH, left), overflow="ellipsis")
            row[cut] = text.plain
    table(rows, columns)
