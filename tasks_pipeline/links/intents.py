"""The outbox of changes that were decided here and have to be made in trackers: put, claimed with a lease, ended.

An intent waits, is being sent, is of unknown end, done, dead (given up, its reason says why), or dropped (not wanted any more).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, select, update

from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import UtcDateTime, issue_intents, issue_links

WAITING, SENDING, UNKNOWN, DONE, DEAD, DROPPED = "waiting", "sending", "unknown", "done", "dead", "dropped"
KINDS = ("create", "state", "assignee", "comment", "edit", "delete")
PRIORITIES = {"state": 0, "assignee": 0, "create": 1, "comment": 2, "edit": 2, "delete": 2}
MAKING = ("create", "comment")
"""Kinds that make something there: where the end of one is not known, its marker is looked for before it is sent again."""
UNFINISHED = (WAITING, SENDING, UNKNOWN)
REASON_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class NewIntent:
    """A change to be made there. `key` (at most 200 characters) makes it once: `create:LINK`, `state:LINK:N`,
    `comment:COMMENT:LINK:VERSION`. `data` says what it is about, never the value that is to be: that is looked up right before."""

    key: str
    link_id: int
    integration: str
    tracker: str
    kind: str
    not_before: datetime
    marker: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claimed:
    """An intent that a sender has in hand. `unknown`: an earlier attempt may have made it. `attempts` counts this one. `sent_at`: just
    before the call of an earlier attempt, by their clock as far as it was known."""

    id: int
    key: str
    link_id: int
    integration: str
    tracker: str
    kind: str
    data: Mapping[str, Any]
    marker: str
    attempts: int
    looks: int
    sent_at: datetime | None
    created_at: datetime
    claimed_by: str
    unknown: bool


def put_intents(state: StateDatabase, connection: Connection, intents: Sequence[NewIntent]) -> None:
    """Put intents into the outbox, in the caller's transaction; one whose key is known is left as it is."""
    now = datetime.now(UTC)
    rows = [
        {
            "key": each.key,
            "link_id": each.link_id,
            "integration": each.integration,
            "tracker": each.tracker,
            "kind": each.kind,
            "data": dict(each.data),
            "status": WAITING,
            "priority": PRIORITIES[each.kind],
            "marker": each.marker,
            "not_before": each.not_before,
            "created_at": now,
        }
        for each in intents
    ]
    for chunk in chunks(rows):
        connection.execute(
            state.insert(issue_intents).on_conflict_do_nothing(index_elements=[issue_intents.c.key]),
            list(chunk),
        )


def intents_due(state: StateDatabase, integration: str, now: datetime) -> int:
    """How many intents of an integration a sender would find to do, each kind of priority counted up to a thousand."""
    c = issue_intents.c
    with state.read() as connection:
        return sum(
            int(connection.execute(select(func.count()).select_from(query.subquery())).scalar_one())
            for each in _due(now)
            if (query := select(c.id).where(c.integration == integration, each).limit(1000)) is not None
        )


def claim(
    state: StateDatabase,
    integration: str,
    now: datetime,
    *,
    claimed_by: str,
    lease_until: datetime,
    kinds: Collection[str] = KINDS,
    passed_over: Collection[str] = (),
) -> Claimed | None:
    """The next intent of an integration that is due, as this sender's; None when there is none.

    Those whose sender fell silent go first, then by priority, then those that wait for longest. Two of one link are never in hand
    at once. Trackers in `passed_over` are left out.
    """
    c = issue_intents.c
    with state.write() as connection:
        for each in _due(now):
            query = _free(integration, now, each)
            if set(kinds) != set(KINDS):
                query = query.where(c.kind.in_(kinds))
            if passed_over:
                query = query.where(c.tracker.not_in(list(passed_over)))
            row = connection.execute(query.with_for_update(skip_locked=True)).first()
            if row is not None:
                return _take(connection, row, claimed_by, lease_until)
    return None


def _free(integration: str, now: datetime, due: ColumnElement[bool]) -> Select[Any]:
    c, other = issue_intents.c, issue_intents.alias()
    in_hand = select(other.c.id).where(
        other.c.link_id == c.link_id, other.c.status == SENDING, other.c.lease_until > now
    )
    query = select(issue_intents).where(c.integration == integration, due, ~in_hand.exists())
    return query.order_by(c.not_before, c.id).limit(1)


