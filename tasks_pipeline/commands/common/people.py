"""Members, as arguments of commands name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tasks_pipeline.commands.common.output import cell

if TYPE_CHECKING:
    from tasks_pipeline.config import Config
    from tasks_pipeline.config.people import Member


def member_named(config: Config, email: str) -> Member:
    """The member with this address. Raises ClickException with those that there are."""
    member = config.member(email)
    if member is None:
        known = ", ".join(m.email for m in config.members) or "none"
        raise click.ClickException(f"there is no member {cell(email)}; there are: {known}")
    return member
