"""The outbox in the state database: messages that were decided on, their delivery, and the log of both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, String, and_, case, exists, func, or_, select, text, update

from tasks_pipeline.facts.record import Happened, record_all
from tasks_pipeline.facts.types import NotificationFailed, NotificationSkipped
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import UtcDateTime, alerts, channel_states, deliveries, notifications
from tasks_pipeline.storage.state.wanted import wanted

PRIORITIES = (0, 1)
COUNTED = 10_000
_STATE = ("failures", "open_until", "last_error", "last_sent_at")
_NOTHING = {"waiting": 0, "due": 0, "oldest_due": None, "dead": 0, "sent_today": 0, **dict.fromkeys(_STATE)}


@dataclass(frozen=True, slots=True)
class NewNotification:
    """One message to one target. `key` (at most 400 characters) makes it once, whoever asks how often.

    `status`: waiting (to be sent at `not_before`), digest (waits for a digest), collapsed (part of a storm's message),
    skipped (not wanted; `reason` says why). `urgent` ones are sent before others.
    """

    key: str
    type: str
    project_id: int
    target: str
    channel: str
    thread: str
    not_before: datetime
    alert_id: int | None = None
    rule: str = ""
    address: str = ""
    status: str = "waiting"
    reason: str = ""
    urgent: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)


def put_notifications(
    state: StateDatabase, connection: Connection, messages: Sequence[NewNotification]
) -> None:
    """Put messages into the outbox, in the caller's transaction; one whose key is known is left as it is."""
    now = datetime.now(UTC)
    rows = [
        {
            "key": m.key,
            "type": m.type,
            "alert_id": m.alert_id,
            "project_id": m.project_id,
            "rule": m.rule,
            "target": m.target,
            "channel": m.channel,
            "address": m.address,
            "thread": m.thread,
            "data": dict(m.data),
            "status": m.status,
            "reason": m.reason,
            "priority": 0 if m.urgent else 1,
            "created_at": now,
            "not_before": m.not_before,
        }
        for m in messages
    ]
    for chunk in chunks(rows):
        connection.execute(
            state.insert(notifications).on_conflict_do_nothing(index_elements=[notifications.c.key]),
            list(chunk),
        )
    _record_skipped(state, connection, [m for m in messages if m.status == "skipped"], now)


def _record_skipped(
    state: StateDatabase, connection: Connection, messages: Sequence[NewNotification], now: datetime
) -> None:
    """Record messages that nobody wants. Asked for by their keys, since the outbox may have had them."""
    by_key = {m.key: m for m in messages}
    n = notifications.c
    happened = []
    for chunk in chunks(sorted(by_key)):
        rows = connection.execute(select(n.id, n.key).where(n.key.in_(chunk), n.status == "skipped"))
        for number, key in rows:
            m = by_key[key]
            fact = NotificationSkipped(notification=number, kind=m.type, channel=m.channel, reason=m.reason)
            happened.append(Happened(fact, now, m.project_id))
    record_all(state, connection, happened)


@dataclass(frozen=True, slots=True)
class Backlog:
    """Messages that are due: how many (of one channel and priority at most COUNTED are), and since when the oldest is."""

    count: int
    oldest: datetime | None


def waiting_notifications(state: StateDatabase, now: datetime) -> Backlog:
    """What a sender would find to do: messages that are due, or in flight for longer than their lease, on channels whose
    breaker is not open. Asked every second, so what waits behind an open breaker costs nothing, however much it is."""
    n = notifications.c
    count, oldest = 0, []
    with state.read() as connection:
        shut = set(
            connection.execute(
                select(channel_states.c.channel).where(channel_states.c.open_until > now)
            ).scalars()
        )
        silent = select(n.channel, n.not_before).where(_silent(now))
        for channel, at in connection.execute(silent):
            if channel not in shut:
                count += 1
                oldest.append(at)
        for channel in _waiting_channels(connection):
            for priority in PRIORITIES if channel not in shut else ():
                first = select(n.not_before).where(
                    _waiting(now), n.channel == channel, n.priority == priority
                )
                some = first.order_by(n.not_before).limit(COUNTED).subquery()
                found, since = connection.execute(
                    select(func.count(), func.min(some.c.not_before, type_=UtcDateTime()))
                ).one()
                count += found
                oldest += [since] if found else []
    return Backlog(count, min(oldest, default=None))


def _waiting_channels(connection: Connection) -> Iterator[str]:
    """Channels that messages wait for, due or not: from one to the next in the index, past all messages of each."""
    n = notifications.c
    last = ""
    while True:
        query = select(n.channel).where(n.status == "waiting", n.channel > last).order_by(n.channel).limit(1)
        found = connection.execute(query).scalar()
        if found is None:
            return
        yield found
        last = found


def _due(now: datetime) -> ColumnElement[bool]:
    return or_(_waiting(now), _silent(now))


def _waiting(now: datetime) -> ColumnElement[bool]:
    return and_(notifications.c.status == "waiting", notifications.c.not_before <= now)


def _silent(now: datetime) -> ColumnElement[bool]:
    return and_(notifications.c.status == "sending", notifications.c.lease_until <= now)


def due_channels(state: StateDatabase, now: datetime, channels: Collection[str]) -> set[str]:
    """Which of these channels messages are due on. Asked ten times a second: a look into the index for each."""
    n = notifications.c
    with state.read() as connection:
        w = wanted(connection, ((name,) for name in channels), channel=String())
        of_channel = select(n.id).where(n.channel == w.c.channel).correlate(w)
        waits = exists(of_channel.where(_waiting(now), n.priority.in_(PRIORITIES)))
        found = connection.execute(
            select(w.c.channel).where(or_(waits, exists(of_channel.where(_silent(now)))))
        )
        return set(found.scalars())


def claim_next(
    state: StateDatabase,
    channel: str,
    *,
    claimed_by: str,
    run_id: str | None,
    now: datetime,
    lease_until: datetime,
    take: Callable[[Connection, str], float],
    limited: Mapping[str, datetime],
    alert_id: int | None = None,
) -> dict[str, Any] | None:
    """The next message of a channel that is due, as this sender's, with its delivery opened; None when there is none.

    Those whose sender fell silent go first, then urgent ones, then those that wait for longest.

    `take(connection, target)` takes a token of a target and gives 0, or the seconds until there is one; targets in `limited`
    are passed over until then. The row has `delivery_id` beside its columns.
    """
    n = notifications.c
    skipped = [target for target, until in limited.items() if until > now]
    query = select(notifications).where(n.channel == channel)
    if skipped:
        query = query.where(n.target.not_in(skipped))
    if alert_id is not None:
        query = query.where(n.alert_id == alert_id)
    query = query.order_by(n.priority, n.not_before, n.id).limit(1).with_for_update(skip_locked=True)
    with state.write() as connection:
        # Asked one after the other, each is answered by the index in its order, however many wait.
        asked = [_silent(now), *(and_(_waiting(now), n.priority == priority) for priority in PRIORITIES)]
        row = next(filter(None, (connection.execute(query.where(each)).first() for each in asked)), None)
        if row is None:
            return None
        wait = take(connection, row.target)
        if wait > 0:
            raise Limited(row.target, wait)
        lost = row.status == "sending"  # its sender is silent for longer than its lease
        if lost:
            _close_lost(connection, [row.id], now)
        attempt = row.attempts + 1
        values = {
            "status": "sending", "attempts": attempt, "claimed_by": claimed_by, "lease_until": lease_until,
            "ambiguous": row.ambiguous + lost,
        }  # fmt: skip
        connection.execute(update(notifications).where(n.id == row.id).values(values))
        delivery_id = connection.execute(
            deliveries.insert()
            .values(notification_id=row.id, attempt=attempt, started_at=now, outcome="started", run_id=run_id)
            .returning(deliveries.c.id)
        ).scalar_one()
    return {**row._mapping, **values, "delivery_id": delivery_id}


class Limited(Exception):
    """A target (empty: the channel) may not get a message yet, for so many seconds."""

    def __init__(self, target: str, seconds: float) -> None:
        super().__init__(target)
        self.target, self.seconds = target, seconds


def finish_delivery(
    connection: Connection,
    row: Mapping[str, Any],
    *,
    now: datetime,
    outcome: str,
    detail: str,
    values: Mapping[str, Any],
) -> bool:
    """Close a delivery and set columns of its message. False, and nothing set, when the claim was lost meanwhile."""
    n = notifications.c
    held = connection.execute(
        update(notifications)
        .where(n.id == row["id"], n.claimed_by == row["claimed_by"], n.attempts == row["attempts"])
        .values(claimed_by=None, lease_until=None, **values)
    ).rowcount
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id == row["delivery_id"])
        .values(ended_at=now, outcome=outcome, detail=detail[:1000])
    )
    return bool(held)


