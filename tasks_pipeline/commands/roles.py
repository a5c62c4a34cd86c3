"""`worker`, `dagster`, `migrate` and `health`: the roles of an installation on several hosts, and whether they are well."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from tasks_pipeline.commands.common.options import Number
from tasks_pipeline.commands.common.output import current_home, user_errors
from tasks_pipeline.lanes import LANES

if TYPE_CHECKING:
    from tasks_pipeline.home import Home
    from tasks_pipeline.service.address import Address


def _address(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> Address | None:
    from tasks_pipeline.service.address import parse_address

    try:
        return None if value is None else parse_address(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_METRICS = click.option(
    "--metrics",
    metavar="HOST:PORT",
    callback=_address,
    help="Where to answer /metrics for Prometheus.  [default: nowhere]",
)


@click.command()
@click.argument("lanes", nargs=-1, required=True, metavar="LANE...", type=click.Choice(list(LANES)))
@click.option(
    "--concurrency",
    type=Number(1, 64),
    metavar="N",
    help="Runs at once.  [default: as many as the lanes allow]",
)
@_METRICS
@click.pass_context
def worker(
    ctx: click.Context, lanes: tuple[str, ...], concurrency: int | None, metrics: Address | None
) -> None:
    """Run the runs of some lanes that Dagster puts into the queues of a broker.

    Lanes are notifications, monitoring, integrations, events, releases, maintenance and recompute. Each needs a worker
    somewhere. SIGTERM lets runs end: drains after the batch at work. Without a broker there is nothing to do for a worker.

    \b
    Examples:
      tasks-pipeline worker events --concurrency 3
      tasks-pipeline worker notifications monitoring
    """
    from tasks_pipeline.service import celery_worker
    from tasks_pipeline.service.dagster_home import (
        SAFE_PATH,
        DagsterHomeError,
        dagster_environment,
        write_dagster_home,
    )
    from tasks_pipeline.service.exposing import METRICS_VARIABLE
    from tasks_pipeline.service.roles import await_schema, ensure_place, role_home
    from tasks_pipeline.service.service import CannotStart

    home = current_home(ctx, create=True)
    with user_errors(CannotStart, DagsterHomeError, ValueError, OSError):
        if not home.queued:
            raise CannotStart(
                "no broker is configured: runs are processes of the `dagster` role, and there is nothing for a worker to do"
            )
        if missing := celery_worker.missing():
            raise CannotStart(missing)
        words = celery_worker.command(tuple(dict.fromkeys(lanes)), concurrency)
        home = role_home(home)
        await_schema(home, click.echo)
        ensure_place(home)
        write_dagster_home(home)
        environment = {**os.environ, **dagster_environment(home), **SAFE_PATH, **celery_worker.ENVIRONMENT}
        if metrics:
            environment[METRICS_VARIABLE] = str(metrics)
        os.execvpe(words[0], words, environment)


@click.command()
@click.option(
    "--ui-port",
    type=Number(0, 65_535),
    metavar="M",
    default=3000,
    show_default=True,
    help="Port of Dagster's UI; 0 takes a free one.",
)
@click.option(
    "--ui-host",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Address of the UI. It has no login and can run code: another only within a container.",
)
@_METRICS
@click.pass_context
def dagster(ctx: click.Context, ui_port: int, ui_host: str, metrics: Address | None) -> None:
    """Run Dagster without a receiver: daemon, UI, code server and nudge.

    One host does so for a database. Where another does already, this one stands by and takes over when that ends, which
    is said in a line.

    \b
    Example:
      tasks-pipeline dagster
    """
    from tasks_pipeline.service.dagster_home import DagsterHomeError
    from tasks_pipeline.service.leader import DatabaseAway
    from tasks_pipeline.service.roles import await_schema, ensure_place, role_home
    from tasks_pipeline.service.running import AlreadyRunning
    from tasks_pipeline.service.service import CannotStart, run_dagster

    home = current_home(ctx, create=True)
    with user_errors(AlreadyRunning, CannotStart, DagsterHomeError, DatabaseAway, ValueError, OSError):
        home = role_home(home)
        await_schema(home, click.echo)
        ensure_place(home)
        status = run_dagster(home, click.echo, ui_port=ui_port, ui_host=ui_host, metrics=metrics)
    sys.exit(status)


@click.command()
@click.pass_context
def migrate(ctx: click.Context) -> None:
    """Bring all tables to the installed version: spool, lake, state and Dagster's own.

    The roles `receive`, `web`, `worker` and `dagster` wait for this on PostgreSQL and change no tables themselves; `run` does it by itself. Again,
    or on two hosts at once, it does no harm.

    \b
    Example:
      tasks-pipeline migrate
    """
    from tasks_pipeline.service.dagster_home import DagsterHomeError
    from tasks_pipeline.service.roles import migrate
    from tasks_pipeline.service.service import CannotStart
    from tasks_pipeline.storage.spool.interface import SpoolError

    home = current_home(ctx, create=True)
    with user_errors(CannotStart, DagsterHomeError, SpoolError, ValueError, OSError):
        before, after = migrate(home)
    if before == after:
        click.echo(f"state database: schema {after}, nothing to do")
    else:
        click.echo(f"state database: schema {before or 'none'} -> {after}")


@click.command()
@click.argument("role", type=click.Choice(["receiver", "web", "worker", "dagster"]))
@click.option(
    "--port", type=Number(1, 65_535), metavar="N", help="Port of receiver or web.  [default: as configured]"
)
@click.pass_context
def health(ctx: click.Context, role: str, port: int | None) -> None:
    """Say in a line whether a role on this host is well; exit status 0 when it is.

    The receiver takes envelopes; the web process has its stores open; a worker has given a sign of life in the last 15 s; Dagster's daemon ticks and the definitions are
    loaded, or it stands by.

    \b
    Examples:
      tasks-pipeline health receiver
      tasks-pipeline health dagster
    """
    home = current_home(ctx)
    ask: dict[str, Callable[[], str | None]] = {
        "receiver": lambda: _receiver(home, port),
        "web": lambda: _web(home, port),
        "worker": lambda: _worker(home),
        "dagster": lambda: _dagster(home),
    }
    with user_errors(ValueError, OSError):
        missing = ask[role]()
    if missing:
        raise click.ClickException(f"{role}: {missing}")
    click.echo(f"{role}: ok")


def _receiver(home: Home, port: int | None) -> str | None:
    from tasks_pipeline.service.address import Address
    from tasks_pipeline.service.ready import receiver_missing
    from tasks_pipeline.service.running import running_service

    receiver, service = home.config_to_look().config.receiver, running_service(home)
    port = port or (service.receiver_port if service else receiver.port)
    return receiver_missing(Address(receiver.host, port).url)


def _web(home: Home, port: int | None) -> str | None:
    from tasks_pipeline.service.address import Address
    from tasks_pipeline.service.ready import web_missing

    web = home.config_to_look().config.web
    return web_missing(Address(web.host, port or web.port).url)


def _worker(home: Home) -> str | None:
    import socket
    from contextlib import closing
    from dataclasses import replace
    from datetime import UTC, datetime

    from sqlalchemy.exc import SQLAlchemyError

    from tasks_pipeline.storage.state.database import StateDatabase
    from tasks_pipeline.storage.state.workers import living_workers

    try:
        unchanged = replace(home, migrates=False)
        with closing(StateDatabase(unchanged)) as state, state.read() as connection:
            living = living_workers(connection, datetime.now(UTC))
    except SQLAlchemyError as error:
        return f"the state database cannot be used: {str(error).strip().partition(chr(10))[0]}"
    here = socket.gethostname()
    return (
        None
        if any(worker.host == here for worker in living)
        else f"none on {here} gave a sign of life lately"
    )


def _dagster(home: Home) -> str | None:
    """One that stands by is well."""
    from tasks_pipeline.service.ready import code_location_missing, daemon_missing
    from tasks_pipeline.service.running import is_held, running_service

    service = running_service(home)
    if service is None:
        return None if is_held(home) else f"none runs in {home.root}"
    return code_location_missing(service.ui_url) or daemon_missing(service.ui_url)
