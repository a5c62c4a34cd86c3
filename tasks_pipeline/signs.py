"""Whether the process of a run lives: by the kernel where that is on this host, else by its signs of life. Nothing here ends anybody."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks_pipeline.storage.state.workers import RunBeat

_SLACK = timedelta(seconds=5)
"""How far two readings of the clock, and the rounding of what the kernel tells, may be apart."""


class Silence:
    """For how long nothing new came of runs while somebody looked, in memory. Times of other hosts are never compared with a clock here.

    Whoever looks at a run more seldom than every `look_seconds` was away, or the database was: then nobody could tell.
    """

    def __init__(self, look_seconds: float) -> None:
        self._look_seconds = look_seconds
        self._seen: dict[str, tuple[datetime | None, float, float]] = {}

    def seconds(self, run_id: str, sign: datetime | None, now: float) -> float:
        """Since when the newest sign of a run is the same. `now` is on any clock that goes on by itself."""
        last, since, looked = self._seen.get(run_id, (sign, now, now))
        if last != sign or now - looked > self._look_seconds:
            since = now
        self._seen = {one: seen for one, seen in self._seen.items() if now - seen[2] <= self._look_seconds}
        self._seen[run_id] = (sign, since, now)
        return now - since


def is_here(beat: RunBeat) -> bool:
    """Whether the process of a run is, or was, on this host."""
    return beat.host == socket.gethostname()


def has_process(pid: int) -> bool:
    """Whether there is a process of that number here that has not ended."""
    return _began(pid) is not None


def is_gone(beat: RunBeat) -> bool:
    """Whether the process of a run was on this host and is not there any more, also when another one has its number: one that began later
    by the clock. Whoever judges runs that may be alive asks for their signs of life, too: a clock that was put forward looks the same."""
    if not is_here(beat):
        return False
    began = _began(beat.pid)
    return began is None or began > beat.started_at + _SLACK


def _began(pid: int) -> datetime | None:
    """When a process of this machine began; None when there is none. Where the system does not tell, the beginning of time."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/stat").read_text(encoding="utf-8").partition("\nbtime ")[2].split()[0]
    except ProcessLookupError:
        return None
    except (OSError, IndexError):
        return datetime.min.replace(tzinfo=UTC)
    state, *fields = stat.rpartition(")")[2].split()
    if state == "Z":  # it ended, and nobody has asked yet how
        return None
    return datetime.fromtimestamp(int(boot) + int(fields[18]) / os.sysconf("SC_CLK_TCK"), UTC)
