"""`backfill --report`: compute reports of past periods again, through Dagster when it runs. Nothing is sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.backfills import watched
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.progress import days_progress
from tasks_pipeline.commands.common.queries import one_line, open_all
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.commands.reports.common import report_errors
from tasks_pipeline.texts import printable

if TYPE_CHECKING:
    from tasks_pipeline.config import Config
    from tasks_pipeline.home import Home
    from tasks_pipeline.reports.many import OfKey
    from tasks_pipeline.reports.periods import Kind, Period
    from tasks_pipeline.stores import Stores

MOST_KEYS = 400
_COLUMNS = ("kind", "key", "reports", "new_revisions", "result")


def backfill_reports(
    home: Home, kind: Kind, first: date, last: date | None, *, wait: bool, as_json: bool
) -> bool:
    """Compute the reports of periods again, and print a row for each; gives whether all could be."""
    from tasks_pipeline.service.dagster_client import DagsterError
    from tasks_pipeline.service.running import running_service
    from tasks_pipeline.storage.ledger.backlog import first_day

    with report_errors(), one_line(DagsterError), open_all(home) as stores:
        now = datetime.now(UTC)
        begun = first_day(stores.state, stores.spool)
        keys = keys_between(stores.config, kind, first, last, begun, now)
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


def keys_between(
    config: Config, kind: Kind, first: date, last: date | None, begun: date | None, now: datetime
) -> list[date]:
    """Keys of the periods that touch these days and that there can be reports of, oldest first; those that are left out are told,
    as ranges. `begun`: the UTC day of the first envelope. Raises PeriodError, UsageError."""
    from tasks_pipeline.releases.spans import begin_of
    from tasks_pipeline.reports.periods import PeriodError, period_at, period_with
    from tasks_pipeline.reports.possible import computable, why_no_report

    zone, weeks = config.reports.timezone, config.reports.week_starts
    running = period_at(kind, now, zone, weeks)
    oldest = period_with(kind, first, zone, weeks)
    newest = running.previous() if last is None else period_with(kind, last, zone, weeks)
    if last is not None and last < first:
        raise click.UsageError("--to is before --from")
    found: list[Period] = []
    if begun is not None:
        # Of other zones, a day that is another one's first or last may be theirs or not.
        period = max(oldest, period_at(kind, begin_of(begun), zone, weeks).previous(), key=_key)
        while period.key <= min(newest.key, running.key):
            if computable(config, kind, period.key, begun, now):
                found.append(period)
            period = period.next()
    if len(found) > MOST_KEYS:
        raise click.UsageError(f"{len(found)} reports are too many at once; at most {MOST_KEYS}")
    if not found:
        raise PeriodError(why_no_report(oldest, begun, now))
    following = found[-1].next()
    for each, until in (
        (oldest, found[0].previous()),
        (following, min(running, newest, key=_key)),
        (max(following, running.next(), key=_key), newest),
    ):
        if each.key <= until.key:
            others = f"; the same holds up to {kind} {until.label}" if each.key < until.key else ""
            click.echo(f"left out: {why_no_report(each, begun, now)}{others}", err=True)
    return [period.key for period in found]


def _key(period: Period) -> date:
    return period.key


def _here(stores: Stores, kind: Kind, keys: Sequence[date], now: datetime) -> list[dict[str, Any]]:
    """Compute them in this process: each is stored by itself."""
    from tasks_pipeline.reports.many import compute_reports

    rows = []
    with days_progress(keys, f"{kind}s") as advance:
        for each in compute_reports(stores, kind, keys, now):
            advance(each.key, 1.0)
            rows.append(
                {
                    "kind": kind, "key": each.key, "reports": len(each.results), "new_revisions": each.new_revisions,
                    "result": printable(each.why_not or _done(each)),
                }
            )  # fmt: skip
    return rows


def _done(each: OfKey) -> str:
    return f"done, though {'; '.join(each.early)}" if each.early else "done"


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
    from tasks_pipeline.reports.possible import computable
    from tasks_pipeline.reports.store import computed_since
    from tasks_pipeline.storage.ledger.backlog import first_day

    found = None
    with days_progress(keys, f"{kind}s") as advance:
        for found in watched(ui_url, backfill_id):  # noqa: B007 - the last is needed
            for key in computed_since(stores.state, kind, keys, since):
                advance(key, 1.0)
    done = computed_since(stores.state, kind, keys, since)
    begun = first_day(stores.state, stores.spool)
    wanted = {key: len(computable(stores.config, kind, key, begun, since)) for key in keys}
    why = (found.error or found.status.lower()) if found is not None else "not started"
    return [
        {
            "kind": kind, "key": key, "reports": done.get(key, (0, 0))[0], "new_revisions": done.get(key, (0, 0))[1],
            "result": "done" if done.get(key, (0, 0))[0] >= wanted[key] else f"not all computed: {why}",
        }
        for key in keys
    ]  # fmt: skip
