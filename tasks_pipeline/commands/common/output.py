"""What every command shares: how values are printed, how mistakes of users end, where the home is. Tables are in tables.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime

import click

from tasks_pipeline.config import ConfigError
from tasks_pipeline.home import Home
from tasks_pipeline.texts import printable


def current_home(ctx: click.Context, *, create: bool = False) -> Home:
    """The home that --home or the environment names. Raises ClickException when there is none, unless it may be created.

    Who only looks creates none: a slip in the name would look like an installation without anything in it. Where a database
    elsewhere has everything, the folder need not be there before.
    """
    try:
        home = Home.resolve(ctx.find_root().obj, create=create)
        if not home.embedded:
            home.make_root()
        exists = home.root.is_dir()
    except (OSError, RuntimeError) as error:
        where, why = getattr(error, "filename", None), getattr(error, "strerror", None) or str(error)
        raise click.ClickException(printable(f"{where or 'the home'} cannot be used: {why}")) from error
    if not exists:
        where = printable(str(home.root))
        raise click.ClickException(
            f"there is no installation in {where}; `tasks-pipeline --home {where} run` makes one"
        )
    return home


@contextmanager
def user_errors(*kinds: type[Exception]) -> Iterator[None]:
    """These exceptions, and mistakes in the configuration, end the command with their message and status 1."""
    expected: tuple[type[Exception], ...] = (ConfigError, *kinds)
    try:
        yield
    except expected as error:
        raise click.ClickException(str(error)) from error


def cell(value: object) -> str:
    """A value as one line of text; control characters, which strangers send, are made visible instead of obeyed."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        return f"{value:.12g}"  # the digits beyond are how the machine counts
    return printable(str(value))
