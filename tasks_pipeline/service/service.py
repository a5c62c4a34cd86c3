"""The service as a whole: which parts it has, how each is started and when it counts as ready, what people are told."""

from __future__ import annotations

import functools
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from os import getpid
from typing import TypeVar

import msgspec

from tasks_pipeline.config import Config
from tasks_pipeline.home import Home, dsn
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
from tasks_pipeline.service.running import RunningService, announce, announced, service_lock
from tasks_pipeline.service.supervisor import Part, Supervisor, always_ready

LOOPBACK = "127.0.0.1"
_ANSWER_SECONDS = 3
_ANSWER_BYTES = 1024 * 1024
Answer = TypeVar("Answer")


class CannotStart(Exception):
    """The service cannot be started as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a TCP port."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The URL a client on this machine uses."""
        host = LOOPBACK if self.host in ("", "0.0.0.0", "::") else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def run_service(
    home: Home, say: Callable[[str], None], *, host: str | None, port: int | None, ui_port: int
) -> int:
    """Run everything until told to stop; returns the exit status.

    `host` and `port` are the receiver's (None: as configured), port 0 takes a free one. The UI, which has no login,
    always listens on the loopback address only. Raises AlreadyRunning, CannotStart, ConfigError,
    DagsterHomeError.
    """
    with service_lock(home):
        home.config()  # when it cannot be used, what it held before is not forgotten
        home.forget_config()
        config = home.config_in_force().config
        receiver = _free_address(
            config.receiver.host if host is None else host,
            config.receiver.port if port is None else port,
            "--port",
        )
        ui = _free_address(LOOPBACK, ui_port, "--ui-port")
        code_server = _free_address(LOOPBACK, 0, "")
        write_dagster_home(home, (code_server.host, code_server.port))
        service = RunningService(
            pid=getpid(),
            started_at=datetime.now(UTC),
            receiver_url=config.receiver.public_url or receiver.url,
            receiver_port=receiver.port,
            ui_url=ui.url,
            ui_port=ui.port,
            code_server_port=code_server.port,
        )

        def on_ready() -> None:
            announce(home, msgspec.structs.replace(service, ready=True))
            say("ready")

        with announced(home, service):
            for line in introduction(home, config, service):
                say(line)
            _check_stores(home)
            migrate_storage(home)
            interrupted = home.run_dir / "interrupted"
            if interrupted.exists():
                say("the last service was interrupted: ending the runs it left under way")
                end_lost_runs(home)
            interrupted.touch()
            supervisor = Supervisor(
                service_parts(home, receiver, ui, code_server), home.logs_dir, marker=str(home.root), say=say
            )
            status = supervisor.run(on_ready)
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


def introduction(home: Home, config: Config, service: RunningService) -> list[str]:
    """What a person needs to know to use a service: where to send, where to look, where things lie."""
    dsns = [(p.slug, dsn(service.receiver_url, p, k)) for p in config.projects for k in p.keys if k.enabled]
    shown = [f"DSN of {slug:<10} {address}" for slug, address in dsns[:10]]
    more = [f"(and {len(dsns) - 10} more: tasks-pipeline dsn PROJECT)"] if len(dsns) > 10 else []
    configuration = (
        str(home.config_path) if home.config_path.exists() else f"{home.config_path} (none: defaults)"
    )
    return [
        *shown,
        *more,
        f"UI                {service.ui_url}",
        f"data              {home.root}",
        f"logs              {home.logs_dir}",
        f"configuration     {configuration}",
        "starting; Ctrl-C stops everything",
    ]


