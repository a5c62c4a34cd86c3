"""`members`: who is told what, and how."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.output import cell, current_home, json_option, table, user_errors
from tasks_pipeline.commands.common.queries import group_named, open_state


@click.group()
def members() -> None:
    """Look at members: their channels, preferences and digests."""


@members.command("list")
@json_option
@click.pass_context
def list_command(ctx: click.Context, as_json: bool) -> None:
    """List members, the channel they are told on, and when.

    \b
    Example:
      tasks-pipeline members list
    """
    from tasks_pipeline.notifications.preferences import channel_of, teams_of

    with user_errors():
        config = current_home(ctx).config_to_look().config
    rows = []
    for member in config.members:
        channel = channel_of(config, member.notifications)
        rows.append(
            {
                "email": member.email, "name": member.name, "channel": channel.name if channel else "none",
                "delivery": member.notifications.delivery, "quiet": _quiet(member.notifications.quiet_hours),
                "timezone": member.timezone, "teams": ", ".join(sorted(t.removeprefix("team:") for t in teams_of(config, member.email))),
            }
        )  # fmt: skip
    if rows or as_json:
        table(rows, ["email", "name", "channel", "delivery", "quiet", "timezone", "teams"], as_json=as_json)
    else:
        click.echo("no members are configured", err=True)


@members.command()
@click.argument("email")
@click.option("--group", metavar="SHORT_ID", help="Would they hear of this group now?")
@click.option("--rule", default="default", show_default=True, help="With --group: by which rule.")
@json_option
@click.pass_context
def show(ctx: click.Context, email: str, group: str | None, rule: str, as_json: bool) -> None:
    """Show a member's preferences in each project and their next digests; with --group, whether they would hear of it.

    \b
    Examples:
      tasks-pipeline members show anna@acme.example
      tasks-pipeline members show anna@acme.example --group SHOP-3F
    """
    from tasks_pipeline.notifications.digests import next_digest_at, pending_digests
    from tasks_pipeline.notifications.preferences import preferences_of
    from tasks_pipeline.notifications.quiet import quiet_until
    from tasks_pipeline.notifications.routing import routes

    home, now = current_home(ctx), datetime.now(UTC)
    with user_errors():
        config = home.config_to_look().config
    member = config.member(email)
    if member is None:
        known = ", ".join(m.email for m in config.members) or "none"
        raise click.ClickException(f"there is no member {cell(email)}; there are: {known}")
    rows: list[dict[str, Any]] = []
    said = ""
    with open_state(home) as (state, slugs):
        waiting = {p.project_id: p for p in pending_digests(state) if p.target == f"member:{email}"}
        for project in config.projects:
            wanted = preferences_of(config, member, project.id)
            until = quiet_until(wanted.quiet_hours, member.timezone, now)
            pending = waiting.get(project.id)
            rows.append(
                {
                    "project": project.slug, "delivery": wanted.delivery, "rules": ", ".join(wanted.rules),
                    "only assigned": "yes" if wanted.only_assigned else "no", "quiet": _quiet(wanted.quiet_hours),
                    "quiet now until": until, "collected": pending.entries if pending else 0,
                    "next digest (UTC)": next_digest_at(config, pending, now) if pending else None,
                }
            )  # fmt: skip
        if group is not None:
            found = group_named(state, slugs, group)
            (route,) = routes(
                config, project_id=found["project_id"], targets=(f"member:{email}",), rule=rule, severity="warning",
                assignee=found["assignee"], at=now,
            )  # fmt: skip
            when = "now" if route.not_before <= now else f"at {cell(route.not_before)} UTC"
            said = (
                f"{found['short_id']} by rule {rule!r}: {route.delivery} on {route.channel or 'no channel'}"
                + (f", {when}" if route.delivery == "immediate" else "")
                + (f" ({route.reason})" if route.reason else "")
            )
    if as_json:
        print_json({"email": email, "projects": rows, **({"would": said} if said else {})})
        return
    table(rows, list(rows[0]))
    if said:
        click.echo(f"\n{cell(said)}")


def _quiet(hours: Any) -> str:
    return f"{hours.start:%H:%M}-{hours.end:%H:%M}" if hours is not None else ""
