"""Which command was used: those that change something are recorded as facts, by their name and exit status and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import click

log = logging.getLogger(__name__)

_NAMES = "tasks_pipeline.commands"
CHANGING = frozenset(
    f"{group} {name}".strip()
    for group, names in {
        "groups": "resolve unresolve ignore assign merge unmerge discard merge-similar delete",
        "releases": "archive restore delete",
        "projects": "delete",
        "monitors": "mute unmute check",
        "notifications": "retry send test",
        "token": "create revoke",
        "members": "invite sign-out",
        "analytics": "record",
        "privacy": "delete",
        "reports": "send subscribe unsubscribe",
        "": "backfill",
    }.items()
    for name in names.split()
)
"""Commands that change something; the others only look."""


def note_name(ctx: click.Context, name: str | None) -> None:
    """To be said by each group of the command that it found."""
    ctx.meta.setdefault(_NAMES, []).append(name or "")


@contextmanager
def recorded(ctx: click.Context) -> Iterator[None]:
    """Record the command that is run within the block, if it changes something, with what it ends with."""
    started, status = datetime.now(UTC), 0
    try:
        yield
    except (click.exceptions.Exit, click.ClickException) as error:
        status = error.exit_code
        raise
    except BaseException:
        status = 1
        raise
    finally:
        command = " ".join(ctx.meta.get(_NAMES, ()))
        if command in CHANGING:
            _record(ctx, command, started, status)


def _record(ctx: click.Context, command: str, started: datetime, status: int) -> None:
    """Whatever goes wrong here is no matter of the command."""
    try:
        from tasks_pipeline.commands.common.user import user_name
        from tasks_pipeline.facts.actors import member
        from tasks_pipeline.facts.record import record
        from tasks_pipeline.facts.types import CommandUsed
        from tasks_pipeline.home import Home
        from tasks_pipeline.storage.state.database import StateDatabase

        home = Home.resolve(ctx.find_root().obj, create=False)
        if home.embedded and not (home.root / "state.sqlite").exists():
            return
        with closing(StateDatabase(home)) as state, state.write() as connection:
            fact = CommandUsed(command=command, status=status)
            record(state, connection, fact, at=started, actor=member(user_name()))
    except Exception:
        log.debug("it could not be recorded that %s was used", command, exc_info=True)
