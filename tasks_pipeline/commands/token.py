"""`token`: make, list and revoke the tokens with which clients of the Web API read, decide and upload."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import Number, json_option
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.people import member_named
from tasks_pipeline.commands.common.queries import age, open_state
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.home import Home

_COLUMNS = {"id": "id", "name": "name", "hint": "ends with", "scopes": "scopes", "member": "member", "created_at": "created", "last_used_at": "last used", "revoked_at": "revoked"}  # fmt: skip
_ALL = "all"
_DEFAULT = ("org:read", "project:read", "team:read", "member:read", "event:read", "project:releases")
_SCOPES = (*_DEFAULT, "event:write", "event:admin")
"""As access/tokens.py has them, which needs a database."""


@click.group(cls=CommandGroup)
def token() -> None:
    """Make, list and revoke tokens: clients of the Web API read, decide and upload with them."""


@token.command()
@click.option("--name", default="", metavar="TEXT", help="What it is for; shown in the list.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([*_SCOPES, _ALL]),
    metavar="SCOPE",
    help="What it may do; may be given several times: all, org:read, project:read, team:read, member:read, event:read, "
    "event:write, event:admin, project:releases.  [default: read and upload]",
)
@click.option("--member", metavar="EMAIL", help="The member in whose name it acts.")
@click.option(
    "--url", help="The address that clients reach this service at.  [default: the running service's]"
)
@json_option
@click.pass_context
def create(
    ctx: click.Context, name: str, scopes: tuple[str, ...], member: str | None, url: str | None, as_json: bool
) -> None:
    """Make a token and print it, and nothing else. It is shown this once: only its SHA-256 is kept.

    It may read and upload unless --scope says otherwise: event:write decides about groups, event:admin discards them, all is
    everything. A member's may do no more than the member. sentry-cli takes the server's address and the organization from a
    token without --member.

    \b
    Examples:
      export SENTRY_AUTH_TOKEN=$(tasks-pipeline token create --name ci)
      tasks-pipeline token create --scope all --member you@acme.example
    Prints:
      sntrys_eyJpYXQiOjE3…_kVb0R…
    """
    home = current_home(ctx, create=True)
    with open_state(home) as (state, _):
        from tasks_pipeline.access.tokens import create_token

        config = home.config_to_look().config
        address, org = checked_url(url or service_url(home)), config.organisation.slug
        who = None if member is None else member_named(config, member)
        chosen = _SCOPES if _ALL in scopes else scopes or _DEFAULT
        number, text = create_token(state, address, org, name[:100], chosen, who.email if who else None)
    if as_json:
        of = {"member": who.email} if who else {}
        print_json({"id": number, "token": text, "url": address, "organization": org, **of})
        return
    click.echo(text)
    of_whom = f" of {who.email}" if who else ""
    click.echo(f"token {number}{of_whom} for {address}, organization {org}; it is not shown again", err=True)


@token.command("list")
@json_option
@click.pass_context
def list_command(ctx: click.Context, as_json: bool) -> None:
    """List tokens, by their last characters.

    \b
    Example:
      tasks-pipeline token list
    Prints:
      id  name  ends with  scopes            member  created  last used  revoked
       1  ci    RkQ8       project:releases          3 d      5 min
    """
    with open_state(current_home(ctx)) as (state, _):
        from tasks_pipeline.access.tokens import list_tokens

        rows = list_tokens(state)
    if as_json:
        table(rows, list(_COLUMNS), as_json=True)
    elif rows:
        now = datetime.now(UTC)
        times = ("created_at", "last_used_at", "revoked_at")
        shown = [
            row | {name: age(row[name], now) for name in times} | {"scopes": " ".join(row["scopes"])}
            for row in rows
        ]
        table(shown, _COLUMNS, cut=["name", "member"], wrap=["scopes"], drop=["scopes", "member"])
    else:
        click.echo("no tokens", err=True)


@token.command()
@click.argument("number", metavar="ID", type=Number(1, 2**63 - 1))
@json_option
@click.pass_context
def revoke(ctx: click.Context, number: int, as_json: bool) -> None:
    """End a token for good. ID is its number in the list.

    \b
    Example:
      tasks-pipeline token revoke 1
    """
    with open_state(current_home(ctx)) as (state, _):
        from tasks_pipeline.access.tokens import revoke_token

        known = revoke_token(state, number)
    if not known:
        raise click.ClickException(f"there is no token {number}; `tasks-pipeline token list` shows them")
    if as_json:
        print_json({"id": number, "revoked": True})
    else:
        click.echo(f"token {number} is revoked")


def service_url(home: Home) -> str:
    """Where clients reach the Web API: at the address of the pages."""
    from tasks_pipeline.service.links import links

    return links(home, home.config_to_look().config).base


def checked_url(url: str, option: str = "--url") -> str:
    """The URL without a slash at its end. Raises BadParameter when it is none."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("http", "https") or not rest.strip("/") or not url.isprintable() or " " in url:
        raise click.BadParameter(f"found {cell(url)!r}, allowed is http(s)://host[:port]", param_hint=option)
    return url.rstrip("/")
