"""`tasks-pipeline run` as a whole: real receiver, real Dagster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from click.testing import CliRunner

from tasks_pipeline.cli import main
from tasks_pipeline.dagster_process import WARM_PROCESS
from tasks_pipeline.home import Home
from tasks_pipeline.service.leftovers import marked_processes
from tasks_pipeline.service.running import RunningService, running_service
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-P", "-m", "tasks_pipeline.cli"]


@contextmanager
def running(home: Home, directory: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service that said `ready`, and what it said before. It is killed at the end unless it was stopped."""
    command = [*COMMAND, "--home", str(home.root), "run", "--port", "0", "--ui-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=directory) as process:
        try:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(line)
                if line == "ready\n":
                    break
            assert said[-1:] == ["ready\n"], "".join(said)
            yield process, "".join(said)
        finally:
            process.kill()
            for pid in marked_processes(str(home.root)):
                os.kill(pid, signal.SIGKILL)


def known(home: Home) -> RunningService:
    service = running_service(home)
    assert service is not None
    return service


def test_a_service_from_start_to_end(home: Home, tmp_path: Path) -> None:
    for name in ("tasks_pipeline", "dagster", "dagster_webserver", "msgspec"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the current directory')")
    with running(home, tmp_path) as (service, said):
        assert "interrupted" not in said
        check_service(service, home)
        service.send_signal(signal.SIGINT)
        assert service.wait() == 0
        assert marked_processes(str(home.root)) == []
    assert running_service(home) is None
    assert not (home.run_dir / "service.json").exists()
    assert not (home.run_dir / "interrupted").exists()


def test_after_sigkill_nothing_runs_and_the_next_start_settles_it(home: Home, tmp_path: Path) -> None:
    with running(home, tmp_path) as (service, _):
        parts = [psutil.Process(pid) for pid in marked_processes(str(home.root))]
        assert len(parts) >= 4
        service.kill()
        _, alive = psutil.wait_procs(parts, timeout=120)
        assert alive == []
    with running(home, tmp_path) as (service, said):
        assert "the last service was interrupted: ending the runs it left under way\n" in said
        service.terminate()
        assert service.wait() == 0


def check_service(service: subprocess.Popen[str], home: Home) -> None:
    assert known(home).ready
    assert known(home).pid == service.pid
    assert httpx.get(f"{known(home).receiver_url}/health/ready", timeout=120).status_code == 200
    assert httpx.get(known(home).ui_url, timeout=120).status_code == 200

    sent = CliRunner().invoke(main, ["--home", str(home.root), "send-test-event"])
    assert sent.exit_code == 0, sent.output
    assert len(sent.stdout.strip()) == 32

    wait_for("the nudge starts what is wanted, long before a sensor ticks", lambda: nudged(home))
    wait_for("it is forked from the warm process", lambda: forked_runs(home))

    second = subprocess.run(
        [*COMMAND, "--home", str(home.root), "run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert f"pid {service.pid}, receiver {known(home).receiver_url}, UI {known(home).ui_url}" in second.stderr
    assert "Traceback" not in second.stderr


def nudged(home: Home) -> list[dict[str, str]]:
    """Runs that the nudge started: the drain, unless the first tick of its sensor came before, or what follows it."""
    tags = [{"key": "tasks_pipeline/started_by", "value": "nudge"}]
    question = {
        "query": "query($filter: RunsFilter!) { runsOrError(filter: $filter) { ... on Runs { results { runId } } } }",
        "variables": {"filter": {"tags": tags}},
    }
    answer = httpx.post(f"{known(home).ui_url}/graphql", json=question, timeout=120).json()
    runs: list[dict[str, str]] = answer["data"]["runsOrError"]["results"]
    return runs


def forked_runs(home: Home) -> list[psutil.Process]:
    """Processes whose parent is what runs are forked from."""
    processes = [psutil.Process(pid) for pid in marked_processes(str(home.root))]
    warm = {process.pid for process in processes if process.name() == WARM_PROCESS}
    return [process for process in processes if process.ppid() in warm]


def test_a_port_that_is_taken_is_named(home: Home) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["--home", str(home.root), "run", "--port", str(port)])
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: cannot listen on 127.0.0.1:{port}: Address already in use; choose another with --port\n"
    )
