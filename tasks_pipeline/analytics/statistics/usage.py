"""usage_stats: how often which facts were recorded, by the slot in which they were so."""

from __future__ import annotations

from collections.abc import Collection

from tasks_pipeline.analytics.statistics.work import Work, ordered, slot_sql

TABLES = ("usage_stats",)


def write(work: Work, wanted: Collection[str]) -> None:
    """Add the rows of the table."""
    work.add_query(
        "usage_stats",
        f"SELECT {work.day_sql} AS day, {slot_sql('e.at')} AS slot, type, project_id, count(*) AS count "
        f"FROM lake.analytics_events e WHERE {work.of_day} GROUP BY ALL {ordered('usage_stats')}",
    )
