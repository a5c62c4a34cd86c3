"""The command `releases`, with its subcommands in the order in which help shows them."""

from __future__ import annotations

import click

from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.releases.adoption import adoption
from tasks_pipeline.commands.releases.commits import commits
from tasks_pipeline.commands.releases.deploys import deploys
from tasks_pipeline.commands.releases.health import health
from tasks_pipeline.commands.releases.list import list_command
from tasks_pipeline.commands.releases.parse import parse
from tasks_pipeline.commands.releases.show import show
from tasks_pipeline.commands.releases.status import archive, delete, restore


@click.group(cls=CommandGroup)
def releases() -> None:
    """List releases, look at one, its commits, deploys, health and adoption; archive, restore and delete it; see what names of
    releases tell."""


for command in (list_command, show, commits, deploys, health, adoption, archive, restore, delete, parse):
    releases.add_command(command)
