"""The command `reports`, with its subcommands in the order in which help shows them."""

from __future__ import annotations

import click

from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.reports.export import export
from tasks_pipeline.commands.reports.list import list_command
from tasks_pipeline.commands.reports.period import period
from tasks_pipeline.commands.reports.preview import preview
from tasks_pipeline.commands.reports.send import send
from tasks_pipeline.commands.reports.show import show
from tasks_pipeline.commands.reports.subscribing import subscribe, unsubscribe


@click.group(cls=CommandGroup)
def reports() -> None:
    """List reports of days, weeks and months, look at one, and at what the one of now would say; send one by hand, write its files,
    say who gets them; see when a period begins and ends."""


for command in (list_command, show, preview, send, export, subscribe, unsubscribe, period):
    reports.add_command(command)
