"""`monitors`: cron jobs and addresses, how they are, and their incidents."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.queries import age, open_all, open_state, seconds_text
from tasks_pipeline.commands.common.tables import field_lines, table
from tasks_pipeline.config.projects import project_name
from tasks_pipeline.words import counted

if TYPE_CHECKING:
    from tasks_pipeline.storage.state.database import StateDatabase

_COLUMNS = {"monitor": "monitor", "project": "project", "type": "type", "environment": "environment", "state": "state", "last": "last", "next": "next (UTC)", "streak": "in a row", "schedule": "schedule"}  # fmt: skip
_MARKS = {"ok": "●", "error": "✗", "missed": "○", "timed_out": "◷", "in_progress": "…", "unknown": "·"}
_RUNS = 60


@click.group(cls=CommandGroup)
def monitors() -> None:
    """Look at cron and uptime monitors; mute them; check them now."""


@monitors.command("list")
@json_option
@click.pass_context
def list_command(ctx: click.Context, as_json: bool) -> None:
    """List monitors, the troubled ones first.

    \b
    Example:
      tasks-pipeline monitors list
    """
    now = datetime.now(UTC)
    with open_state(current_home(ctx)) as (state, slugs):
        rows = _environments(state, slugs)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        row["last"] = age(row["last_check_in_at"], now)
        row["next"] = row["next_at"]
        row["streak"] = f"{row['failures']} bad" if row["failures"] else f"{row['successes']} good"
    if rows:
        table(rows, _COLUMNS, cut=["schedule"], drop=["type", "project", "streak", "next"])
    else:
        click.echo(
            "no monitors; configure `monitors` and `uptime` of a project, or send a check-in", err=True
        )


@monitors.command()
@click.argument("slug")
@json_option
@click.pass_context
def show(ctx: click.Context, slug: str, as_json: bool) -> None:
    """Show a monitor: its newest runs as a strip of marks, and its incidents.

    \b
    ● good   ✗ error   ○ missed   ◷ took too long   … in progress
    · nobody knows: this service was down

    \b
    Example:
      tasks-pipeline monitors show nightly
    """
    from sqlalchemy import select

    from tasks_pipeline.storage.state.tables import incidents, monitor_check_ins

    with open_state(current_home(ctx)) as (state, slugs):
        rows = [row for row in _environments(state, slugs) if row["monitor"] == slug]
        if not rows:
            raise click.ClickException(
                f"there is no monitor {cell(slug)}; `tasks-pipeline monitors list` shows them"
            )
        with state.read() as connection:
            for row in rows:
                c, i = monitor_check_ins.c, incidents.c
                newest = (
                    select(c.status, c.started_at, c.duration_s, c.detail)
                    .where(c.environment_id == row["id"])
                    .order_by(c.started_at.desc(), c.id.desc())
                    .limit(_RUNS)
                )
                row["runs"] = [dict(r._mapping) for r in connection.execute(newest)][::-1]
                opened = (
                    select(incidents).where(i.environment_id == row["id"]).order_by(i.id.desc()).limit(10)
                )
                row["incidents"] = [dict(r._mapping) for r in connection.execute(opened)]
    if as_json:
        print_json(rows)
        return
    now = datetime.now(UTC)
    for row in rows:
        head = ("monitor", "environment", "state", "schedule")
        click.echo("  ".join(cell(row[name]) for name in head if row[name]))
        click.echo(f"  {''.join(_MARKS.get(run['status'], '?') for run in row['runs']) or 'no runs yet'}")
        named = [("next", f"{cell(row['next_at'])} UTC" if row["next_at"] else "")]
        named += [(name.replace("_", " "), cell(value)) for name, value in (row["data"] or {}).items()]
        for incident in row["incidents"]:
            end = incident["closed_at"] or now
            length = seconds_text((end - incident["opened_at"]).total_seconds())
            state_text = f"took {length}" if incident["closed_at"] else f"open for {length}"
            told = f"{cell(incident['opened_at'])}  {incident['reason']:<9}  {state_text}  {cell(incident['detail'])}"
            named.append(("incident", told))
        for line in field_lines(named, indent="  "):
            click.echo(line)


@monitors.command()
@click.argument("slug")
@click.option("--environment", metavar="NAME", help="In this environment only.")
@json_option
@click.pass_context
def mute(ctx: click.Context, slug: str, environment: str | None, as_json: bool) -> None:
    """Note incidents of a monitor, but tell nobody, until it is unmuted.

    \b
    Example:
      tasks-pipeline monitors mute nightly --environment production
    """
    _set_muted(ctx, slug, environment, muted=True, as_json=as_json)


@monitors.command()
@click.argument("slug")
@click.option("--environment", metavar="NAME", help="In this environment only.")
@json_option
@click.pass_context
def unmute(ctx: click.Context, slug: str, environment: str | None, as_json: bool) -> None:
    """Tell of incidents of a monitor again.

    \b
    Example:
      tasks-pipeline monitors unmute nightly
    """
    _set_muted(ctx, slug, environment, muted=False, as_json=as_json)


@monitors.command()
@json_option
@click.pass_context
def check(ctx: click.Context, as_json: bool) -> None:
    """Check every monitor that is due now, without Dagster.

    \b
    Example:
      tasks-pipeline monitors check
    """
    from tasks_pipeline.monitors.loop import watch_monitors

    with open_all(current_home(ctx)) as stores:
        report = watch_monitors(stores, linger_seconds=0)
    if as_json:
        print_json({**report.figures(), "held": report.cron.held or None})
        return
    table(
        [{"what": name.replace("_", " "), "value": value} for name, value in report.figures().items()],
        ["what", "value"],
    )
    if report.cron.held:
        click.echo(f"silence was not judged: {report.cron.held}", err=True)


def _environments(state: StateDatabase, slugs: Mapping[int, str]) -> list[dict[str, Any]]:
    from sqlalchemy import select

    from tasks_pipeline.monitors.registry import mistake
    from tasks_pipeline.monitors.schedules import described
    from tasks_pipeline.storage.state.tables import monitor_environments, monitors

    columns = [
        monitors.c[name].label(f"m_{name}")
        for name in ("slug", "project_id", "type", "config", "status", "name", "source")
    ]
    query = select(monitor_environments, *columns).join(
        monitors, monitors.c.id == monitor_environments.c.monitor_id
    )
    with state.read() as connection:
        rows = [
            dict(row._mapping)
            for row in connection.execute(query.order_by(monitors.c.slug, monitor_environments.c.environment))
        ]
    found = []
    for row in rows:
        own = {
            name: row.pop(f"m_{name}")
            for name in ("slug", "project_id", "type", "config", "status", "name", "source")
        }
        muted = own["status"] == "muted" or row["muted"]
        status = "not watched" if mistake(own["config"]) else row["status"]
        shown = "disabled" if own["status"] == "disabled" else status + (", muted" if muted else "")
        found.append(
            {
                **row, "monitor": own["slug"], "project": project_name(slugs, own["project_id"]),
                "type": own["type"], "state": shown + (", incident" if row["incident_id"] else ""),
                "schedule": described(own["config"]), "source": own["source"],
            }
        )  # fmt: skip
    return sorted(found, key=lambda row: row["incident_id"] is None)


def _set_muted(ctx: click.Context, slug: str, environment: str | None, *, muted: bool, as_json: bool) -> None:
    from sqlalchemy import select, update

    from tasks_pipeline.storage.state.tables import monitor_environments, monitors

    with open_state(current_home(ctx)) as (state, _), state.write() as connection:
        ids = select(monitors.c.id).where(monitors.c.slug == slug)
        statement = (
            update(monitor_environments)
            .where(monitor_environments.c.monitor_id.in_(ids))
            .values(muted=int(muted))
        )
        if environment is not None:
            statement = statement.where(monitor_environments.c.environment == environment)
        count = connection.execute(statement).rowcount
    if not count:
        raise click.ClickException(
            f"there is no monitor {cell(slug)}" + (f" in {cell(environment)}" if environment else "")
        )
    if as_json:
        print_json({"monitor": slug, "environments": count, "muted": muted})
    else:
        click.echo(f"{slug}: {counted(count, 'environment')} {'muted' if muted else 'told of again'}")