def _due(now: datetime) -> Iterable[ColumnElement[bool]]:
    """Asked one after the other, each is answered by the index in its order, however many wait."""
    c = issue_intents.c
    yield and_(c.status == SENDING, c.lease_until <= now)
    for priority in sorted(set(PRIORITIES.values())):
        for status in (UNKNOWN, WAITING):
            yield and_(c.status == status, c.priority == priority, c.not_before <= now)


def _take(connection: Connection, row: Any, claimed_by: str, lease_until: datetime) -> Claimed:
    c = issue_intents.c
    unknown = row.status == UNKNOWN or _may_be_made(row)
    connection.execute(
        update(issue_intents)
        .where(c.id == row.id)
        .values(
            status=SENDING, attempts=row.attempts + 1, claimed_by=claimed_by, lease_until=lease_until,
            looks=row.looks if row.status == UNKNOWN else 0,
        )
    )  # fmt: skip
    return Claimed(
        id=row.id,
        key=row.key,
        link_id=row.link_id,
        integration=row.integration,
        tracker=row.tracker,
        kind=row.kind,
        data=row.data,
        marker=row.marker,
        attempts=row.attempts + 1,
        looks=row.looks if row.status == UNKNOWN else 0,
        sent_at=row.sent_at,
        created_at=row.created_at,
        claimed_by=claimed_by,
        unknown=unknown,
    )


def _may_be_made(row: Any) -> bool:
    """Whether the sender that fell silent may have made the call."""
    return row.status == SENDING and row.kind in MAKING and row.sent_at is not None


def note_sending(state: StateDatabase, claimed: Claimed, at: datetime, **data: Any) -> Claimed | None:
    """Say, right before the call, that it is made; `at` by their clock as far as it is known. `data` is added to that of the intent.
    Gives what is in hand then; None when somebody else has it by now, and it must not be made."""
    said = {**claimed.data, **data}
    with state.write() as connection:
        held = _set(connection, claimed, {"sent_at": at, "data": said})
    return replace(claimed, sent_at=at, data=said) if held else None


def finish(
    connection: Connection,
    claimed: Claimed,
    status: str,
    *,
    now: datetime,
    reason: str = "",
    not_made: bool = False,
) -> bool:
    """End an intent: done, dead or dropped. `not_made`: the answer says so, and whoever tries again need not look for it. False, and
    nothing set, when the claim was lost meanwhile."""
    values: dict[str, Any] = {"status": status, "ended_at": now, "reason": reason[:REASON_LENGTH]}
    if not_made:
        values["sent_at"] = None
    return _set(connection, claimed, {**values, "claimed_by": None, "lease_until": None})


def put_back(
    connection: Connection,
    claimed: Claimed,
    not_before: datetime,
    reason: str,
    *,
    counted: bool = True,
    unknown: bool = False,
    looks: int = 0,
    **data: Any,
) -> bool:
    """Make an intent due later. `counted`: this attempt counts. `unknown`: it may have been made, so from then on its marker is looked
    for, which was done `looks` times; else it was not made. False when the claim was lost meanwhile."""
    values: dict[str, Any] = {
        "status": UNKNOWN if unknown else WAITING, "not_before": not_before, "reason": reason[:REASON_LENGTH],
        "claimed_by": None, "lease_until": None, "looks": looks, "attempts": claimed.attempts - (not counted),
    }  # fmt: skip
    if data:  # beside what was said right before the call
        known = select(issue_intents.c.data).where(issue_intents.c.id == claimed.id)
        values["data"] = {**connection.execute(known).scalar_one(), **data}
    if not unknown:
        values["sent_at"] = None
    return _set(connection, claimed, values)


def _set(connection: Connection, claimed: Claimed, values: Mapping[str, Any]) -> bool:
    c = issue_intents.c
    held = connection.execute(
        update(issue_intents)
        .where(
            c.id == claimed.id,
            c.status == SENDING,
            c.claimed_by == claimed.claimed_by,
            c.attempts == claimed.attempts,
        )
        .values(**values)
    ).rowcount
    return bool(held)


