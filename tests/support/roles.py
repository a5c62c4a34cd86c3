"""Roles of an installation on several hosts: commands of ours in processes of their own, each host with a home of its own and the same variables."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tasks_pipeline.home import Home

PROGRAM = Path(sys.executable).with_name("tasks-pipeline")
STOP_SECONDS = 40
"""As the units of deploy/systemd allow."""


@dataclass
class Role:
    """A process of a role, and the last of what it said."""

    name: str
    process: subprocess.Popen[str]
    said: deque[str]

    def found(self, pattern: str) -> str | None:
        """What the first line that matches has in its first group. Fails when the process is over."""
        matched = next(filter(None, (re.search(pattern, line) for line in list(self.said))), None)
        if matched:
            return matched[1] if matched.re.groups else matched[0]
        assert self.process.poll() is None, f"{self.name} ended:\n" + "\n".join(self.said)
        return None


def start_role(home: Home, name: str, command: str) -> Role:
    """A command, `tasks-pipeline …`, as its own host would have it: its home lies beside that of whoever looks, and is named `name`."""
    program, *words = command.split()
    assert program == "tasks-pipeline"
    there = replace(home, root=home.root.with_name(name))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TASKS_PIPELINE_", "DAGSTER_"))}
    process = subprocess.Popen(
        [str(PROGRAM), *words], env=environment | there.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    said: deque[str] = deque(maxlen=200)

    def listen() -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                said.append(line.rstrip())

    threading.Thread(target=listen, daemon=True).start()
    return Role(name, process, said)


def stop_roles(roles: Iterable[Role]) -> dict[str, int]:
    """Tell all of them to stop at once; gives the exit status of each. What does not stop in time is killed."""
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
    """A port of the loopback interface on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
