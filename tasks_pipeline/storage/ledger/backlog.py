"""The backlog: what of each day waits to be stored, what of it keeps failing, and what cannot be read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Row, func, select

from tasks_pipeline.storage.ledger.cursors import Cursor, cursors_of, settled
from tasks_pipeline.storage.ledger.drains import SILENT_AFTER
from tasks_pipeline.storage.ledger.failures import MAX_REASON, STUCK_AFTER, FailedDrains, failed_drains
from tasks_pipeline.storage.spool.interface import Spool, SpoolError, Waiting
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import batches, drains


@dataclass(frozen=True, slots=True)
class DayBacklog:
    """What of a day is not stored yet: behind the cursor, and in open batches.

    `oldest` is of everything that waits, `oldest_coming` of what may be stored soon: without batches that failed
    STUCK_AFTER times. `failed_attempts` were made at what still waits, `error` is of the last of them; `not_before` is
    when another is worth making, None for at once. `idle` says that nothing of the day can be processed at all: what
    waits lies in parts that are `broken`, and why (bounded; "" when all can be read).
    """

    day: date
    envelopes: int
    items: int
    oldest: datetime | None
    oldest_coming: datetime | None = None
    failed_attempts: int = 0
    error: str = ""
    not_before: datetime | None = None
    idle: bool = False
    broken: str = ""


def backlog(state: StateDatabase, spool: Spool, day: date) -> DayBacklog:
    """What of a day is not stored yet."""
    return _backlog(state, spool, day, _failed_drains(state).get(day, FailedDrains()))


def first_day(state: StateDatabase, spool: Spool) -> date | None:
    """The first day of which an envelope was ever received, also where its raw envelopes are gone."""
    with state.read() as connection:
        known = connection.execute(select(func.min(batches.c.day))).scalar_one()
    return min([*spool.days()[:1], *([known] if known else [])], default=None)


def quiet_days(state: StateDatabase, spool: Spool, today: date, most: int) -> list[date]:
    """Days before today, `most` of them, on which nothing was received though something was before; the newest first."""
    received = set(spool.days())
    began = first_day(state, spool) or today
    past = [day for n in range(1, most + 1) if (day := today - timedelta(days=n)) > began]
    with state.read() as connection:
        for day in past:
            received.update(
                connection.execute(select(batches.c.day).where(batches.c.day == day).limit(1)).scalars()
            )
    return [day for day in past if day not in received]


def backlogs(state: StateDatabase, spool: Spool) -> list[DayBacklog]:
    """Days with something that is not stored yet, or that cannot be read, oldest first."""
    failed = _failed_drains(state)
    found = (_backlog(state, spool, day, failed.get(day, FailedDrains())) for day in spool.days())
    return [b for b in found if b.envelopes or b.broken]


def day_may_run(backlog: DayBacklog, now: datetime) -> bool:
    """Whether a drain of the day has something to do now: what waits can be read, and no back-off forbids it."""
    return (
        backlog.envelopes > 0
        and not backlog.idle
        and (backlog.not_before is None or backlog.not_before <= now)
    )


def waiting_before(
    state: StateDatabase, spool: Spool, days: Collection[date], end: datetime
) -> list[DayBacklog]:
    """Days of these of which something that was received before a moment waits. Who computes what was received up to then asks
    here: under way there is always something that came later."""
    found = (backlog(state, spool, day) for day in spool.days() if day in days)
    return [b for b in found if b.envelopes and (b.oldest is None or b.oldest < end)]


def oldest_coming(found: Iterable[DayBacklog]) -> datetime | None:
    """Receipt of the oldest envelope that may be stored soon; who judges a silence waits for it, and for no other."""
    return min((b.oldest_coming for b in found if b.oldest_coming is not None), default=None)


def _failed_drains(state: StateDatabase) -> dict[date, FailedDrains]:
    with state.read() as connection:
        return failed_drains(connection)


def _backlog(state: StateDatabase, spool: Spool, day: date, failed: FailedDrains) -> DayBacklog:
    with state.read() as connection:
        cursors = cursors_of(connection, day)
        open_batches = connection.execute(
            select(batches, drains.c.ended_at, drains.c.heartbeat_at)
            .join(drains, drains.c.id == batches.c.drain_id)
            .where(batches.c.day == day, batches.c.status == "open")
        ).all()
    sums = _Sums(failed)
    sums.lost = {
        part: f"{cursor.lost} envelopes that were claimed are not there any more"
        for part, cursor in cursors.items()
        if cursor.lost
    }
    for part, waiting in _behind_cursors(spool, day, cursors, sums.broken):
        sums.add(part, waiting)
    for row in open_batches:
        sums.add_batch(row, _of_batch(spool, row, sums.broken))
    return sums.backlog(day)


def _behind_cursors(
    spool: Spool, day: date, cursors: Mapping[str, Cursor], broken: dict[str, str]
) -> Iterable[tuple[str, Waiting]]:
    """What lies behind the cursor of each part; what is wrong with a part goes to `broken`."""
    try:
        survey = spool.survey(day)
    except SpoolError as error:
        broken["day"] = str(error)
        return
    broken.update(survey.broken)
    for part, totals in survey.totals.items():
        cursor = cursors.get(part, Cursor())
        if totals.last_position == cursor.taken:
            continue
        try:
            cursor = settled(spool, day, part, cursor, totals)
            if totals.last_position < cursor.taken:
                broken[part] = f"{cursor.taken} envelopes were claimed, {totals.last_position} are there"
                continue
            waiting = spool.waiting(day, part, cursor.taken)
        except SpoolError as error:
            broken[part] = str(error)
            continue
        if not waiting.envelopes:
            broken[part] = f"{totals.last_position - cursor.taken} envelopes are counted, none is there"
        yield part, waiting


def _of_batch(spool: Spool, row: Row[Any], broken: dict[str, str]) -> Waiting:
    """What an open batch holds. Of a part that cannot be read only the positions are known."""
    claimed = Waiting(row.last_position - row.first_position + 1, 0, None)
    if row.part in broken or "day" in broken:
        return claimed
    try:
        behind = spool.waiting(row.day, row.part, row.first_position - row.base - 1)
        rest = spool.waiting(row.day, row.part, row.last_position - row.base)
    except SpoolError as error:
        broken[row.part] = str(error)
        return claimed
    return Waiting(behind.envelopes - rest.envelopes, behind.items - rest.items, behind.oldest)


class _Sums:
    """Adds up what waits of a day."""

    def __init__(self, failed: FailedDrains) -> None:
        self.broken: dict[str, str] = {}
        self.lost: dict[str, str] = {}
        self._failed = failed
        self._found: list[Waiting] = []
        self._coming: list[datetime] = []
        self._may_run: list[datetime | None] = []
        self._attempts = 0
        self._error = failed.error

    def add(self, part: str, waiting: Waiting) -> None:
        """What lies behind a cursor."""
        self._found.append(waiting)
        if waiting.envelopes:
            self._may_run.append(None)
        if waiting.oldest is not None:
            self._coming.append(waiting.oldest)

    def add_batch(self, row: Row[Any], waiting: Waiting) -> None:
        """What lies in an open batch."""
        self._found.append(waiting)
        held = row.ended_at is None and row.heartbeat_at >= datetime.now(UTC) - SILENT_AFTER
        failures = row.attempt - 1 if held else row.attempt
        self._attempts += failures
        self._error = row.error or self._error
        if row.part not in self.broken and "day" not in self.broken:
            self._may_run.append(None if held else row.not_before)
            if waiting.oldest is not None and failures < STUCK_AFTER:
                self._coming.append(waiting.oldest)

    def backlog(self, day: date) -> DayBacklog:
        """All of it."""
        found = [w for w in self._found if w.envelopes]
        times = [t for t in self._may_run if t is not None]
        next_time = min(times) if len(times) == len(self._may_run) and times else None
        waits = [t for t in (next_time, self._failed.not_before) if t is not None] if found else []
        attempts = max(self._attempts, self._failed.count) if found else 0
        return DayBacklog(
            day,
            envelopes=sum(w.envelopes for w in found),
            items=sum(w.items for w in found),
            oldest=min((w.oldest for w in found if w.oldest is not None), default=None),
            oldest_coming=min(self._coming, default=None),
            failed_attempts=attempts,
            error=self._error if attempts else "",
            not_before=max(waits, default=None),
            idle=bool(found) and not self._may_run,
            broken=_said(self.lost | self.broken),
        )


def _said(broken: Mapping[str, str]) -> str:
    said = "; ".join(f"{part}: {' '.join(why.split())}" for part, why in sorted(broken.items()))
    return said if len(said) <= MAX_REASON else f"{said[: MAX_REASON - 1]}…"