def drop_intents(
    connection: Connection,
    link_ids: Iterable[int],
    now: datetime,
    reason: str,
    *,
    kinds: Collection[str] = KINDS,
) -> int:
    """Drop what waits for links, and what is of unknown end; what is in hand is left to its sender. Gives how many."""
    c = issue_intents.c
    dropped = 0
    for chunk in chunks(sorted(set(link_ids))):
        dropped += connection.execute(
            update(issue_intents)
            .where(c.link_id.in_(chunk), c.status.in_((WAITING, UNKNOWN)), c.kind.in_(list(kinds)))
            .values(status=DROPPED, ended_at=now, reason=reason[:REASON_LENGTH])
        ).rowcount
    return dropped


def release_claims(state: StateDatabase, claimed_by: str, now: datetime) -> int:
    """Make what a dead sender had in hand due again: as of unknown end where its call may have been made. Gives how many."""
    c = issue_intents.c
    free = {"claimed_by": None, "lease_until": None, "not_before": now, "reason": "its sender died with it"}
    mine = and_(c.status == SENDING, c.claimed_by == claimed_by)
    made = and_(c.kind.in_(MAKING), c.sent_at.is_not(None))
    with state.write() as connection:
        unknown = connection.execute(
            update(issue_intents).where(mine, made).values(**free, status=UNKNOWN, looks=0)
        ).rowcount
        return (
            unknown
            + connection.execute(update(issue_intents).where(mine).values(**free, status=WAITING)).rowcount
        )


def wake(connection: Connection, integration: str, now: datetime, tracker: str | None = None) -> int:
    """What waits for an integration, or a tracker, is due at once: it works again. Gives how many."""
    c = issue_intents.c
    which = [c.status == WAITING, c.integration == integration, c.not_before > now]
    if tracker is not None:
        which.append(c.tracker == tracker)
    return connection.execute(update(issue_intents).where(*which).values(not_before=now)).rowcount


def retry_dead(
    state: StateDatabase,
    now: datetime,
    *,
    integration: str | None = None,
    tracker: str | None = None,
    link_ids: Sequence[int] = (),
) -> int:
    """Make intents that were given up due again: those of an integration, a tracker, some links, or all. Gives how many.

    One that may have been made is looked for first.
    """
    c = issue_intents.c
    which = [c.status == DEAD]
    if integration is not None:
        which.append(c.integration == integration)
    if tracker is not None:
        which.append(c.tracker == tracker)
    if link_ids:
        which.append(c.link_id.in_(link_ids))
    again = {
        "attempts": 0,
        "looks": 0,
        "not_before": now,
        "ended_at": None,
        "reason": "tried again on request",
    }
    with state.write() as connection:
        links = list(connection.execute(select(c.link_id).where(*which)).scalars())
        made = and_(c.kind.in_(MAKING), c.sent_at.is_not(None))
        changed = connection.execute(
            update(issue_intents).where(*which, made).values(**again, status=UNKNOWN)
        ).rowcount
        changed += connection.execute(
            update(issue_intents).where(*which).values(**again, status=WAITING)
        ).rowcount
        for chunk in chunks(links):
            connection.execute(update(issue_links).where(issue_links.c.id.in_(chunk)).values(error=""))
    return changed


def unfinished(connection: Connection, link_ids: Iterable[int], kinds: Collection[str] = KINDS) -> list[Any]:
    """Rows of intents of links that are not at their end, oldest first."""
    c = issue_intents.c
    rows: list[Any] = []
    for chunk in chunks(sorted(set(link_ids))):
        query = select(issue_intents).where(
            c.link_id.in_(chunk), c.status.in_(UNFINISHED), c.kind.in_(list(kinds))
        )
        rows += connection.execute(query.order_by(c.id)).all()
    return rows


def waiting_figures(connection: Connection) -> dict[str, dict[str, Any]]:
    """By integration: how many intents wait (or are in hand, or of unknown end), the oldest's created_at, and how many are dead."""
    c = issue_intents.c
    figures: dict[str, dict[str, Any]] = {}
    for status in (*UNFINISHED, DEAD):
        query = select(
            c.integration,
            func.count().label("count"),
            func.min(c.created_at, type_=UtcDateTime()).label("at"),
        )
        for row in connection.execute(query.where(c.status == status).group_by(c.integration)):
            of = figures.setdefault(row.integration, {"waiting": 0, "oldest": None, "dead": 0})
            if status == DEAD:
                of["dead"] += row.count
                continue
            of["waiting"] += row.count
            of["oldest"] = min(filter(None, (of["oldest"], row.at)), default=None)
    return figures
