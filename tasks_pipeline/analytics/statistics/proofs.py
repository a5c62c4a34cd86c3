"""What must hold of the figures of days, counted from their tables and once more from what they are made of, in other ways than
the tables were. Whether that is a failure is said by the checks (`checks/statistics.py`)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from tasks_pipeline.analytics.statistics.compute import days_sql
from tasks_pipeline.analytics.statistics.days import changes_of, versions_of
from tasks_pipeline.analytics.statistics.status import OPEN, standings
from tasks_pipeline.releases.spans import DAY, SLOT_SQL, begin_of
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.storage.state.removals import removed_at
from tasks_pipeline.stores import Stores

TAKEN = frozenset({"regrouped", "retention", "privacy", "deleted"})
"""Reasons for which a day may hold fewer events than were stored of it."""
SLOTTED = {
    "event_stats": "events", "transaction_stats": "count", "outcome_stats": "quantity", "monitor_stats": "expected",
    "notification_stats": "count", "usage_stats": "count", "pipeline_stats": "accepted",
}  # fmt: skip
"""Tables of slots, and what of each adds up."""
_OPEN = ", ".join(f"'{status}'" for status in OPEN)


@dataclass(frozen=True, slots=True)
class Balance:
    """Groups that wait for somebody: `start` and `end` by the log, `entered` and `left` by the moves of the day, `level` by the
    table of levels."""

    start: int
    entered: int
    left: int
    end: int
    level: int

    @property
    def holds(self) -> bool:
        """Whether all of it agrees."""
        return self.end == self.start + self.entered - self.left == self.level


@dataclass(frozen=True, slots=True)
class Proof:
    """Figures of a day. `events` are those of the table, `rows` those of the lake, `stored` what the outcomes say; `sums` of
    tables by name, each with what it must be; `astray` rows lie outside of the slots of the day. `due`: something happened to
    its rows since; `taken`: some of its events were removed on purpose; `gone`: retention took rows that its figures are of, so
    that they cannot be counted again."""

    day: date
    computed: bool
    due: bool
    taken: bool
    gone: bool
    events: int
    rows: int
    stored: int
    sums: dict[str, tuple[int, int]]
    astray: int
    most_slots: int
    balance: Balance


def prove(stores: Stores, day: date) -> Proof:
    """Count what the tables hold of a day, and what they are made of says."""
    with stores.state.read() as connection:
        known, version = changes_of(connection, [day])[day], versions_of(connection, [day]).get(day)
        gone = removed_at(connection, day, (*RECEIVED_TABLES, "analytics_events")) is not None
    lake, of_day = stores.lake, days_sql([day])
    (counted,) = lake.query(
        f"SELECT (SELECT coalesce(sum(events), 0)::BIGINT FROM lake.event_stats WHERE {of_day}) AS events, "
        f"(SELECT count(*) FROM lake.events WHERE {of_day}) AS rows, "
        f"(SELECT coalesce(sum(quantity), 0)::BIGINT FROM lake.outcomes WHERE {of_day} AND outcome = 'stored' "
        "AND category IN ('error', 'security')) AS stored"
    )
    slots = _slots(stores, day)
    return Proof(
        day,
        computed=version is not None,
        due=version is None or any(change.is_new for change in known.values()),
        taken=not TAKEN.isdisjoint(known),
        gone=gone,
        **counted,
        sums=_sums(stores, day),
        astray=sum(row["astray"] for row in slots),
        most_slots=max((row["slots"] for row in slots), default=0),
        balance=_balance(stores, day, begin_of(day) + DAY if version is None else version.checked_at),
    )


def _slots(stores: Stores, day: date) -> list[dict[str, Any]]:
    begin, end = begin_of(day).isoformat(), (begin_of(day) + DAY).isoformat()
    parts = " UNION ALL ".join(
        f"SELECT count(DISTINCT slot) AS slots, count(*) FILTER (slot <> time_bucket({SLOT_SQL}, slot) "
        f"OR slot < TIMESTAMPTZ '{begin}' OR slot >= TIMESTAMPTZ '{end}') AS astray FROM lake.{name} WHERE {days_sql([day])}"
        for name in SLOTTED
    )
    return stores.lake.query(parts)


def _sums(stores: Stores, day: date) -> dict[str, tuple[int, int]]:
    """Sums of tables, and what else says them: the installation's and its projects', a table's and another's of the same rows."""
    of_day = days_sql([day])
    pairs = {
        "group_stats": ("SELECT sum(events) FROM lake.group_stats WHERE {d}", "SELECT count(*) FROM lake.events WHERE {d}"),
        "group_stats.slots": (
            "SELECT sum(list_sum(map_values(slots))) FROM lake.group_stats WHERE {d}",
            "SELECT sum(events) FROM lake.event_stats WHERE {d}",
        ),
        "event_users": (
            "SELECT count(DISTINCT (project_id, user_hash)) FROM lake.event_users WHERE {d}",
            "SELECT count(DISTINCT (project_id, user_key)) FROM lake.events WHERE {d} AND user_key <> ''",
        ),
        "transaction_stats": (
            "SELECT sum(count) FROM lake.transaction_stats WHERE {d}",
            "SELECT count(*) FROM lake.transactions WHERE {d}",
        ),
        "transaction_stats.durations": (
            "SELECT sum(list_sum(map_values(durations))) FROM lake.transaction_stats WHERE {d}",
            "SELECT count(duration_ms) FROM lake.transactions WHERE {d}",
        ),
        "outcome_stats": (
            "SELECT sum(quantity) FROM lake.outcome_stats WHERE {d}",
            "SELECT sum(quantity) FROM lake.outcomes WHERE {d}",
        ),
        "usage_stats": (
            "SELECT sum(count) FROM lake.usage_stats WHERE {d}",
            "SELECT count(*) FROM lake.analytics_events WHERE {d}",
        ),
    }  # fmt: skip
    columns = ", ".join(
        f'coalesce(({one.format(d=of_day)}), 0)::BIGINT AS "{name}", coalesce(({other.format(d=of_day)}), 0)::BIGINT AS "{name}!"'
        for name, (one, other) in pairs.items()
    )
    (row,) = stores.lake.query(f"SELECT {columns}")
    return {name: (row[name], row[f"{name}!"]) for name in pairs}


def _balance(stores: Stores, day: date, checked_at: datetime) -> Balance:
    (moves,) = stores.lake.query(
        f"SELECT count(*) FILTER (status_to IN ({_OPEN}) AND coalesce(status_from, '') NOT IN ({_OPEN})) AS entered, "
        f"count(*) FILTER (status_from IN ({_OPEN}) AND status_to NOT IN ({_OPEN})) AS left_ "
        f"FROM lake.group_moves WHERE {days_sql([day])}"
    )
    (levels,) = stores.lake.query(
        f"SELECT coalesce(sum(groups), 0)::BIGINT AS level FROM lake.group_levels WHERE {days_sql([day])} AND status IN ({_OPEN})"
    )
    with stores.state.read() as connection:
        start = sum(one.is_open for one in standings(connection, begin_of(day)))
        end = sum(one.is_open for one in standings(connection, min(begin_of(day) + DAY, checked_at)))
    return Balance(start, moves["entered"], moves["left_"], end, levels["level"])


def users_of(stores: Stores, days: Collection[date]) -> tuple[int, int, int]:
    """Distinct users of a span of days, the most of one day, and all days added up."""
    span = f"day BETWEEN DATE '{min(days).isoformat()}' AND DATE '{max(days).isoformat()}'"
    distinct = "count(DISTINCT (project_id, user_hash))"
    (row,) = stores.lake.query(
        f"WITH per_day AS (SELECT {distinct} AS users FROM lake.event_users WHERE {span} GROUP BY day) "
        f"SELECT (SELECT {distinct} FROM lake.event_users WHERE {span}) AS period, coalesce(max(users), 0) AS most, "
        "coalesce(sum(users), 0)::BIGINT AS added FROM per_day"
    )
    return row["period"], row["most"], row["added"]


def week_before(day: date) -> list[date]:
    """The day and the six before it."""
    return [day - timedelta(days=n) for n in range(7)]
