"""The supervisor with small real processes: ready, restarts, giving up, and that nothing is ever left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tasks_pipeline.home import Home
from tasks_pipeline.service.address import Address
from tasks_pipeline.service.exposing import expose
from tasks_pipeline.service.leftovers import MARKER_VARIABLE, marked_processes
from tasks_pipeline.service.running import (
    AlreadyRunning,
    RunningService,
    announced,
    running_service,
    service_lock,
)
from tasks_pipeline.service.supervisor import Life

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="finds processes through /proc"
)

SUPERVISOR = """
import json, pathlib, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it
from tasks_pipeline.service.supervisor import Limits, Part, Supervisor

asked = json.loads(sys.argv[1])
log_dir = pathlib.Path(asked["log_dir"])

def say(line):
    print(line, flush=True)

def ready(name):
    log = log_dir / (name + ".log")
    return lambda: None if log.exists() and "up" in log.read_text() else "not up yet"

parts = [Part(name, command, {}, ready(name)) for name, command in asked["parts"].items()]
limits = Limits(first_pause_seconds=0.01, look_seconds=0.02, ask_seconds=0.02, **asked["limits"])
lost = lambda: "somebody else has it" if (log_dir / "lost").exists() else None
sys.exit(Supervisor(parts, log_dir, asked["marker"], say, limits, lost).run(lambda: say("ready")))
"""

OBEDIENT = "import signal; print('up', flush=True); signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()"
MANY = f"""
import signal, subprocess, sys
child = [sys.executable, "-c", {STUBBORN!r}]
near = subprocess.Popen(child, stdout=subprocess.PIPE)
far = subprocess.Popen(child, stdout=subprocess.PIPE, start_new_session=True)
near.stdout.readline(), far.stdout.readline()
print("up", near.pid, far.pid, flush=True)
signal.pause()
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


class Supervised:
    """A supervisor in a process of its own, and what it says."""

    def __init__(self, log_dir: Path, parts: dict[str, list[str]], limits: dict[str, Any]) -> None:
        self.log_dir, self.marker = log_dir, str(log_dir)
        asked = {"log_dir": str(log_dir), "marker": self.marker, "parts": parts, "limits": limits}
        self.process = subprocess.Popen(
            [*python(SUPERVISOR), json.dumps(asked)], stdout=subprocess.PIPE, text=True
        )

    def until(self, text: str) -> str:
        """What it said up to and with the line that holds the text; fails when it ends before."""
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            if text in line:
                return said
        pytest.fail(f"it never said {text!r}, but:\n{said}")

    def end(self) -> tuple[int, str]:
        """Its exit status and the rest of what it said."""
        rest, _ = self.process.communicate()
        return self.process.returncode, rest

    def log(self, name: str) -> str:
        return (self.log_dir / f"{name}.log").read_text()

    def parts(self) -> list[psutil.Process]:
        """Its parts and all that they started."""
        return [psutil.Process(pid) for pid in marked_processes(self.marker)]


