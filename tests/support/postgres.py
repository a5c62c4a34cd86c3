"""A real PostgreSQL server for tests: started in a temporary folder, on a free loopback port, gone at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from tasks_pipeline.home import Home

REQUIRE_VARIABLE = "TASKS_PIPELINE_TEST_REQUIRE_POSTGRES"
_USER = "postgres"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "fsync": "off",  # tests kill processes, never the machine
    "max_wal_size": "256MB",
    "autovacuum_naptime": "10min",
    "log_min_messages": "warning",
}
# The shell stops the server (SIGINT: fast shutdown) when its standard input ends, which it does however the test
# process dies. It gives up its own standard error, so that this ends with the server.
_SUPERVISE = '"$@" </dev/null & server=$!; exec 2>/dev/null; read -r _; kill -INT "$server"; wait "$server"'


class PostgresMissing(Exception):
    """No PostgreSQL server is installed here."""


@dataclass(frozen=True)
class PostgresServer:
    """A running server that trusts everybody on the loopback interface."""

    port: int

    def url(self, database: str) -> str:
        """The URL of a database, in the form that users write."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def database(self, like: str = "template0") -> Iterator[str]:
        """The URL of a fresh database, empty or a copy of another; it is dropped at the end, whoever is still connected."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {like}")
        try:
            yield self.url(name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def home(self, root: Path, like: str, data_url: str = "") -> Iterator[Home]:
        """A home in a copy of a database, whose lake has no file yet: the copy knows them in the folder of the other home."""
        with self.database(like) as url:
            home = Home(root=root, database_url=url, data_url=data_url)
            with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE lake.ducklake_metadata SET value = %s WHERE key = 'data_path' AND scope IS NULL",
                    (f"{home.lake_files}/",),
                )
            yield home

    def _execute(self, statement: str) -> None:
        with closing(psycopg2.connect(self.url("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)


@contextmanager
def running_server(**settings: str) -> Iterator[PostgresServer]:
    """A server with an empty cluster, its settings changed by these. Raises PostgresMissing when no binaries are found."""
    binaries = _binaries()
    account = _account()
    folder = Path(tempfile.mkdtemp(prefix="tasks-pipeline-postgres-"))
    try:
        if account:
            shutil.chown(folder, account)
        _initialise(binaries, folder / "data", account)
        port = _free_port()
        with _running(binaries, folder / "data", port, account, _SETTINGS | settings):
            yield PostgresServer(port)
    finally:
        shutil.rmtree(folder)


def _binaries() -> Path:
    """The folder of initdb and postgres: the newest version installed, or what PATH names."""
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3])
    )
    found = str(versions[-1]) if versions else shutil.which("initdb")
    if found is None:
        raise PostgresMissing(
            "no initdb in PATH or /usr/lib/postgresql/*/bin: install the postgresql package"
        )
    return Path(found).resolve().parent


def _account() -> str | None:
    """PostgreSQL refuses to run as root; then it runs as this user."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


def _initialise(binaries: Path, data: Path, account: str | None) -> None:
    command: list[str | Path] = [
        binaries / "initdb",
        "-D",
        data,
        "-U",
        _USER,
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    ]
    result = subprocess.run(
        command,
        user=account,
        cwd=data.parent,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeError(f"initdb failed: {result.stderr}")


@contextmanager
def _running(
    binaries: Path, data: Path, port: int, account: str | None, settings: Mapping[str, str]
) -> Iterator[None]:
    said = [f"-c{name}={value}" for name, value in settings.items()]
    command: list[str | Path] = [binaries / "postgres", "-D", data, "-p", str(port), *said]
    process = subprocess.Popen(
        ["sh", "-c", _SUPERVISE, "sh", *command],
        user=account,
        cwd=data,
        env=_environment(),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    log: deque[str] = deque(maxlen=200)
    reader: threading.Thread | None = None
    try:
        for line in process.stderr:
            log.append(line)
            if "ready to accept connections" in line:
                break
        else:
            raise RuntimeError(f"postgres did not start: {''.join(log)}")
        reader = threading.Thread(target=log.extend, args=(process.stderr,), daemon=True)
        reader.start()
        yield
    finally:
        process.stdin.close()
        process.wait(timeout=120)
        if reader is not None:
            reader.join(timeout=120)
        process.stderr.close()


def _environment() -> dict[str, str]:
    """Nothing of PG* variables of whoever runs the tests; messages in English, for `ready to accept connections`."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
