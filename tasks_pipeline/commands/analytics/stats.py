"""`analytics stats`: figures of days, in short or a table of them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import Day, json_option, limit_option, project_option
from tasks_pipeline.commands.common.output import current_home
from tasks_pipeline.commands.common.queries import lake_of, open_state, project_number
from tasks_pipeline.commands.common.tables import say, table
from tasks_pipeline.words import sparkline

if TYPE_CHECKING:
    from tasks_pipeline.storage.lake.lake import Lake
    from tasks_pipeline.storage.state.database import StateDatabase

SHOWN_DAYS = 7
MOST_DAYS = 400
TABLES = (
    "event_stats", "event_users", "group_stats", "group_moves", "group_levels", "transaction_stats", "outcome_stats",
    "monitor_stats", "notification_stats", "release_moves", "usage_stats", "pipeline_stats",
)  # fmt: skip
_COLUMNS = {
    "day": "day", "errors": "errors", "bars": "by hour", "users": "users", "new_groups": "new groups", "open_groups": "open",
    "transactions": "transactions", "version": "version", "state": "state", "causes": "changed by", "digest": "digest",
}  # fmt: skip


@click.command()
@click.argument("day", type=Day(), metavar="[DAY]", required=False)
@click.option("--since", type=Day(), metavar="DAY", help="First day (UTC).  [default: a week ago]")
@click.option("--until", type=Day(), metavar="DAY", help="Last day, included.  [default: today]")
@click.option(
    "--table",
    "name",
    type=click.Choice(TABLES),
    metavar="NAME",
    help="Rows of this table instead: event_stats, group_moves …; a wrong name tells all.",
)
@project_option("Only this project.")
@limit_option(200, "rows of a table to show")
@json_option
@click.pass_context
def stats(
    ctx: click.Context,
    day: datetime | None,
    since: datetime | None,
    until: datetime | None,
    name: str | None,
    project: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show figures of UTC days: events, users, groups, transactions, and which version of the figures it is. docs/figures.md says how
    each is made.

    \b
    Examples:
      tasks-pipeline analytics stats
      tasks-pipeline analytics stats 2026-11-22 --table group_moves --json
      tasks-pipeline analytics stats --since 2026-11-01 --project shop
    """
    first, last = asked_days(day, since, until, datetime.now(UTC).date())
    with open_state(current_home(ctx)) as (state, slugs), lake_of(current_home(ctx), state) as lake:
        number = project_number(slugs, project)
        if name is None:
            rows = _days(state, lake, first, last, number)
        else:
            rows = _rows(lake, name, first, last, number, limit)
    if as_json:
        print_json(rows)
    elif not rows:
        say(
            "nothing is counted of these days; `tasks-pipeline backfill --statistics --from DAY` computes days again"
        )
    elif name is None:
        table(
            [{**row, "bars": sparkline(row["hours"]), "causes": ", ".join(row["causes"])} for row in rows],
            _COLUMNS,
            drop=["digest", "causes", "transactions"],
        )
    else:
        table(
            rows,
            list(rows[0]),
            wrap=[key for key, value in rows[0].items() if isinstance(value, dict | list)],
        )


def asked_days(
    day: datetime | None, since: datetime | None, until: datetime | None, today: date
) -> tuple[date, date]:
    """The first and the last day that the options name. Raises UsageError."""
    if day is not None and (since is not None or until is not None):
        raise click.UsageError("give either a day, or --since and --until")
    if day is not None:
        return day.date(), day.date()
    last = today if until is None else until.date()
    first = last - timedelta(days=SHOWN_DAYS - 1) if since is None else since.date()
    if first > last:
        raise click.UsageError("--until is before --since")
    if (last - first).days >= MOST_DAYS:
        raise click.UsageError(f"at most {MOST_DAYS} days at once")
    return first, last


def _span(first: date, last: date, project: int | None, column: str = "project_id") -> str:
    """A condition of SQL: days are constants, which choose the files."""
    days = f"day BETWEEN DATE '{first.isoformat()}' AND DATE '{last.isoformat()}'"
    return days if project is None else f"{days} AND {column} = {int(project)}"


def _rows(
    lake: Lake, name: str, first: date, last: date, project: int | None, limit: int
) -> list[dict[str, Any]]:
    from tasks_pipeline.analytics.statistics.work import ordered

    if name == "pipeline_stats":
        project = None  # of the installation
    order = ordered(name).replace("ORDER BY", "ORDER BY day,")
    return lake.query(f"SELECT * FROM lake.{name} WHERE {_span(first, last, project)} {order} LIMIT {limit}")


def _days(
    state: StateDatabase, lake: Lake, first: date, last: date, project: int | None
) -> list[dict[str, Any]]:
    """A row for each day that has figures."""
    from tasks_pipeline.analytics.statistics.days import versions_of
    from tasks_pipeline.analytics.statistics.status import OPEN

    where, is_open = _span(first, last, project), ", ".join(f"'{status}'" for status in OPEN)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    with state.read() as connection:
        versions = versions_of(connection, days)
    found: dict[date, dict[str, Any]] = {day: {} for day in versions}
    for sql in (
        f"SELECT day, count(DISTINCT (project_id, user_hash)) AS users FROM lake.event_users WHERE {where} GROUP BY day",
        f"SELECT day, count(*) AS new_groups FROM lake.group_moves WHERE {where} AND move = 'created' GROUP BY day",
        f"SELECT day, sum(groups)::BIGINT AS open_groups FROM lake.group_levels WHERE {where} AND status IN ({is_open}) GROUP BY day",
        f"SELECT day, sum(count)::BIGINT AS transactions FROM lake.transaction_stats WHERE {where} GROUP BY day",
    ):
        for row in lake.query(sql):
            found.setdefault(row["day"], {}).update(row)
    hours: dict[date, list[int]] = {day: [0] * 24 for day in found}
    for row in lake.query(
        f"SELECT day, hour(slot) AS hour, sum(events)::BIGINT AS events FROM lake.event_stats WHERE {where} GROUP BY ALL"
    ):
        hours.setdefault(row["day"], [0] * 24)[row["hour"]] = row["events"]
    return [
        {
            "day": day, "errors": sum(hours[day]), "users": figures.get("users", 0), "new_groups": figures.get("new_groups", 0),
            "open_groups": figures.get("open_groups", 0), "transactions": figures.get("transactions", 0), "hours": hours[day],
            **_said(versions.get(day)),
        }
        for day, figures in sorted(found.items())
    ]  # fmt: skip


def _said(version: Any) -> dict[str, Any]:
    if version is None:
        return {"version": None, "digest": "", "state": "", "causes": []}
    return {
        "version": version.version, "digest": version.digest[:8], "state": "closed" if version.closed else "open",
        "causes": list(version.causes),
    }  # fmt: skip
