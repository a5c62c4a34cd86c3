"""Rows of report_deliveries: one for each closed period and each of its subscribers, and what became of it.

Rows are made when a period is over, and decided once: by a message in the outbox, or by a reason why there is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, and_, func, select, update

from tasks_pipeline.config import Config
from tasks_pipeline.notifications.outbox import NewNotification, put_notifications
from tasks_pipeline.notifications.report_content import TYPE
from tasks_pipeline.notifications.subscriptions import ADVERBS, Kind, decisions
from tasks_pipeline.reports.periods import Period, PeriodError, period_at, period_of
from tasks_pipeline.reports.proofs_kept import why_wrong
from tasks_pipeline.reports.recipients import Recipient, due_at, recipients, told_of
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import (
    UtcDateTime,
    notifications,
    report_deliveries,
    report_revisions,
    reports,
)
from tasks_pipeline.words import counted

BACK = {"day": 31, "week": 8, "month": 3}
"""So many periods are looked back at after downtime; of older ones there is no row."""
STATUSES = ("sent", "waiting", "failed", "skipped")
MOST_OF_PERIOD = 10_000  # rows that are counted of one
NOTHING_YET = "empty: nothing was received yet"
_BY_MESSAGE = {
    "sent": "sent",
    "waiting": "waiting",
    "sending": "waiting",
    "dead": "failed",
    "skipped": "skipped",
}
"""By the status of the message."""

d = report_deliveries.c


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row that is due, and who it is for; None of somebody who is no subscriber any more."""

    kind: Kind
    key: date
    target: str
    due_at: datetime
    recipient: Recipient | None

    @property
    def name(self) -> str:
        """`weekly report of 2026-11-16 for member:anna@acme.example`."""
        return f"{ADVERBS[self.kind]} report of {self.key} for {self.target}"


def outbox_key(kind: Kind, key: date, target: str) -> str:
    """What makes a message one for ever: `report:weekly:2026-11-16:anna@acme.example`."""
    return f"report:{ADVERBS[kind]}:{key}:{target.removeprefix('member:')}"


def closed_period(config: Config, recipient: Recipient, now: datetime) -> Period:
    """The newest period of a recipient that is over."""
    return period_at(recipient.kind, now, recipient.zone, config.reports.week_starts).previous()


def plan_deliveries(
    state: StateDatabase, config: Config, now: datetime, first_day: Callable[[], date | None]
) -> int:
    """Make the rows of periods that are over, where they are missing; gives how many. Who asks again changes nothing.

    `first_day` gives the UTC day of the first envelope: of a period before it there is nothing to tell.
    """
    with state.read() as connection:
        missing = list(_missing(connection, config, now))
    if not missing:
        return 0
    begun = first_day()
    rows = [_new_row(recipient, period, now, begun) for recipient, period in missing]
    with state.write() as connection:
        state.put(connection, _kept, rows)
    return len(rows)


def _kept(state: StateDatabase) -> Any:
    return state.insert(report_deliveries).on_conflict_do_nothing(index_elements=["kind", "key", "target"])


def _new_row(recipient: Recipient, period: Period, now: datetime, first_day: date | None) -> dict[str, Any]:
    before_all = first_day is None or period.end <= datetime.combine(first_day, time(), UTC)
    return {
        "kind": recipient.kind,
        "key": period.key,
        "target": recipient.target,
        "due_at": due_at(recipient, period),
        "decided_at": now if before_all else None,
        "reason": NOTHING_YET if before_all else "",
    }


