"""check_uptime: ask the addresses that are due, judge their answers, open and close incidents."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, update

from tasks_pipeline import outbound
from tasks_pipeline.config.uptime import Expected, UptimeMonitor
from tasks_pipeline.monitors.check_ins import failed, succeeded
from tasks_pipeline.monitors.incidents import LOCKS
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.passed_over import each_alone, note_passed_over
from tasks_pipeline.storage.state.tables import monitor_check_ins, monitor_environments, monitors
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)

AGENT = "tasks-pipeline-uptime"
AT_ONCE = 64  # addresses that do not answer hold up others only when there are so many of them
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
    """Ask every address that is due, side by side, and wait for all of them; several at once ask each only once."""
    report = UptimeReport()
    with UptimeChecks(stores) as checks:
        while checks.begin(now):
            checks.wait(None)
            report.add(checks.collect())
    return report


class UptimeChecks:
    """The addresses that are being asked. One that takes its time holds up nobody: who began it looks at other things
    meanwhile, and collects what has come."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._configured = {(p.id, m.slug): m for p in stores.config.projects for m in p.uptime}
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="uptime")
        self._under_way: dict[Future[Verdict], tuple[_Claimed, datetime]] = {}

    def __enter__(self) -> UptimeChecks:
        return self

    def __exit__(self, *_: object) -> None:
        # Those that still wait end at their deadline; nobody waits for them.
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def busy(self) -> bool:
        """Whether an answer is waited for, or was not collected yet."""
        return bool(self._under_way)

    def begin(self, now: datetime) -> int:
        """Begin to ask what is due, as many as may be under way at once; gives how many were begun."""
        free = AT_ONCE - len(self._under_way)
        if free <= 0:
            return 0
        asked = [claimed[1]["id"] for claimed, _ in self._under_way.values()]
        claimed = _claim(self._stores, self._configured, now, free, asked)
        for each in claimed:
            self._under_way[self._pool.submit(examine, each[2], now)] = (each, now)
        return len(claimed)

    def wait(self, seconds: float | None) -> None:
        """Wait until all have answered, at most so long."""
        wait(self._under_way, timeout=seconds)

    def collect(self) -> UptimeReport:
        """Record the answers that have come since, and open and close incidents."""
        over = [future for future in self._under_way if future.done()]
        if not over:
            return UptimeReport()
        answers = [(*self._under_way[future], _verdict_of(future)) for future in over]
        report = _record_all(self._stores, answers, max(at for _, at, _ in answers))
        for future in over:
            del self._under_way[future]
        return report

    def give_back(self, now: datetime) -> int:
        """Leave the addresses that have not answered to the next run: they are due at once. Gives how many there were."""
        left = [claimed[1]["id"] for claimed, _ in self._under_way.values()]
        self._under_way.clear()
        if left:
            e = monitor_environments.c
            with self._stores.state.write() as connection:
                connection.execute(
                    update(monitor_environments)
                    .where(e.id.in_(left), e.next_at.is_not(None))
                    .values(next_at=now)
                )
        return len(left)


def _verdict_of(future: Future[Verdict]) -> Verdict:
    try:
        return future.result()
    except (
        Exception
    ) as error:  # one address that cannot be asked must not keep the others from being recorded
        log.exception("an uptime check failed")
        return Verdict("down", f"it could not be checked: {type(error).__name__}", {"error": "not checked"})


_Claimed = tuple[dict[str, Any], dict[str, Any], UptimeMonitor]


def _record_all(
    stores: Stores, answers: Sequence[tuple[_Claimed, datetime, Verdict]], now: datetime
) -> UptimeReport:
    """Remember checks; one that cannot be remembered costs itself."""
    state = stores.state

    def apply(some: Sequence[tuple[_Claimed, datetime, Verdict]]) -> int:
        return sum(
            _record(stores, connection, monitor, environment["id"], verdict, at)
            for (monitor, environment, _), at, verdict in some
        )

    with state.write() as connection:
        state.serialise(connection, *LOCKS)
        opened, failed_ones = each_alone(connection, answers, apply)
        failures = [
            (f"monitor {monitor['slug']} of project {monitor['project_id']}", error)
            for ((monitor, _, _), _, _), error in failed_ones
        ]
        note_passed_over(state, connection, "monitors", failures, now)
    return UptimeReport(
        asked=len(answers),
        bad=sum(bool(verdict.reason) for _, _, verdict in answers),
        opened=sum(opened),
    )


def _claim(
    stores: Stores,
    configured: dict[tuple[int, str], UptimeMonitor],
    now: datetime,
    most: int,
    under_way: Sequence[int],
) -> list[_Claimed]:
    """The monitors that are due for longest and not under way, each with its environment; planned anew before they are
    asked, so nobody else does."""
    state = stores.state
    claimed: list[_Claimed] = []
    with state.write() as connection:
        state.serialise(connection, "monitors")
        e = monitor_environments.c
        due_ids = _due(e.id, now).where(e.id.not_in(under_way)).order_by(e.next_at, e.id).limit(most)
        for environment_id in connection.execute(due_ids).scalars().all():
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
    """Ask an address and judge its answer. A bad one is asked again at once, so that one lost packet is no failure; each time
    may take `timeout_seconds` in all."""
    asked = outbound.Request(
        url=monitor.url,
        method=monitor.method,
        headers={name: value.get_secret_value() for name, value in monitor.headers.items()},
        body=(monitor.body or "").encode(),
        seconds=monitor.timeout_seconds,
        redirects=monitor.follow_redirects,
        agent=AGENT,
    )
    detail, answer = "", None
    for _ in range(2):
        try:
            answer = outbound.ask(asked, monitor.networks)
            detail = wrong(answer, monitor.expect)
        except outbound.Refused as refused:
            return Verdict(
                "down", f"not asked: {refused}; `allow_private` allows it", {"error": str(refused)}
            )
        except outbound.OutboundError as error:
            detail = str(error)
        if not detail:
            break
    data: dict[str, Any] = {"error": detail} if detail else {}
    if answer is not None:
        data |= {"status": answer.status, "milliseconds": round(answer.seconds * 1000, 1)}
        data |= {"truncated": True} if answer.truncated else {}
        if answer.certificate_expires is not None:
            data["certificate_expires"] = answer.certificate_expires.isoformat()
    if detail:
        return Verdict("down", detail[:500], data)
    if answer is not None and answer.certificate_expires is not None:
        days = (answer.certificate_expires - now).total_seconds() / 86_400
        if days < monitor.certificate_days:
            return Verdict("expiring", f"Its certificate expires in {days:.1f} days.", data)
    return Verdict("", "", data)


def wrong(answer: outbound.Answer, expected: Expected) -> str:
    """What is wrong with an answer; empty when nothing is."""
    ranges = [tuple(map(int, text.split("-"))) for text in expected.status]
    if not any(span[0] <= answer.status <= span[-1] for span in ranges):
        return f"status {answer.status}; expected is {', '.join(expected.status)}"
    body = answer.body.decode("utf-8", "replace")
    what = f"what was read of the body ({len(answer.body):,} bytes)" if answer.truncated else "the body"
    if expected.body_contains is not None and expected.body_contains not in body:
        return f"{what} does not hold {expected.body_contains[:100]!r}"
    if expected.body_lacks is not None and expected.body_lacks in body:
        return f"{what} holds {expected.body_lacks[:100]!r}"
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
