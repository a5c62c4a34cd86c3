"""`run` and `receive`: the processes that stay."""

from __future__ import annotations

import sys

import click

from tasks_pipeline.commands.common.options import Number, drain_option, listening_options
from tasks_pipeline.commands.common.output import current_home, user_errors
from tasks_pipeline.commands.token import checked_url


@click.command()
@click.option(
    "--port",
    type=Number(0, 65_535),
    metavar="N",
    help="Port of the receiver; 0 takes a free one.  [default: as configured, else 9000]",
)
@click.option(
    "--host",
    metavar="ADDRESS",
    help="Address the receiver listens on.  [default: as configured, else 127.0.0.1]",
)
@click.option(
    "--ui-port",
    type=Number(0, 65_535),
    metavar="M",
    default=3000,
    show_default=True,
    help="Port of Dagster's UI, always on 127.0.0.1; 0 takes a free one.",
)
@click.option(
    "--web-port",
    type=Number(0, 65_535),
    metavar="N",
    help="Port of pages and Web API.  [default: at the receiver's]",
)
@click.pass_context
def run(ctx: click.Context, port: int | None, host: str | None, ui_port: int, web_port: int | None) -> None:
    """Run the whole service in the foreground: the receiver, pages and Web API, and Dagster with its UI.

    Prints the DSN, the addresses of the pages and the UI and where data and logs lie, then `ready` when all of it answers. A process
    that dies is started again, and that is printed with the last lines of its log. Ctrl-C stops everything; twice
    stops it at once.

    \b
    Examples:
      tasks-pipeline run
      tasks-pipeline --home ./trial run --port 0 --ui-port 0
    """
    from tasks_pipeline.service.dagster_home import DagsterHomeError
    from tasks_pipeline.service.leader import DatabaseAway, Elsewhere
    from tasks_pipeline.service.running import AlreadyRunning
    from tasks_pipeline.service.service import CannotStart, run_service

    home = current_home(ctx, create=True)
    expected = (AlreadyRunning, CannotStart, DagsterHomeError, DatabaseAway, Elsewhere, ValueError, OSError)
    with user_errors(*expected):
        status = run_service(home, click.echo, host=host, port=port, ui_port=ui_port, web_port=web_port)
    sys.exit(status)


@click.command()
@listening_options(9000)
@click.option(
    "--web",
    metavar="URL",
    help="Where the web process listens, or none.  [default: as configured, else http://127.0.0.1:9080]",
)
@drain_option
@click.pass_context
def receive(
    ctx: click.Context, host: str | None, port: int | None, web: str | None, drain_seconds: int
) -> None:
    """Run the receiver alone: it accepts envelopes and keeps them in the spool until something processes them.

    Pages and the Web API are forwarded to the web process (`tasks-pipeline web`), so that one address serves all.
    Prints the URL it listens on; its log goes to stderr. `tasks-pipeline run` starts one by itself: use this where
    receivers and Dagster run on different machines. On PostgreSQL it waits for `tasks-pipeline migrate`, and needs a configuration
    file: hosts share one.

    \b
    Examples:
      tasks-pipeline receive --host 0.0.0.0 --port 9000
      tasks-pipeline receive --host 0.0.0.0 --web http://web:9080
    """
    import logging
    import os

    from tasks_pipeline.receiver.app import create_app
    from tasks_pipeline.service.address import Address
    from tasks_pipeline.service.leftovers import MARKER_VARIABLE
    from tasks_pipeline.service.roles import await_schema, ensure_place, role_home
    from tasks_pipeline.service.service import CannotStart
    from tasks_pipeline.serving import serve

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    home = current_home(ctx, create=True)
    with user_errors(CannotStart, OSError, ValueError):
        if MARKER_VARIABLE not in os.environ:  # else a service has seen to it
            home = role_home(home)
            await_schema(home, click.echo, unless_away=True)
            ensure_place(home)
        config = home.config_in_force().config
        receiver, own_web = config.receiver, Address(config.web.host, config.web.port).url
        serve(
            create_app(
                home, web_url=None if web == "none" else checked_url(web, "--web") if web else own_web
            ),
            receiver.host if host is None else host,
            receiver.port if port is None else port,
            lambda url: click.echo(f"receiver listens on {url}"),
            drain_seconds,
        )
