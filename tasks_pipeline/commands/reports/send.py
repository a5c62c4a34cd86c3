"""`reports send`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.output import current_home, user_errors
from tasks_pipeline.commands.common.queries import open_all
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.commands.reports.common import key_of, kind_argument, report_errors

if TYPE_CHECKING:
    from tasks_pipeline.notifications.subscriptions import Kind


@click.command()
@kind_argument
@click.argument("key")
@click.option(
    "--to",
    metavar="MEMBER",
    help="To this member (or team:NAME) only, subscribed or not.  [default: all subscribers]",
)
@click.option("--again", is_flag=True, help="Also to those who have it already.")
@json_option
@click.pass_context
def send(ctx: click.Context, kind: Kind, key: str, to: str | None, again: bool, as_json: bool) -> None:
    """Put a stored report into the outbox now, due or not, and say for each subscriber what was done or why not.

    Who has it gets it only with --again. Who unsubscribed gets none; only they can change that.

    \b
    Examples:
      tasks-pipeline reports send week 2026-11-16
      tasks-pipeline reports send week 2026-W47 --to anna@acme.example --again
    Prints:
      to                        put  what
      member:anna@acme.example  yes  put into the outbox for mail
      member:ben@acme.example   no   no projects
    """
    from tasks_pipeline.config.people import folded
    from tasks_pipeline.notifications.subscriptions import ADVERBS
    from tasks_pipeline.reports.by_hand import send_by_hand

    with report_errors(), user_errors(ValueError), open_all(current_home(ctx)) as stores:
        begins = key_of(kind, key, stores.config)
        target = None if to is None else folded(to) if ":" in to else f"member:{folded(to)}"
        done = send_by_hand(stores, kind, begins, datetime.now(UTC), target=target, again=again)
    rows = [{"to": each.target, "put": "yes" if each.put else "no", "what": each.said} for each in done]
    if as_json:
        print_json([{"target": each.target, "put": each.put, "said": each.said} for each in done])
    elif rows:
        table(rows, ["to", "put", "what"], cut=["to"], wrap=["what"])
    else:
        click.echo(f"nobody is subscribed to {ADVERBS[kind]} reports", err=True)
    if not rows:
        raise SystemExit(1)
