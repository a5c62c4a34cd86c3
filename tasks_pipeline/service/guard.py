"""The guard: a process that outlives a supervisor killed with SIGKILL just long enough to take its parts along."""

from __future__ import annotations

import os
import signal
from typing import NoReturn

from tasks_pipeline.service.leftovers import kill_all


class Guard:
    """A forked process that holds the reading end of a pipe; when the supervisor is gone, however, it ends the parts.

    Forked and not executed afresh, so it shares the supervisor's memory and is there before the first part is. It
    keeps the descriptor of the service's lock, too: the next service of this home starts only when it has finished.
    """

    def __init__(self, marker: str) -> None:
        read_end, self._write_end = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._write_end)
            _guard(read_end, marker)
        os.close(read_end)

    def started(self, group: int) -> None:
        """Watch a process group."""
        self._tell(f"+{group}\n")

    def ended(self, group: int) -> None:
        """Forget a process group that is empty; its number may be given to strangers."""
        self._tell(f"-{group}\n")

    def release(self) -> None:
        """End the guard and wait for it."""
        os.close(self._write_end)
        os.waitpid(self._pid, 0)

    def _tell(self, line: str) -> None:
        os.write(self._write_end, line.encode())


def _guard(read_end: int, marker: str) -> NoReturn:
    try:
        os.setsid()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        _let_go_of_standard_streams()
        groups: set[int] = set()
        with open(read_end, encoding="ascii") as lines:
            for line in lines:
                change, group = line[0], int(line[1:])
                if change == "+":
                    groups.add(group)
                else:
                    groups.discard(group)
        kill_all(marker, groups)
    finally:
        os._exit(0)  # nothing of the supervisor's own end (exit handlers, buffers) may happen twice


def _let_go_of_standard_streams() -> None:
    """Whoever reads the supervisor's output through a pipe must see its end when the supervisor ends."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