def service_parts(home: Home, receiver: Address, ui: Address, code_server: Address) -> list[Part]:
    """The processes of a service. They start at the same time: Dagster's wait for the code server (dagster_process.py)."""
    python = [sys.executable, "-m"]
    dagster = [*python, DAGSTER_PROCESS_MODULE]
    environment = {
        **dagster_environment(home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        **SAFE_PATH,
        CODE_SERVER_VARIABLE: f"{code_server.host}:{code_server.port}",
        "PYTHONUNBUFFERED": "1",  # the last words of a process that dies must reach its log
        # Two arenas instead of eight per core: the processes have many threads that are idle most of the time.
        "MALLOC_ARENA_MAX": "2",
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
        "receiver": [
            *python, "tasks_pipeline.cli", "receive", "--host", receiver.host, "--port", str(receiver.port),
        ],
        # `dagster api grpc` with warm starts for runs. `dagster code-server start` puts a proxy before the same server to reload code without a
        # restart; here the supervisor restarts it, which costs 80 MB less.
        "code-server": [
            *python, CODE_SERVER_MODULE, "--module-name", DEFINITIONS_MODULE, "--location-name", LOCATION_NAME,
            "--empty-working-directory", "--host", code_server.host, "--port", str(code_server.port),
        ],
        "webserver": [
            *dagster, "dagster_webserver", *workspace, "--host", ui.host, "--port", str(ui.port),
        ],
        "daemon": [*dagster, "dagster._daemon", "run", *workspace],
        "nudge": [*python, "tasks_pipeline.nudging", ui.url],
    }  # fmt: skip
    questions: dict[str, Callable[[], str | None]] = {
        "receiver": functools.partial(receiver_missing, receiver.url),
        "code-server": functools.partial(code_location_missing, ui.url),
        "daemon": functools.partial(daemon_missing, ui.url),
    }
    return [
        Part(name, command, environment, questions.get(name, always_ready))
        for name, command in commands.items()
    ]


def receiver_missing(receiver_url: str) -> str | None:
    """None when the receiver takes envelopes, else what is the matter."""
    try:
        _fetch(f"{receiver_url}/health/ready")
    except _NoAnswer as error:
        return str(error)
    return None


class _Failure(msgspec.Struct):
    message: str = ""


class _LocationEntry(msgspec.Struct):
    loadStatus: str
    locationOrLoadError: _Failure | None = None


class _Workspace(msgspec.Struct):
    locationEntries: list[_LocationEntry] = []


class _WorkspaceData(msgspec.Struct):
    workspaceOrError: _Workspace


class _WorkspaceAnswer(msgspec.Struct):
    data: _WorkspaceData


def code_location_missing(ui_url: str) -> str | None:
    """None when the webserver answers and has loaded the code location, else what is the matter."""
    question = """{ workspaceOrError { ... on Workspace { locationEntries {
        loadStatus locationOrLoadError { ... on PythonError { message } } } } } }"""
    try:
        answer = _ask(ui_url, question, _WorkspaceAnswer)
    except _NoAnswer as error:
        return f"the webserver does not answer: {error}"
    for entry in answer.data.workspaceOrError.locationEntries:
        if entry.locationOrLoadError and entry.locationOrLoadError.message:
            return f"the definitions cannot be loaded: {entry.locationOrLoadError.message.strip()[:500]}"
        return None if entry.loadStatus == "LOADED" else "the definitions are being loaded"
    return "the webserver knows no code location"


class _DaemonStatus(msgspec.Struct):
    healthy: bool | None = None


class _DaemonHealth(msgspec.Struct):
    daemonStatus: _DaemonStatus


class _Instance(msgspec.Struct):
    daemonHealth: _DaemonHealth


class _InstanceData(msgspec.Struct):
    instance: _Instance


class _InstanceAnswer(msgspec.Struct):
    data: _InstanceData


def daemon_missing(ui_url: str) -> str | None:
    """None when the daemon that runs the sensors says it is well, else what is the matter."""
    question = """{ instance { daemonHealth { daemonStatus(daemonType: "SENSOR") { healthy } } } }"""
    try:
        answer = _ask(ui_url, question, _InstanceAnswer)
    except _NoAnswer as error:
        return f"the webserver does not answer: {error}"
    healthy = answer.data.instance.daemonHealth.daemonStatus.healthy
    return None if healthy else "no heartbeat of the sensor daemon yet"


class _NoAnswer(Exception):
    """Nobody answers at an address, or not in the way hoped for."""


def _ask(ui_url: str, question: str, answer_type: type[Answer]) -> Answer:
    try:
        return msgspec.json.decode(
            _fetch(f"{ui_url}/graphql", msgspec.json.encode({"query": question})), type=answer_type
        )
    except msgspec.DecodeError as error:
        raise _NoAnswer(f"unexpected answer: {error}") from error


def _fetch(url: str, body: bytes | None = None) -> bytes:
    """The body of a GET, or of a POST of JSON. urllib, for an HTTP client would double this process's memory."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as response:
            answer: bytes = response.read(_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        raise _NoAnswer(f"HTTP {error.code}: {error.read(300).decode('utf-8', 'replace')}") from error
    except (OSError, HTTPException) as error:
        raise _NoAnswer(str(error)) from error
    return answer


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