def release_claims(state: StateDatabase, run_id: str, now: datetime) -> int:
    """Make the messages that a dead run had in flight due again, as of unknown end. Gives how many there were."""
    n = notifications.c
    with state.write() as connection:
        ids = list(
            connection.execute(
                select(n.id).where(
                    n.status == "sending",
                    n.id.in_(
                        select(deliveries.c.notification_id).where(
                            deliveries.c.run_id == run_id, deliveries.c.outcome == "started"
                        )
                    ),
                )
            ).scalars()
        )
        _close_lost(connection, ids, now)
        connection.execute(
            update(notifications)
            .where(n.id.in_(ids))
            .values(
                status="waiting", not_before=now, ambiguous=n.ambiguous + 1, claimed_by=None, lease_until=None,
                reason="its sender died while it was in flight",
            )
        )  # fmt: skip
    return len(ids)


def _close_lost(connection: Connection, ids: Sequence[int], now: datetime) -> None:
    connection.execute(
        update(deliveries)
        .where(deliveries.c.notification_id.in_(ids), deliveries.c.outcome == "started")
        .values(ended_at=now, outcome="unknown", detail="its sender died while it was in flight")
    )


def bury_unconfigured(state: StateDatabase, channels: Collection[str], now: datetime) -> int:
    """Messages for channels that are not configured (any more) become dead letters. Gives how many."""
    n = notifications.c
    with state.write() as connection:
        buried = connection.execute(
            update(notifications)
            .where(n.status == "waiting", n.not_before <= now, n.channel.not_in(list(channels)))
            .values(status="dead", reason="its channel is not configured")
            .returning(n.id, n.type, n.channel, n.project_id, n.attempts)
        ).all()
        happened = [
            Happened(
                NotificationFailed(
                    notification=row.id,
                    kind=row.type,
                    channel=row.channel,
                    reason="not_configured",
                    attempts=row.attempts,
                ),
                now,
                row.project_id,
            )
            for row in buried
        ]
        record_all(state, connection, happened, source="sender")
    return len(buried)


