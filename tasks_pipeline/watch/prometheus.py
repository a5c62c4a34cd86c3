"""Prometheus metrics of the pipeline, read from the state database when they are scraped."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from tasks_pipeline.home import Home
from tasks_pipeline.notifications.outbox import channel_figures
from tasks_pipeline.storage.sizes import raw_by_place
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.facts import all_probes
from tasks_pipeline.storage.state.tables import incidents, monitor_environments, monitors
from tasks_pipeline.watch.probes import DESCRIPTIONS

log = logging.getLogger(__name__)

CACHE_SECONDS = 5.0
_RANKS = {"ok": 0, "warning": 1, "critical": 2, "broken": 3}


class PipelineMetrics:
    """Opens the state database at the first scrape, and reads it at most every CACHE_SECONDS."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._state: StateDatabase | None = None
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._text = b""

    def text(self) -> bytes:
        """Everything in Prometheus' text format; what is known of before when the database does not answer."""
        with self._lock:
            if time.monotonic() - self._read_at >= CACHE_SECONDS:
                try:
                    self._state = self._state or StateDatabase(self._home)
                    self._text = render(self._state, datetime.now(UTC))
                except (SQLAlchemyError, OSError):
                    log.exception("metrics of the pipeline cannot be read")
                self._read_at = time.monotonic()
            return self._text

    def close(self) -> None:
        """Close the database."""
        if self._state is not None:
            self._state.close()


def render(state: StateDatabase, now: datetime) -> bytes:
    """Probes, the outbox by channel, and monitors by their state."""
    registry = CollectorRegistry()
    status = Gauge(
        "tasks_pipeline_probe_status",
        "0 ok, 1 warning, 2 critical, 3 cannot be read.",
        ("probe",),
        registry=registry,
    )
    value = Gauge("tasks_pipeline_probe_value", "What a probe read.", ("probe",), registry=registry)
    waiting = Gauge(
        "tasks_pipeline_notifications_waiting", "Messages that wait.", ("channel",), registry=registry
    )
    dead = Gauge("tasks_pipeline_notifications_dead", "Messages given up.", ("channel",), registry=registry)
    shut = Gauge(
        "tasks_pipeline_channel_open_breaker",
        "1 while a channel is left alone.",
        ("channel",),
        registry=registry,
    )
    states = Gauge(
        "tasks_pipeline_monitors", "Monitors by type and state.", ("type", "status"), registry=registry
    )
    trouble = Gauge("tasks_pipeline_open_incidents", "Open incidents.", ("kind",), registry=registry)
    raw_days = Gauge(
        "tasks_pipeline_raw_days",
        "On PostgreSQL, days of raw envelopes by where they lie: database or files.",
        ("where",),
        registry=registry,
    )
    raw_bytes = Gauge("tasks_pipeline_raw_bytes", "What they take.", ("where",), registry=registry)
    by_state = (
        select(monitors.c.type, monitor_environments.c.status, func.count())
        .join(monitors, monitors.c.id == monitor_environments.c.monitor_id)
        .where(monitors.c.status != "disabled")
        .group_by(monitors.c.type, monitor_environments.c.status)
    )
    open_ones = (
        select(incidents.c.kind, func.count())
        .where(incidents.c.closed_at.is_(None))
        .group_by(incidents.c.kind)
    )
    with state.read() as connection:
        for name, row in all_probes(connection).items():
            if name in DESCRIPTIONS:
                status.labels(name).set(_RANKS.get(row["status"], 1))
                value.labels(name).set(row["value"] or 0)
        for kind, state_name, count in connection.execute(by_state):
            states.labels(kind, state_name).set(count)
        for kind, count in connection.execute(open_ones):
            trouble.labels(kind).set(count)
    for where, (days, size) in raw_by_place(state).items():
        raw_days.labels(where).set(days)
        raw_bytes.labels(where).set(size)
    for figures in channel_figures(state, now):
        waiting.labels(figures["channel"]).set(figures["waiting"] or 0)
        dead.labels(figures["channel"]).set(figures["dead"] or 0)
        shut.labels(figures["channel"]).set(int(bool(figures["open_until"] and figures["open_until"] > now)))
    return generate_latest(registry)
