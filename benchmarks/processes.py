"""What all processes of a service use together."""

from __future__ import annotations

import psutil

from tasks_pipeline.dagster_process import RUN, WARM_PROCESS


def family(pid: int) -> list[psutil.Process]:
    """A process and all its living descendants."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def cpu_seconds(pid: int) -> dict[str, float]:
    """CPU of a service so far by role; what ended and was waited for counts with the process that waited."""
    total: dict[str, float] = {}
    for process in family(pid):
        try:
            times, role = process.cpu_times(), _role(process)
        except psutil.NoSuchProcess:
            continue
        spent = times.user + times.system + times.children_user + times.children_system
        total[role] = total.get(role, 0.0) + spent
    return total


def memory_mb(pid: int) -> dict[str, float]:
    """Proportional set size in MB by process name and number, and the sum."""
    sizes: dict[str, float] = {}
    for process in family(pid):
        try:
            role, size = _role(process), process.memory_full_info().pss / 1e6
        except psutil.NoSuchProcess:
            continue
        sizes[f"{role} {process.pid}"] = round(size, 1)
    return sizes | {"sum": round(sum(sizes.values()), 1)}


def _role(process: psutil.Process) -> str:
    words = process.cmdline()
    text = " ".join(words)
    if process.name() in {WARM_PROCESS, RUN} or "compute_logs" in text or "watch_orphans" in text:
        return "run"
    known = {
        "receive": "receiver",
        "web": "web",
        "tasks_pipeline.code_server": "code-server",
        "tasks_pipeline.nudging": "nudge",
        "tasks_pipeline.celery_app": "worker",
        "dagster_webserver": "webserver",
        "dagster._daemon": "daemon",
    }
    return next((role for word, role in known.items() if word in words), "service")
