"""check_monitors: what should have come by now and did not, and what runs for too long."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from tasks_pipeline.config import Config
from tasks_pipeline.facts.record import Happened, record_all
from tasks_pipeline.facts.types import MonitorMissed
from tasks_pipeline.monitors.check_ins import failed
from tasks_pipeline.monitors.clock import Downtime, last_downtime
from tasks_pipeline.monitors.incidents import LOCKS
from tasks_pipeline.monitors.schedules import margin, max_runtime, next_time
from tasks_pipeline.storage.ledger.backlog import backlogs, oldest_coming
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.passed_over import each_alone, is_own_fault, note_passed_over
from tasks_pipeline.storage.state.tables import monitor_check_ins, monitor_environments, monitors
from tasks_pipeline.stores import Stores
from tasks_pipeline.words import minutes

PAGE = 500  # monitors that are written of in one transaction
PUT_OFF = timedelta(hours=1)
GIVEN_UP = 30
"""Failures in a row of an open incident after which silence is noted every PUT_OFF: anybody may describe a job of every
minute and never be heard of again."""


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
    """How many environments are past their time, and runs past theirs; of each not more than PAGE are counted."""
    with state.read() as connection:
        late = connection.execute(
            select(func.count()).select_from(_late(now).limit(PAGE).subquery())
        ).scalar_one()
        long = connection.execute(
            select(func.count()).select_from(_long(now).limit(PAGE).subquery())
        ).scalar_one()
        return int(late) + int(long)


def check_monitors(stores: Stores, now: datetime) -> CheckReport:
    """Find missed check-ins and runs that take too long; several at once find each only once.

    While envelopes wait that came before a check-in was late, silence is not judged: it may be among them. A check-in that was
    expected while this service was down is skipped: it could not be sent, so its absence says nothing. A monitor that raises
    is passed over and looked at again in an hour; the others do not notice.
    """
    started = time.monotonic()
    report = CheckReport()
    state, config = stores.state, stores.config
    oldest = oldest_coming(backlogs(state, stores.spool))
    downtime = last_downtime(state)
    while _time_out(state, config, now, report):
        pass
    while _miss(state, config, now, oldest, downtime, report):
        pass
    held = cron_due(state, now) if oldest is not None else 0
    if held and oldest is not None:
        report.due += held
        report.held = f"envelopes of {oldest:%H:%M:%S} UTC wait to be processed"
    report.seconds = time.monotonic() - started
    return report


def _cron(rows: Any) -> Any:
    """A query for rows of monitor_environments, of cron monitors that are watched, with the monitor's columns."""
    return rows.where(monitors.c.type == "cron", monitors.c.status != "disabled")


def _joined(*more: Any) -> Any:
    columns = [c.label(f"m_{c.name}") for c in monitors.c]
    return _cron(
        select(monitor_environments, *columns, *more).join(
            monitors, monitors.c.id == monitor_environments.c.monitor_id
        )
    )


def _late(now: datetime) -> Any:
    e = monitor_environments.c
    return _joined().where(e.late_at <= now).order_by(e.late_at, e.id)  # in the order of its index


def _long(now: datetime) -> Any:
    c = monitor_check_ins.c
    of_run = (c.id.label("run_id"), c.started_at.label("run_started_at"))
    joined = _joined(*of_run).join(monitor_check_ins, c.environment_id == monitor_environments.c.id)
    return joined.where(c.timeout_at <= now)  # for an order by id SQLite would go through all of them


def _monitor(row: Mapping[str, Any]) -> dict[str, Any]:
    return {c.name: row[f"m_{c.name}"] for c in monitors.c}


def _named(row: Mapping[str, Any]) -> str:
    return f"monitor {row['m_slug']} of project {row['m_project_id']} in {row['environment']}"


def _time_out(state: StateDatabase, config: Config, now: datetime, report: CheckReport) -> bool:
    """Note runs that take too long, at most PAGE of them; gives whether there may be more."""

    def apply(some: Sequence[Mapping[str, Any]]) -> int:
        ids = [row["run_id"] for row in some]
        values = {"status": "timed_out", "timeout_at": None, "ended_at": now}
        connection.execute(update(monitor_check_ins).where(monitor_check_ins.c.id.in_(ids)).values(**values))
        return sum(_timed_out(state, connection, config, row, now) for row in some)

    with state.write() as connection:
        state.serialise(connection, *LOCKS)
        runs = [dict(row._mapping) for row in connection.execute(_long(now).limit(PAGE))]
        opened, failed_rows = each_alone(connection, runs, apply)
        for row, _ in failed_rows:
            connection.execute(
                update(monitor_check_ins)
                .where(monitor_check_ins.c.id == row["run_id"])
                .values(timeout_at=now + PUT_OFF)
            )
        note_passed_over(state, connection, "monitors", [(_named(row), e) for row, e in failed_rows], now)
    report.timed_out += len(runs) - len(failed_rows)
    report.opened += sum(opened)
    return len(runs) == PAGE


