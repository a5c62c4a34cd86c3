"""The service as a whole: which parts it has, how each is started and when it counts as ready, what people are told."""

from __future__ import annotations

import functools
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from os import getpid

import msgspec

from tasks_pipeline.config import Config
from tasks_pipeline.home import Home, dsn
from tasks_pipeline.lanes import LANES
from tasks_pipeline.service import celery_worker
from tasks_pipeline.service.address import LOOPBACK, Address, is_loopback
from tasks_pipeline.service.dagster_home import (
    CODE_SERVER_MODULE,
    CODE_SERVER_VARIABLE,
    DAGSTER_PROCESS_MODULE,
    DEFINITIONS_MODULE,
    LOCATION_NAME,
    SAFE_PATH,
    dagster_environment,
    end_lost_runs,
    migrate_storage,
    run_python,
    write_dagster_home,
)
from tasks_pipeline.service.leader import taken
from tasks_pipeline.service.links import links
from tasks_pipeline.service.ready import code_location_missing, daemon_missing, receiver_missing, web_missing
from tasks_pipeline.service.running import RunningService, announce, announced, service_lock
from tasks_pipeline.service.supervisor import Limits, Part, Supervisor, always_ready

_PYTHON = [sys.executable, "-m"]


class CannotStart(Exception):
    """The service cannot be started as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class DagsterAddresses:
    """Where the webserver and the code server listen."""

    ui: Address
    code_server: Address


def _dagster_addresses(ui_port: int, ui_host: str = LOOPBACK) -> DagsterAddresses:
    """The UI has no login: unless asked otherwise it listens on the loopback address only. Raises CannotStart."""
    return DagsterAddresses(_free_address(ui_host, ui_port, "--ui-port"), _free_address(LOOPBACK, 0, ""))


def run_service(
    home: Home,
    say: Callable[[str], None],
    *,
    host: str | None,
    port: int | None,
    ui_port: int,
    web_port: int | None = None,
) -> int:
    """Run everything until told to stop; returns the exit status.

    `host` and `port` are the receiver's (None: as configured), port 0 takes a free one. Pages and Web API are at the same address, to
    which the receiver forwards, unless a `web_port` is given. The UI, which has no login, always listens on the loopback address only. Raises AlreadyRunning, CannotStart, ConfigError, DagsterHomeError, Elsewhere
    when another host runs Dagster for this database, and DatabaseAway.
    """
    with service_lock(home), taken(home) as lost:
        config = _config(home)
        receiver = _free_address(
            config.receiver.host if host is None else host,
            config.receiver.port if port is None else port,
            "--port",
        )
        apart = web_port is not None
        web = _free_address(config.web.host if apart else LOOPBACK, web_port or 0, "--web-port")
        dagster = _dagster_addresses(ui_port)
        service = _described(config, receiver, dagster, config.web.public_url or web.url if apart else None)
        behind = None if apart else receiver
        parts = [
            receiver_part(home, receiver, None if apart else web),
            web_part(home, web, behind),
            *dagster_parts(home, dagster),
            *worker_parts(home),
        ]
        pages = f"pages             {links(home, config, service).base}/"
        lines = [*dsns(config, service), pages, *introduction(home, service)]
        return _supervise(home, service, dagster, parts, lines, lost, say)


def run_dagster(
    home: Home,
    say: Callable[[str], None],
    *,
    ui_port: int,
    ui_host: str = LOOPBACK,
    metrics: Address | None = None,
) -> int:
    """Run Dagster without a receiver until told to stop; returns the exit status. Where another host does so for the same
    database, stand by until that ends. `/metrics` are answered at the address `metrics`. Raises AlreadyRunning, CannotStart,
    ConfigError, DagsterHomeError and DatabaseAway."""
    with service_lock(home), taken(home, standby=say) as lost:
        config = _config(home)
        dagster = _dagster_addresses(ui_port, ui_host)
        service = _described(config, Address(config.receiver.host, config.receiver.port), dagster)
        lines = introduction(home, service)
        parts = dagster_parts(home, dagster)
        return _supervise(home, service, dagster, parts, lines, lost, say, metrics)


def _config(home: Home) -> Config:
    home.config()  # when it cannot be used, what it held before is not forgotten
    home.forget_config()
    return home.config_in_force().config


def _described(
    config: Config, receiver: Address, dagster: DagsterAddresses, web_url: str | None = None
) -> RunningService:
    return RunningService(
        pid=getpid(),
        started_at=datetime.now(UTC),
        receiver_url=config.receiver.public_url or receiver.url,
        receiver_port=receiver.port,
        ui_url=dagster.ui.url,
        ui_port=dagster.ui.port,
        code_server_port=dagster.code_server.port,
        web_url=web_url,
    )


def _supervise(
    home: Home,
    service: RunningService,
    dagster: DagsterAddresses,
    parts: list[Part],
    lines: list[str],
    lost: Callable[[], str | None],
    say: Callable[[str], None],
    metrics: Address | None = None,
) -> int:
    """Prepare everything that the parts need, and keep them running; returns the exit status."""
    if home.queued and (missing := celery_worker.missing()):
        raise CannotStart(missing)
    write_dagster_home(home, (dagster.code_server.host, dagster.code_server.port))

    def on_start() -> None:
        if metrics:
            from tasks_pipeline.service.exposing import expose

            url, _ = expose(metrics, "dagster", supervisor.lives)
            say(f"metrics           {url}")

    def on_ready() -> None:
        announce(home, msgspec.structs.replace(service, ready=True))
        say("ready")

    with announced(home, service):
        for line in lines:
            say(line)
        _check_stores(home)
        migrate_storage(home)
        interrupted = home.run_dir / "interrupted"
        if interrupted.exists():
            say("the last service was interrupted: ending the runs it left under way")
        if interrupted.exists() or not home.embedded:  # it may have been that of another host
            end_lost_runs(home)
        interrupted.touch()
        limits = Limits(stop_seconds=celery_worker.STOP_SECONDS) if home.queued else Limits()
        supervisor = Supervisor(
            parts, home.logs_dir, marker=str(home.root), say=say, limits=limits, lost=lost
        )
        status = supervisor.run(on_ready, on_start)
        if not supervisor.killed:
            interrupted.unlink()
        return status


def _check_stores(home: Home) -> None:
    """Refuse databases that no run could use: accepting what is never processed is worse than not starting. Raises CannotStart.

    In a process of its own: what opens them takes more memory than this one has all its life.
    """
    process = run_python(home, "tasks_pipeline.stores")
    if process.returncode != 0:
        raise CannotStart(process.stdout[-2000:].strip())


def dsns(config: Config, service: RunningService) -> list[str]:
    """Where to send, in lines for a person."""
    found = [(p.slug, dsn(service.receiver_url, p, k)) for p in config.projects for k in p.keys if k.enabled]
    shown = [f"DSN of {slug:<10} {address}" for slug, address in found[:10]]
    return [*shown, f"(and {len(found) - 10} more: tasks-pipeline dsn PROJECT)"] if len(found) > 10 else shown


def introduction(home: Home, service: RunningService) -> list[str]:
    """What a person needs to know to use a service: where to look, where things lie."""
    configuration = (
        str(home.config_path) if home.config_path.exists() else f"{home.config_path} (none: defaults)"
    )
    return [
        f"UI                {service.ui_url}",
        f"data              {home.root}",
        f"logs              {home.logs_dir}",
        f"configuration     {configuration}",
        "starting; Ctrl-C stops everything",
    ]


def receiver_part(home: Home, receiver: Address, web: Address | None) -> Part:
    """The process that takes envelopes, and forwards to the web process what is none."""
    command = ["tasks_pipeline.cli", "receive", "--host", receiver.host, "--port", str(receiver.port)]
    command += ["--web", web.url if web else "none"]
    ready = functools.partial(receiver_missing, receiver.url)
    return Part("receiver", [*_PYTHON, *command], _environment(home), ready)


def web_part(home: Home, web: Address, behind: Address | None) -> Part:
    """The process that serves pages and the Web API, behind a receiver or alone."""
    command = ["tasks_pipeline.cli", "web", "--host", web.host, "--port", str(web.port)]
    if behind is not None and not is_loopback(behind.host):
        command.append("--exposed")
    return Part("web", [*_PYTHON, *command], _environment(home), functools.partial(web_missing, web.url))


def _environment(home: Home) -> dict[str, str]:
    return {
        **dagster_environment(home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        **SAFE_PATH,
        "PYTHONUNBUFFERED": "1",  # the last words of a process that dies must reach its log
        # Two arenas instead of eight per core: the processes have many threads that are idle most of the time.
        "MALLOC_ARENA_MAX": "2",
    }


def dagster_parts(home: Home, addresses: DagsterAddresses) -> list[Part]:
    """The processes of Dagster. They start at the same time, and wait for the code server (dagster_process.py)."""
    dagster = [*_PYTHON, DAGSTER_PROCESS_MODULE]
    ui, code_server = addresses.ui, addresses.code_server
    environment = {
        **_environment(home),
        CODE_SERVER_VARIABLE: f"{code_server.host}:{code_server.port}",
        # Nothing here multiplies matrices, and what runs are forked from must have no thread.
        "OPENBLAS_NUM_THREADS": "1",
        # Two lines a tick that say that nothing was started are 3 MB a day.
        "DAGSTER_DAEMON_LOG_LEVEL": "warning",
        # Windows of freshness are hours long; every 30 seconds is Dagster's own default.
        "FRESHNESS_DAEMON_INTERVAL_SECONDS": "300",
        # Retries of runs that died; the work itself is started again by sensors and the nudge.
        "DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS": "20",
    }
    workspace = ["-w", str(home.dagster_home / "workspace.yaml")]
    commands = {
        # `dagster api grpc` with warm starts for runs. `dagster code-server start` puts a proxy before the same server to reload code without a
        # restart; here the supervisor restarts it, which costs 80 MB less.
        "code-server": [
            *_PYTHON, CODE_SERVER_MODULE, "--module-name", DEFINITIONS_MODULE, "--location-name", LOCATION_NAME,
            "--empty-working-directory", "--host", code_server.host, "--port", str(code_server.port),
        ],
        "webserver": [
            *dagster, "dagster_webserver", *workspace, "--host", ui.host, "--port", str(ui.port),
        ],
        "daemon": [*dagster, "dagster._daemon", "run", *workspace],
        "nudge": [*_PYTHON, "tasks_pipeline.nudging", ui.url],
    }  # fmt: skip
    questions: dict[str, Callable[[], str | None]] = {
        "code-server": functools.partial(code_location_missing, ui.url),
        "daemon": functools.partial(daemon_missing, ui.url),
    }
    return [
        Part(name, command, environment, questions.get(name, always_ready))
        for name, command in commands.items()
    ]


def worker_parts(home: Home) -> list[Part]:
    """Where a broker is configured: a worker for all lanes. One that is killed takes the runs of all of them along, which others take up."""
    if not home.queued:
        return []
    environment = {**dagster_environment(home), **SAFE_PATH, **celery_worker.ENVIRONMENT}
    return [Part("worker", celery_worker.command(tuple(LANES)), environment)]


def _free_address(host: str, port: int, option: str) -> Address:
    """The address itself when nobody listens there; port 0 becomes a free one. Raises CannotStart."""
    try:
        family, _, _, _, _ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return Address(host, probe.getsockname()[1])
    except OSError as error:
        raise CannotStart(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with {option}"
        ) from error
