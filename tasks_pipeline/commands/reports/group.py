"""The command `reports`, with its subcommands in the order in which help shows them."""

from __future__ import annotations

import click

from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.reports.list import list_command
from tasks_pipeline.commands.reports.period import period
from tasks_pipeline.commands.reports.preview import preview
from tasks_pipeline.commands.reports.show import show


@click.group(cls=CommandGroup)
def reports() -> None:
    """List reports of days, weeks and months, look at one, and at what the one of now would say; see when a period begins and
    ends."""


for command in (list_command, show, preview, period):
    reports.add_command(command)