def _missing(connection: Connection, config: Config, now: datetime) -> Iterator[tuple[Recipient, Period]]:
    """Subscribers and closed periods without a row: the newest, and those since the newest that there are rows of."""
    newest = {kind: _newest_key(connection, kind) for kind in ADVERBS}
    there: dict[tuple[str, date], set[str]] = {}
    for recipient in recipients(config, decisions(connection)):
        period = closed_period(config, recipient, now)
        known = newest[recipient.kind]
        for number in range(BACK[recipient.kind]):
            if number and (known is None or period.key <= known):
                break
            place = recipient.kind, period.key
            if place not in there:
                there[place] = _targets(connection, recipient.kind, period.key)
            if recipient.target not in there[place]:
                yield recipient, period
            period = period.previous()


def _newest_key(connection: Connection, kind: Kind) -> date | None:
    return connection.execute(select(d.key).where(d.kind == kind).order_by(d.key.desc()).limit(1)).scalar()


def _targets(connection: Connection, kind: Kind, key: date) -> set[str]:
    return set(connection.execute(select(d.target).where(d.kind == kind, d.key == key)).scalars())


def due_deliveries(connection: Connection, config: Config, now: datetime) -> list[Delivery]:
    """Rows that are due and not decided, those of one report together, older periods first."""
    known = {(r.kind, r.target): r for r in recipients(config, decisions(connection))}
    query = select(report_deliveries).where(d.decided_at.is_(None), d.due_at <= now)
    found = [
        Delivery(row.kind, row.key, row.target, row.due_at, known.get((row.kind, row.target)))
        for row in connection.execute(query.order_by(d.due_at))
    ]
    return sorted(found, key=_together)


def _together(one: Delivery) -> tuple[Any, ...]:
    return together(one.kind, one.key, one.recipient), one.target


def together(kind: Kind, key: date, of: Recipient | None) -> tuple[Any, ...]:
    """What is sorted by this follows what can use the same report."""
    return kind, key, of.scope if of else "", sorted(of.projects or ()) if of else []


def next_due(
    config: Config, recipient: Recipient, newest: Mapping[str, Any] | None, now: datetime
) -> datetime:
    """When somebody gets their next report, by the newest row that there is of theirs: of a period that is over it may not be made
    yet, and is due all the same, unless it would be too late."""
    closed = closed_period(config, recipient, now)
    if newest is not None and newest["key"] >= closed.key:
        return newest["due_at"] if newest["decided_at"] is None else due_at(recipient, closed.next())
    due = due_at(recipient, closed)
    return due if now <= due + lateness(config, recipient.kind) else due_at(recipient, closed.next())


def next_delivery(connection: Connection, config: Config, now: datetime) -> tuple[datetime, str] | None:
    """When the next report is due, and to whom: of rows that are not due yet, and of periods that still run. None without
    subscribers."""
    query = (
        select(d.due_at, d.target).where(d.decided_at.is_(None), d.due_at > now).order_by(d.due_at).limit(1)
    )
    row = connection.execute(query).first()
    found = [(row.due_at, row.target)] if row else []
    starts = config.reports.week_starts
    for recipient in recipients(config, decisions(connection)):
        if recipient.reason:
            continue
        running = period_at(recipient.kind, now, recipient.zone, starts)
        found.append((due_at(recipient, running), recipient.target))
    return min(found, default=None)


@dataclass(frozen=True, slots=True)
class Computed:
    """The stored report of a scope: its newest revision, when the first one was computed, and the check that says that it is wrong;
    empty when none does."""

    revision: int
    first_at: datetime
    wrong: str = ""


def computed_report(connection: Connection, recipient: Recipient, key: date) -> Computed | None:
    """The report that a recipient is told of; None while there is none. Of a part of the organisation's it is the organisation's."""
    r, v = reports.c, report_revisions.c
    query = (
        select(
            r.id, r.start, r.end, r.checked_at, r.revision,
            func.min(v.computed_at, type_=UtcDateTime()).label("first_at"),
        )
        .join(report_revisions, v.report_id == r.id)
        .where(r.kind == recipient.kind, r.key == key, r.zone == recipient.zone, r.scope == recipient.stored)
        .group_by(r.id, r.start, r.end, r.checked_at, r.revision)
    )  # fmt: skip
    row = connection.execute(query).first()
    return Computed(row.revision, row.first_at, why_wrong(connection, row)) if row else None


