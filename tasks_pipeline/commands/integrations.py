"""`integrations`: issue trackers, how they are doing, trying them, and carrying over by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.output import cell, current_home, user_errors
from tasks_pipeline.commands.common.queries import age, open_all
from tasks_pipeline.commands.common.tables import field_lines, table
from tasks_pipeline.words import counted, lasting

if TYPE_CHECKING:
    from tasks_pipeline.stores import Stores

STATUS = (
    "name", "type", "state", "since", "cause", "links", "waiting", "oldest_waiting_seconds", "requests_last_hour", "limit",
)  # fmt: skip
"""What `status --json` says of an integration, beside its trackers."""
_WELL = ("ok", "disabled")
_LET_IN = ("ok", "degraded")
"""States in which we know who we are there."""
_NONE = "no integrations; configure `integrations` and `trackers` (docs/integrations.md)"
_SECTIONS = {
    "Look": ("list", "status"),
    "Try": ("check", "test"),
    "Carry over": ("sync", "retry"),
    "Change": ("disable", "enable", "rename"),
}


@click.group(cls=CommandGroup, sections=_SECTIONS)
def integrations() -> None:
    """Look at issue trackers, try them, carry over what changed."""


@integrations.command("list")
@json_option
@click.pass_context
def list_command(ctx: click.Context, as_json: bool) -> None:
    """List trackers: where issues are made, for which projects, and how many are linked.

    \b
    Example:
      tasks-pipeline integrations list
    """
    with open_all(current_home(ctx), to_look=True) as stores:
        found = {row["name"]: row for row in _figures(stores)}
        rows = [
            {
                "tracker": tracker["name"],
                "integration": name,
                "type": row["type"],
                "place": _place(stores, tracker["name"]),
                "projects": _projects(stores, tracker["name"]),
                "links": tracker["links"],
                "state": tracker["state"],
            }
            for name, row in found.items()
            for tracker in row["trackers"]
        ]
    if as_json:
        print_json(rows)
    elif rows:
        shown = [{**row, "projects": ", ".join(row["projects"]) or "all"} for row in rows]
        table(shown, list(rows[0]), cut=["place", "projects"], drop=["type", "projects", "integration"])
    else:
        click.echo(_NONE, err=True)


@integrations.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show how integrations are doing, what waits for them, and what they were asked within the last hour. Nothing is asked outside.

    Exits 1 while one is neither ok nor disabled.

    \b
    Example:
      tasks-pipeline integrations status
    Prints:
      integration  state        since   links  waiting  oldest  dead  requests
      hub          auth failed  12 min     17        3  11 min     0      2041
      hub  HTTP 401: Bad credentials
    """
    with open_all(current_home(ctx), to_look=True) as stores:
        rows = _figures(stores)
    if as_json:
        names = (*STATUS, "dead", "identity", "expires_at", "checked_at", "trackers")
        print_json([{name: row[name] for name in names} for row in rows])
    else:
        _print_status(rows)
    if any(row["state"] not in (*_WELL, "not_checked") for row in rows):
        ctx.exit(1)


