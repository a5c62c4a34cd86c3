"""`token`: make, list and revoke the tokens with which sentry-cli and bundlers upload."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import Number, json_option
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.queries import age, open_state
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.home import Home

_COLUMNS = {"id": "id", "name": "name", "hint": "ends with", "scopes": "scopes", "created_at": "created", "last_used_at": "last used", "revoked_at": "revoked"}  # fmt: skip
_SCOPES = ("org:read", "project:read", "project:releases")


@click.group(cls=CommandGroup)
def token() -> None:
    """Make, list and revoke tokens: sentry-cli and bundler plugins upload source maps and debug files with them."""


@token.command()
@click.option("--name", default="", metavar="TEXT", help="What it is for; shown in the list.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(_SCOPES),
    help="What it may do; may be given several times.  [default: everything]",
)
@click.option(
    "--url", help="The address that clients reach this service at.  [default: the running service's]"
)
@json_option
@click.pass_context
def create(ctx: click.Context, name: str, scopes: tuple[str, ...], url: str | None, as_json: bool) -> None:
    """Make a token and print it, and nothing else. It is shown this once: only its SHA-256 is kept.

    sentry-cli takes the server's address and the organization from the token. project:releases is what uploads need.

    \b
    Example:
      export SENTRY_AUTH_TOKEN=$(tasks-pipeline token create --name ci)
    Prints:
      sntrys_eyJpYXQiOjE3…_kVb0R…
    """
    home = current_home(ctx, create=True)
    with open_state(home) as (state, _):
        from tasks_pipeline.web_api.tokens import create_token

        config = home.config_to_look().config
        address = checked_url(url or service_url(home))
        number, text = create_token(state, address, config.organisation.slug, name[:100], scopes or _SCOPES)
    if as_json:
        print_json({"id": number, "token": text, "url": address, "organization": config.organisation.slug})
        return
    click.echo(text)
    click.echo(
        f"token {number} for {address}, organization {config.organisation.slug}; it is not shown again",
        err=True,
    )


@token.command("list")
@json_option
@click.pass_context
def list_command(ctx: click.Context, as_json: bool) -> None:
    """List tokens, by their last characters.

    \b
    Example:
      tasks-pipeline token list
    Prints:
      id  name  ends with  scopes            created  last used  revoked
       1  ci    RkQ8       project:releases  3 d      5 min
    """
    with open_state(current_home(ctx)) as (state, _):
        from tasks_pipeline.web_api.tokens import list_tokens

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
        table(shown, _COLUMNS, cut=["name"], drop=["scopes"])
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
        from tasks_pipeline.web_api.tokens import revoke_token

        known = revoke_token(state, number)
    if not known:
        raise click.ClickException(f"there is no token {number}; `tasks-pipeline token list` shows them")
    if as_json:
        print_json({"id": number, "revoked": True})
    else:
        click.echo(f"token {number} is revoked")


def service_url(home: Home) -> str:
    """Where clients reach the receiver: the running service's URL, else the configured one."""
    from tasks_pipeline.service.running import running_service

    receiver, service = home.config_to_look().config.receiver, running_service(home)
    if service:
        return service.receiver_url
    return receiver.public_url or f"http://{receiver.host}:{receiver.port}"


def checked_url(url: str) -> str:
    """The URL without a slash at its end. Raises BadParameter when it is none."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("http", "https") or not rest.strip("/") or not url.isprintable() or " " in url:
        raise click.BadParameter(f"found {cell(url)!r}, allowed is http(s)://host[:port]", param_hint="--url")
    return url.rstrip("/")
