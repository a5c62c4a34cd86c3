"""Which figures there are: of each table that frames are made of, what tells its rows apart, what adds up, and what does not.

How they are asked for is in `frame_queries.py`; the tables themselves are described in `storage/lake/tables.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks_pipeline.storage.lake.tables import (
    EVENT_STATS,
    MONITOR_STATS,
    NOTIFICATION_STATS,
    OUTCOME_STATS,
    PIPELINE_STATS,
    RELEASE_HEALTH,
    TRANSACTION_STATS,
    USAGE_STATS,
    LakeTable,
)


@dataclass(frozen=True, slots=True)
class Figures:
    """A table of figures by slot. `keys` tell its rows apart beside the slot; `sums` add up, of `greatest` the greatest counts;
    `histogram` is the column of durations. What is distinct in a slot is left out: nobody may add it up."""

    table: LakeTable
    keys: tuple[str, ...]
    sums: tuple[str, ...]
    greatest: tuple[str, ...] = ()
    histogram: str = ""

    def type_of(self, column: str) -> str:
        """The type of a column in DuckDB."""
        return {c.name: c.type for c in self.table.columns}[column]


OF_EVENTS = Figures(
    EVENT_STATS,
    ("project_id", "release", "environment", "level", "handled"),
    ("events", "new_groups", "payload_bytes"),
)
OF_TRANSACTIONS = Figures(
    TRANSACTION_STATS,
    ("project_id", "name", "op", "release", "environment"),
    ("count", "failed", "satisfied", "tolerable", "sum_ms"),
    ("max_ms",),
    "durations",
)
OF_OUTCOMES = Figures(
    OUTCOME_STATS, ("project_id", "public_key", "category", "outcome", "reason"), ("quantity",)
)
OF_MONITORS = Figures(
    MONITOR_STATS,
    ("project_id", "monitor", "kind", "environment"),
    ("expected", "ok", "error", "missed", "timed_out", "down_seconds", "observed_seconds"),
    (),
    "durations",
)
OF_NOTIFICATIONS = Figures(
    NOTIFICATION_STATS,
    ("project_id", "rule", "channel", "channel_type", "kind", "status"),
    ("count",),
    (),
    "seconds",
)
OF_SESSIONS = Figures(
    RELEASE_HEALTH,
    ("project_id", "release", "environment"),
    ("sessions", "healthy", "errored", "unhandled", "abnormal", "crashed", "duration_sum_s"),
    ("duration_max_s",),
    "durations",
)
OF_USAGE = Figures(USAGE_STATS, ("type", "project_id"), ("count",))
OF_THE_PIPELINE = Figures(PIPELINE_STATS, (), ("accepted", "stored", "batches", "drains", "bytes"), (), "lag")

WITH_DURATIONS: dict[str, Figures] = {
    "transactions": OF_TRANSACTIONS,
    "monitors": OF_MONITORS,
    "notifications": OF_NOTIFICATIONS,
    "sessions": OF_SESSIONS,
    "pipeline": OF_THE_PIPELINE,
}
"""Those that have a histogram, by what they are called where durations are asked for."""
ADDITIVE = frozenset().union(
    *(
        figures.sums
        for figures in (
            OF_EVENTS, OF_TRANSACTIONS, OF_OUTCOMES, OF_MONITORS, OF_NOTIFICATIONS, OF_SESSIONS, OF_USAGE, OF_THE_PIPELINE,
        )
    )
)  # fmt: skip
"""Names of columns that may be added up over time, whatever frame they stand in."""
