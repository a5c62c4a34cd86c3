"""Real brokers, Redis and RabbitMQ: each in a temporary folder, on a free loopback port, gone at the end however the caller ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

LOOPBACK = "127.0.0.1"
START_SECONDS = 90
# The shell stops the server when its standard input ends, which it does however the caller dies.
_SUPERVISE = (
    '"$@" </dev/null >>"$LOG" 2>&1 & server=$!; echo $server; read -r _; kill -TERM $server; wait $server'
)


class BrokerMissing(Exception):
    """No such server is installed here."""


class Broker:
    """A running server at `url`; `restart` begins again on the same port and data."""

    def __init__(
        self, url: str, command: Sequence[str], folder: Path, port: int, hello: bytes, environment: Mapping[str, str]
    ) -> None:  # fmt: skip
        self.url = url
        self._command, self._folder, self._port, self._hello = command, folder, port, hello
        self._environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", **environment}

    def start(self) -> None:
        """Start, and wait until it answers. Raises RuntimeError with the end of its log."""
        log = self._folder / "server.log"
        self._shell = subprocess.Popen(
            ["sh", "-c", _SUPERVISE, "sh", *self._command], cwd=self._folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**self._environment, "LOG": str(log)}, start_new_session=True,
        )  # fmt: skip
        assert self._shell.stdout is not None
        self.pid = int(self._shell.stdout.readline())
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._shell.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"no broker: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it, by force where it does not."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.close()
        try:
            self._shell.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._shell.wait()
        self._shell.stdout.close()

    def _answers(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self._port), 1) as connection:
                connection.sendall(self._hello)
                return bool(connection.recv(1))
        except OSError:
            return False


@contextmanager
def redis() -> Iterator[Broker]:
    """Redis with an append-only file. Raises BrokerMissing."""
    program = shutil.which("redis-server")
    if program is None:
        raise BrokerMissing("no redis-server in PATH: install the package redis-server")
    with _folder() as folder:
        port = _free_port()
        said = {"bind": LOOPBACK, "port": str(port), "dir": str(folder), "appendonly": "yes", "save": ""}
        words = [program, *(word for name, value in said.items() for word in (f"--{name}", value))]
        with _running(Broker(f"redis://{LOOPBACK}:{port}/0", words, folder, port, b"PING\r\n", {})) as broker:
            yield broker


@contextmanager
def rabbitmq() -> Iterator[Broker]:
    """A RabbitMQ node of its own, with its own epmd and cookie. Raises BrokerMissing."""
    program, epmd = Path("/usr/lib/rabbitmq/bin/rabbitmq-server"), shutil.which("epmd")
    if not program.exists() or epmd is None:
        raise BrokerMissing("no /usr/lib/rabbitmq/bin/rabbitmq-server or epmd: install rabbitmq-server")
    with _folder() as folder:
        port, distribution, mapper = _free_port(), _free_port(), _free_port()
        said = {
            "listeners.tcp.1": f"{LOOPBACK}:{port}", "loopback_users": "none", "log.console": "true", "log.console.level": "warning",
            "disk_free_limit.absolute": "50MB",
        }  # fmt: skip
        (folder / "rabbitmq.conf").write_text("".join(f"{name} = {value}\n" for name, value in said.items()))
        (folder / "enabled_plugins").write_text("[].\n")
        environment = {
            "HOME": str(folder), "RABBITMQ_NODENAME": f"tp{port}@localhost", "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"), "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_DIST_PORT": str(distribution), "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"), "RABBITMQ_PID_FILE": str(folder / "pid"),
            "ERL_EPMD_PORT": str(mapper), "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
        }  # fmt: skip
        names = subprocess.Popen(
            [epmd, "-port", str(mapper), "-address", LOOPBACK], stderr=subprocess.DEVNULL
        )
        try:
            node = Broker(
                f"amqp://guest:guest@{LOOPBACK}:{port}//", [str(program)], folder, port, b"AMQP\x00\x00\x09\x01", environment,
            )  # fmt: skip
            with _running(node) as broker:
                yield broker
        finally:
            names.kill()
            names.wait()


@contextmanager
def _running(broker: Broker) -> Iterator[Broker]:
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tasks-pipeline-broker-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as probe:
        return int(probe.getsockname()[1])


BROKERS = {"redis": redis, "rabbitmq": rabbitmq}