class Start:
    """Starts supervisors, all in one log directory; whatever a failing test leaves is killed by the fixture."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self.started: list[Supervised] = []

    def __call__(self, parts: dict[str, list[str]], **limits: Any) -> Supervised:
        self.started.append(Supervised(self.log_dir, parts, limits))
        return self.started[-1]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    start = Start(tmp_path / "logs")
    yield start
    for supervised in start.started:
        with supervised.process:
            supervised.process.kill()
    for pid in marked_processes(str(start.log_dir)):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_runs_every_part_and_stops_them_when_told(start: Start, signum: signal.Signals) -> None:
    service = start({"one": python(OBEDIENT), "two": python(OBEDIENT)})
    service.until("ready")
    service.process.send_signal(signum)
    assert service.end() == (0, "stopping\n")
    assert service.log("one") == service.log("two") == "up\n"
    assert marked_processes(service.marker) == []


def test_ready_is_said_when_the_last_part_is(start: Start, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    waits = f"open({str(gate)!r}).read(); {OBEDIENT}"
    service = start({"quick": python(OBEDIENT), "slow": python(waits)}, patience_seconds=0.05)
    assert "ready" not in service.until("still waiting for slow: not up yet")
    gate.write_text("go")
    service.until("ready")
    service.process.terminate()
    assert service.end()[0] == 0


@needs_proc
def test_grandchildren_that_ignore_sigterm_are_killed(start: Start) -> None:
    service = start({"many": python(MANY)}, stop_seconds=0.2)
    service.until("ready")
    family = service.parts()
    assert len(family) == 3
    service.process.terminate()
    assert service.end() == (0, "stopping\nkilling what did not stop\n")
    assert not any(process.is_running() for process in family)


def test_a_second_signal_does_not_wait(start: Start) -> None:
    service = start({"stubborn": python(STUBBORN)}, stop_seconds=3600)
    service.until("ready")
    service.process.send_signal(signal.SIGINT)
    service.until("stopping")
    service.process.send_signal(signal.SIGINT)
    assert service.end() == (0, "killing what did not stop\n")
    assert marked_processes(service.marker) == []


def test_a_part_that_dies_is_restarted_and_its_last_words_are_shown(start: Start, tmp_path: Path) -> None:
    order = tmp_path / "order"
    os.mkfifo(order)
    dies = f"print('up \\x1b[31mred\\x1b[0m \\x07bell', flush=True); raise SystemExit(int(open({str(order)!r}).read()))"
    service = start({"part": python(dies)})
    service.until("ready")
    for time in ("1st", "2nd"):
        order.write_text("3")
        said = service.until("red")
        assert f"part died (exit 3); restarted ({time} time); last lines:\n    up red  bell\n" in said
    service.process.terminate()
    assert service.end()[0] == 0


def test_a_part_that_cannot_start_ends_the_service_with_the_reason(start: Start) -> None:
    service = start(
        {"good": python(OBEDIENT), "bad": python("raise SystemExit('port is taken')")}, quick_deaths=3
    )
    status, said = service.end()
    assert status == 1
    assert said.count("bad died (exit 1); restarted") == 2
    assert (
        f"bad cannot be started: exit 1, 3 times in a row; the end of {service.log_dir}/bad.log:\n    port is taken\n"
        in said
    )
    assert marked_processes(service.marker) == []


def test_a_command_that_does_not_exist_is_named(start: Start) -> None:
    status, said = start({"ghost": ["/nonexistent/ghost"]}, quick_deaths=1).end()
    assert status == 1
    assert "ghost cannot be started: [Errno 2] No such file or directory: '/nonexistent/ghost'" in said


@needs_proc
def test_sigkill_of_the_supervisor_leaves_nothing(start: Start) -> None:
    service = start({"many": python(MANY), "stubborn": python(STUBBORN)})
    service.until("ready")
    family = service.parts()
    assert len(family) == 4
    service.process.kill()
    _, alive = psutil.wait_procs(family, timeout=120)
    assert alive == []


@needs_proc
def test_what_a_killed_service_and_its_guard_left_ends_at_the_next_start(
    start: Start, tmp_path: Path
) -> None:
    left = subprocess.Popen(
        python(STUBBORN), env={**os.environ, MARKER_VARIABLE: str(tmp_path / "logs")}, stdout=subprocess.PIPE
    )
    assert left.stdout is not None
    left.stdout.readline()
    service = start({"part": python(OBEDIENT)})
    assert left.wait() == -signal.SIGKILL
    left.stdout.close()
    service.until("ready")
    service.process.terminate()
    assert service.end()[0] == 0


def test_metrics_tell_of_each_part_and_how_often_it_began() -> None:
    with subprocess.Popen(python(MANY), stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        _, near, far = process.stdout.readline().split()
        lives = {"part": Life(3, process.pid), "between lives": Life(1, None)}
        url, server = expose(Address("127.0.0.1", 0), "dagster", lambda: lives, lanes="events")
        try:
            text = httpx.get(url).text
        finally:
            server.shutdown()
            server.server_close()
            for pid in (near, far, process.pid):
                os.kill(int(pid), signal.SIGKILL)
    samples = {
        (sample.name, sample.labels.get("part", "")): sample
        for metric in text_string_to_metric_families(text)
        for sample in metric.samples
    }
    about = samples["tasks_pipeline_role_info", ""].labels
    assert (about["role"], about["host"], about["lanes"]) == ("dagster", socket.gethostname(), "events")
    prefix = "tasks_pipeline_part_"
    assert samples[f"{prefix}starts_total", "part"].value == 3
    assert {name: samples[f"{prefix}up", name].value for name in lives} == {"part": 1, "between lives": 0}
    if sys.platform == "linux":
        taken = samples[f"{prefix}resident_bytes", "part"].value
        assert 2_000_000 < taken < 200_000_000
        assert samples[f"{prefix}processes", "part"].value == 2, "that in a session of its own is another's"
        assert samples[f"{prefix}cpu_seconds_total", "part"].value > 0


def test_a_service_that_lost_its_place_ends(start: Start) -> None:
    service = start({"part": python(OBEDIENT)})
    service.until("ready")
    (service.log_dir / "lost").touch()
    status, said = service.end()
    assert (status, said) == (1, "somebody else has it\n")
    assert service.parts() == []


def test_logs_of_earlier_starts_are_kept_a_few_times(start: Start) -> None:
    for number in range(5):
        start({"part": python(f"raise SystemExit('start {number}')")}, quick_deaths=1).end()
    logs = {path.name: path.read_text().strip() for path in start.log_dir.iterdir()}
    assert logs == {
        "part.log": "start 4",
        "part.log.1": "start 3",
        "part.log.2": "start 2",
        "part.log.3": "start 1",
    }
    assert all(path.stat().st_mode & 0o077 == 0 for path in start.log_dir.iterdir())


SERVICE = RunningService(
    pid=4711,
    started_at="2026-11-22T12:00:00Z",  # type: ignore[arg-type]
    receiver_url="http://127.0.0.1:9000",
    receiver_port=9000,
    ui_url="http://127.0.0.1:3000",
    ui_port=3000,
    code_server_port=4000,
)


def test_one_service_per_home(home: Home) -> None:
    with service_lock(home), announced(home, SERVICE):
        with pytest.raises(AlreadyRunning) as refused, service_lock(home, patience_seconds=0):
            pass
        assert str(refused.value) == (
            f"a service runs in {home.root} already: pid {os.getpid()}, "
            "receiver http://127.0.0.1:9000, UI http://127.0.0.1:3000"
        )
    with service_lock(home, patience_seconds=0):
        pass


def test_a_service_is_known_only_while_it_runs(home: Home) -> None:
    assert running_service(home) is None
    with service_lock(home), announced(home, SERVICE):
        known = running_service(home)
        assert known is not None
        assert known.receiver_url == "http://127.0.0.1:9000"
        stale = (home.run_dir / "service.json").read_bytes()
    assert running_service(home) is None
    (home.run_dir / "service.json").write_bytes(stale)  # as SIGKILL leaves it
    assert running_service(home) is None