def lateness(config: Config, kind: Kind) -> timedelta:
    """So long after its end a report may be computed, and after it was due be sent."""
    settings = config.reports
    return timedelta(days=settings.send_monthly_within_days if kind == "month" else settings.send_within_days)


def why_not(
    config: Config, one: Delivery, computed: Computed | None, newer: date | None, now: datetime
) -> str | None:
    """Why a row that is due becomes no message, as far as that can be told without the report; "" when it may become one, None
    while it has to wait for its report. `newer`: a later period whose report is due to the same target."""
    recipient, most = one.recipient, lateness(config, one.kind)
    if recipient is None:
        return "no subscriber any more"
    if recipient.reason:
        return recipient.reason
    if newer is not None:
        return f"too late: the report of {newer} is due too"
    try:
        period = period_of(one.kind, one.key, recipient.zone, config.reports.week_starts)
    except PeriodError as error:
        return f"no such period any more: {error}"
    if now > one.due_at + most:
        wrong = f", and was wrong: {computed.wrong}" if computed and computed.wrong else ""
        return f"too late: it was due on {one.due_at:%Y-%m-%d %H:%M} UTC{wrong}"
    if computed is None or computed.wrong:
        return None
    if computed.first_at > period.end + most:
        after = counted((computed.first_at - period.end).days, "day")
        return f"too late: computed {after} after its end"
    return ""


def newer_of(due: Sequence[Delivery]) -> dict[tuple[str, str], date]:
    """By kind and target, the newest period that is due: only of that one anybody is told."""
    newest: dict[tuple[str, str], date] = {}
    for one in due:
        newest[one.kind, one.target] = max(one.key, newest.get((one.kind, one.target), one.key))
    return newest


def settle(
    connection: Connection,
    one: Delivery,
    now: datetime,
    *,
    reason: str = "",
    notification_id: int | None = None,
    revision: int | None = None,
) -> bool:
    """Decide a row; False, and nothing changed, when another process did before."""
    values = {
        "decided_at": now,
        "reason": reason[:100],
        "notification_id": notification_id,
        "revision": revision,
    }
    where = and_(d.kind == one.kind, d.key == one.key, d.target == one.target, d.decided_at.is_(None))
    return bool(connection.execute(update(report_deliveries).where(where).values(values)).rowcount)


def deliveries_of(
    connection: Connection,
    kind: Kind,
    key: date | None = None,
    *,
    target: str | None = None,
    limit: int = 1000,
) -> list[dict[str, Any]]:
    """Rows with what became of them, the newest periods first: columns of report_deliveries, and `status`, one of STATUSES;
    `sent_at`, and as `detail` why its message was not sent yet."""
    n = notifications.c
    query = select(report_deliveries, n.status, n.sent_at, n.reason.label("detail")).join(
        notifications, n.id == d.notification_id, isouter=True
    )
    query = query.where(d.kind == kind)
    for condition, value in ((d.key == key, key), (d.target == target, target)):
        if value is not None:
            query = query.where(condition)
    rows = connection.execute(query.order_by(d.key.desc(), d.target.desc()).limit(limit))
    return [{**row._mapping, "status": _status(dict(row._mapping))} for row in rows]


def _status(row: Mapping[str, Any]) -> str:
    return _status_of(row["decided_at"] is None, row["notification_id"] is None, row["status"])


def _status_of(open_: bool, without_message: bool, status: str | None) -> str:
    if open_:
        return "waiting"
    if without_message:
        return "skipped"
    # A message that is not kept any more was sent, as far as anybody can tell.
    return _BY_MESSAGE.get(status or "sent", "failed")


