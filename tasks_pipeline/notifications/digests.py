"""send_digest: what members want collected is put into the outbox as one message per member and project, on their schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, func, select, text, update

from tasks_pipeline.config import Config
from tasks_pipeline.config.people import WEEK, Member, Preferences
from tasks_pipeline.groups.lifecycle import Status
from tasks_pipeline.groups.moves import leads_to
from tasks_pipeline.notifications.outbox import NewNotification, put_notifications
from tasks_pipeline.notifications.preferences import preferences_of
from tasks_pipeline.notifications.quiet import moment, quiet_until
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import UtcDateTime, alerts, groups, notifications
from tasks_pipeline.stores import Stores

LIVE = (Status.UNRESOLVED, Status.REGRESSED)
COLLECTED = text("notifications.status = 'digest' AND notifications.digest_id IS NULL")
"""Entries that are in no digest yet: in the words of their index, since those that are stay in the log."""
SETTLED = "settled before the digest: its group is resolved, ignored, merged or discarded"


@dataclass(frozen=True, slots=True)
class Pending:
    """Entries of a member and project that wait for a digest: when the first and the last came, and how many."""

    target: str
    project_id: int
    first: datetime
    last: datetime
    entries: int


@dataclass
class DigestReport:
    """What became of digests that were due."""

    put: list[str] = field(default_factory=list)
    entries: int = 0
    settled: int = 0

    def figures(self) -> dict[str, Any]:
        """For the UI: how many digests were put into the outbox, their entries, and entries settled meanwhile."""
        return {"digests": len(self.put), "entries": self.entries, "settled_entries": self.settled}


def pending_digests(state: StateDatabase) -> list[Pending]:
    """What waits for digests, by member and project."""
    n = notifications.c
    query = (
        select(
            n.target,
            n.project_id,
            func.min(n.created_at, type_=UtcDateTime()),
            func.max(n.created_at, type_=UtcDateTime()),
            func.count(),
        )
        .where(COLLECTED)
        .group_by(n.target, n.project_id)
        .order_by(n.target, n.project_id)
    )
    with state.read() as connection:
        return [Pending(*row) for row in connection.execute(query)]


def digests_due(state: StateDatabase, config: Config, now: datetime) -> int:
    """How many digests are due."""
    return len(_due(pending_digests(state), config, now))


def _due(pending: Sequence[Pending], config: Config, now: datetime) -> list[Pending]:
    return [p for p in pending if next_digest_at(config, p, now) <= now]


def next_digest_at(config: Config, pending: Pending, now: datetime) -> datetime:
    """When a digest is to be sent: as the member wants it, but not in their quiet hours. What is overdue is due now.

    A member who is not configured any more has no wishes: due at once.
    """
    member = config.member(pending.target.removeprefix("member:"))
    if member is None:
        return pending.first
    wanted = preferences_of(config, member, pending.project_id)
    planned = _planned(member, wanted, pending)
    return quiet_until(wanted.quiet_hours, member.timezone, max(planned, now)) or planned


def _planned(member: Member, wanted: Preferences, pending: Pending) -> datetime:
    schedule = wanted.digest
    if wanted.delivery != "digest":  # they changed their mind: what is collected goes out now
        return pending.first
    if not schedule.at:
        return min(
            pending.first + timedelta(minutes=schedule.max_delay_minutes),
            pending.last + timedelta(minutes=schedule.min_delay_minutes),
        )
    zone = ZoneInfo(member.timezone)
    day = pending.first.astimezone(zone).date()
    for offset in range(8):
        date = day + timedelta(days=offset)
        if WEEK[date.weekday()] in schedule.days:
            times = sorted(moment(date, at, zone) for at in schedule.at)
            later = next((at for at in times if at > pending.first), None)
            if later is not None:
                return later
    raise AssertionError("a week without any of its days")


def send_digest(
    stores: Stores, now: datetime, *, member: str | None = None, project_id: int | None = None
) -> DigestReport:
    """Put the digests that are due into the outbox, one per member and project, however long they are overdue.

    With `member` (an address) those of that member, due or not. A digest without anything that is still open is not sent.
    Several at once do each digest once.
    """
    pending = pending_digests(stores.state)
    if member is None:
        wanted = _due(pending, stores.config, now)
    else:
        wanted = [p for p in pending if p.target == f"member:{member}"]
    report = DigestReport()
    for each in wanted:
        if project_id is None or each.project_id == project_id:
            with stores.state.write() as connection:
                _put(stores.state, connection, each, now, report)
    return report


def _put(
    state: StateDatabase, connection: Connection, pending: Pending, now: datetime, report: DigestReport
) -> None:
    state.serialise(connection, "digests")
    n = notifications.c
    query = select(notifications).where(n.target == pending.target, n.project_id == pending.project_id)
    entries = connection.execute(query.where(COLLECTED).order_by(n.id)).all()
    if not entries:  # another one was quicker
        return
    over = _settled(connection, [row.alert_id for row in entries if row.alert_id is not None])
    open_ids = [row.id for row in entries if row.alert_id not in over]
    settled = [row.id for row in entries if row.alert_id in over]
    _set(connection, settled, status="skipped", reason=SETTLED)
    report.settled += len(settled)
    if not open_ids:
        return
    newest = entries[-1]
    key = f"digest:{pending.target}:{pending.project_id}:{newest.id}"
    message = NewNotification(
        key=key,
        type="digest",
        project_id=pending.project_id,
        target=pending.target,
        channel=newest.channel,
        address=newest.address,
        thread=f"digest:{pending.project_id}",
        not_before=now,
        data={"since": pending.first.isoformat(), "until": now.isoformat()},
    )
    put_notifications(state, connection, [message])
    digest_id = connection.execute(select(n.id).where(n.key == key)).scalar_one()
    _set(connection, open_ids, digest_id=digest_id, reason=f"in digest {digest_id}")
    report.put.append(key)
    report.entries += len(open_ids)


def _settled(connection: Connection, alert_ids: Sequence[int]) -> set[int]:
    """Alerts whose group nobody has to hear of any more. Asked for by their ids: joined with the entries, Postgres takes
    those that wait for half of all, and reads all alerts."""
    group_of: dict[int, int] = {}
    for chunk in chunks(alert_ids):
        asked = select(alerts.c.id, alerts.c.group_id).where(alerts.c.id.in_(chunk))
        group_of |= {row.id: row.group_id for row in connection.execute(asked) if row.group_id is not None}
    rows = _statuses(connection, set(group_of.values()))
    merged = {group_id for group_id, row in rows.items() if row.merged_into is not None}
    # Whose events moved to another group meanwhile is told of as that one: nobody heard of it under its own name.
    led = leads_to(connection, rows.keys() - merged)
    rows |= _statuses(connection, set(led.values()))
    over = {g for g in group_of.values() if g in merged or rows[led.get(g, g)].status not in LIVE}
    return {alert_id for alert_id, group_id in group_of.items() if group_id in over}


def _statuses(connection: Connection, group_ids: set[int]) -> dict[int, Row[Any]]:
    """Status and merged_into of groups."""
    found: dict[int, Row[Any]] = {}
    for chunk in chunks(sorted(group_ids)):
        query = select(groups.c.id, groups.c.status, groups.c.merged_into).where(groups.c.id.in_(chunk))
        found |= {row.id: row for row in connection.execute(query)}
    return found


def _set(connection: Connection, ids: Sequence[int], **values: Any) -> None:
    for chunk in chunks(ids):
        connection.execute(update(notifications).where(notifications.c.id.in_(chunk)).values(**values))
