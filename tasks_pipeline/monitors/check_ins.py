"""apply_check_ins: what check-ins of a batch say of their monitors, in the transaction that stores the batch."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from tasks_pipeline.config import Config
from tasks_pipeline.monitors.incidents import Trouble, close_incident, trigger_monitor_alert
from tasks_pipeline.monitors.registry import find_monitor, put_environment
from tasks_pipeline.monitors.schedules import margin, max_runtime, next_time
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import monitor_check_ins, monitor_environments

log = logging.getLogger(__name__)

EARLY = timedelta(seconds=30)  # clocks differ: a check-in so long before its time is the one of that time
OVER = ("ok", "error")
_DETAILS = {"error": "The job reported an error.", "timed_out": "The job ran for too long."}


def apply_check_ins(
    state: StateDatabase,
    connection: Connection,
    config: Config,
    rows: Sequence[Mapping[str, Any]],
    now: datetime,
) -> int:
    """Tell monitors of check-ins (rows of the lake's `check_ins`), in the order of their receipt. Gives how many had a monitor.

    A check-in of a monitor that nobody has described is left alone: its row in the lake stays.
    """
    if not rows:
        return 0
    state.serialise(connection, "monitors")
    applied = 0
    for row in sorted(rows, key=lambda r: (r["received_at"], r["position"], r["item"])):
        described = json.loads(row["monitor_config"]) if row["monitor_config"] else None
        monitor = find_monitor(state, connection, row["project_id"], row["monitor_slug"], described, now)
        if monitor is None:
            log.warning(
                "a check-in of %s names no known monitor of project %s",
                row["monitor_slug"],
                row["project_id"],
            )
            continue
        if monitor["status"] == "disabled":
            continue
        environment = put_environment(
            state, connection, monitor["id"], monitor["config"], row["environment"], now
        )
        if environment is None:
            log.warning("monitor %s has too many environments for %s", monitor["slug"], row["environment"])
            continue
        _apply(state, connection, config, monitor, environment, row, now)
        applied += 1
    return applied


def _apply(
    state: StateDatabase,
    connection: Connection,
    config: Config,
    monitor: Mapping[str, Any],
    environment: Mapping[str, Any],
    row: Mapping[str, Any],
    now: datetime,
) -> None:
    at: datetime = row["received_at"]
    run = _run_of(connection, environment["id"], row)
    started = run["started_at"] if run else at - timedelta(seconds=row["duration_s"] or 0)
    if run is None:
        _open_run(connection, monitor, environment, row, started)
    elif row["status"] == "in_progress" or run["status"] in OVER:
        return  # it came late, or twice: what is known of the run is newer
    else:
        _close_run(connection, run, row)
    last = environment["last_check_in_at"]
    if last is not None and at < last and run is None:
        return  # an old one: nothing moves back in time
    values: dict[str, Any] = {"last_check_in_at": max(at, last) if last else at}
    if run is None:  # the first word of a run is what its schedule waits for
        values |= _planned(monitor["config"], environment["next_at"], started)
    connection.execute(
        update(monitor_environments).where(monitor_environments.c.id == environment["id"]).values(**values)
    )
    if row["status"] == "ok":
        succeeded(state, connection, config, monitor, {**environment, **values}, now)
    elif row["status"] == "error":
        failed(state, connection, config, monitor, {**environment, **values}, "error", _DETAILS["error"], now)


def _planned(config: Mapping[str, Any], expected: datetime | None, started: datetime) -> dict[str, datetime]:
    """When the next one is due and late, after a run that started."""
    early = expected is not None and started < expected <= started + EARLY
    due = next_time(config, expected if early and expected is not None else started)
    return {"next_at": due, "late_at": due + margin(config)}


def _run_of(connection: Connection, environment_id: int, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The run that a check-in is about: that of its id, or the latest in progress for one without; None for a new run."""
    c = monitor_check_ins.c
    query = select(monitor_check_ins).where(c.environment_id == environment_id)
    if row["check_in_id"] is not None:
        query = query.where(c.check_in_id == row["check_in_id"])
    elif row["status"] == "in_progress":
        return None
    else:
        query = query.where(c.status == "in_progress").order_by(c.started_at.desc(), c.id.desc())
    found = connection.execute(query.limit(1)).first()
    return None if found is None else dict(found._mapping)


def _open_run(
    connection: Connection,
    monitor: Mapping[str, Any],
    environment: Mapping[str, Any],
    row: Mapping[str, Any],
    started: datetime,
) -> None:
    over = row["status"] in OVER
    connection.execute(
        monitor_check_ins.insert().values(
            environment_id=environment["id"],
            check_in_id=row["check_in_id"],
            status=row["status"],
            expected_at=environment["next_at"],
            started_at=started,
            ended_at=row["received_at"] if over else None,
            timeout_at=None if over else started + max_runtime(monitor["config"]),
            duration_s=row["duration_s"],
            release=row["release"],
            trace_id=row["trace_id"],
        )
    )


def _close_run(connection: Connection, run: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    at: datetime = row["received_at"]
    duration = (
        row["duration_s"] if row["duration_s"] is not None else (at - run["started_at"]).total_seconds()
    )
    late = "ended after it had timed out" if run["status"] == "timed_out" else ""
    connection.execute(
        update(monitor_check_ins)
        .where(monitor_check_ins.c.id == run["id"])
        .values(status=row["status"], ended_at=at, timeout_at=None, duration_s=duration, detail=late)
    )


def succeeded(
    state: StateDatabase,
    connection: Connection,
    config: Config,
    monitor: Mapping[str, Any],
    environment: Mapping[str, Any],
    now: datetime,
) -> None:
    """A good run, or answer: enough of them in a row close the incident."""
    successes = environment["successes"] + 1
    values = {"status": "ok", "failures": 0, "successes": successes}
    threshold = monitor["config"].get("recovery_threshold") or 1
    if environment["incident_id"] is not None:
        if successes >= threshold:
            close_incident(state, connection, config, environment["incident_id"], now)
        else:
            values["status"] = environment["status"]
    connection.execute(
        update(monitor_environments).where(monitor_environments.c.id == environment["id"]).values(**values)
    )


def failed(
    state: StateDatabase,
    connection: Connection,
    config: Config,
    monitor: Mapping[str, Any],
    environment: Mapping[str, Any],
    reason: str,
    detail: str,
    now: datetime,
    *,
    expected_at: datetime | None = None,
    severity: str = "critical",
) -> int | None:
    """A bad run, or none at all: enough of them in a row open an incident, whose number it gives."""
    failures = environment["failures"] + 1
    values = {"status": reason, "failures": failures, "successes": 0}
    connection.execute(
        update(monitor_environments).where(monitor_environments.c.id == environment["id"]).values(**values)
    )
    threshold = monitor["config"].get("failure_issue_threshold") or 1
    if environment["incident_id"] is not None or failures < threshold:
        return None
    trouble = Trouble(
        monitor=monitor,
        environment_id=environment["id"],
        environment=environment["environment"],
        reason=reason,
        detail=detail + (f" It is failure number {failures} in a row." if failures > 1 else ""),
        severity=severity,
        muted=monitor["status"] == "muted" or bool(environment["muted"]),
        expected_at=expected_at,
        next_at=environment["next_at"],
    )
    return trigger_monitor_alert(state, connection, config, trouble, now)
