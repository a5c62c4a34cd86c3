"""check_monitors: what should have come by now and did not, and what runs for too long."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from tasks_pipeline.config import Config
from tasks_pipeline.monitors.check_ins import failed
from tasks_pipeline.monitors.clock import Downtime, last_downtime
from tasks_pipeline.monitors.schedules import margin, max_runtime, next_time
from tasks_pipeline.storage.ledger.backlog import backlogs
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import monitor_check_ins, monitor_environments, monitors
from tasks_pipeline.stores import Stores


@dataclass
class CheckReport:
    """What was found: environments past their time, of them missed, skipped because the service itself was down, runs that
    timed out, incidents opened; `held` says why silence was not judged."""

    due: int = 0
    missed: int = 0
    skipped: int = 0
    timed_out: int = 0
    opened: int = 0
    seconds: float = 0.0
    held: str = ""

    def add(self, other: CheckReport) -> None:
        """Add what a later check found."""
        self.due += other.due
        self.missed += other.missed
        self.skipped += other.skipped
        self.timed_out += other.timed_out
        self.opened += other.opened
        self.seconds += other.seconds
        self.held = other.held

    def figures(self) -> dict[str, Any]:
        """For the UI."""
        return {
            "missed_check_ins": self.missed, "skipped_after_downtime": self.skipped, "timed_out_runs": self.timed_out,
            "opened_incidents": self.opened, "check_seconds": round(self.seconds, 3),
        }  # fmt: skip


def cron_due(state: StateDatabase, now: datetime) -> int:
    """How many environments are past their time, and runs past theirs."""
    late = (
        select(func.count())
        .select_from(monitor_environments.join(monitors))
        .where(monitor_environments.c.late_at <= now, monitors.c.status != "disabled")
    )
    long = select(func.count()).where(monitor_check_ins.c.timeout_at <= now)
    with state.read() as connection:
        return int(connection.execute(late).scalar_one()) + int(connection.execute(long).scalar_one())


def check_monitors(stores: Stores, now: datetime) -> CheckReport:
    """Find missed check-ins and runs that take too long; several at once find each only once.

    While envelopes wait that came before a check-in was late, silence is not judged: it may be among them. A check-in that was
    expected while this service was down is skipped: it could not be sent, so its absence says nothing.
    """
    started = time.monotonic()
    report = CheckReport()
    state, config = stores.state, stores.config
    oldest = min((b.oldest for b in backlogs(state, stores.spool) if b.oldest is not None), default=None)
    downtime = last_downtime(state)
    with state.write() as connection:
        state.serialise(connection, "monitors")
        _time_out(state, connection, config, now, report)
        _miss(state, connection, config, now, oldest, downtime, report)
    report.seconds = time.monotonic() - started
    return report


def _joined() -> Any:
    columns = [c.label(f"m_{c.name}") for c in monitors.c]
    return select(monitor_environments, *columns).join(
        monitors, monitors.c.id == monitor_environments.c.monitor_id
    )


def _monitor(row: Mapping[str, Any]) -> dict[str, Any]:
    return {c.name: row[f"m_{c.name}"] for c in monitors.c}


def _time_out(
    state: StateDatabase, connection: Connection, config: Config, now: datetime, report: CheckReport
) -> None:
    c = monitor_check_ins.c
    runs = connection.execute(
        update(monitor_check_ins)
        .where(c.timeout_at <= now)
        .values(status="timed_out", timeout_at=None, ended_at=now)
        .returning(c.environment_id, c.started_at)
    ).all()
    report.timed_out += len(runs)
    for run in runs:
        query = _joined().where(monitor_environments.c.id == run.environment_id)
        row = dict(connection.execute(query).one()._mapping)
        monitor = _monitor(row)
        minutes = max_runtime(monitor["config"]).total_seconds() / 60
        detail = f"The job that began at {run.started_at:%Y-%m-%d %H:%M:%S} UTC has not ended within {minutes:,.0f} minutes."
        opened = failed(state, connection, config, monitor, row, "timed_out", detail, now)
        report.opened += opened is not None


def _miss(
    state: StateDatabase,
    connection: Connection,
    config: Config,
    now: datetime,
    oldest: datetime | None,
    downtime: Downtime | None,
    report: CheckReport,
) -> None:
    e = monitor_environments.c
    late = connection.execute(_joined().where(e.late_at <= now, monitors.c.status != "disabled"))
    # Sorted here: for an order by id SQLite would go through all of them in that order.
    found = sorted((dict(row._mapping) for row in late), key=itemgetter("id"))
    report.due += len(found)
    if oldest is not None:
        held = [row for row in found if row["late_at"] >= oldest]
        if held:
            report.held = f"envelopes of {oldest:%H:%M:%S} UTC wait to be processed"
            found = [row for row in found if row["late_at"] < oldest]
    runs: list[dict[str, Any]] = []
    plans: list[dict[str, Any]] = []
    troubled: list[dict[str, Any]] = []
    for row in found:
        expected, settings = row["next_at"], row["m_config"]
        skipped = downtime is not None and row["late_at"] >= downtime.start and expected <= downtime.end
        following = next_time(settings, expected)
        if (
            following + margin(settings) <= now
        ):  # more than one was missed, as after a standstill: one is told
            following = next_time(settings, now)
        runs.append(
            {
                "environment_id": row["id"],
                "status": "unknown" if skipped else "missed",
                "expected_at": expected,
                "started_at": expected,
                "ended_at": now,
                "detail": "this service was down" if skipped else "",
            }
        )
        plans.append({"row": row["id"], "next": following, "late": following + margin(settings)})
        if not skipped:
            troubled.append({**row, "next_at": following, "expected_at": expected})
    report.missed += len(troubled)
    report.skipped += len(found) - len(troubled)
    for chunk in chunks(runs):
        connection.execute(monitor_check_ins.insert(), list(chunk))
    if plans:
        planned = update(monitor_environments).where(e.id == bindparam("row"))
        connection.execute(planned.values(next_at=bindparam("next"), late_at=bindparam("late")), plans)
    quiet = [row["id"] for row in troubled if not _opens(row)]
    for chunk in chunks(quiet):
        connection.execute(
            update(monitor_environments)
            .where(e.id.in_(chunk))
            .values(status="missed", failures=e.failures + 1, successes=0)
        )
    for row in troubled:
        if _opens(row):
            detail = f"No check-in came; one was expected at {row['expected_at']:%Y-%m-%d %H:%M:%S} UTC."
            failed(
                state,
                connection,
                config,
                _monitor(row),
                row,
                "missed",
                detail,
                now,
                expected_at=row["expected_at"],
            )
            report.opened += 1


def _opens(row: Mapping[str, Any]) -> bool:
    """Whether one more failure opens an incident."""
    threshold = row["m_config"].get("failure_issue_threshold") or 1
    return row["incident_id"] is None and row["failures"] + 1 >= threshold
