"""Data frames of figures, for notebooks: the public face of the tables of figures. Each function says its columns.

    from datetime import datetime
    from zoneinfo import ZoneInfo
    from tasks_pipeline.analytics import frames

    berlin = ZoneInfo("Europe/Berlin")
    with frames.open_home("~/.tasks-pipeline") as home:
        events = frames.event_stats(home, datetime(2026, 11, 16, tzinfo=berlin), datetime(2026, 11, 23, tzinfo=berlin))

All of them take `stores` (a home opened by `open_home`, or open stores) and a span from `start` up to `end`, both with a zone; of
figures by slot both on the begin of 15 minutes. `projects` are numbers or slugs, all when absent. `by` names the columns that tell
rows apart, all when absent: DuckDB adds up the rest, so a frame is as small as what is asked. More than `limit` rows raise
TooManyRows. Times are UTC, with a zone; whole numbers int64, or Int64 where they may be missing. Where there is `project_id` there is
`project`, its slug. docs/frames.md has every column; what the figures mean is in docs/figures.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from tasks_pipeline.analytics import figures
from tasks_pipeline.analytics.axes import compare, full_axis
from tasks_pipeline.analytics.exact import crash_free, durations, event_users, group_totals
from tasks_pipeline.analytics.frame_queries import (
    MOST_ROWS,
    Projects,
    Readable,
    Span,
    TooManyRows,
    bounded,
    chosen,
    grouped,
    of_projects,
    sums_by,
)
from tasks_pipeline.analytics.opened import OpenHome, open_home

__all__ = [
    "OpenHome",
    "TooManyRows",
    "analytics_events",
    "compare",
    "crash_free",
    "durations",
    "event_stats",
    "event_users",
    "full_axis",
    "group_levels",
    "group_moves",
    "group_stats",
    "group_totals",
    "monitor_stats",
    "notification_stats",
    "open_home",
    "outcome_stats",
    "pipeline_stats",
    "release_health",
    "release_moves",
    "transaction_stats",
    "usage_stats",
]

By = Sequence[str] | None


def event_stats(
    stores: Readable,
    start: datetime,
    end: datetime,
    *,
    by: By = None,
    projects: Projects = None,
    limit: int = MOST_ROWS,
) -> pd.DataFrame:
    """Stored error events by slot of receipt: slot, project_id, project, release, environment, level, handled (boolean, may be
    missing); events, new_groups, payload_bytes."""
    return sums_by(stores, figures.OF_EVENTS, Span.of(start, end), by, projects, limit)


def group_stats(
    stores: Readable,
    start: datetime,
    end: datetime,
    *,
    by: By = None,
    projects: Projects = None,
    limit: int = MOST_ROWS,
) -> pd.DataFrame:
    """Stored error events of groups by slot of receipt: slot, project_id, project, group_id; events."""
    span = Span.of(start, end)
    keys = chosen(by, ("slot", "project_id", "group_id"))
    condition, parameters = of_projects(stores, projects)
    each = (
        "SELECT day, project_id, group_id, unnest(map_keys(slots)) AS s, unnest(map_values(slots)) AS n "
        f"FROM lake.group_stats WHERE {span.days}{condition}"
    )
    slots = (
        "SELECT day::TIMESTAMP::TIMESTAMPTZ + s * INTERVAL 15 MINUTE AS slot, project_id, group_id, n "
        f"FROM ({each}) WHERE {span.is_in('s')}"
    )
    columns = ", ".join([*keys, "coalesce(sum(n), 0)::BIGINT AS events"])
    return bounded(stores, f"SELECT {columns} FROM ({slots}){grouped(keys)}", parameters, limit)


def group_moves(
    stores: Readable,
    start: datetime,
    end: datetime,
    *,
    projects: Projects = None,
    limit: int = MOST_ROWS,
) -> pd.DataFrame:
    """What became of groups, by the moment it was decided: at, project_id, project, group_id, move, status_from, status_to, by,
    opened_at, assignee, action_id (Int64). Levels at any moment follow from it."""
    columns = '"at", project_id, group_id, move, status_from, status_to, "by", opened_at, assignee, action_id'
    return _rows(
        stores, "group_moves", columns, Span.of(start, end, slots=False), projects, limit, "action_id"
    )


def group_levels(
    stores: Readable,
    start: datetime,
    end: datetime,
    *,
    projects: Projects = None,
    limit: int = MOST_ROWS,
) -> pd.DataFrame:
    """Groups at the end of each UTC day that ends in the span: day (its begin), project_id, project, status, assigned, open_days
    (Int64: open for at least so many days; missing where not open); groups. For charts, not to be added up over days."""
    span = Span.of(start, end, slots=False)
    condition, parameters = of_projects(stores, projects)
    ends = "(day + 1)::TIMESTAMP::TIMESTAMPTZ"
    sql = (
        "SELECT day::TIMESTAMP::TIMESTAMPTZ AS day, project_id, status, assigned, open_days::BIGINT AS open_days, "
        f"sum(groups)::BIGINT AS groups FROM lake.group_levels WHERE {span.days} AND {ends} <= TIMESTAMPTZ '{span.end.isoformat()}'"
        f"{condition} GROUP BY ALL ORDER BY ALL"
    )
    return bounded(stores, sql, parameters, limit, null=("open_days",))


def transaction_stats(
    stores: Readable,
    start: datetime,
    end: datetime,
    *,
    by: By = None,
    projects: Projects = None,
    limit: int = MOST_ROWS,
) -> pd.DataFrame:
    """Stored transactions by slot of receipt: slot, project_id, project, name, op, release, environment; count, failed, satisfied,
    tolerable, sum_ms, max_ms. Percentiles: `durations(…, "transactions", …)`."""
    return sums_by(stores, figures.OF_TRANSACTIONS, Span.of(start, end), by, projects, limit)


def outcome_stats(
    stores: Readable,
    start: datetime,
    end: datetime,
    *,
    by: By = None,
    projects: Projects = None,
    limit: int = MOST_ROWS,
) -> pd.DataFrame:
    """What became of items, by slot of receipt: slot, project_id, project, public_key, category, outcome, reason; quantity."""
    return sums_by(stores, figures.OF_OUTCOMES, Span.of(start, end), by, projects, limit)


def monitor_stats(
    stores: Readable,
    start: datetime,
    end: datetime,
    *,
    by: By = None,
    projects: Projects = None,
    limit: int = MOST_ROWS,
) -> pd.DataFrame:
    """Monitors, by the slot in which a run or a look was due: slot, project_id, project, monitor, kind, environment; expected, ok,
    error, missed, timed_out, down_seconds, observed_seconds. Uptime is 1 − down / observed."""
    return sums_by(stores, figures.OF_MONITORS, Span.of(start, end), by, projects, limit)


def notification_stats(
    stores: Readable,
    start: datetime,
    end: datetime,
    *,
    by: By = None,
    projects: Projects = None,
    limit: int = MOST_ROWS,
) -> pd.DataFrame:
    """Messages to people, by the slot in which they were decided on: slot, project_id, project, rule, channel, channel_type, kind,
    status; count."""
    return sums_by(stores, figures.OF_NOTIFICATIONS, Span.of(start, end), by, projects, limit)


def release_moves(
    stores: Readable,
    start: datetime,
    end: datetime,
    *,
    projects: Projects = None,
    limit: int = MOST_ROWS,
) -> pd.DataFrame:
    """What became of releases, when it happened: at, project_id, project, version, move, environment; commits and authors (Int64)."""
    columns = '"at", project_id, version, move, environment, commits, authors'
    return _rows(
        stores,
        "release_moves",
        columns,
        Span.of(start, end, slots=False),
        projects,
        limit,
        "commits",
        "authors",
    )


def release_health(
    stores: Readable,
    start: datetime,
    end: datetime,
    *,
    by: By = None,
    projects: Projects = None,
    limit: int = MOST_ROWS,
) -> pd.DataFrame:
    """Sessions by the slot in which they began: slot, project_id, project, release, environment; sessions, healthy, errored,
    unhandled, abnormal, crashed, duration_sum_s, duration_max_s. Crash-free sessions are 1 − crashed / sessions; users: `crash_free`."""
    return sums_by(stores, figures.OF_SESSIONS, Span.of(start, end), by, projects, limit)


def analytics_events(
    stores: Readable,
    start: datetime,
    end: datetime,
    *,
    types: Sequence[str] | None = None,
    projects: Projects = None,
    limit: int = MOST_ROWS,
) -> pd.DataFrame:
    """Facts, when they were so: at, id, type, version, project_id, project, actor_kind, actor, source, run_id, data (JSON). `types`:
    of these types alone."""
    span = Span.of(start, end, slots=False)
    condition, parameters = of_projects(stores, projects)
    if types is not None:
        condition, parameters = (
            f"{condition} AND list_contains($types, type)",
            {**parameters, "types": list(types)},
        )
    sql = (
        'SELECT "at", id, type, version::BIGINT AS version, project_id, actor_kind, actor, source, run_id, data '
        f"FROM lake.analytics_events WHERE {span.between('at')}{condition} ORDER BY 1, id"
    )
    return bounded(stores, sql, parameters, limit)


def usage_stats(
    stores: Readable,
    start: datetime,
    end: datetime,
    *,
    by: By = None,
    projects: Projects = None,
    limit: int = MOST_ROWS,
) -> pd.DataFrame:
    """Facts counted, by the slot in which they were so: slot, type, project_id, project; count."""
    return sums_by(stores, figures.OF_USAGE, Span.of(start, end), by, projects, limit)


def pipeline_stats(
    stores: Readable, start: datetime, end: datetime, *, by: By = None, limit: int = MOST_ROWS
) -> pd.DataFrame:
    """The pipeline's own work, by slot: slot; accepted, stored, batches, drains, bytes."""
    return sums_by(stores, figures.OF_THE_PIPELINE, Span.of(start, end), by, None, limit)


def _rows(
    stores: Readable, table: str, columns: str, span: Span, projects: Projects, limit: int, *null: str
) -> pd.DataFrame:
    """Rows of a table of moves as they are."""
    condition, parameters = of_projects(stores, projects)
    sql = f"SELECT {columns} FROM lake.{table} WHERE {span.between('at')}{condition} ORDER BY ALL"
    return bounded(stores, sql, parameters, limit, null=null)