def _print_status(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        click.echo(_NONE, err=True)
        return
    now = datetime.now(UTC)
    shown = [
        {
            "integration": row["name"],
            "state": row["state"].replace("_", " "),
            "since": age(row["since"], now) if row["since"] else "",
            "links": row["links"],
            "waiting": row["waiting"],
            "oldest": "" if row["oldest_waiting_seconds"] is None else lasting(row["oldest_waiting_seconds"]),
            "dead": row["dead"],
            "requests": row["requests_last_hour"],
            "left": _left(row["limit"]),
        }
        for row in rows
    ]
    table(shown, list(shown[0]), drop=["left", "dead", "oldest", "requests"])
    causes = [(cell(row["name"]), cell(row["cause"])) for row in rows]
    causes += [
        (cell(tracker["name"]), cell(tracker["cause"]))
        for row in rows
        for tracker in row["trackers"]
        if tracker["cause"] not in row["cause"]
    ]
    for line in field_lines(causes):
        click.echo(line)


def _left(limit: Mapping[str, Any] | None) -> str:
    if limit is None:
        return ""
    return (
        f"{limit['remaining']} of {limit['total']}" if limit["total"] is not None else str(limit["remaining"])
    )


@integrations.command()
@click.argument("name", required=False)
@json_option
@click.pass_context
def check(ctx: click.Context, name: str | None, as_json: bool) -> None:
    """Ask integrations, or one by NAME, who we are there and how the places are where issues are made; say what is missing.

    Exits 1 when something is.

    \b
    Examples:
      tasks-pipeline integrations check
      tasks-pipeline integrations check hub
    Prints:
      hub          ok  as tasks-pipeline-bot
      shop-issues  ok
    """
    from tasks_pipeline.integrations.status import update_integration_status

    with open_all(current_home(ctx)) as stores:
        _known(stores, name)
        report = update_integration_status(stores, only=(name,) if name else (), by_hand=True)
        rows = [row for row in _figures(stores) if name in (None, row["name"])]
    if as_json:
        print_json(
            [
                {key: row[key] for key in ("name", "state", "cause", "identity", "expires_at", "trackers")}
                for row in rows
            ]
        )
    else:
        _print_check(rows)
    for failed in report.failed:
        click.echo(f"{failed} could not be checked: see the log", err=True)
    if report.failed or any(row["state"] not in _WELL for row in rows):
        ctx.exit(1)


def _print_check(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        click.echo(_NONE, err=True)
        return
    lines = []
    for row in rows:
        who = f"as {row['identity']}" if row["identity"] else ""
        until = f"until {cell(row['expires_at'])} UTC" if row["expires_at"] else ""
        we = ", ".join(filter(None, (who, until))) if row["state"] in _LET_IN else ""
        said = "; ".join(filter(None, (we, row["cause"])))
        lines.append({"name": row["name"], "state": row["state"].replace("_", " "), "said": said})
        lines += [
            {"name": each["name"], "state": each["state"].replace("_", " "), "said": each["cause"]}
            for each in row["trackers"]
        ]
    table(lines, {"name": "integration or tracker", "state": "state", "said": "why"}, wrap=["said"])


@integrations.command()
@click.argument("tracker")
@click.option("--create", is_flag=True, help="Make an issue for real, and close it.")
@json_option
@click.pass_context
def test(ctx: click.Context, tracker: str, create: bool, as_json: bool) -> None:
    """Try a tracker as sync does: sign in, look at the place, and with --create make an issue and close it.

    Exits 1 at the first step that fails, with what the far side says.

    \b
    Examples:
      tasks-pipeline integrations test shop-issues
      tasks-pipeline integrations test shop-issues --create
    """
    from tasks_pipeline.integrations.trying import try_tracker

    with open_all(current_home(ctx)) as stores:
        place = _tracker(stores, tracker)
        steps = try_tracker(stores, place, create=create)
    rows = [
        {"step": step.name, "result": "good" if step.good else "failed", "said": step.said} for step in steps
    ]
    if as_json:
        print_json(rows)
    else:
        table(rows, ["step", "result", "said"], wrap=["said"])
    if not all(step.good for step in steps):
        ctx.exit(1)


@integrations.command()
@click.argument("tracker", required=False)
@click.option("--full", is_flag=True, help="Look at all links, whenever that was done last.")
@json_option
@click.pass_context
def sync(ctx: click.Context, tracker: str | None, full: bool, as_json: bool) -> None:
    """Carry over what changed now, of all trackers or of one, without Dagster. A TRACKER that is named is asked at once.

    Exits 1 when something failed.

    \b
    Examples:
      tasks-pipeline integrations sync
      tasks-pipeline integrations sync shop-issues --full
    """
    from tasks_pipeline.integrations.sync import sync_integrations

    with open_all(current_home(ctx)) as stores:
        if tracker is not None:
            _tracker(stores, tracker)
        report = sync_integrations(stores, tracker=tracker, full=full, linger_seconds=0)
    if as_json:
        print_json({**report.figures(), "moved": report.moved, "problems": report.errors})
    else:
        counts = [f"{name.replace('_', ' ')}: {many}" for name, many in sorted(report.counts.items())]
        click.echo("; ".join(counts) or "nothing was to be carried over")
        if report.moved:
            table(report.moved, ["tracker", "issue", "what"], cut=["what"])
        for name, said in report.errors.items():
            click.echo(f"{cell(name)}: {cell(said)}", err=True)
    if report.errors:
        ctx.exit(1)


@integrations.command()
@click.argument("name", required=False)
@json_option
@click.pass_context
def retry(ctx: click.Context, name: str | None, as_json: bool) -> None:
    """Try again what was given up: of all integrations, or of the integration or tracker NAME.

    \b
    Examples:
      tasks-pipeline integrations retry
      tasks-pipeline integrations retry shop-issues
    """
    from tasks_pipeline.links.intents import retry_dead

    now = datetime.now(UTC)
    with open_all(current_home(ctx), to_look=True) as stores:
        is_tracker = name is not None and stores.config.tracker(name) is not None
        if name is not None and not is_tracker:
            _known(stores, name)
        tracker, integration = (name, None) if is_tracker else (None, name)
        changed = retry_dead(stores.state, now, integration=integration, tracker=tracker)
    if as_json:
        print_json({"name": name, "retried": changed})
    else:
        click.echo(f"{counted(changed, 'change')} to be tried again")


@integrations.command()
@click.argument("name")
@json_option
@click.pass_context
def disable(ctx: click.Context, name: str, as_json: bool) -> None:
    """Ask an integration nothing and send it nothing, until it is enabled again. What has to be made there waits.

    \b
    Example:
      tasks-pipeline integrations disable hub
    """
    _set(ctx, name, disabled=True, as_json=as_json)


@integrations.command()
@click.argument("name")
@json_option
@click.pass_context
def enable(ctx: click.Context, name: str, as_json: bool) -> None:
    """Turn on an integration that was disabled by command; what waited for it goes on.

    \b
    Example:
      tasks-pipeline integrations enable hub
    """
    _set(ctx, name, disabled=False, as_json=as_json)


def _set(ctx: click.Context, name: str, *, disabled: bool, as_json: bool) -> None:
    from tasks_pipeline.integrations.status import set_disabled

    now = datetime.now(UTC)
    with open_all(current_home(ctx), to_look=True) as stores:
        _known(stores, name)
        changed = set_disabled(stores.state, name, now if disabled else None, now)
        integration = stores.config.integration(name)
    word = "disabled" if disabled else "enabled"
    if as_json:
        print_json({"name": name, "disabled": disabled, "changed": changed})
        return
    click.echo(f"{name} is {word}" if changed else f"{name} was {word} already")
    if not disabled and integration is not None and not integration.enabled:
        click.echo("the configuration says enabled: false, which stays in force", err=True)


@integrations.command()
@click.argument("old")
@click.argument("new")
@json_option
@click.pass_context
def rename(ctx: click.Context, old: str, new: str, as_json: bool) -> None:
    """Give the links of an integration or tracker to another name. Rename it in the configuration first: names are what stored links go by.

    \b
    Example:
      tasks-pipeline integrations rename former-issues shop-issues
    """
    from tasks_pipeline.integrations.renaming import RenameError, rename

    with (
        open_all(current_home(ctx), to_look=True) as stores,
        user_errors(RenameError),
        stores.state.write() as connection,
    ):
        what, links = rename(connection, stores.config, old, new)
    if as_json:
        print_json({"old": old, "new": new, "what": what, "links": links})
    else:
        click.echo(f"{what} {old} is {new} now, with {counted(links, 'link')}")


def _figures(stores: Stores) -> list[dict[str, Any]]:
    from tasks_pipeline.integrations.figures import integration_figures

    with stores.state.read() as connection:
        return integration_figures(connection, stores.config, datetime.now(UTC))


def _known(stores: Stores, name: str | None) -> None:
    if name is not None and stores.config.integration(name) is None:
        known = ", ".join(each.name for each in stores.config.integrations) or "none"
        raise click.ClickException(f"there is no integration {cell(name)[:100]}; there are: {known}")


def _tracker(stores: Stores, name: str) -> Any:
    found = stores.config.tracker(name)
    if found is None:
        known = ", ".join(each.name for each in stores.config.trackers) or "none"
        raise click.ClickException(f"there is no tracker {cell(name)[:100]}; there are: {known}")
    return found


def _place(stores: Stores, name: str) -> str:
    tracker = stores.config.tracker(name)
    integration = None if tracker is None else stores.config.integration(tracker.integration)
    if tracker is None or integration is None:
        return ""
    return f"{integration.url.rstrip('/')} {tracker.repository or tracker.project or ''}".strip()


def _projects(stores: Stores, name: str) -> list[str]:
    tracker = stores.config.tracker(name)
    return [] if tracker is None else list(tracker.projects)
