"""The command `reports`, with its subcommands in the order in which help shows them."""

from __future__ import annotations

import click

from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.reports.export import export
from tasks_pipeline.commands.reports.send import send
from tasks_pipeline.commands.reports.subscribing import subscribe, unsubscribe


@click.group(cls=CommandGroup)
def reports() -> None:
    """Send reports by hand, write their files, and say who gets them."""


for command in (send, export, subscribe, unsubscribe):
    reports.add_command(command)
