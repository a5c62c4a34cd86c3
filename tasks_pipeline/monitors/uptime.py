"""check_uptime: ask the addresses that are due, judge their answers, open and close incidents."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, update

from tasks_pipeline.config.uptime import Expected, UptimeMonitor
from tasks_pipeline.monitors.check_ins import failed, succeeded
from tasks_pipeline.monitors.incidents import LOCKS
from tasks_pipeline.monitors.safe_http import Answer, Asked, Refused, RequestFailed, ask
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.passed_over import each_alone, note_passed_over
from tasks_pipeline.storage.state.tables import monitor_check_ins, monitor_environments, monitors
from tasks_pipeline.stores import Stores

AT_ONCE = 32
HISTORY = 2000  # checks of a monitor that are kept


@dataclass
class UptimeReport:
    """What was asked and what came of it."""

    asked: int = 0
    bad: int = 0
    opened: int = 0

    def add(self, other: UptimeReport) -> None:
        """Add what a later check found."""
        self.asked += other.asked
        self.bad += other.bad
        self.opened += other.opened

    def figures(self) -> dict[str, Any]:
        """For the UI."""
        return {"uptime_checks": self.asked, "bad_answers": self.bad, "opened_uptime_incidents": self.opened}


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer judged: `reason` is empty for a good one, else down or expiring; `data` is what is kept of it."""

    reason: str
    detail: str
    data: dict[str, Any]


def uptime_due(state: StateDatabase, now: datetime) -> int:
    """How many addresses are to be asked."""
    with state.read() as connection:
        return int(connection.execute(_due(func.count(), now)).scalar_one())


def next_uptime(state: StateDatabase) -> datetime | None:
    """When the next address is to be asked; None when there is none to ask."""
    e = monitor_environments.c
    query = (
        select(e.next_at)
        .join(monitors, monitors.c.id == e.monitor_id)
        .where(monitors.c.type == "uptime", monitors.c.status != "disabled", e.next_at.is_not(None))
        .order_by(e.next_at)
        .limit(1)
    )
    with state.read() as connection:
        found: datetime | None = connection.execute(query).scalar_one_or_none()
    return found


def _due(what: Any, now: datetime) -> Any:
    joined = monitor_environments.join(monitors, monitors.c.id == monitor_environments.c.monitor_id)
    return (
        select(what)
        .select_from(joined)
        .where(
            monitors.c.type == "uptime",
            monitors.c.status != "disabled",
            monitor_environments.c.next_at <= now,
        )
    )


def check_uptime(stores: Stores, now: datetime) -> UptimeReport:
    """Ask every address that is due, side by side; several at once ask each only once."""
    report = UptimeReport()
    configured = {(p.id, m.slug): m for p in stores.config.projects for m in p.uptime}
    claimed = _claim(stores, configured, now)
    if not claimed:
        return report
    with ThreadPoolExecutor(min(AT_ONCE, len(claimed)), thread_name_prefix="uptime") as pool:
        verdicts = list(pool.map(lambda each: examine(each[2], now), claimed))
    _record_all(stores, list(zip(claimed, verdicts, strict=True)), now, report)
    return report


_Claimed = tuple[dict[str, Any], dict[str, Any], UptimeMonitor]


def _record_all(
    stores: Stores, answers: Sequence[tuple[_Claimed, Verdict]], now: datetime, report: UptimeReport
) -> None:
    """Remember checks; one that cannot be remembered costs itself."""
    state = stores.state

    def apply(some: Sequence[tuple[_Claimed, Verdict]]) -> int:
        return sum(
            _record(stores, connection, monitor, environment["id"], verdict, now)
            for (monitor, environment, _), verdict in some
        )

    with state.write() as connection:
        state.serialise(connection, *LOCKS)
        opened, failed_ones = each_alone(connection, answers, apply)
        failures = [
            (f"monitor {monitor['slug']} of project {monitor['project_id']}", error)
            for ((monitor, _, _), _), error in failed_ones
        ]
        note_passed_over(state, connection, "monitors", failures, now)
    report.asked += len(answers)
    report.bad += sum(bool(verdict.reason) for _, verdict in answers)
    report.opened += sum(opened)


def _claim(stores: Stores, configured: dict[tuple[int, str], UptimeMonitor], now: datetime) -> list[_Claimed]:
    """The monitors that are due, each with its environment; planned anew before they are asked, so nobody else does."""
    state = stores.state
    claimed: list[_Claimed] = []
    with state.write() as connection:
        state.serialise(connection, "monitors")
        ids = connection.execute(_due(monitor_environments.c.id, now)).scalars().all()
        for environment_id in ids:
            e = monitor_environments.c
            environment = connection.execute(select(monitor_environments).where(e.id == environment_id)).one()
            monitor = connection.execute(
                select(monitors).where(monitors.c.id == environment.monitor_id)
            ).one()
            wanted = configured.get((monitor.project_id, monitor.slug))
            if wanted is None:  # not configured any more, and not synchronised yet
                connection.execute(
                    update(monitor_environments).where(e.id == environment_id).values(next_at=None)
                )
                continue
            due = now + timedelta(seconds=wanted.interval_seconds)
            connection.execute(update(monitor_environments).where(e.id == environment_id).values(next_at=due))
            thresholds = {
                "failure_issue_threshold": wanted.failure_threshold, "recovery_threshold": wanted.recovery_threshold,
            }  # fmt: skip
            row = dict(monitor._mapping)
            row["config"] = {**row["config"], **thresholds}
            claimed.append((row, dict(environment._mapping), wanted))
    return claimed