def retry_notifications(
    state: StateDatabase, now: datetime, *, ids: Sequence[int] = (), channel: str | None = None
) -> int:
    """Make dead letters due again: these, those of a channel, or all. Gives how many."""
    n = notifications.c
    condition = n.status == "dead"
    if ids:
        condition = and_(condition, n.id.in_(ids))
    if channel is not None:
        condition = and_(condition, n.channel == channel)
    with state.write() as connection:
        changed = connection.execute(
            update(notifications)
            .where(condition)
            .values(status="waiting", attempts=0, not_before=now, reason="sent again on request")
        ).rowcount
        named = select(n.channel).where(n.reason == "sent again on request", n.status == "waiting").distinct()
        connection.execute(
            update(channel_states)
            .where(channel_states.c.channel.in_(named))
            .values(open_until=None, failures=0)
        )
    return changed


def notification_log(
    state: StateDatabase,
    *,
    since: datetime,
    target: str | None = None,
    channel: str | None = None,
    status: str | None = None,
    alert_id: int | None = None,
    group_id: int | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Messages with what became of them, newest first: columns of `notifications`, and kind, severity, group_id and
    title of the alert."""
    n = notifications.c
    query = (
        select(
            notifications,
            alerts.c.kind,
            alerts.c.severity,
            alerts.c.group_id,
            alerts.c.data.label("alert_data"),
        )
        .join(alerts, alerts.c.id == n.alert_id, isouter=True)
        .where(n.created_at >= since)
    )
    wanted = (
        (n.target, target),
        (n.channel, channel),
        (n.status, status),
        (n.alert_id, alert_id),
        (alerts.c.group_id, group_id),
    )
    for column, value in wanted:
        if value is not None:
            query = query.where(column == value)
    with state.read() as connection:
        rows = connection.execute(query.order_by(n.id.desc()).limit(limit)).all()
    found = []
    for row in rows:
        values = dict(row._mapping)
        values["title"] = (values.pop("alert_data") or values["data"]).get("title") or ""
        found.append(values)
    return found


def deliveries_of(state: StateDatabase, notification_ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """The attempts of each message, oldest first."""
    found: dict[int, list[dict[str, Any]]] = {}
    with state.read() as connection:
        for chunk in chunks(notification_ids):
            query = (
                select(deliveries).where(deliveries.c.notification_id.in_(chunk)).order_by(deliveries.c.id)
            )
            for row in connection.execute(query):
                found.setdefault(row.notification_id, []).append(dict(row._mapping))
    return found


def channel_figures(state: StateDatabase, now: datetime) -> list[dict[str, Any]]:
    """Per channel: waiting, due, oldest_due, dead, sent_today, failures, open_until, last_error, last_sent_at."""
    n = notifications.c
    unsent = select(
        n.channel,
        func.count().label("waiting"),
        func.sum(case((_due(now), 1), else_=0)).label("due"),
        func.min(case((_due(now), n.not_before)), type_=UtcDateTime()).label("oldest_due"),
    ).where(n.status.in_(("waiting", "sending")))
    # In the words of their indexes: what was sent long ago is not looked at.
    dead = select(n.channel, func.count().label("dead")).where(n.status == "dead")
    sent = select(n.channel, func.count().label("sent_today")).where(
        text("sent_at IS NOT NULL"), n.sent_at >= now - timedelta(days=1)
    )
    figures: dict[str, dict[str, Any]] = defaultdict(lambda: dict(_NOTHING))
    with state.read() as connection:
        for row in connection.execute(select(channel_states)):
            figures[row.channel] |= {name: getattr(row, name) for name in _STATE}
        for query in (unsent, dead, sent):
            for row in connection.execute(query.group_by(n.channel)):
                figures[row.channel] |= row._mapping
    return [{**figures[channel], "channel": channel} for channel in sorted(figures)]
