"""`reports subscribe` and `reports unsubscribe`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.queries import open_state
from tasks_pipeline.commands.common.user import user_name
from tasks_pipeline.commands.reports.common import kind_argument

if TYPE_CHECKING:
    from tasks_pipeline.notifications.subscriptions import Kind


@click.command()
@click.argument("member")
@kind_argument
@json_option
@click.pass_context
def subscribe(ctx: click.Context, member: str, kind: Kind, as_json: bool) -> None:
    """A member wants the daily, weekly or monthly report, whatever the configuration says.

    \b
    Example:
      tasks-pipeline reports subscribe anna@acme.example daily
    """
    _decide(ctx, member, kind, wanted=True, as_json=as_json)


@click.command()
@click.argument("member")
@kind_argument
@json_option
@click.pass_context
def unsubscribe(ctx: click.Context, member: str, kind: Kind, as_json: bool) -> None:
    """A member wants no such report any more, as with the link in its mails.

    \b
    Example:
      tasks-pipeline reports unsubscribe anna@acme.example weekly
    """
    _decide(ctx, member, kind, wanted=False, as_json=as_json)


def _decide(ctx: click.Context, email: str, kind: Kind, *, wanted: bool, as_json: bool) -> None:
    from tasks_pipeline.facts.actors import member as person
    from tasks_pipeline.notifications.subscriptions import ADVERBS, decide

    home = current_home(ctx)
    config = home.config_to_look().config
    member = config.member(email)
    if member is None:
        known = ", ".join(m.email for m in config.members) or "none"
        raise click.ClickException(f"there is no member {cell(email)}; there are: {known}")
    with open_state(home) as (state, _), state.write() as connection:
        who = person(user_name())
        news = decide(state, connection, member.email, kind, wanted, "command", datetime.now(UTC), who)
    if as_json:
        print_json({"member": member.email, "kind": kind, "wanted": wanted, "changed": news})
        return
    said = "gets" if wanted else "gets no"
    click.echo(
        f"{cell(member.email)} {said} {ADVERBS[kind]} report{'s' if wanted else ''} {'now' if wanted else 'any more'}"
        f"{'' if news else '; that was so before'}"
    )
