"""compute_statistics: the tables of figures of days, computed and put in the place of what they held.

All that is read of the lake for a day is read at one moment. The rows of a month at most are swapped in one transaction, and
noted in one of the state database behind it: a process that dies at any step leaves the old figures or the new ones, and then
the days due.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tasks_pipeline.analytics.statistics import (
    events,
    groups,
    monitors,
    notifications,
    outcomes,
    pipeline,
    releases,
    transactions,
    usage,
)
from tasks_pipeline.analytics.statistics.days import (
    GRACE,
    HEALTH_TABLES,
    Change,
    DayVersion,
    changes_of,
    keeps_figures,
    logs_grown,
    logs_seen,
    note_computed,
    put_version,
    tables_wanted,
    versions_of,
)
from tasks_pipeline.analytics.statistics.digests import TableDigest, digest_of_day
from tasks_pipeline.analytics.statistics.work import PIECE_ROWS, Work
from tasks_pipeline.releases.spans import DAY, begin_of
from tasks_pipeline.storage.lake.files import DayFiles
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.tables import DERIVED_TABLES, STATISTICS_TABLES
from tasks_pipeline.storage.ledger.backlog import backlogs
from tasks_pipeline.storage.state.day_changes import Reason
from tasks_pipeline.storage.state.erasures import DeletedMeanwhile, generation, refuse_other
from tasks_pipeline.storage.state.passed_over import is_own_fault
from tasks_pipeline.stores import Stores
from tasks_pipeline.texts import error_text

TRIES = 5
"""A deletion may take rows while they are read, and begins two generations."""
SWAPPED = 31
"""Days that are swapped in one transaction."""
_MODULES: tuple[Any, ...] = (
    events, groups, transactions, outcomes, monitors, notifications, releases, usage, pipeline,
)  # fmt: skip
_HEALTH_ORDER = {
    "release_health": "project_id, release, environment, slot",
    "session_users": "project_id, release, environment, user_hash",
}


@dataclass(frozen=True, slots=True)
class StatisticsReport:
    """What became of a day: rows by table, errors and distinct users of its events, errors by UTC hour; `version` and `digest`
    of its figures, whether they are `changed`, and why; `closed`: nothing of it can be stored any more, by what is known, else
    `waiting` envelopes do; `computed` tables were computed, the others were as they had to be."""

    day: date
    version: int
    digest: str
    changed: bool
    causes: tuple[str, ...]
    closed: bool
    waiting: int
    rows: Mapping[str, int]
    computed: tuple[str, ...]
    errors: int = 0
    users: int = 0
    hours: Sequence[int] = field(default_factory=lambda: [0] * 24)


class DaysFailed(Exception):
    """Days whose figures could not be computed, with the error of each in `failed`; they keep those that they have. What became
    of the others is in `reports`."""

    def __init__(self, reports: list[StatisticsReport], failed: Mapping[date, Exception]) -> None:
        super().__init__("; ".join(f"{day}: {error_text(error)}" for day, error in failed.items()))
        self.reports = reports
        self.failed = failed


@dataclass(slots=True)
class _Computed:
    """A day whose figures lie in files that nobody knows yet."""

    day: date
    known: Mapping[Reason, Change]
    former: DayVersion | None
    seen: Mapping[str, Any]
    generation: int
    wanted: Collection[str]
    digests: dict[str, TableDigest]
    files: DayFiles


def compute_statistics(
    stores: Stores,
    days: Iterable[date],
    now: datetime | None = None,
    *,
    everything: bool = True,
    on_progress: Callable[[date], None] = lambda _day: None,
) -> list[StatisticsReport]:
    """Compute the tables of figures of UTC days; gives what became of each, in order.

    Without `everything` only the tables that something changed since. The same rows give the same figures and the same digest:
    nothing is written then. Some days at a time are swapped together; what changes meanwhile leaves its day due. Raises
    DaysFailed for days that raised by themselves, once the others have their figures.
    """
    now, began = now or datetime.now(UTC), time.monotonic()
    waiting = {b.day: b.envelopes for b in backlogs(stores.state, stores.spool)}
    ordered = sorted(set(days))
    reports: list[StatisticsReport] = []
    failed: dict[date, Exception] = {}
    for start in range(0, len(ordered), SWAPPED):
        for attempt in range(1, TRIES + 1):
            with ExitStack() as stack:
                found = []
                for day in ordered[start : start + SWAPPED]:
                    files = stack.enter_context(stores.lake.writing(day, "statistics"))
                    try:
                        found.append(_compute(stores, day, now, everything, files))
                    except Exception as error:
                        if not is_own_fault(error):
                            raise
                        failed[day] = error
                    on_progress(day)
                # As of the commit: who looks for what is new would pass over figures that say they are older than what it saw.
                at = now + timedelta(seconds=time.monotonic() - began)
                try:
                    kept = _put(stores, found, now, at, waiting) if found else []
                except DeletedMeanwhile:
                    if attempt == TRIES:
                        raise
                    continue
            reports += _reports(stores, found, kept, waiting)
            break
    if failed:
        raise DaysFailed(reports, failed)
    return reports


def _compute(stores: Stores, day: date, now: datetime, everything: bool, files: DayFiles) -> _Computed:
    """Write the rows of a day into files."""
    with (
        stores.state.read() as connection
    ):  # before any row is read: it may count fewer changes than they show
        known = changes_of(connection, [day])[day]
        former = versions_of(connection, [day]).get(day)
        seen = logs_seen(connection)
        since = generation(connection)
    wanted = tables_wanted(known, None if everything and not keeps_figures(known, former) else former)
    digests = {name: TableDigest() for name in wanted}

    def add(table: str, rows: Any) -> None:
        digests[table].add(rows)
        files.add_piece(table, rows)

    work = Work(stores, day, now, add)
    with stores.lake.snapshot():
        for module in _MODULES:
            if some := wanted & set(module.TABLES):
                module.write(work, some)
        for table in sorted(wanted & HEALTH_TABLES):
            _digest_health(work, table, digests[table])
    files.finish()
    return _Computed(day, known, former, seen, since, wanted, digests, files)


def _digest_health(work: Work, table: str, digest: TableDigest) -> None:
    """Digest what health holds of the day: its tables are computed elsewhere, and read by the same reports."""
    columns = ", ".join(c.name for c in DERIVED_TABLES[table].columns)
    sql = f"SELECT {columns} FROM lake.{table} WHERE {work.of_day} ORDER BY {_HEALTH_ORDER[table]}"
    for piece in work.stores.lake.pieces(sql, rows=PIECE_ROWS):
        digest.add(piece.cast(DERIVED_TABLES[table].arrow))


def _put(
    stores: Stores, found: Sequence[_Computed], now: datetime, at: datetime, waiting: Mapping[date, int]
) -> list[DayVersion]:
    """Put the figures of days, read as of `now`, in their place, and note their versions as of `at`. Raises DeletedMeanwhile: who was
    deleted would be in them again."""
    lake, state = stores.lake, stores.state
    days = [one.day for one in found]
    with lake.lock():
        held = _rows_held(lake, days)
        with state.read() as connection:  # another may have computed one of them meanwhile
            formers = versions_of(connection, days)
            for one in found:
                refuse_other(connection, one.generation)
        swapped = {one.day: list(_to_swap(one, formers.get(one.day), held)) for one in found}
        files = [f for one in found for f in one.files.finished if f.table in swapped[one.day]]
        if any(swapped.values()):
            lake.replace_days(swapped, files)
        # Still under the lock: of two that compute a day at once, the one whose rows lie there has the last word.
        with state.write() as connection:
            kept = []
            for one in found:
                former = formers.get(one.day)
                kept.append(put_version(state, connection, former, _version(one, former, now, at, waiting)))
                note_computed(connection, one.day, one.known)
    return kept


def _to_swap(
    one: _Computed, former: DayVersion | None, held: Mapping[tuple[str, date], int]
) -> Iterator[str]:
    """Tables whose rows are others than those that lie in the lake, by what is known of these."""
    for name, digest in one.digests.items():
        if name in HEALTH_TABLES:
            continue
        known = former.tables.get(name) if former is not None else None
        same = known is not None and known["digest"] == digest.digest
        if not same or held.get((name, one.day), 0) != digest.rows:
            yield name


def _rows_held(lake: Lake, days: Collection[date]) -> dict[tuple[str, date], int]:
    """How many rows each table holds of the days."""
    of_days = days_sql(days)
    parts = " UNION ALL ".join(
        f"SELECT '{name}' AS name, day, count(*) AS rows FROM lake.{name} WHERE {of_days} GROUP BY day"
        for name in STATISTICS_TABLES
    )
    return {(row["name"], row["day"]): row["rows"] for row in lake.query(parts)}


def _version(
    one: _Computed, former: DayVersion | None, now: datetime, at: datetime, waiting: Mapping[date, int]
) -> DayVersion:
    tables = dict(former.tables) if former is not None else {}
    tables |= {name: {"rows": d.rows, "digest": d.digest} for name, d in one.digests.items()}
    digest = digest_of_day({name: str(figures["digest"]) for name, figures in tables.items()})
    causes = {str(reason) for reason, change in one.known.items() if change.is_new}
    if (
        former is not None and not causes
    ):  # logs go on all the time: they are the reason where nothing else is
        causes.update(logs_grown(former.seen, one.seen))
    closed = is_closed(one.day, now, waiting)
    return DayVersion(one.day, 1, digest, tables, tuple(sorted(causes)), closed, at, now, one.seen)


def is_closed(day: date, now: datetime, waiting: Mapping[date, int]) -> bool:
    """Whether a day is over and nothing of it waits."""
    return now >= begin_of(day) + DAY + GRACE and not waiting.get(day)


def _reports(
    stores: Stores, found: Sequence[_Computed], kept: Sequence[DayVersion], waiting: Mapping[date, int]
) -> list[StatisticsReport]:
    figures = event_figures(stores.lake, [one.day for one in found])
    return [
        StatisticsReport(
            day=one.day,
            version=version.version,
            digest=version.digest,
            changed=one.former is None or one.former.digest != version.digest,
            causes=version.causes,
            closed=version.closed,
            waiting=waiting.get(one.day, 0),
            rows={
                name: int(version.tables[name]["rows"])
                for name in STATISTICS_TABLES
                if name in version.tables
            },
            computed=tuple(sorted(one.wanted)),
            **figures[one.day],
        )
        for one, version in zip(found, kept, strict=True)
    ]


def event_figures(lake: Lake, days: Collection[date]) -> dict[date, dict[str, Any]]:
    """Errors, distinct users and errors by UTC hour of days, as the tables have them."""
    of_days = days_sql(days)
    found: dict[date, dict[str, Any]] = {day: {"errors": 0, "users": 0, "hours": [0] * 24} for day in days}
    for row in lake.query(
        "SELECT day, hour(slot) AS hour, sum(events)::BIGINT AS events FROM lake.event_stats "
        f"WHERE {of_days} GROUP BY ALL"
    ):
        found[row["day"]]["hours"][row["hour"]] = row["events"]
        found[row["day"]]["errors"] += row["events"]
    for row in lake.query(  # a user is one of a project
        f"SELECT day, count(DISTINCT (project_id, user_hash)) AS users FROM lake.event_users WHERE {of_days} GROUP BY day"
    ):
        found[row["day"]]["users"] = row["users"]
    return found


def days_sql(days: Collection[date]) -> str:
    """A condition on `day`: as constants they choose the files."""
    return "day IN ({})".format(", ".join(f"DATE '{day.isoformat()}'" for day in sorted(days)))
