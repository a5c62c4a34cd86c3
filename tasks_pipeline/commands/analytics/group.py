"""The command `analytics`, with its subcommands in the order in which help shows them."""

from __future__ import annotations

import click

from tasks_pipeline.commands.analytics.events import events
from tasks_pipeline.commands.analytics.record import record
from tasks_pipeline.commands.analytics.stats import stats
from tasks_pipeline.commands.analytics.types import types
from tasks_pipeline.commands.common.command_group import CommandGroup


@click.group(cls=CommandGroup)
def analytics() -> None:
    """Facts about what the product and its people did: list them, see what types there are, record some of your own; figures of
    days."""


for command in (stats, events, types, record):
    analytics.add_command(command)
