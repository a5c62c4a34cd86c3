"""`/metrics` of roles that serve nothing else: which of their processes live, how often they began, what they take.

What the pipeline does is told by receivers, from the state database (`watch/prometheus.py`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from tasks_pipeline.service.address import Address
from tasks_pipeline.service.supervisor import Life

METRICS_VARIABLE = "TASKS_PIPELINE_METRICS"
"""Hands the address of `/metrics` to the process that a role becomes, as HOST:PORT."""
_PAGE, _TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Taken:
    """What the processes of a session take: seconds of CPU, bytes of memory in use, their number."""

    cpu_seconds: float = 0.0
    resident_bytes: int = 0
    processes: int = 0


def expose(
    address: Address, role: str, lives: Callable[[], Mapping[str, Life]], **about: str
) -> tuple[str, WSGIServer]:
    """Answer `/metrics` at an address from now on, from threads of this process; gives the URL and the server. `lives` gives the
    processes of the role by name; `about` is more to say of it, as labels. Port 0 takes a free one. Raises OSError."""
    registry = CollectorRegistry()
    registry.register(_Role(role, lives, about))
    server, _ = start_http_server(address.port, address.host, registry)
    return f"{replace(address, port=server.server_port).url}/metrics", server


class _Role(Collector):
    """The metrics of a role, read when they are asked for."""

    def __init__(self, role: str, lives: Callable[[], Mapping[str, Life]], about: Mapping[str, str]) -> None:
        self._lives = lives
        self._about = {
            "role": role,
            "host": socket.gethostname(),
            "version": version("tasks-pipeline"),
            **about,
        }

    def describe(self) -> Iterable[Metric]:
        """Nothing: to register it must not read anything."""
        return []

    def collect(self) -> Iterable[Metric]:
        """One metric after the other."""
        info = InfoMetricFamily("tasks_pipeline_role", "The role of this process.")
        info.add_metric([], self._about)
        yield info
        up = GaugeMetricFamily("tasks_pipeline_part_up", "1 while a process lives.", labels=["part"])
        starts = CounterMetricFamily(
            "tasks_pipeline_part_starts", "How often a process began.", labels=["part"]
        )
        cpu = CounterMetricFamily(
            "tasks_pipeline_part_cpu_seconds",
            "CPU time of a process and those it began.",
            labels=["part"],
        )
        memory = GaugeMetricFamily(
            "tasks_pipeline_part_resident_bytes",
            "Memory of a process and those it began; what they share counts for each.",
            labels=["part"],
        )
        processes = GaugeMetricFamily(
            "tasks_pipeline_part_processes", "A process and those it began that live.", labels=["part"]
        )
        sessions = _sessions()
        for name, life in self._lives().items():
            taken = sessions.get(life.pid or 0, Taken())
            up.add_metric([name], 0 if life.pid is None else 1)
            starts.add_metric([name], life.starts)
            cpu.add_metric([name], taken.cpu_seconds)
            memory.add_metric([name], taken.resident_bytes)
            processes.add_metric([name], taken.processes)
        yield from (up, starts)
        if sessions:  # only Linux tells
            yield from (cpu, memory, processes)


def _sessions() -> dict[int, Taken]:
    """What each session takes, as far as the kernel shows; nothing where there is no /proc."""
    found: dict[int, Taken] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        taken = found.setdefault(int(fields[3]), Taken())
        taken.cpu_seconds += sum(map(int, fields[11:15])) / _TICKS  # those of children that ended too
        taken.resident_bytes += int(fields[21]) * _PAGE
        taken.processes += 1
    return found
