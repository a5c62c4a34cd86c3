"""The demonstration: start the service in a temporary home, send it recorded traffic, and show what became of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import httpx
from sqlalchemy import func, select

from tasks_pipeline.demo.hook import Posted, listening_hook
from tasks_pipeline.demo.traffic import PUBLIC_KEY, Request, shop_events, shop_request, wire_requests
from tasks_pipeline.groups.lists import list_groups
from tasks_pipeline.home import Home
from tasks_pipeline.processing.books import Books, books_of_lake
from tasks_pipeline.reports.report import Report
from tasks_pipeline.service.running import RunningService, running_service
from tasks_pipeline.storage.state.tables import alerts
from tasks_pipeline.stores import Stores, open_stores

START_SECONDS = 120
PROCESS_SECONDS = 120
STOP_SECONDS = 30
CONNECTIONS = 4
ALERTS = 3  # sent one by one; a demonstration need not tell of each of a hundred new groups

_CONFIG = f"""\
# Written by `tasks-pipeline demo`.
organisation: {{{{slug: acme, name: Acme}}}}
projects:
  - {{{{id: 1, slug: shop, name: Shop, platform: python, keys: [{{{{public_key: "{PUBLIC_KEY}"}}}}]}}}}
processing:
  linger_seconds: {{linger_seconds}}
notifications:
  linger_seconds: {{linger_seconds}}
"""
_ALERTS = """\
channels:
  - {{name: hook, type: webhook, url: "{hook_url}", secret: demo}}
alert_rules:
  - name: new errors
    when: [new_group]
    notify: ["channel:hook"]
    storm: {{alerts: {alerts}, window_minutes: 60}}
