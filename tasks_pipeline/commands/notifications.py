"""`notifications`: who got what, what waits, what was given up; and a test message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import Number, json_option, limit_option
from tasks_pipeline.commands.common.output import cell, current_home, user_errors
from tasks_pipeline.commands.common.queries import age, group_named, open_all, open_state
from tasks_pipeline.commands.common.since import Since
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.words import counted

_LOG = {"id": "id", "created_at": "at (UTC)", "target": "to", "channel": "channel", "type": "type", "status": "status", "sent_at": "sent (UTC)", "attempts": "tries", "reason": "why", "title": "about"}  # fmt: skip
_STATUSES = ("waiting", "sending", "sent", "dead", "digest", "collapsed", "skipped")


@click.group(cls=CommandGroup)
def notifications() -> None:
    """Look at notifications: the log, the queue, dead letters; send a test message."""


@notifications.command()
@click.option("--member", metavar="EMAIL", help="To this member.")
@click.option("--target", help="To this target: member:EMAIL, team:SLUG or channel:NAME.")
@click.option("--channel", metavar="NAME", help="On this channel.")
@click.option("--alert", "alert_id", type=Number(1, 2**63 - 1), metavar="ID", help="Of this alert.")
@click.option("--group", metavar="SHORT_ID", help="About this group.")
@click.option("--status", type=click.Choice(_STATUSES), help="With this status.")
@click.option("--since", type=Since(), default="7d", show_default=True, help="Since when: 24h, 7d, a date.")
@limit_option(50, "messages", most=100_000)
@click.option("--attempts", is_flag=True, help="Show each attempt to send, and what the far side said.")
@json_option
@click.pass_context
def log(
    ctx: click.Context,
    member: str | None,
    target: str | None,
    channel: str | None,
    alert_id: int | None,
    group: str | None,
    status: str | None,
    since: datetime,
    limit: int,
    attempts: bool,
    as_json: bool,
) -> None:
    """Did somebody get it, when, and if not, why? Newest first.

    \b
    waiting    to be sent; `why` says what held it up
    sent       handed over
    digest     waits for, or is in, a digest
    collapsed  told of with others of its storm
    skipped    not wanted; `why` says by which preference
    dead       given up; `notifications retry` sends it again

    \b
    Examples:
      tasks-pipeline notifications log --member anna@acme.example --since 24h
      tasks-pipeline notifications log --group SHOP-3 --attempts
    """
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.config.people import folded
        from tasks_pipeline.notifications.outbox import deliveries_of, notification_log

        group_id = group_named(state, slugs, group)["id"] if group else None
        wanted = f"member:{member.removeprefix('member:')}" if member else target
        rows = notification_log(
            state, since=since, target=wanted and folded(wanted), channel=channel, status=status, alert_id=alert_id,
            group_id=group_id, limit=limit,
        )  # fmt: skip
        tries = deliveries_of(state, [row["id"] for row in rows]) if attempts or as_json else {}
    if as_json:
        print_json([{**row, "deliveries": tries.get(row["id"], [])} for row in rows])
        return
    if not rows:
        click.echo("no notifications", err=True)
        return
    for row in rows:
        row["reason"] = row["reason"][:120]
    if not attempts:
        table(rows, _LOG, cut=["target", "title", "reason"], drop=["sent_at", "type", "attempts", "channel"])
        return
    for row in rows:
        click.echo(
            f"{row['id']}  {cell(row['created_at'])}  {row['target']} on {row['channel']}  {row['status']}  {cell(row['title'])}"
        )
        for each in tries.get(row["id"], []):
            click.echo(
                f"    try {each['attempt']}  {cell(each['started_at'])}  {each['outcome']:<8}  {cell(each['detail'])}"
            )
        if row["reason"]:
            click.echo(f"    {cell(row['reason'])}")


@notifications.command()
@json_option
@click.pass_context
def queue(ctx: click.Context, as_json: bool) -> None:
    """Show what waits on each channel, and how the channels are doing.

    \b
    Example:
      tasks-pipeline notifications queue
    """
    now = datetime.now(UTC)
    with open_state(current_home(ctx)) as (state, _):
        from tasks_pipeline.notifications.outbox import channel_figures

        rows = channel_figures(state, now)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        row["oldest"] = age(row["oldest_due"], now)
        open_until = row["open_until"]
        if open_until and open_until > now:
            row["state"] = f"left alone until {cell(open_until)}"
        else:
            row["state"] = (
                f"failed {counted(row['failures'], 'time')} in a row" if row["failures"] else "works"
            )
    if rows:
        columns = {"channel": "channel", "waiting": "waiting", "due": "due", "oldest": "oldest due", "dead": "dead", "sent_today": "sent in 24 h", "state": "state", "last_error": "last error"}  # fmt: skip
        table(rows, columns, wrap=["state", "last_error"], drop=["sent_today", "due"])
    else:
        click.echo("nothing was ever sent", err=True)


@notifications.command()
@click.argument("ids", nargs=-1, type=Number(1, 2**63 - 1), metavar="[ID]...")
@click.option("--channel", metavar="NAME", help="All dead letters of this channel.")
@click.option("--all-dead", is_flag=True, help="All dead letters.")
@json_option
@click.pass_context
def retry(
    ctx: click.Context, ids: tuple[int, ...], channel: str | None, all_dead: bool, as_json: bool
) -> None:
    """Send dead letters again. Their channel is tried at once, even when it was left alone.

    \b
    Examples:
      tasks-pipeline notifications retry 17 18
      tasks-pipeline notifications retry --channel slack
    """
    if not (ids or channel or all_dead):
        raise click.UsageError("name messages, --channel or --all-dead")
    with open_state(current_home(ctx)) as (state, _):
        from tasks_pipeline.notifications.outbox import retry_notifications

        count = retry_notifications(state, datetime.now(UTC), ids=ids, channel=channel)
    if not count and not all_dead:
        which = f"with the number {', '.join(map(str, ids))}" if ids else ""
        which += f"{' ' if which else ''}on channel {cell(channel)}" if channel else ""
        raise click.ClickException(
            f"there is no dead letter {which}; `tasks-pipeline notifications log --status dead` shows them"
        )
    if as_json:
        print_json({"due": count})
    else:
        click.echo(f"{counted(count, 'message')} {'is' if count == 1 else 'are'} due again")


@notifications.command()
@json_option
@click.pass_context
def send(ctx: click.Context, as_json: bool) -> None:
    """Send what is due now, without Dagster, and say what came of it.

    \b
    Example:
      tasks-pipeline notifications send
    Prints:
      3 sent, 0 to be tried again, 0 dead
    """
    from tasks_pipeline.notifications.task import NotificationTask

    with open_all(current_home(ctx)) as stores:
        task = NotificationTask(stores)
        task.run("send_digest")
        report = task.run("send_alert", linger_seconds=0)
    if as_json:
        print_json({"sent": report.sent, "retried": report.retried, "dead": report.dead})
    else:
        click.echo(f"{report.sent} sent, {report.retried} to be tried again, {report.dead} dead")


@notifications.command("test")
@click.argument("target")
@json_option
@click.pass_context
def test_command(ctx: click.Context, target: str, as_json: bool) -> None:
    """Send a test message to TARGET at once, and say exactly what failed. Exits 1 when it did not arrive.

    TARGET is a member's address, team:SLUG, or channel:NAME.

    \b
    Examples:
      tasks-pipeline notifications test anna@acme.example
      tasks-pipeline notifications test channel:slack
    Prints, for example:
      channel:slack  slack  sent    HTTP 200 ok
    """
    from tasks_pipeline.notifications.test_message import send_test

    with user_errors(ValueError):
        config = current_home(ctx).config()
        results = send_test(config, target)
    rows: list[dict[str, Any]] = [
        {
            "target": r.target, "channel": r.channel, "address": r.address,
            "result": "sent" if r.sent else "failed", "seconds": round(r.seconds, 2), "detail": r.detail,
        }
        for r in results
    ]  # fmt: skip
    if as_json:
        print_json(rows)
    elif rows:
        columns = ["target", "channel", "address", "result", "seconds", "detail"]
        table(rows, columns, cut=["target", "address"], wrap=["detail"], drop=["seconds", "address"])
    else:
        click.echo(f"{target} is nobody: the team has no members and no channel", err=True)
    if not rows or any(row["result"] != "sent" for row in rows):
        raise SystemExit(1)
