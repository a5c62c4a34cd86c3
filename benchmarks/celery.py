"""Runs in the queues of a real broker while processes, workers and the broker are killed: `python -m benchmarks celery --broker redis`.

A whole service with a worker of all lanes, and events that come all the time. On each lane the process of a run is killed, then the worker with
all of them, then it is told to stop, then the broker restarts; in the end everything sent has to be stored, once. Starts of runs are timed, and those of
the same service without a broker. Prints one JSON object: `kills`, `ended_within_s` and `goes_on_within_s` by lane and kill, `stop_s`, `failed_by_stop`,
`failed_by_restart`, `answered`, `stored`, `lost`, `doubled`, `start_s`, `start_s_without_broker`, `start_ratio`, `start_s_stock`,
`start_ratio_to_stock` (Dagster's own launcher and code server), `rest_memory_mb`. With `--starts` only starts are timed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import select

from benchmarks.processes import memory_mb
from tasks_pipeline.demo.show import running_demo_service, temporary_root
from tasks_pipeline.home import Home
from tasks_pipeline.lanes import LANES
from tasks_pipeline.nudging.wanted import SENDER, drain_of
from tasks_pipeline.partitions import PARTITION_TAG
from tasks_pipeline.processing.books import Books, books_of_state
from tasks_pipeline.service.dagster_client import DagsterError, launch_run, run_status
from tasks_pipeline.service.dagster_home import LOCATION_NAME, module_workspace_yaml
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import run_beats
from tasks_pipeline.storage.state.workers import RunBeat, beats_of_runs, living_workers
from tasks_pipeline.stores import Stores, open_stores
from tests.support.brokers import BROKERS, Broker

PATIENCE_SECONDS = 180.0
RATE = 10  # events a second meanwhile
STARTS = 8
TODAY = datetime.now(UTC).date().isoformat()
ENDED = ("SUCCESS", "FAILURE", "CANCELED")
LINGER = {"config": {"linger_seconds": None}}
JOBS: dict[str, tuple[str, Mapping[str, str], Mapping[str, Any]]] = {
    "notifications": (SENDER.job, {}, SENDER.config),
    "monitoring": ("check_monitors", {}, {"ops": {"monitor_incidents": LINGER}}),
    "integrations": ("sync_integrations", {}, {"ops": {"external_issues": LINGER}}),
    "events": ("process_events", drain_of(datetime.now(UTC).date()).tags | {PARTITION_TAG: TODAY}, drain_of(datetime.now(UTC).date()).config),
    "releases": ("process_releases", {}, {"ops": {"releases": LINGER}}),
    "maintenance": ("optimize_database_job", {}, {}),
    "recompute": ("recompute_day", {PARTITION_TAG: TODAY}, {"ops": {"process_event": {"config": {"mode": "recompute"}}}}),
}  # fmt: skip
"""A run of each lane that is at work for a while: those of the last two wait for the lake's lock, which is held here meanwhile."""


def say(text: str) -> None:
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)


class Service:
    """A service that runs, asked from outside."""

    def __init__(self, home: Home, ui_url: str) -> None:
        self.home, self.ui_url = home, ui_url

    def launch(self, lane: str) -> str:
        """Start a run on a lane; gives its id."""
        job, tags, config = JOBS[lane]
        return launch_run(self.ui_url, LOCATION_NAME, job, {**LANES[lane].tags, **tags}, config)

    def beat(self, run_id: str) -> RunBeat | None:
        """The process of a run."""
        with closing(StateDatabase(self.home)) as state, state.read() as connection:
            return beats_of_runs(connection, [run_id]).get(run_id)

    def run_on(self, lane: str) -> str:
        """A run of a lane that is at work; there may be one already, and no place for another."""
        since = datetime.now(UTC) - timedelta(seconds=12)
        alive = select(run_beats.c.run_id).where(run_beats.c.lane == lane, run_beats.c.beat_at > since, run_beats.c.lost.is_(None))  # fmt: skip
        with closing(StateDatabase(self.home)) as state, state.read() as connection:
            found = list(connection.execute(alive).scalars())
        return next((run_id for run_id in found if self.status(run_id) == "STARTED"), "")

    def status(self, run_id: str) -> str:
        """Dagster's word for what became of a run."""
        with suppress(DagsterError):
            return run_status(self.ui_url, run_id)
        return ""

    def worker(self) -> int:
        """The worker's process."""
        with closing(StateDatabase(self.home)) as state, state.read() as connection:
            found = living_workers(connection, datetime.now(UTC))
        return max(found, key=lambda worker: worker.started_at).pid if found else 0

    def ask(self, query: str) -> Any:
        """What the webserver says."""
        return httpx.post(f"{self.ui_url}/graphql", json={"query": query}, timeout=30).json()["data"]

    def runs(self) -> list[dict[str, Any]]:
        """The newest runs, newest first."""
        query = "{ runsOrError(limit: 400) { ... on Runs { results { runId jobName status creationTime startTime stats { ... on RunStatsSnapshot { launchTime startTime } } } } } }"
        found: list[dict[str, Any]] = self.ask(query)["runsOrError"]["results"]
        return found

    def at_work(self, job: str, since: float) -> bool:
        """Whether a run of a job that was made since then works, or has."""
        return any(
            run["jobName"] == job and run["creationTime"] >= since and run["startTime"] for run in self.runs()
        )


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE_SECONDS) -> float:
    """Seconds until something holds."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > patience:
            raise SystemExit(f"not within {patience:.0f} s: {what}")
        time.sleep(0.2)
    return round(time.monotonic() - started, 1)


def begun(service: Service, lane: str) -> tuple[str, int]:
    """A run of a lane, and its process."""
    run_id = service.launch(lane)
    beats: list[RunBeat] = []
    until(lambda: (beat := service.beat(run_id)) and not beats.append(beat), f"a run on {lane} begins")
    return run_id, beats[0].pid


@contextmanager
def held_lake(service: Service, lane: str) -> Iterator[None]:
    """The lake's lock, for the lanes whose runs would be over at once."""
    if lane not in ("maintenance", "recompute"):
        yield
        return
    with open_stores(service.home) as stores, stores.lake.lock():
        yield


