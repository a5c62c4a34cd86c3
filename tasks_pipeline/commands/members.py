"""`members`: who is told what, and how; who may log in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.output import cell, current_home, user_errors
from tasks_pipeline.commands.common.people import member_named
from tasks_pipeline.commands.common.queries import group_named, open_state
from tasks_pipeline.commands.common.tables import say, table
from tasks_pipeline.commands.reports.wanted import reports_of
from tasks_pipeline.words import counted

if TYPE_CHECKING:
    from tasks_pipeline.config import Config
    from tasks_pipeline.config.alerts import AlertRule

_REPORTS = {
    "report": "report",
    "wanted": "wanted",
    "decided_by": "decided by",
    "projects": "projects",
    "channel": "channel",
    "next_due": "next due (UTC)",
    "last": "the last one",
}


@click.group(cls=CommandGroup)
def members() -> None:
    """Look at members: their channels, preferences and digests; let them log in."""


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
        columns = ["email", "name", "channel", "delivery", "quiet", "timezone", "teams"]
        table(rows, columns, as_json=as_json, cut=["teams", "name"], drop=["name", "timezone", "quiet"])
    else:
        click.echo("no members are configured", err=True)


@members.command()
@click.argument("email")
@click.option("--group", metavar="SHORT_ID", help="Would they hear of this group now?")
@click.option("--rule", metavar="NAME", help="With --group: by this rule only.  [default: each in force]")
@json_option
@click.pass_context
def show(ctx: click.Context, email: str, group: str | None, rule: str | None, as_json: bool) -> None:
    """Show a member's preferences in each project, their next digests and reports, and who decided about those; with
    --group, whether they would hear of it.

    \b
    Examples:
      tasks-pipeline members show anna@acme.example
      tasks-pipeline members show anna@acme.example --group SHOP-3
    """
    from tasks_pipeline.notifications.digests import next_digest_at, pending_digests
    from tasks_pipeline.notifications.preferences import preferences_of
    from tasks_pipeline.notifications.quiet import quiet_until

    home, now = current_home(ctx), datetime.now(UTC)
    with user_errors():
        config = home.config_to_look().config
    member = member_named(config, email)
    rows: list[dict[str, Any]] = []
    with open_state(home) as (state, slugs):
        waiting = {p.project_id: p for p in pending_digests(state) if p.target == f"member:{member.email}"}
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
        reports = reports_of(config, state, member, now)
        found = group_named(state, slugs, group) if group is not None else None
        if found is not None:
            from tasks_pipeline.groups.suspects import mails_of

            with state.read() as connection:
                found["authors"] = mails_of(connection, [found["id"]]).get(found["id"], ())
    told = _told(config, member.email, found, rule, now) if found is not None else []
    if as_json:
        print_json(
            {
                "email": member.email,
                "projects": rows,
                "reports": reports,
                **({"would": told} if found is not None else {}),
            }
        )
        return
    table(rows, list(rows[0]), wrap=["rules"], drop=["only assigned", "quiet now until", "quiet"])
    click.echo()
    table(reports, _REPORTS, wrap=["projects"], drop=["channel", "projects"])
    if told:
        click.echo()
    for line in told:
        say(cell(line))


@members.command()
@click.argument("email")
@click.option("--url", help="The address at which people reach the pages.  [default: the running service's]")
@json_option
@click.pass_context
def invite(ctx: click.Context, email: str, url: str | None, as_json: bool) -> None:
    """Print a link with which a member chooses a password for the pages, once, within three days.

    An earlier link of the member ends, and so do their sessions when the new password is set. Hand it over in a way that nobody else reads.

    \b
    Example:
      tasks-pipeline members invite anna@acme.example
    Prints:
      http://127.0.0.1:9000/invitations/0pEm…
    """
    from tasks_pipeline.access.passwords import invite
    from tasks_pipeline.commands.token import checked_url, service_url

    home, now = current_home(ctx), datetime.now(UTC)
    with user_errors():
        config = home.config_to_look().config
    member = member_named(config, email)
    address = checked_url(url or service_url(home))
    with open_state(home) as (state, _):
        link = f"{address}/invitations/{invite(state, member.email, now)}"
    if as_json:
        print_json({"email": member.email, "link": link})
        return
    click.echo(link)


@members.command("sign-out")
@click.argument("email")
@click.option("--forget", is_flag=True, help="Take away password, invitations and tokens, too.")
@json_option
@click.pass_context
def sign_out(ctx: click.Context, email: str, forget: bool, as_json: bool) -> None:
    """End all sessions of a member, also of one who is configured no more.

    \b
    Examples:
      tasks-pipeline members sign-out anna@acme.example
      tasks-pipeline members sign-out anna@acme.example --forget
    """
    from tasks_pipeline.access import passwords, sessions, tokens
    from tasks_pipeline.config.people import folded

    address, revoked = folded(email), 0
    with open_state(current_home(ctx)) as (state, _):
        ended = passwords.forget(state, address) if forget else sessions.end_all(state, address)
        if forget:
            theirs = [row for row in tokens.list_tokens(state) if row["member"] == address]
            for row in theirs:
                revoked += tokens.revoke_token(state, row["id"]) and row["revoked_at"] is None
    if as_json:
        print_json({"email": address, "sessions": ended, "tokens": revoked, "forgotten": forget})
        return
    more = f", password and invitations are gone, {counted(revoked, 'token')} revoked" if forget else ""
    say(f"{cell(address)}: {counted(ended, 'session')} ended{more}")


def _told(config: Config, email: str, group: Mapping[str, Any], name: str | None, now: datetime) -> list[str]:
    """What each rule of the group's project, or the named one, would mean for a member. Raises ClickException for an unknown one."""
    from tasks_pipeline.alerts.rules import rules_of

    rules = rules_of(config, group["project_id"])
    chosen = [rule for rule in rules if name is None or rule.name == name]
    if not chosen:
        known = ", ".join(rule.name for rule in rules) or "none"
        said = (
            "no rule is in force"
            if name is None
            else f"there is no rule {cell(name)!r}; in force are: {known}"
        )
        raise click.ClickException(f"{said} in project {group['project']}")
    return [
        f"{group['short_id']} by rule {rule.name!r}: {_way(config, email, group, rule, now)}"
        for rule in chosen
    ]


def _way(config: Config, email: str, group: Mapping[str, Any], rule: AlertRule, now: datetime) -> str:
    """How a member would hear of a group by a rule, or why not."""
    from tasks_pipeline.notifications.routing import routes

    found = routes(
        config, project_id=group["project_id"], targets=rule.notify, rule=rule.name, severity="warning",
        assignee=group["assignee"], authors=group["authors"], at=now,
    )  # fmt: skip
    route = next((route for route in found if route.target == f"member:{email}"), None)
    if route is None:
        return f"not told; it tells {', '.join(rule.notify) or 'nobody'}"
    when = "now" if route.not_before <= now else f"at {cell(route.not_before)} UTC"
    return (
        f"{route.delivery} on {route.channel or 'no channel'}"
        + (f", {when}" if route.delivery == "immediate" else "")
        + (f" ({route.reason})" if route.reason else "")
    )


def _quiet(hours: Any) -> str:
    return f"{hours.start:%H:%M}-{hours.end:%H:%M}" if hours is not None else ""
