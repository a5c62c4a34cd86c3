"""What every command shares: how rows are printed, how mistakes of users end, where the home is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, TypeVar

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.config import ConfigError
from tasks_pipeline.home import Home

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

json_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON and nothing else."
)


def current_home(ctx: click.Context) -> Home:
    """The home that --home or the environment names; it is created when it is not there."""
    with user_errors(OSError):
        return Home.resolve(ctx.find_root().obj)


@contextmanager
def user_errors(*kinds: type[Exception]) -> Iterator[None]:
    """These exceptions, and mistakes in the configuration, end the command with their message and status 1."""
    expected: tuple[type[Exception], ...] = (ConfigError, *kinds)
    try:
        yield
    except expected as error:
        raise click.ClickException(str(error)) from error


def table(
    rows: Sequence[Mapping[str, object]], columns: Mapping[str, str] | Sequence[str], *, as_json: bool = False
) -> None:
    """Print rows: a table for people, or with `as_json` a JSON list of objects.

    `columns` names the keys to show, in order, or maps each key to its title. Long cells wrap on a terminal and are
    whole elsewhere.
    """
    titles = (
        dict(columns) if isinstance(columns, Mapping) else {name: name.replace("_", " ") for name in columns}
    )
    if as_json:
        print_json([{key: row.get(key) for key in titles} for row in rows])
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False, show_edge=False)
    for key, title in titles.items():
        numeric = all(isinstance(row.get(key), int | float) for row in rows) and bool(rows)
        shown.add_column(title, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell(row.get(key))) for key in titles))
    # A pipe has no width: a row must stay one line there.
    Console(width=None if sys.stdout.isatty() else 100_000, highlight=False).print(shown)


def cell(value: object) -> str:
    """A value as one line of text; control characters, which strangers send, are made visible instead of obeyed."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, date):
        return value.isoformat()
    return printable(str(value))


def printable(text: str) -> str:
    """The text with line breaks as blanks and every other unprintable character as its escape."""
    return "".join(
        c if c.isprintable() else " " if c in "\r\n\t" else c.encode("unicode_escape").decode() for c in text
    )
