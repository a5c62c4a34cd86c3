"""`backfill`: compute days again from their raw envelopes, through Dagster when it runs, else in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.json_output import print_json
from tasks_pipeline.commands.output import current_home, json_option, table
from tasks_pipeline.commands.queries import database_errors, first_line, one_line

if TYPE_CHECKING:
    from tasks_pipeline.service.dagster_client import Backfill, Run
    from tasks_pipeline.storage.stores import Stores

POLL_SECONDS = 1.0
PATIENCE_SECONDS = 60.0  # a webserver that the supervisor restarts is away for a while
MOST_DAYS = 366
_COUNTS = ("accepted", "stored", "duplicate", "filtered", "discarded", "invalid", "waiting", "difference")
_DAY = click.DateTime(["%Y-%m-%d"])
Progress = Callable[[date, float], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a day: `recomputed`, or why not."""

    day: date
    result: str

    @property
    def good(self) -> bool:
        """Whether the day was recomputed."""
        return self.result == "recomputed"


@click.command()
@click.option(
    "--day",
    "days",
    type=_DAY,
    metavar="D",
    multiple=True,
    help="Day to compute again; may be given several times.",
)
@click.option("--from", "first", type=_DAY, metavar="D", help="First day of a range.")
@click.option(
    "--to", "last", type=_DAY, metavar="D", help="Last day of the range, included.  [default: today]"
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for Dagster to finish.")
@json_option
@click.pass_context
def backfill(
    ctx: click.Context,
    days: Sequence[datetime],
    first: datetime | None,
    last: datetime | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Compute days again from their raw envelopes, with today's code; what waits of them is processed first.

    When the service runs, Dagster does it, one day at a time behind new events, and it is seen in the UI. Otherwise
    it is done here. A day is swapped in one transaction: readers see the old rows or the new ones. Days (UTC) whose
    raw envelopes are gone, or that are still to come, are refused before anything starts.

    \b
    Examples:
      tasks-pipeline backfill --day 2026-11-21
      tasks-pipeline backfill --from 2026-11-15 --to 2026-11-21 --no-wait
    Prints a row per day: what became of it, the events stored, and its books.
    """
    from tasks_pipeline.service.dagster_client import DagsterError
    from tasks_pipeline.service.running import running_service
    from tasks_pipeline.storage.spool import SpoolError
    from tasks_pipeline.storage.stores import open_stores

    asked = asked_days(days, first, last, datetime.now(UTC).date())
    home = current_home(ctx)
    with (
        one_line(DagsterError, SpoolError, *database_errors(home)),
        open_stores(home) as stores,
    ):
        wanted = possible_days(stores, asked)
        service = running_service(home)
        if service is None:
            results = _here(stores, wanted)
        else:
            backfill_id = _launch(service.ui_url, wanted)
            if not wait:
                if as_json:
                    print_json({"backfill_id": backfill_id})
                return
            results = _follow(service.ui_url, backfill_id, wanted)
        rows = [_row(stores, result) for result in results]
    if as_json:
        print_json(rows)
    else:
        table(rows, ["day", "result", "events", *_COUNTS])
    if not all(result.good for result in results):
        ctx.exit(1)


def asked_days(
    days: Sequence[datetime], first: datetime | None, last: datetime | None, today: date
) -> list[date]:
    """The days that the options name, in order. Raises UsageError."""
    if bool(days) == bool(first):
        raise click.UsageError("give either --day, or --from with --to")
    if last is not None and first is None:
        raise click.UsageError("--to belongs to --from")
    if first is None:
        named = sorted({day.date() for day in days})
    else:
        end = today if last is None else last.date()
        if end < first.date():
            raise click.UsageError("--to is before --from")
        count = (end - first.date()).days + 1
        if count > MOST_DAYS:
            raise click.UsageError(f"{count} days are too many at once; at most {MOST_DAYS}")
        named = [first.date() + timedelta(days=n) for n in range(count)]
    if named[-1] > today:
        raise click.ClickException(f"{named[-1]} is still to come; today is {today} in UTC")
    return named


def possible_days(stores: Stores, asked: Sequence[date]) -> list[date]:
    """Those of the days that have raw envelopes; days on which nothing came are left out, with a note.

    Raises ClickException when the raw envelopes of a day are gone, or when no day is left.
    """
    from tasks_pipeline.storage.batches import done_batches

    spooled = set(stores.spool.days())
    missing = [day for day in asked if day not in spooled]
    gone = [day for day in missing if done_batches(stores.state, day)]
    if gone:
        kept = stores.config.retention.raw_days
        raise click.ClickException(
            f"the raw envelopes of {_listed(gone)} are gone (retention.raw_days is {kept}); nothing was started"
        )
    if len(missing) == len(asked):
        raise click.ClickException(f"nothing was received on {_listed(missing)}")
    if missing:
        click.echo(f"nothing was received on {_listed(missing)}", err=True)
    return [day for day in asked if day in spooled]


def _listed(days: Sequence[date]) -> str:
    shown = ", ".join(map(str, days[:5]))
    return f"{shown} and {len(days) - 5} more days" if len(days) > 5 else shown


def _here(stores: Stores, days: Sequence[date]) -> list[Result]:
    """Recompute in this process, as the asset does it: what waits first, then the whole day."""
    import duckdb

    from tasks_pipeline.processing.batch import RawGone
    from tasks_pipeline.processing.drain import drain
    from tasks_pipeline.processing.recompute import recompute_day

    results = []
    with _progress(days) as advance:
        for day in days:
            try:
                drain(stores, day, linger_seconds=0)
                recompute_day(stores, day, lambda done, of, day=day: advance(day, done / of))  # type: ignore[misc]
            except (RawGone, duckdb.Error) as error:
                results.append(Result(day, f"failed: {first_line(error)}"))
            else:
                results.append(Result(day, "recomputed"))
            advance(day, 1.0)
    return results


def _launch(ui_url: str, days: Sequence[date]) -> str:
    from tasks_pipeline.lanes import RECOMPUTE
    from tasks_pipeline.service.dagster_client import launch_backfill

    title = f"backfill of {_listed(days)}"
    backfill_id = launch_backfill(ui_url, "event_processing", days, RECOMPUTE.tags, title)
    click.echo(f"Dagster works on it: {ui_url}/runs/b/{backfill_id}", err=True)
    return backfill_id


def _follow(ui_url: str, backfill_id: str, days: Sequence[date]) -> list[Result]:
    from tasks_pipeline.service.dagster_client import ENDED, run_error

    with _progress(days) as advance:
        for found in _watched(ui_url, backfill_id):
            for day in days:
                run = found.runs.get(day.isoformat())
                if run is not None and run.status in ENDED:
                    advance(day, 1.0)
    return [_result(day, found, lambda run: run_error(ui_url, run.run_id)) for day in days]


def _watched(ui_url: str, backfill_id: str) -> Iterator[Backfill]:
    """The state of a backfill until it has ended; a webserver that is away for a moment is waited for."""
    from tasks_pipeline.service.dagster_client import DagsterError, backfill_progress

    answered = time.monotonic()
    while True:
        try:
            found = backfill_progress(ui_url, backfill_id)
        except DagsterError:
            if time.monotonic() - answered > PATIENCE_SECONDS:
                raise
        else:
            answered = time.monotonic()
            yield found
            if found.ended:
                return
        time.sleep(POLL_SECONDS)


def _result(day: date, found: Backfill, why: Callable[[Run], str]) -> Result:
    run = found.runs.get(day.isoformat())
    if run is None:
        return Result(day, f"not started: {found.error or found.status.lower()}")
    if run.status == "SUCCESS":
        return Result(day, "recomputed")
    return Result(day, f"{run.status.lower()}: {why(run) or f'see run {run.run_id[:8]}'}")


def _row(stores: Stores, result: Result) -> dict[str, Any]:
    from tasks_pipeline.storage.books import books_of_state, row_counts

    books = books_of_state(stores, result.day)
    return {
        "day": result.day,
        "result": result.result,
        "events": row_counts(stores, result.day)["events"],
        **{name: getattr(books, name) for name in _COUNTS},
    }


@contextmanager
def _progress(days: Sequence[date]) -> Iterator[Progress]:
    """A progress bar on stderr over all days; it is not drawn where nobody looks."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    shares = dict.fromkeys(days, 0.0)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("days", total=len(days))

        def advance(day: date, share: float) -> None:
            shares[day] = share
            bar.update(task, completed=sum(shares.values()), description=str(day))

        yield advance