def killed_process(service: Service, lane: str) -> dict[str, float]:
    """The process of a run is killed."""
    with held_lake(service, lane):
        run_id, pid = begun(service, lane)
        killed = time.time()
        os.kill(pid, signal.SIGKILL)
        ended = until(lambda: service.status(run_id) == "FAILURE", f"the run on {lane} is ended")
    return {"ended": ended, "goes_on": goes_on(service, lane, killed)}


def goes_on(service: Service, lane: str, killed: float) -> float:
    """Seconds from a kill until another run of the same job is at work."""
    until(lambda: service.at_work(JOBS[lane][0], killed), f"the work on {lane} goes on")
    return round(time.time() - killed, 1)


def killed_worker(service: Service) -> dict[str, dict[str, float]]:
    """The worker is killed while runs of all lanes are at work."""
    with held_lake(service, "recompute"):
        runs = {lane: service.run_on(lane) or begun(service, lane)[0] for lane in JOBS}
        at_work = {lane: run for lane, run in runs.items() if service.status(run) == "STARTED"}
        killed = time.time()
        os.kill(service.worker(), signal.SIGKILL)
        ended: dict[str, float] = {}
        deadline = killed + PATIENCE_SECONDS
        while ended.keys() < at_work.keys() and time.time() < deadline:
            for lane in at_work.keys() - ended.keys():
                if service.status(at_work[lane]) == "FAILURE":
                    ended[lane] = round(time.time() - killed, 1)
            time.sleep(0.3)
    return {
        lane: {"ended": ended.get(lane, -1.0), "goes_on": goes_on(service, lane, killed)} for lane in at_work
    }


def told_to_stop(service: Service) -> tuple[float, list[str]]:
    """SIGTERM to the worker under load: seconds until it has ended, and what failed."""
    since, worker = time.time(), service.worker()
    began = [service.run_on(lane) or begun(service, lane)[0] for lane in ("notifications", "events")]
    with held_lake(service, "recompute"):
        began.append(service.run_on("recompute") or begun(service, "recompute")[0])
        os.kill(worker, signal.SIGTERM)
        seconds = until(lambda: not os.path.exists(f"/proc/{worker}"), "the worker ends")
    until(lambda: service.worker() not in (0, worker), "another worker")
    until(
        lambda: all(service.status(run) in ("STARTED", *ENDED) for run in began), "its runs go on elsewhere"
    )
    return seconds, failed(service, since)


def failed(service: Service, since: float) -> list[str]:
    """Jobs of runs that were made since then and failed."""
    return [run["jobName"] for run in service.runs() if run["creationTime"] >= since and run["status"] == "FAILURE"]  # fmt: skip


def starts(service: Service) -> list[float]:
    """Seconds from the launch of a run until it begins, of runs that follow each other."""
    found = []
    for _ in range(STARTS):
        run_id = launch_run(
            service.ui_url, LOCATION_NAME, "check_integrations", LANES["integrations"].tags, {}
        )
        until(lambda: service.status(run_id) in ENDED, "a run that starts")  # noqa: B023
        (run,) = [run for run in service.runs() if run["runId"] == run_id]
        found.append(run["stats"]["startTime"] - run["stats"]["launchTime"])
        time.sleep(1)
    return found[2:]


