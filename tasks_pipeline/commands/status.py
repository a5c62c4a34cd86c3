"""`status`: whether everything that came is accounted for, what waits, who works on it, and how big it all is."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.queries import (
    age,
    first_line,
    open_all,
    seconds_text,
    size_text,
)
from tasks_pipeline.commands.common.tables import say, table
from tasks_pipeline.texts import printable
from tasks_pipeline.words import counted

if TYPE_CHECKING:
    from tasks_pipeline.home import Home
    from tasks_pipeline.processing.books import Books
    from tasks_pipeline.service.running import RunningService
    from tasks_pipeline.stores import Stores

SUMMED = ("accepted", "stored", "duplicate", "filtered", "discarded", "invalid", "waiting")
_RUNS_SHOWN = 5
_MATERIALISED = "assets"  # Dagster's own name of what is materialised by hand begins with two underscores
_LOST_SHOWN = 8


@click.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show the books per day, what waits, who works on it, where things lie and how big they are.

    The books of a day balance when every accepted item is stored, duplicate, filtered, discarded, invalid or waits.
    Days are UTC days of receipt, as long as their raw envelopes are kept. A day that cannot be read is named with the reason.
    One line says what is not stored, by category, and why: types that are not kept, quotas, filters, what clients dropped. Of days of
    which stored rows were removed since, a line says how many and why.

    \b
    Examples:
      tasks-pipeline status
      tasks-pipeline status --json
    """
    from tasks_pipeline.service.running import running_service

    home = current_home(ctx)
    service = running_service(home)
    with open_all(home, to_look=True) as stores:
        found = _found(stores, datetime.now(UTC))
    found |= _service(home, service)
    if as_json:
        print_json(found)
    else:
        _print(found, datetime.now(UTC))


def _found(stores: Stores, now: datetime) -> dict[str, Any]:
    from tasks_pipeline.storage.ledger.drains import active_drains
    from tasks_pipeline.storage.sizes import lake_file_counts, store_places, store_sizes

    days = [_books(stores, day) for day in stores.spool.days()]
    files = lake_file_counts(stores.home, stores.state, now.date())
    oldest = min((b.oldest_waiting for b in days if b.oldest_waiting), default=None)
    places = store_places(stores.home)
    sizes = store_sizes(stores.home, stores.state)
    return {
        **{name: sum(getattr(b, name) for b in days) for name in SUMMED},
        "difference": sum(b.difference for b in days),
        "oldest_waiting_seconds": None
        if oldest is None
        else round(max(0, (now - oldest).total_seconds()), 1),
        "failed_attempts": sum(b.failed_attempts for b in days),
        "broken": {b.day.isoformat(): b.broken for b in days if b.broken},
        "days": [_day(b) for b in days],
        "files": files,
        "not_stored": _not_stored(stores, min(b.day for b in days)) if days else [],
        "drains": [asdict(drain) for drain in active_drains(stores.state)],
        "disk": {name: {"bytes": size, "where": places[name]} for name, size in sizes.items()},
    }


def _books(stores: Stores, day: date) -> Books:
    """The books of a day; of one that fell apart under the reading nothing but why."""
    from tasks_pipeline.processing.books import Books, books_of_state
    from tasks_pipeline.storage.spool.interface import SpoolError

    try:
        return books_of_state(stores, day)
    except SpoolError as error:
        return Books(day, 0, 0, 0, 0, 0, 0, 0, broken=first_line(error))


def _not_stored(stores: Stores, since: date) -> list[dict[str, Any]] | None:
    """What is not stored and why; None where the lake cannot be asked."""
    import duckdb

    from tasks_pipeline.processing.books import not_stored

    try:
        return not_stored(stores, since)
    except (duckdb.Error, OSError):
        return None


def _day(books: Books) -> dict[str, Any]:
    return books.as_dict() | {"difference": books.difference}


