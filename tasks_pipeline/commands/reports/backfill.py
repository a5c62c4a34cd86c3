"""`backfill --report`: compute reports of past periods again, through Dagster when it runs. Nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.backfills import watched
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.progress import days_progress
from tasks_pipeline.commands.common.queries import first_line, one_line, open_all
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.commands.reports.common import report_errors

if TYPE_CHECKING:
    from tasks_pipeline.config import Config
    from tasks_pipeline.home import Home
    from tasks_pipeline.reports.periods import Kind
    from tasks_pipeline.stores import Stores

MOST_KEYS = 400
_COLUMNS = ("kind", "key", "reports", "new_revisions", "result")


def backfill_reports(
    home: Home, kind: Kind, first: date, last: date | None, *, wait: bool, as_json: bool
) -> bool:
    """Compute the reports of periods again, and print a row for each; gives whether all could be."""
    from tasks_pipeline.service.dagster_client import DagsterError
    from tasks_pipeline.service.running import running_service

    with report_errors(), one_line(DagsterError), open_all(home) as stores:
        now = datetime.now(UTC)
        keys = keys_between(stores.config, kind, first, last, now)
        service = running_service(home)
        if service is None:
            rows = _here(stores, kind, keys, now)
        else:
            backfill_id = _launch(service.ui_url, kind, keys)
            if not wait:
                if as_json:
                    print_json({"backfill_id": backfill_id})
                return True
            rows = _follow(stores, service.ui_url, backfill_id, kind, keys, now)
    if as_json:
        print_json(rows)
    else:
        table(rows, _COLUMNS, wrap=["result"])
    return all(row["result"] == "done" for row in rows)


def keys_between(config: Config, kind: Kind, first: date, last: date | None, now: datetime) -> list[date]:
    """Keys of the periods that touch these days and have ended for the organisation, oldest first. Raises PeriodError, UsageError."""
    from tasks_pipeline.reports.periods import PeriodError, period_at, period_of

    zone, weeks = config.reports.timezone, config.reports.week_starts
    running = period_at(kind, now, zone, weeks)
    period = period_of(kind, _begin(config, kind, first), zone, weeks)
    end = running.previous().key if last is None else last
    if last is not None and last < first:
        raise click.UsageError("--to is before --from")
    keys: list[date] = []
    while period.key <= end and len(keys) <= MOST_KEYS:
        keys.append(period.key)
        period = period.next()
    if len(keys) > MOST_KEYS:
        raise click.UsageError(f"more than {MOST_KEYS} reports are too many at once")
    if not keys or keys[-1] >= running.key:
        ends = f"{running.end:%Y-%m-%d %H:%M} UTC"
        raise PeriodError(
            f"{kind} {running.label} goes on until {ends}: `reports preview {kind}` shows what it comes to so far"
        )
    return keys


def _begin(config: Config, kind: Kind, day: date) -> date:
    """The key of the period that holds a local day."""
    from tasks_pipeline.reports.periods import first_instant, period_at

    zone = config.reports.timezone
    return period_at(kind, first_instant(day, zone), zone, config.reports.week_starts).key


def _here(stores: Stores, kind: Kind, keys: Sequence[date], now: datetime) -> list[dict[str, Any]]:
    """Compute them in this process: each is stored by itself."""
    from tasks_pipeline.reports.compute import Computing

    with closing(Computing(stores, now)) as computing, days_progress(keys) as advance:
        return list(_computed(stores, computing, kind, keys, now, advance))


def _computed(
    stores: Stores,
    computing: Any,
    kind: Kind,
    keys: Sequence[date],
    now: datetime,
    advance: Callable[[date, float], None],
) -> Iterator[dict[str, Any]]:
    from tasks_pipeline.reports.compute import FiguresGone
    from tasks_pipeline.reports.due import computable

    for key in keys:
        count = new = 0
        why = "done"
        for period, scope in computable(stores.config, kind, key, now):
            try:
                new += computing.compute(period, scope).is_new
            except FiguresGone as gone:
                why = first_line(gone)
            else:
                count += 1
        computing.forget(key)
        advance(key, 1.0)
        yield {"kind": kind, "key": key, "reports": count, "new_revisions": new, "result": why}


def _launch(ui_url: str, kind: Kind, keys: Sequence[date]) -> str:
    from tasks_pipeline.lanes import RECOMPUTE
    from tasks_pipeline.reports.periods import ADVERBS
    from tasks_pipeline.service.dagster_client import launch_backfill

    title = f"{ADVERBS[kind]} reports {keys[0]} to {keys[-1]}"
    backfill_id = launch_backfill(ui_url, f"{ADVERBS[kind]}_report", keys, RECOMPUTE.tags, title, {})
    click.echo(f"Dagster works on it: {ui_url}/runs/b/{backfill_id}", err=True)
    return backfill_id


def _follow(
    stores: Stores, ui_url: str, backfill_id: str, kind: Kind, keys: Sequence[date], since: datetime
) -> list[dict[str, Any]]:
    """Wait for a backfill, which is one run: how far it is is seen by the reports that it stored."""
    from tasks_pipeline.reports.store import computed_since

    found = None
    with days_progress(keys) as advance:
        for found in watched(ui_url, backfill_id):  # noqa: B007 - the last is needed
            for key in computed_since(stores.state, kind, keys, since):
                advance(key, 1.0)
    done = computed_since(stores.state, kind, keys, since)
    why = (found.error or found.status.lower()) if found is not None else "not started"
    return [
        {
            "kind": kind, "key": key, "reports": done.get(key, (0, 0))[0], "new_revisions": done.get(key, (0, 0))[1],
            "result": "done" if key in done else f"not computed: {why}",
        }
        for key in keys
    ]  # fmt: skip