def _timed_out(
    state: StateDatabase, connection: Connection, config: Config, row: Mapping[str, Any], now: datetime
) -> bool:
    """Tell of a run that takes too long; gives whether that opened an incident."""
    limit = max_runtime(row["m_config"]).total_seconds() / 60
    detail = f"The job that began at {row['run_started_at']:%Y-%m-%d %H:%M:%S} UTC has not ended within {minutes(round(limit))}."
    # Of several runs of one environment the first may have changed its row.
    current = select(monitor_environments).where(monitor_environments.c.id == row["id"])
    environment = dict(connection.execute(current).one()._mapping)
    return failed(state, connection, config, _monitor(row), environment, "timed_out", detail, now) is not None


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of an environment whose check-in did not come: the run that is noted, and when the next one is due.

    `skipped`: it was expected while this service was down, so nothing is said of it. `row` is that of the environment, with the
    columns of its monitor.
    """

    row: Mapping[str, Any]
    expected: datetime
    following: datetime
    late: datetime
    skipped: bool

    @property
    def opens(self) -> bool:
        """Whether it opens an incident: it is one failure more."""
        threshold = self.row["m_config"].get("failure_issue_threshold") or 1
        return not self.skipped and self.row["incident_id"] is None and self.row["failures"] + 1 >= threshold


Trouble = tuple[Mapping[str, Any], Exception]
"""The row of an environment that cannot be judged, and why."""


def judge(
    rows: Iterable[Mapping[str, Any]], now: datetime, downtime: Downtime | None
) -> tuple[list[Plan], list[Trouble]]:
    """What becomes of environments (with the columns of their monitors) that are late. Nothing is read or written here."""
    plans: list[Plan] = []
    troubles: list[Trouble] = []
    for row in rows:
        try:
            plans.append(_judged(row, now, downtime))
        except Exception as error:
            if not is_own_fault(error):
                raise
            troubles.append((row, error))
    return plans, troubles


def _judged(row: Mapping[str, Any], now: datetime, downtime: Downtime | None) -> Plan:
    expected, config = row["next_at"], row["m_config"]
    grace = margin(config)
    following = next_time(config, expected)
    if (
        following + grace <= now
    ):  # more than one was missed, as after a standstill: one is told, however many they are
        following = next_time(config, now)
    if row["incident_id"] is not None and row["failures"] >= GIVEN_UP:
        following = max(following, next_time(config, now + PUT_OFF))
    skipped = downtime is not None and row["late_at"] >= downtime.start and expected <= downtime.end
    return Plan(row, expected, following, following + grace, skipped)


def _miss(
    state: StateDatabase,
    config: Config,
    now: datetime,
    oldest: datetime | None,
    downtime: Downtime | None,
    report: CheckReport,
) -> bool:
    """Note check-ins that did not come, at most PAGE of them; gives whether there may be more."""

    def apply(some: Sequence[Plan]) -> None:
        _write_plans(connection, some, now)
        _record_missed(state, connection, some)
        _write_failures(state, connection, config, some, now)

    query = _late(now)
    if oldest is not None:
        query = query.where(monitor_environments.c.late_at < oldest)
    with state.write() as connection:
        state.serialise(connection, *LOCKS)
        found = [dict(row._mapping) for row in connection.execute(query.limit(PAGE))]
        plans, troubles = judge(found, now, downtime)
        _, unwritten = each_alone(connection, plans, apply)
        troubles += [(plan.row, error) for plan, error in unwritten]
        _put_off(connection, [row["id"] for row, _ in troubles], now)
        note_passed_over(
            state, connection, "monitors", [(_named(row), error) for row, error in troubles], now
        )
    lost = {id(plan) for plan, _ in unwritten}
    done = [plan for plan in plans if id(plan) not in lost]
    report.due += len(found)
    report.skipped += sum(plan.skipped for plan in done)
    report.missed += sum(not plan.skipped for plan in done)
    report.opened += sum(plan.opens for plan in done)
    return len(found) == PAGE


def _write_plans(connection: Connection, plans: Sequence[Plan], now: datetime) -> None:
    """Note the runs that did not come, and when the next ones are due."""
    runs = [
        {
            "environment_id": plan.row["id"],
            "status": "unknown" if plan.skipped else "missed",
            "expected_at": plan.expected,
            "started_at": plan.expected,
            "ended_at": now,
            "detail": "this service was down" if plan.skipped else "",
        }
        for plan in plans
    ]
    connection.execute(monitor_check_ins.insert(), runs)
    planned = update(monitor_environments).where(monitor_environments.c.id == bindparam("row"))
    connection.execute(
        planned.values(next_at=bindparam("next"), late_at=bindparam("late")),
        [{"row": plan.row["id"], "next": plan.following, "late": plan.late} for plan in plans],
    )


def _record_missed(state: StateDatabase, connection: Connection, plans: Sequence[Plan]) -> None:
    record_all(
        state,
        connection,
        [
            Happened(MonitorMissed(environment=p.row["id"]), p.expected, p.row["m_project_id"])
            for p in plans
            if not p.skipped
        ],
    )


def _write_failures(
    state: StateDatabase, connection: Connection, config: Config, plans: Sequence[Plan], now: datetime
) -> None:
    """Count the failures, and open incidents where they are enough."""
    e = monitor_environments.c
    quiet = [plan.row["id"] for plan in plans if not plan.skipped and not plan.opens]
    for chunk in chunks(quiet):
        counted = {"status": "missed", "failures": e.failures + 1, "successes": 0}
        connection.execute(update(monitor_environments).where(e.id.in_(chunk)).values(**counted))
    for plan in plans:
        if plan.opens:
            detail = f"No check-in came; one was expected at {plan.expected:%Y-%m-%d %H:%M:%S} UTC."
            environment = {**plan.row, "next_at": plan.following}
            failed(
                state,
                connection,
                config,
                _monitor(plan.row),
                environment,
                "missed",
                detail,
                now,
                expected_at=plan.expected,
            )


def _put_off(connection: Connection, environment_ids: Sequence[int], now: datetime) -> None:
    """Leave environments alone for a while: looking at them each second would fail each second."""
    for chunk in chunks(environment_ids):
        connection.execute(
            update(monitor_environments)
            .where(monitor_environments.c.id.in_(chunk))
            .values(late_at=now + PUT_OFF)
        )
