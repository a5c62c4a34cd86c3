"""The command `analytics`, with its subcommands in the order in which help shows them."""

from __future__ import annotations

import click

from tasks_pipeline.commands.analytics.stats import stats
from tasks_pipeline.commands.common.command_group import CommandGroup


@click.group(cls=CommandGroup)
def analytics() -> None:
    """Look at what is recorded and counted: figures of days."""


for command in (stats,):
    analytics.add_command(command)
