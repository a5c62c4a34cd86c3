"""Groups of commands: their help lists the commands in order of use, below headings, with whole sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from tasks_pipeline.commands.common.used import note_name

_LONGEST = 1000  # of a sentence in a list of commands: none is cut


class CommandGroup(click.Group):
    """A group whose commands stand in the order in which they were added.

    `sections` maps a heading to names of commands; without it they all stand below `Commands`.
    """

    def __init__(
        self, *args: Any, sections: Mapping[str, Sequence[str]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant; its name is noted for `used.recorded`."""
        found = super().resolve_command(ctx, args)
        note_name(ctx, found[0])
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in order of use."""
        if self.sections is not None:
            return [name for names in self.sections.values() for name in names]
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the lists, with the first sentence of each command's help."""
        for heading, names in (self.sections or {"Commands": self.list_commands(ctx)}).items():
            with formatter.section(heading):
                lines = [(name, self.commands[name].get_short_help_str(_LONGEST)) for name in names]
                formatter.write_dl(lines)
