"""outcome_stats: what became of items, by the slot in which they were received. The books, cut finer."""

from __future__ import annotations

from collections.abc import Collection

from tasks_pipeline.analytics.statistics.work import Work, ordered

TABLES = ("outcome_stats",)
SLOT = "coalesce(slot, hour)"
"""SQL: the slot of a row of `lake.outcomes`; rows of earlier versions know the hour alone."""


def write(work: Work, wanted: Collection[str]) -> None:
    """Add the rows of the table."""
    work.add_query(
        "outcome_stats",
        f"SELECT {work.day_sql} AS day, {SLOT} AS slot, project_id, coalesce(public_key, '') AS public_key, category, outcome, "
        "coalesce(reason, '') AS reason, sum(quantity)::BIGINT AS quantity "
        f"FROM lake.outcomes WHERE {work.of_day} GROUP BY ALL {ordered('outcome_stats')}",
    )