def counts_since(connection: Connection, since: date) -> Counter[str]:
    """How many rows of periods since have each status."""
    n = notifications.c
    found: Counter[str] = Counter()
    for kind in ADVERBS:
        query = (
            select(d.decided_at.is_(None), d.notification_id.is_(None), n.status, func.count())
            .select_from(report_deliveries.outerjoin(notifications, n.id == d.notification_id))
            .where(d.kind == kind, d.key >= since)
            .group_by(d.decided_at.is_(None), d.notification_id.is_(None), n.status)
        )
        for open_, without, status, count in connection.execute(query):
            found[_status_of(open_, without, status)] += count
    return found


def counts_of(connection: Connection, config: Config, kind: Kind, key: date) -> dict[str, Counter[str]]:
    """How many rows of a period have each status, by the scope that they tell of, as it is stored: that of their target now. Who is
    not configured any more is left out."""
    scopes = told_of(config)
    found: dict[str, Counter[str]] = {}
    for row in deliveries_of(connection, kind, key, limit=MOST_OF_PERIOD):
        if row["target"] in scopes:
            found.setdefault(scopes[row["target"]], Counter())[row["status"]] += 1
    return found


def without_row(connection: Connection, config: Config, now: datetime) -> list[tuple[Recipient, Period]]:
    """Subscribers of periods that are over for whom there is no row: nobody may be forgotten silently. Whoever subscribed since has rows of
    later periods alone."""
    return [
        (recipient, period)
        for recipient, period in _missing(connection, config, now)
        if not _joined_since(connection, recipient, period)
    ]


def _joined_since(connection: Connection, recipient: Recipient, period: Period) -> bool:
    """Whether there are rows of later periods alone; of those before, the last ones are looked at."""
    before = period
    for _ in range(BACK[recipient.kind]):
        before = before.previous()
    query = select(d.key).where(d.kind == recipient.kind, d.key >= before.key, d.target == recipient.target)
    keys = set(connection.execute(query).scalars())
    return bool(keys) and min(keys) > period.key


def twice_told(connection: Connection, since: datetime) -> list[str]:
    """Of messages of reports that were put since, those that somebody got a second of, by what they are about. What was sent again
    by hand, and revisions that somebody asked for, say so in their keys. Only these are read: messages are 100 KB each."""
    n = notifications.c
    query = select(n.key, n.target).where(n.created_at >= since, n.type == TYPE)
    told: Counter[str] = Counter()
    for row in connection.execute(query):
        if row.key.endswith(row.target.removeprefix("member:")):
            _, adverb, key, _ = row.key.split(":", 3)  # as outbox_key made it
            told[f"{adverb} {key} {row.target}"] += 1
    return sorted(name for name, count in told.items() if count > 1)


def keep_row(
    state: StateDatabase, connection: Connection, recipient: Recipient, period: Period, now: datetime
) -> None:
    """Make the row of somebody whom a report is sent to by hand, where it is missing, and decide it."""
    row = {
        "kind": recipient.kind, "key": period.key, "target": recipient.target, "due_at": due_at(recipient, period),
        "decided_at": now, "reason": "",
    }  # fmt: skip
    state.put(connection, _kept, [row])
    of_row = and_(d.kind == recipient.kind, d.key == period.key, d.target == recipient.target)
    connection.execute(update(report_deliveries).where(of_row).values(decided_at=now))


def put_message(
    state: StateDatabase, connection: Connection, message: NewNotification, kind: str, key: date, target: str
) -> None:
    """Put a message into the outbox, and note it in its row with the revision that it tells of, in place of an earlier one."""
    put_notifications(state, connection, [message])
    sent = connection.execute(
        select(notifications.c.id).where(notifications.c.key == message.key)
    ).scalar_one()
    revision = message.data["report"]["revision"]
    of_row = and_(d.kind == kind, d.key == key, d.target == target)
    connection.execute(
        update(report_deliveries).where(of_row).values(notification_id=sent, revision=revision, reason="")
    )