def examine(monitor: UptimeMonitor, now: datetime) -> Verdict:
    """Ask an address and judge its answer. A bad one is asked again at once, so that one lost packet is no failure."""
    asked = Asked(
        url=monitor.url,
        method=monitor.method,
        headers={name: value.get_secret_value() for name, value in monitor.headers.items()},
        body=(monitor.body or "").encode(),
        timeout_seconds=monitor.timeout_seconds,
        follow_redirects=monitor.follow_redirects,
    )
    detail, answer = "", None
    for _ in range(2):
        try:
            answer = ask(asked, monitor.networks)
            detail = wrong(answer, monitor.expect)
        except Refused as refused:
            return Verdict(
                "down", f"not asked: {refused}; `allow_private` allows it", {"error": str(refused)}
            )
        except RequestFailed as error:
            detail = str(error)
        if not detail:
            break
    data: dict[str, Any] = {"error": detail} if detail else {}
    if answer is not None:
        data |= {"status": answer.status, "milliseconds": round(answer.seconds * 1000, 1)}
        if answer.certificate_expires is not None:
            data["certificate_expires"] = answer.certificate_expires.isoformat()
    if detail:
        return Verdict("down", detail[:500], data)
    if answer is not None and answer.certificate_expires is not None:
        days = (answer.certificate_expires - now).total_seconds() / 86_400
        if days < monitor.certificate_days:
            return Verdict("expiring", f"Its certificate expires in {days:.1f} days.", data)
    return Verdict("", "", data)


def wrong(answer: Answer, expected: Expected) -> str:
    """What is wrong with an answer; empty when nothing is."""
    ranges = [tuple(map(int, text.split("-"))) for text in expected.status]
    if not any(span[0] <= answer.status <= span[-1] for span in ranges):
        return f"status {answer.status}; expected is {', '.join(expected.status)}"
    body = answer.body.decode("utf-8", "replace")
    if expected.body_contains is not None and expected.body_contains not in body:
        return f"the body does not hold {expected.body_contains[:100]!r}"
    if expected.body_lacks is not None and expected.body_lacks in body:
        return f"the body holds {expected.body_lacks[:100]!r}"
    for name, text in expected.headers.items():
        if text not in answer.headers.get(name.lower(), ""):
            return f"the header {name} does not hold {text[:100]!r}"
    return ""


def _record(
    stores: Stores,
    connection: Connection,
    monitor: dict[str, Any],
    environment_id: int,
    verdict: Verdict,
    now: datetime,
) -> int:
    """Remember a check, and open or close the incident; gives how many were opened. Of a monitor that was disabled while it was
    asked nothing is remembered."""
    state, config, e = stores.state, stores.config, monitor_environments.c
    status = select(monitors.c.status).where(monitors.c.id == monitor["id"])
    if connection.execute(status).scalar_one() == "disabled":
        return 0
    detail = verdict.detail.replace("\0", "\ufffd")  # the far side's words, and no text for Postgres
    connection.execute(
        monitor_check_ins.insert().values(
            environment_id=environment_id,
            status="error" if verdict.reason else "ok",
            started_at=now,
            ended_at=now,
            duration_s=verdict.data.get("milliseconds", 0) / 1000,
            detail=detail,
        )
    )
    connection.execute(
        update(monitor_environments)
        .where(e.id == environment_id)
        .values(last_check_in_at=now, data=verdict.data)
    )
    _forget_old(connection, environment_id)
    environment = dict(
        connection.execute(select(monitor_environments).where(e.id == environment_id)).one()._mapping
    )
    if not verdict.reason:
        succeeded(state, connection, config, monitor, environment, now)
        return 0
    severity = "warning" if verdict.reason == "expiring" else "critical"
    opened = failed(
        state,
        connection,
        config,
        monitor,
        environment,
        verdict.reason,
        detail,
        now,
        severity=severity,
    )
    return int(opened is not None)


def _forget_old(connection: Connection, environment_id: int) -> None:
    c = monitor_check_ins.c
    newest = (
        select(c.id).where(c.environment_id == environment_id).order_by(c.id.desc()).offset(HISTORY).limit(1)
    )
    limit = connection.execute(newest).scalar_one_or_none()
    if limit is not None:
        connection.execute(
            monitor_check_ins.delete().where(c.environment_id == environment_id, c.id <= limit)
        )
