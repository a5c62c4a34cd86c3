"""`web`: the process that serves pages and the Web API."""

from __future__ import annotations

import click

from tasks_pipeline.commands.common.options import drain_option, listening_options
from tasks_pipeline.commands.common.output import current_home, user_errors


@click.command()
@listening_options(9080)
@click.option(
    "--exposed",
    is_flag=True,
    help="It is forwarded to by a receiver that listens on other addresses than loopback.",
)
@drain_option
@click.pass_context
def web(ctx: click.Context, host: str | None, port: int | None, exposed: bool, drain_seconds: int) -> None:
    """Serve pages and the Web API that clients of Sentry ask.

    Prints the URL it listens on; its log goes to stderr. `tasks-pipeline run` starts one by itself, and a receiver forwards to one
    what is no ingestion. On PostgreSQL it waits for `tasks-pipeline migrate`, and needs a configuration file: hosts share one.

    \b
    Examples:
      tasks-pipeline web
      tasks-pipeline web --host 0.0.0.0 --drain-seconds 10
    """
    import logging
    import os

    from tasks_pipeline.service.address import is_loopback
    from tasks_pipeline.service.leftovers import MARKER_VARIABLE
    from tasks_pipeline.service.roles import await_schema, ensure_place, role_home
    from tasks_pipeline.service.service import CannotStart
    from tasks_pipeline.serving import serve
    from tasks_pipeline.web.app import create_web

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    home = current_home(ctx, create=True)
    with user_errors(CannotStart, OSError, ValueError):
        if MARKER_VARIABLE not in os.environ:  # else a service has seen to it
            home = role_home(home)
            await_schema(home, click.echo, unless_away=True)
            ensure_place(home)
        config = home.config_in_force().config
        configured = config.web
        host = configured.host if host is None else host
        if not is_loopback(host) and not configured.login:
            raise CannotStart(
                f"everybody who reaches {host} could read and change all: web.login of the configuration says how people log in "
                "(password, oidc, proxy); without it allowed is --host 127.0.0.1"
            )
        serve(
            create_web(
                home, exposed=exposed or not (is_loopback(host) and is_loopback(config.receiver.host))
            ),
            host,
            configured.port if port is None else port,
            lambda url: click.echo(f"pages and Web API at {url}"),
            drain_seconds,
        )
