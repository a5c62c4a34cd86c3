"""Frames of what does not add up: distinct users of any span, and percentiles. Each is counted or read where the rows lie, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import pandas as pd

from tasks_pipeline.analytics import figures
from tasks_pipeline.analytics.frame_queries import (
    MOST_ROWS,
    Projects,
    Readable,
    Span,
    bounded,
    chosen,
    grouped,
    numbers,
    of_projects,
    with_projects,
)
from tasks_pipeline.releases import health_figures as health
from tasks_pipeline.releases.durations import GROWTH

_SHARES = ("sessions", "crashed", "crash_free_sessions", "users", "crashed_users", "crash_free_users")


def event_users(
    stores: Readable,
    start: datetime,
    end: datetime,
    *,
    by: Sequence[str] = ("project_id",),
    projects: Projects = None,
    limit: int = MOST_ROWS,
) -> pd.DataFrame:
    """Distinct users whom stored error events of the span affected, exactly: the columns in `by` (of project_id, release and
    environment; none: everybody together) and users. They never add up, neither over days nor over releases."""
    span = Span.of(start, end)
    keys = chosen(by, ("project_id", "release", "environment"))
    condition, parameters = of_projects(stores, projects)
    inside = f"({span.whole_day} OR len(list_filter(slots, lambda s: {span.is_in('s')})) > 0)"
    columns = ", ".join([*keys, "count(DISTINCT user_hash)::BIGINT AS users"])
    sql = f"SELECT {columns} FROM lake.event_users WHERE {span.days} AND {inside}{condition}"
    return bounded(stores, sql + grouped(keys), parameters, limit)


def group_totals(
    stores: Readable,
    start: datetime,
    end: datetime,
    *,
    projects: Projects = None,
    most: int = 1000,
) -> pd.DataFrame:
    """The groups with the most events of the span, at most so many: project_id, project, group_id; events, and users (Int64):
    distinct in the span, exactly; missing where a group had more than 10,000 users on a day of it."""
    span = Span.of(start, end)
    condition, parameters = of_projects(stores, projects)
    of_slots = f"list_sum(list_transform(list_filter(map_entries(slots), lambda e: {span.is_in('e.key')}), lambda e: e.value))"
    sql = f"""
        WITH days AS (
            SELECT day, project_id, group_id, users, user_count,
                CASE WHEN {span.whole_day} THEN events ELSE coalesce({of_slots}, 0) END AS n
            FROM lake.group_stats WHERE {span.days}{condition}
        ), top AS (
            SELECT project_id, group_id, sum(n)::BIGINT AS events, bool_or(users IS NULL AND user_count > 0) AS unknown
            FROM days WHERE n > 0 GROUP BY ALL ORDER BY events DESC, group_id LIMIT {int(most)}
        ), seen AS (
            SELECT day, project_id, group_id, unnest(map_keys(users)) AS user_hash, unnest(map_values(users)) AS s
            FROM days JOIN top USING (project_id, group_id) WHERE n > 0 AND NOT unknown
        ), counted AS (
            SELECT project_id, group_id, count(DISTINCT user_hash) AS users FROM seen
            WHERE {span.whole_day} OR len(list_filter(s, lambda x: {span.is_in("x")})) > 0 GROUP BY ALL
        )
        SELECT project_id, group_id, events, CASE WHEN NOT unknown THEN coalesce(users, 0) END::BIGINT AS users
        FROM top LEFT JOIN counted USING (project_id, group_id) ORDER BY events DESC, group_id"""
    return bounded(stores, sql, parameters, most, null=("users",))


def crash_free(
    stores: Readable,
    start: datetime,
    end: datetime,
    *,
    by: Sequence[str] = ("project_id",),
    projects: Projects = None,
    most: int = 1000,
) -> pd.DataFrame:
    """Sessions and distinct users of the span, exactly: the columns in `by` (of project_id, release and environment); sessions,
    crashed, crash_free_sessions, users, crashed_users, crash_free_users (shares, 0 to 1). Those with the most sessions, at most so
    many. Without `projects` those that are configured."""
    span = Span.of(start, end)
    keys = chosen(by, ("project_id", "release", "environment"))
    found = (
        health.health_figures(
            stores.lake,
            health.Span(span.start, span.end),
            health.Sessions(numbers(stores, projects)),
            [tuple(keys)],
            durations=False,
            most=most,
        )
        if span.start < span.end
        else {}
    )
    rows = [
        (
            *(getattr(cell, name) for name in keys),
            *(each.all_sessions, each.crashed, each.crash_free_sessions),
            *(each.all_users, each.crashed_users, each.crash_free_users),
        )
        for cell, each in found.items()
    ]
    types = {name: "int64" if name == "project_id" else "str" for name in keys}
    types |= {name: "float64" if name.startswith("crash_free") else "int64" for name in _SHARES}
    frame = pd.DataFrame(rows, columns=[*keys, *_SHARES]).astype(types).sort_values([*keys, "sessions"])
    return with_projects(frame.reset_index(drop=True), stores.slugs)


def durations(
    stores: Readable,
    of: Literal["transactions", "monitors", "notifications", "sessions", "pipeline"],
    start: datetime,
    end: datetime,
    *,
    by: Sequence[str] = (),
    percents: Sequence[int] = (50, 75, 95),
    projects: Projects = None,
    limit: int = MOST_ROWS,
) -> pd.DataFrame:
    """How long something took, from added histograms: the columns in `by` (those of its frame), count, and for each of `percents`
    what so many percent did not exceed, in milliseconds (p50_ms …), by nearest rank and within one percent.

    Of transactions; of runs of monitors; from deciding on a message until it was sent; of sessions that ended well; of the waits of the
    first envelope of each batch. Raises ValueError for percents that are not from 1 to 100.
    """
    source = figures.WITH_DURATIONS[of]
    keys = chosen(by, ("slot", *source.keys))
    if wrong := [percent for percent in percents if percent not in range(1, 101)]:
        raise ValueError(f"percents: found {wrong[0]}, allowed are 1 to 100")
    condition, parameters = of_projects(stores, projects if source.keys else None)
    sql = _percentiles(source, Span.of(start, end), keys, percents, condition)
    frame = bounded(
        stores, sql, parameters, limit, null=("handled", *(f"b{percent}" for percent in percents))
    )
    for percent in percents:
        bucket = frame.pop(f"b{percent}").astype("float64")
        # Between both ends of the bucket, where the relative error is the same to either: as releases/durations.py has it.
        told = 2 * GROWTH**bucket / (1 + GROWTH)
        frame[f"p{percent}_ms"] = told.clip(upper=frame["longest"]) if "longest" in frame else told
    return frame.drop(columns="longest", errors="ignore")


def _percentiles(
    source: figures.Figures, span: Span, keys: Sequence[str], percents: Sequence[int], condition: str
) -> str:
    """SQL: how many there are, and the bucket of each percentile, the first up to which ceil(p·n) of them lie."""
    table, histogram = f"lake.{source.table.name}", source.histogram
    rows = f"FROM {table} WHERE {span.between('slot')}{condition}"
    named = "".join(f"{key}, " for key in keys)
    longest = "max(max_ms)" if "max_ms" in source.greatest else "NULL::DOUBLE"
    partition = f"PARTITION BY {', '.join(keys)}" if keys else ""
    each = (
        f"SELECT {named}unnest(map_keys({histogram})) AS bucket, unnest(map_values({histogram})) AS n {rows}"
    )
    buckets = ", ".join(
        f"(min(bucket) FILTER (upto * 100 >= {percent} * total))::BIGINT AS b{percent}"
        for percent in percents
    )
    return f"""
        WITH counted AS (SELECT {named}bucket, sum(n) AS n FROM ({each}) GROUP BY ALL),
        placed AS (SELECT *, sum(n) OVER ({partition} ORDER BY bucket) AS upto, sum(n) OVER ({partition}) AS total FROM counted),
        found AS (SELECT {named}max(total)::BIGINT AS count, {buckets} FROM placed GROUP BY ALL HAVING max(total) > 0),
        longest AS (SELECT {named}{longest} AS longest {rows} GROUP BY ALL)
        SELECT * FROM found {"JOIN longest USING (" + ", ".join(keys) + ")" if keys else "CROSS JOIN longest"}
        {"ORDER BY " + ", ".join(keys) if keys else ""}"""
