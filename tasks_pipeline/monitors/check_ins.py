"""apply_check_ins: what check-ins of a batch say of their monitors, in the transaction that stores the batch."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import Connection, select, update

from tasks_pipeline.config import Config
from tasks_pipeline.monitors.incidents import LOCKS, Trouble, close_incident, trigger_monitor_alert
from tasks_pipeline.monitors.registry import FILE, TOO_MANY, TooMany, find_monitor, mistake, put_environment
from tasks_pipeline.monitors.schedules import EARLY, margin, max_runtime, next_time
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.passed_over import each_alone, note_passed_over
from tasks_pipeline.storage.state.tables import monitor_check_ins, monitor_environments

log = logging.getLogger(__name__)

LONGEST = timedelta(days=28)
OVER = ("ok", "error")
APPLIED, UNKNOWN, DISABLED = "applied", "nobody described the monitor", "the monitor is disabled"
UNUSABLE, AS_BEFORE = "what describes the monitor cannot be used", "applied by what was said before"
_DETAILS = {"error": "The job reported an error.", "timed_out": "The job ran for too long."}


class UnusableDescription(Exception):
    """What a client says of a monitor cannot be used; the message says why."""


def apply_check_ins(
    state: StateDatabase,
    connection: Connection,
    config: Config,
    rows: Sequence[Mapping[str, Any]],
    now: datetime,
) -> int:
    """Tell monitors of check-ins (rows of the lake's `check_ins`), in the order of their receipt. Gives how many were applied.

    A check-in of a monitor that nobody has described in a way that can be used, or above the number that clients may describe,
    changes nothing; nor does one that raises. Its row in the lake stays.
    """
    if not rows:
        return 0
    state.serialise(connection, *LOCKS)
    ordered = sorted(rows, key=lambda r: (r["received_at"], r["position"], r["item"]))

    def apply(some: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], str]]:
        return [(row, _apply(state, connection, config, row, now)) for row in some]

    fates, raised = each_alone(connection, ordered, apply)
    failures = [
        (f"a check-in of {row['monitor_slug']} of project {row['project_id']}", error)
        for row, error in raised
    ]
    note_passed_over(state, connection, "check-ins", failures, now)
    of_fate: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row, fate in chain.from_iterable(fates):
        of_fate[fate].append(row)
    surplus = [
        (
            f"a check-in of {row['monitor_slug']} in {row['environment']} of project {row['project_id']}",
            TooMany(fate),
        )
        for fate in TOO_MANY
        for row in of_fate[fate]
    ]
    note_passed_over(state, connection, "check-ins above the limit", surplus, now)
    unusable = [
        (
            f"what a check-in says of {row['monitor_slug']} of project {row['project_id']}",
            UnusableDescription(mistake(_described(row))),
        )
        for row in (*of_fate[UNUSABLE], *of_fate[AS_BEFORE])
    ]
    note_passed_over(state, connection, "descriptions of monitors", unusable, now)
    if unknown := of_fate[UNKNOWN]:
        projects = sorted({row["project_id"] for row in unknown})
        log.info(
            "%s check-ins of projects %s are of monitors that nobody described", len(unknown), projects[:20]
        )
    return len(of_fate[APPLIED]) + len(of_fate[AS_BEFORE])


def _described(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a check-in says of its monitor."""
    return json.loads(row["monitor_config"]) if row["monitor_config"] else None


def _apply(
    state: StateDatabase,
    connection: Connection,
    config: Config,
    row: Mapping[str, Any],
    now: datetime,
) -> str:
    """Tell a monitor of a check-in; gives what became of it."""
    described = _described(row)
    try:
        monitor = find_monitor(state, connection, row["project_id"], row["monitor_slug"], described, now)
        if monitor is None:
            return UNKNOWN
        if monitor["status"] == "disabled":
            return DISABLED
        environment = put_environment(
            state, connection, monitor["id"], monitor["config"], row["environment"], now
        )
    except TooMany as limit:
        return str(limit)
    if mistake(monitor["config"]):
        return UNUSABLE if mistake(described) else UNKNOWN
    _note(state, connection, config, monitor, environment, row, now)
    return AS_BEFORE if mistake(described) and monitor["source"] != FILE else APPLIED


def _note(
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
    started = run["started_at"] if run else at - _lasted(row)
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


def _lasted(row: Mapping[str, Any]) -> timedelta:
    """How long a run took by its own account; no longer than any run may take, since a client may say anything."""
    return timedelta(seconds=min(row["duration_s"] or 0.0, LONGEST.total_seconds()))


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