@contextmanager
def stock_dagster(root: Path) -> Iterator[Service]:
    """The same definitions under `dagster dev`: Dagster's own launcher and code server, which know nothing of warm processes."""
    home = Home(root)
    home.dagster_home.mkdir(parents=True)
    (home.dagster_home / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
    workspace = home.dagster_home / "workspace.yaml"
    workspace.write_text(module_workspace_yaml())
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "dagster", "dev", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(port),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, env=dict(os.environ, **home.environment()), cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    service = Service(home, f"http://127.0.0.1:{port}")
    try:
        until(lambda: _loaded(service), "the definitions are loaded")
        yield service
    finally:
        members = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        for member in psutil.wait_procs(members, timeout=10)[1]:
            with suppress(psutil.NoSuchProcess):
                member.kill()


def _loaded(service: Service) -> bool:
    query = "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus locationOrLoadError { __typename } } } } }"
    with suppress(httpx.HTTPError, KeyError):
        entries = service.ask(query)["workspaceOrError"]["locationEntries"]
        return any(
            (e["locationOrLoadError"] or {}).get("__typename") == "RepositoryLocation" for e in entries
        )
    return False


def compared(begins: Sequence[float]) -> dict[str, float]:
    """Starts of runs on workers beside those of the same service without a broker, and of Dagster as it comes."""
    say("the same starts without a broker ...")
    with (
        temporary_root() as root,
        running_demo_service(Home(root), linger_seconds=20) as (_, running),
    ):
        warm = starts(Service(Home(root), running.ui_url))
    say("the same starts with Dagster's own launcher ...")
    with temporary_root() as root, stock_dagster(root) as service:
        stock = starts(service)
    found = [statistics.median(each) for each in (begins, warm, stock)]
    names = ("start_s", "start_s_without_broker", "start_s_stock")
    ratios = {"start_ratio": found[0] / found[1], "start_ratio_to_stock": found[0] / found[2]}
    return {name: round(s, 3) for name, s in zip(names, found, strict=True)} | {
        name: round(ratio, 2) for name, ratio in ratios.items()
    }


def only_starts(broker: Broker) -> dict[str, Any]:
    """Nothing is killed."""
    with temporary_root() as root:
        home = Home(root, broker_url=broker.url)
        with running_demo_service(home, linger_seconds=20) as (_, running):
            service = Service(home, running.ui_url)
            until(service.worker, "a worker serves")
            begins = starts(service)
    return {"broker": broker.url.partition(":")[0], **compared(begins)}


def books(stores: Stores) -> list[Books]:
    """Of all days: a run of this may see midnight."""
    return [books_of_state(stores, day) for day in stores.spool.days()]


def measure(broker: Broker) -> dict[str, Any]:
    """All figures."""
    figures: dict[str, Any] = {"broker": broker.url.partition(":")[0]}
    with ExitStack() as stack:
        root = stack.enter_context(temporary_root())
        home = Home(root, broker_url=broker.url)
        process, running = stack.enter_context(running_demo_service(home, linger_seconds=20))
        service = Service(home, running.ui_url)
        until(service.worker, "a worker serves")
        figures["rest_memory_mb"] = memory_mb(process.pid)["sum"]
        say("starts of runs ...")
        begins = starts(service)
        # Sent by a process of its own, to its end.
        sender = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.send", running.receiver_url, str(RATE * 300), "--rate", str(RATE)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        kills: dict[str, Any] = {}
        for lane in JOBS:
            say(f"the process of a run on {lane} is killed ...")
            kills[lane] = {"process": killed_process(service, lane)}
            say(str(kills[lane]))
        say("the worker is killed ...")
        for lane, seconds in killed_worker(service).items():
            kills[lane]["worker"] = seconds
        say(str(kills))
        until(service.worker, "a worker serves again")
        say("the worker is told to stop ...")
        figures["stop_s"], figures["failed_by_stop"] = told_to_stop(service)
        say(f"{figures['stop_s']} s; failed: {figures['failed_by_stop']}")
        say("the broker restarts ...")
        since = time.time()
        broker.stop()
        broker.start()
        until(lambda: service.status(service.launch("integrations")) in ("STARTED", *ENDED) or service.at_work("sync_integrations", since), "runs begin")  # fmt: skip
        time.sleep(20)
        figures["failed_by_restart"] = failed(service, since)
        say("everything is to be stored ...")
        sent = json.loads(sender.communicate()[0])
        answered = int(sent["statuses"].get("200", 0))
        with open_stores(home) as stores:
            until(lambda: all(book.waiting == 0 for book in books(stores)), "everything is processed")
            kept = sum(book.stored for book in books(stores))
            (found,) = stores.lake.query(
                "SELECT count(*) AS rows, count(DISTINCT event_id) AS ids FROM lake.events"
            )
        figures |= {"answered": answered, "stored": kept, "lost": answered - found["ids"], "doubled": found["rows"] - found["ids"]}  # fmt: skip
        figures["kills"] = sum(len(found) for found in kills.values())
        figures["ended_within_s"] = {lane: {how: s["ended"] for how, s in found.items()} for lane, found in kills.items()}  # fmt: skip
        figures["goes_on_within_s"] = {lane: {how: s["goes_on"] for how, s in found.items()} for lane, found in kills.items()}  # fmt: skip
    return figures | compared(begins)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks celery", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--broker", choices=list(BROKERS), default="redis")
    parser.add_argument("--starts", action="store_true", help="only time starts of runs")
    arguments = parser.parse_args()
    with BROKERS[arguments.broker]() as broker:
        print(json.dumps(only_starts(broker) if arguments.starts else measure(broker)))


if __name__ == "__main__":
    main()