def _service(home: Home, service: RunningService | None) -> dict[str, Any]:
    """Whether the service runs and where, and Dagster's newest runs when it does."""
    about: dict[str, Any] = {"running": service is not None, "home": str(home.root)}
    if service is None:
        return {"service": about, "runs": []}
    from tasks_pipeline.service.dagster_client import DagsterError, recent_runs

    about |= {
        name: getattr(service, name) for name in ("pid", "ready", "started_at", "receiver_url", "ui_url")
    }
    try:
        runs = [asdict(run) for run in recent_runs(service.ui_url, _RUNS_SHOWN)]
    except DagsterError as error:
        return {"service": about | {"dagster": first_line(error)}, "runs": []}
    return {"service": about, "runs": runs}


def _print(found: dict[str, Any], now: datetime) -> None:
    _print_service(found["service"], now)
    if found["days"]:
        _heading("books, items per UTC day")
        rows = [
            d | {"balance": "✓" if d["difference"] == 0 else f"✗ {d['difference']:+}"} for d in found["days"]
        ]
        table(rows, ["day", *SUMMED, "balance"], drop=[name for name in SUMMED if not found[name]])
    if found["waiting"]:
        oldest = found["oldest_waiting_seconds"]
        since = "" if oldest is None else f", the oldest for {seconds_text(oldest)}"
        click.echo(
            f"\n{counted(found['waiting'], 'item')} {'waits' if found['waiting'] == 1 else 'wait'}{since}"
        )
    else:
        click.echo("\nnothing waits")
    if found["failed_attempts"]:
        click.echo(
            f"{counted(found['failed_attempts'], 'attempt')} at it failed; tasks-pipeline watch says why"
        )
    _print_not_stored(found["not_stored"])
    for day in found["days"]:
        if day["gone"]:
            say(f"{day['day']}: {day['gone']}")
    for day, why in found["broken"].items():
        click.secho(f"{day} cannot be read as it should: {printable(why)}", fg="red")
    if found["drains"]:
        _heading("drains at work")
        rows = [
            {
                "day": d["day"],
                "run": (d["run_id"] or "outside Dagster")[:15],
                "for": age(d["started_at"], now),
            }
            for d in found["drains"]
        ]
        table(rows, ["day", "run", "for"])
    if found["runs"]:
        _heading("newest runs")
        rows = [
            {
                "run": run["run_id"][:8],
                "job": _MATERIALISED if run["job"].startswith("__") else run["job"],
                "day": run["partition"],
                "status": run["status"].lower(),
                "started": age(run["started_at"], now),
            }
            for run in found["runs"]
        ]
        table(rows, ["run", "job", "day", "status", "started"], cut=["job"], drop=["day"])
    _print_files(found["files"])
    _heading("stores")
    rows = [
        {"store": name, "size": size_text(s["bytes"]) or "not counted", "where": s["where"]}
        for name, s in found["disk"].items()
    ]
    table(rows, ["store", "size", "where"], wrap=["where"])


def _print_not_stored(lost: list[dict[str, Any]] | None) -> None:
    """One line: what came and is not stored, and why."""
    if lost is None:
        click.echo("what was not stored, and why, is not known: the lake cannot be read")
    elif lost:
        named = [
            f"{one['quantity']:,} {cell(one['category'])} ({cell(one['outcome'])}"
            + (f": {cell(one['reason'])})" if one["reason"] else ")")
            for one in lost[:_LOST_SHOWN]
        ]
        more = [f"{len(lost) - _LOST_SHOWN} kinds more (--json)"] if len(lost) > _LOST_SHOWN else []
        say(f"not stored: {', '.join([*named, *more])}")


def _print_files(files: dict[str, dict[str, int]]) -> None:
    rows = [{"table": name, **counts} for name, counts in files.items() if counts["all"]]
    if rows:
        _heading("files of the lake")
        table(rows, ["table", "today", "all"])


def _print_service(service: dict[str, Any], now: datetime) -> None:
    if not service["running"]:
        say(f"the service does not run in {printable(service['home'])} (tasks-pipeline run starts it)")
        return
    ready = "runs" if service["ready"] else "is starting"
    click.echo(
        f"the service {ready}: pid {service['pid']}, since {cell(service['started_at'])} UTC ({age(service['started_at'], now)})"
    )
    click.echo(f"receiver  {service['receiver_url']}\nUI        {service['ui_url']}")
    if "dagster" in service:
        click.echo(service["dagster"])


def _heading(text: str) -> None:
    click.secho(f"\n{text}", bold=True)