"""


class DemoFailed(Exception):
    """Something was not as it has to be; the message has a line per fault."""


@dataclass(slots=True)
class Shown:
    """What the demonstration saw."""

    seconds: dict[str, float] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    books: Books | None = None
    groups: list[dict[str, object]] = field(default_factory=list)
    runs: list[dict[str, str]] = field(default_factory=list)
    checks: dict[str, bool] = field(default_factory=dict)
    truths: set[int] = field(default_factory=set)
    shop_groups: int = 0
    alerts: int = 0
    """Alerts that a rule fired."""
    messages: list[Posted] = field(default_factory=list)
    """What arrived at the webhook."""
    errors: int = 0
    """Error events that are stored of today."""
    report: Report | None = None
    """Of today, so far."""


class Serving(Protocol):
    """How a service is started that serves a home for the time of a block: as one command, or as its roles one by one."""

    def __call__(
        self, home: Home, *, linger_seconds: float, hook_url: str, alerts: int
    ) -> AbstractContextManager[tuple[object, RunningService]]: ...


def run_demo(count: int, say: Callable[[str], None], home: Home, serving: Serving | None = None) -> Shown:
    """Run everything of `home` and give what was seen; without `serving` it is `tasks-pipeline run`. Raises DemoFailed."""
    shown = Shown()
    say("starting receiver, Dagster and its UI ...")
    # A short linger, so that the run, and with it the checks, are over soon.
    with (
        _timed(shown, "start and stop"),
        listening_hook() as hook,
        (serving or running_demo_service)(home, linger_seconds=2, hook_url=hook.url, alerts=ALERTS) as (
            _,
            service,
        ),
    ):
        say(f"sending recorded traffic to {service.receiver_url} ...")
        events = list(shop_events(count))
        shown.truths = {event.truth for event in events}
        yesterday = datetime.now(UTC).date() - timedelta(days=1)
        with _timed(shown, "send"):
            _send(
                service.receiver_url, [*wire_requests(yesterday), *(shop_request(e) for e in events)], shown
            )
        say("waiting for Dagster to process it ...")
        with open_stores(home) as stores:
            with _timed(shown, "process"):
                _await_processed(stores)
            with _timed(shown, "alert"):
                hook.await_count(ALERTS, PROCESS_SECONDS)
            with _timed(shown, "check"):
                _await_runs(service.ui_url, shown)
            shown.messages = list(hook.posted)
            _look(stores, shown, [event.event_id for event in events])
            with _timed(shown, "report"):
                _tell(stores, shown)
        say("stopping ...")
    work = sum(shown.seconds[stage] for stage in ("send", "process", "alert", "check", "report"))
    shown.seconds["start and stop"] -= work
    _judge(shown, count)
    return shown


@contextmanager
def _timed(shown: Shown, stage: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    shown.seconds[stage] = time.monotonic() - started


@contextmanager
def running_demo_service(
    home: Home, *, linger_seconds: float, hook_url: str | None = None, alerts: int = 20
) -> Iterator[tuple[subprocess.Popen[str], RunningService]]:
    """The whole service on free ports, ready, with the project and key of the recordings; stopped at the end.

    With `hook_url` new groups are told there: `alerts` of them one by one, those after them in an hour as one message.
    Raises DemoFailed when it does not start or stop.
    """
    write_demo_config(home, linger_seconds=linger_seconds, hook_url=hook_url, alerts=alerts)
    command = [
        sys.executable,
        "-m",
        "tasks_pipeline.cli",
        "--home",
        str(home.root),
        "run",
        "--port",
        "0",
        "--ui-port",
        "0",
    ]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TASKS_PIPELINE_", "DAGSTER_"))}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=inherited | home.environment(),
        start_new_session=True,
    )
    try:
        yield process, _await_ready(home, process)
    finally:
        _stop(process)


def write_demo_config(home: Home, *, linger_seconds: float, hook_url: str | None, alerts: int) -> None:
    """The project and key of the recordings, and a rule that tells of new groups where somebody listens."""
    home.root.mkdir(parents=True, exist_ok=True)
    text = _CONFIG.format(linger_seconds=linger_seconds)
    if hook_url is not None:
        text += _ALERTS.format(hook_url=hook_url, alerts=alerts)
    home.config_path.write_text(text)


def _await_ready(home: Home, process: subprocess.Popen[str]) -> RunningService:
    """Read what the service says until it is ready. Raises DemoFailed with its words when it never is."""
    said: list[str] = []
    ready = threading.Event()

    def listen() -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:  # to the end, so that the service never waits for a reader
                said.append(line.rstrip())
                if line.strip() == "ready":
                    ready.set()
        ready.set()

    threading.Thread(target=listen, name="demo-listen", daemon=True).start()
    ready.wait(START_SECONDS)
    service = running_service(home)
    if process.poll() is not None or service is None or not service.ready:
        raise DemoFailed("the service did not start:\n" + "\n".join(said[-30:]))
    return service


def _send(base_url: str, requests: Iterable[Request], shown: Shown) -> None:
    """Send requests over a few connections; unexpected answers are faults."""
    faults: list[str] = []

    async def worker(client: httpx.AsyncClient, queue: Iterator[Request]) -> None:
        for request in queue:
            answer = await client.request(
                request.method, base_url + request.path, content=request.body, headers=request.headers
            )
            shown.statuses[answer.status_code] += 1
            if answer.is_success != request.accepted:
                faults.append(f"{request.name}: answered {answer.status_code} {answer.text[:200]}")

    async def send() -> None:
        queue = iter(list(requests))
        async with httpx.AsyncClient(timeout=30) as client:
            await asyncio.gather(*(worker(client, queue) for _ in range(CONNECTIONS)))

    asyncio.run(send())
    if faults:
        raise DemoFailed("\n".join(faults))


def _await_processed(stores: Stores) -> None:
    deadline = time.monotonic() + PROCESS_SECONDS
    while time.monotonic() < deadline:
        waiting = _books(stores)
        if waiting is not None and waiting.waiting == 0:
            return
        time.sleep(0.2)
    raise DemoFailed(f"after {PROCESS_SECONDS} s not everything is processed: {_books(stores)}")


def _books(stores: Stores) -> Books | None:
    """The books of all days together; traffic may be sent across midnight."""
    days = [books_of_lake(stores, day) for day in stores.spool.days()]
    if not days:
        return None
    sums = {
        name: sum(getattr(d, name) for d in days)
        for name in ("accepted", "stored", "duplicate", "filtered", "discarded", "invalid", "waiting")
    }
    return Books(day=days[-1].day, **sums)


_RUNS_QUERY = """{ runsOrError { ... on Runs { results { runId jobName status
    assetCheckEvaluations: eventConnection { events { __typename
      ... on AssetCheckEvaluationEvent { evaluation { checkName success } } } } } } } }"""


def _await_runs(ui_url: str, shown: Shown) -> None:
    """Wait until no run is at work, and keep what Dagster says of them."""
    deadline = time.monotonic() + PROCESS_SECONDS
    while time.monotonic() < deadline:
        try:
            asked = httpx.post(f"{ui_url}/graphql", json={"query": _RUNS_QUERY}, timeout=30)
        except httpx.ConnectError:  # it died, and is started again
            time.sleep(0.3)
            continue
        answer = asked.raise_for_status().json()
        runs = answer["data"]["runsOrError"]["results"]
        if runs and all(run["status"] in ("SUCCESS", "FAILURE", "CANCELED") for run in runs):
            shown.runs = [{"run": r["runId"][:8], "job": r["jobName"], "status": r["status"]} for r in runs]
            for run in runs:
                for event in run["assetCheckEvaluations"]["events"]:
                    if evaluation := event.get("evaluation"):
                        name = evaluation["checkName"]
                        shown.checks[name] = evaluation["success"] and shown.checks.get(name, True)
            return
        time.sleep(0.3)
    raise DemoFailed(f"the runs are not over after {PROCESS_SECONDS} s")


def _look(stores: Stores, shown: Shown, event_ids: list[str]) -> None:
    shown.books = _books(stores)
    with stores.state.read() as connection:
        shown.alerts = connection.execute(select(func.count()).select_from(alerts)).scalar_one()
    shown.groups = list_groups(stores.state, stores.slugs, limit=10_000)
    rows = stores.lake.query(
        "SELECT count(DISTINCT group_id) AS groups FROM lake.events WHERE event_id IN (SELECT unnest(?))",
        [event_ids],
    )
    shown.shop_groups = rows[0]["groups"]


def _tell(stores: Stores, shown: Shown) -> None:
    """Compute the figures of today, as the service does every quarter of an hour, and preview the report of it."""
    from tasks_pipeline.analytics.statistics.compute import compute_statistics
    from tasks_pipeline.reports.generate import generate_analytics_report
    from tasks_pipeline.reports.periods import period_at

    now = datetime.now(UTC)
    settings = stores.config.reports
    period = period_at("day", now, settings.timezone, settings.week_starts)
    compute_statistics(stores, [day for day in stores.spool.days() if day in period.utc_days], now)
    shown.report = generate_analytics_report(stores, period, "organisation", now)
    rows = stores.lake.query(
        "SELECT count(*) AS n FROM lake.events WHERE received_at >= $start AND received_at < $end",
        {"start": period.start, "end": period.end},
    )
    shown.errors = rows[0]["n"]


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGKILL)
        raise DemoFailed(f"the service did not stop within {STOP_SECONDS} s") from error


def _judge(shown: Shown, count: int) -> None:
    faults = [f"run {r['run']} of {r['job']}: {r['status']}" for r in shown.runs if r["status"] != "SUCCESS"]
    faults += [f"check {name} did not pass" for name, passed in shown.checks.items() if not passed]
    books = shown.books
    if books is None or books.difference:
        faults.append(f"the books do not balance: {books}")
    elif books.stored < count:
        faults.append(f"{books.stored} items stored, {count} shop events were sent")
    if shown.shop_groups != len(shown.truths):
        faults.append(f"shop events came from {len(shown.truths)} places but make {shown.shop_groups} groups")
    if shown.alerts < shown.shop_groups:
        faults.append(f"{shown.shop_groups} new groups, but {shown.alerts} alerts")
    if len(shown.messages) != ALERTS:
        faults.append(f"{len(shown.messages)} messages arrived at the webhook; expected are {ALERTS}")
    told = None if shown.report is None else shown.report.figures.get("errors")
    if told != shown.errors:
        faults.append(f"the report tells of {told} errors, {shown.errors} are stored")
    if "books_balance" not in shown.checks:
        faults.append("no run checked the books")
    if faults:
        raise DemoFailed("\n".join(faults))


@contextmanager
def temporary_root() -> Iterator[Path]:
    """A folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="tasks-pipeline-demo-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
