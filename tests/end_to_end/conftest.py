"""One running service for the tests of this folder that leave it alive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tasks_pipeline.cli import main
from tasks_pipeline.demo.show import running_demo_service
from tasks_pipeline.home import Home
from tasks_pipeline.service.running import RunningService
from tests.support.waiting import wait_for


@dataclass(frozen=True)
class Installation:
    """A running service and its home."""

    home: Home
    service: RunningService
    pid: int

    def cli(self, *arguments: str) -> str:
        """What a command of `tasks-pipeline` prints; in this process, for a new one takes two seconds of the CPU that the service needs."""
        done = CliRunner().invoke(main, ["--home", str(self.home.root), *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """The same, with --json, decoded."""
        return json.loads(self.cli(*arguments, "--json"))

    def wait_until_processed(self) -> dict[str, Any]:
        """`status` once nothing waits."""

        def processed() -> dict[str, Any] | None:
            status: dict[str, Any] = self.json("status")
            return status if status["accepted"] and not status["waiting"] else None

        return wait_for("everything is processed", processed, 120, every=0.25)


@pytest.fixture(scope="package")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A service that tests share: each looks for its own events only."""
    home = Home(Path(tmp_path_factory.mktemp("service")))
    with running_demo_service(home, linger_seconds=5) as (process, service):
        yield Installation(home, service, process.pid)
