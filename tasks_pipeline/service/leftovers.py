"""Finding and ending every process that a service started, however deep and whoever its parent is now.

Process groups miss what made a session of its own, and parents are lost when a process between dies. Descendants
inherit their environment though, so each child of a service is started with a variable that names its home. Where
there is no /proc (macOS) only the process groups are known.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

MARKER_VARIABLE = "TASKS_PIPELINE_SERVICE"
_PROC = Path("/proc")


def marked_processes(marker: str) -> list[int]:
    """Pids of this user's living processes that were started with MARKER_VARIABLE=marker, this one excepted."""
    wanted = f"{MARKER_VARIABLE}={marker}".encode()
    if not _PROC.joinpath("self/environ").exists():
        return []
    pids = (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal())
    return [pid for pid in pids if pid != os.getpid() and wanted in _environment(pid)]


def group_alive(group: int) -> bool:
    """Whether a process group has members."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says so of a group of zombies
        return False
    return True


def send(signum: signal.Signals, marker: str, groups: Iterable[int]) -> None:
    """Send a signal once to every process of the groups and every marked one outside; the gone are passed over."""
    groups = set(groups)
    outside = [pid for pid in marked_processes(marker) if _group(pid) not in groups]
    for group in groups:
        _quietly(os.killpg, group, signum)
    for pid in outside:
        _quietly(os.kill, pid, signum)


def kill_all(marker: str, groups: Iterable[int] = (), patience_seconds: float = 5) -> list[int]:
    """SIGKILL everything of a service until nothing of it lives; returns the pids that outlived the patience."""
    groups = list(groups)
    pause = threading.Event()
    deadline = time.monotonic() + patience_seconds
    while True:
        # Again and again: between the look and the signal a process may have started another.
        send(signal.SIGKILL, marker, groups)
        left = marked_processes(marker) + [group for group in groups if group_alive(group)]
        if not left or time.monotonic() > deadline:
            return left
        pause.wait(0.02)


def _environment(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:  # gone since, or of another user
        return []


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _quietly(kill: Callable[[int, int], None], pid: int, signum: signal.Signals) -> None:
    try:
        kill(pid, signum)
    except (ProcessLookupError, PermissionError):
        return
