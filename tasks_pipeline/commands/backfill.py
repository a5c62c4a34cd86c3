"""`backfill`: compute days again from their raw envelopes or from what is stored, through Dagster when it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.backfills import watched
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import Day, json_option
from tasks_pipeline.commands.common.output import current_home
from tasks_pipeline.commands.common.progress import days_progress
from tasks_pipeline.commands.common.queries import first_line, one_line, open_all
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.commands.reports.common import KindOfPeriod

if TYPE_CHECKING:
    from tasks_pipeline.reports.periods import Kind
    from tasks_pipeline.service.dagster_client import Backfill, Run
    from tasks_pipeline.stores import Stores

MOST_DAYS = 366
_COUNTS = ("accepted", "stored", "duplicate", "filtered", "discarded", "invalid", "waiting", "difference")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a day: `done`, or why not."""

    day: date
    result: str

    @property
    def good(self) -> bool:
        """Whether the day was computed again."""
        return self.result == "done"


@click.command()
@click.option(
    "--day",
    "days",
    type=Day(),
    metavar="D",
    multiple=True,
    help="Day to compute again; may be given several times.",
)
@click.option("--from", "first", type=Day(), metavar="D", help="First day of a range.")
@click.option(
    "--to", "last", type=Day(), metavar="D", help="Last day of the range, included.  [default: today]"
)
@click.option(
    "--stored",
    is_flag=True,
    help="Symbolicate and group the stored events again instead, with today's symbols and rules.",
)
@click.option(
    "--report",
    type=KindOfPeriod(),
    metavar="KIND",
    help="Compute the reports of days, weeks or months (day, week, month) again instead, from the figures as they are.",
)
@click.option(
    "--statistics",
    is_flag=True,
    help="Compute the tables of figures of the days again instead, from what is stored.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for Dagster to finish.")
@json_option
@click.pass_context
def backfill(
    ctx: click.Context,
    days: Sequence[datetime],
    first: datetime | None,
    last: datetime | None,
    stored: bool,
    report: Kind | None,
    statistics: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Compute days again from their raw envelopes, with today's code; what waits of them is processed first.

    With --stored the stored events are symbolicated and grouped again: for days whose raw envelopes are gone, and to
    apply changed rules (`groups preview-rules` shows before what would move). With --statistics figures are computed again,
    a month at a time: one that is killed leaves whole months, and another finishes it.

    With --report the reports of the periods from --from to --to are computed again; what comes out as it was changes nothing,
    and nobody is sent anything.

    When the service runs, Dagster does it, one day at a time behind new events, and it is seen in the UI. Otherwise
    it is done here. A day is swapped in one transaction: readers see the old rows or the new ones. Days (UTC) whose
    raw envelopes are gone, or that are still to come, are refused before anything starts.

    \b
    Examples:
      tasks-pipeline backfill --day 2026-11-21
      tasks-pipeline backfill --from 2026-11-15 --to 2026-11-21 --no-wait
      tasks-pipeline backfill --from 2026-09-01 --stored
      tasks-pipeline backfill --report day --from 2026-09-07
      tasks-pipeline backfill --from 2026-01-01 --to 2026-10-31 --statistics
    Prints a row per day: what became of it, the events stored, and its books.
    """
    from tasks_pipeline.service.dagster_client import DagsterError
    from tasks_pipeline.service.running import running_service

    if report is not None:
        from tasks_pipeline.commands.reports.backfill import backfill_reports

        begin, end = reported_days(days, first, last, stored)
        if not backfill_reports(current_home(ctx), report, begin, end, wait=wait, as_json=as_json):
            ctx.exit(1)
        return
    asked = asked_days(days, first, last, datetime.now(UTC).date())
    if stored and statistics:
        raise click.UsageError("--stored and --statistics exclude each other")
    home = current_home(ctx)
    with one_line(DagsterError), open_all(home) as stores:
        if statistics:
            wanted = counted_days(stores, asked)
        else:
            wanted = stored_days(stores, asked, say=bool(days)) if stored else possible_days(stores, asked)
        service = running_service(home)
        if service is None and statistics:
            results = _count(stores, wanted)
        elif service is None:
            results = _here(stores, wanted, _reprocess if stored else _recompute)
        else:
            since = datetime.now(UTC)
            mode = "statistics" if statistics else "reprocess" if stored else "recompute"
            backfill_id = _launch(service.ui_url, wanted, mode)
            if not wait:
                if as_json:
                    print_json({"backfill_id": backfill_id})
                return
            results = _follow(service.ui_url, backfill_id, wanted)
            if statistics:
                results = _counted_all_the_same(stores, results, since)
        rows = _figures(stores, results) if statistics else [_row(stores, result) for result in results]
    if as_json:
        print_json(rows)
    elif statistics:
        shown = [{**row, "changed by": ", ".join(row["changed by"])} for row in rows]
        table(shown, list(shown[0]), wrap=["result", "changed by"])
    else:
        unused = [name for name in ("events", *_COUNTS) if not any(row[name] for row in rows)]
        table(rows, ["day", "result", "events", *_COUNTS], wrap=["result"], drop=[*unused, "events"])
    if not all(result.good for result in results):
        ctx.exit(1)


def reported_days(
    days: Sequence[datetime], first: datetime | None, last: datetime | None, stored: bool
) -> tuple[date, date | None]:
    """First and last day that the options of a backfill of reports name. Raises UsageError."""
    if days or stored or first is None:
        raise click.UsageError("--report takes --from and --to, and neither --day nor --stored")
    return first.date(), None if last is None else last.date()


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
        end = max(today, first.date()) if last is None else last.date()
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
    from tasks_pipeline.processing.recompute import is_raw
    from tasks_pipeline.storage.ledger.batches import done_batches

    spooled = set(stores.spool.days())
    missing = [day for day in asked if day not in spooled]
    gone = [day for day in asked if not all(is_raw(stores, b) for b in done_batches(stores.state, day))]
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


def stored_days(stores: Stores, asked: Sequence[date], *, say: bool = True) -> list[date]:
    """Those of the days with stored events; days without are left out, with a note if `say`.

    Raises ClickException when no day is left.
    """
    rows = stores.lake.query(
        "SELECT DISTINCT day FROM lake.events WHERE day BETWEEN ? AND ?", [asked[0], asked[-1]]
    )
    found = {row["day"] for row in rows}
    missing = [day for day in asked if day not in found]
    if len(missing) == len(asked):
        raise click.ClickException(f"no events are stored of {_listed(missing)}")
    if missing and say:
        click.echo(f"no events are stored of {_listed(missing)}", err=True)
    return [day for day in asked if day in found]


def counted_days(stores: Stores, asked: Sequence[date]) -> list[date]:
    """Those of the days since the first of which anything was received: before it there is nothing to count.

    Raises ClickException when no day is left.
    """
    from tasks_pipeline.storage.ledger.backlog import first_day

    first = first_day(stores.state, stores.spool)
    found = [day for day in asked if first is not None and day >= first]
    if not found:
        raise click.ClickException(f"nothing was received on {_listed(asked)}, or before")
    return found


def _listed(days: Sequence[date]) -> str:
    shown = ", ".join(map(str, days[:5]))
    return f"{shown} and {len(days) - 5} more days" if len(days) > 5 else shown


def _recompute(stores: Stores, day: date, advance: Callable[[int, int], None]) -> None:
    """As the asset does it: what waits first, then the whole day."""
    from tasks_pipeline.processing.drain import drain
    from tasks_pipeline.processing.recompute import recompute_day

    drain(stores, day, linger_seconds=0)
    recompute_day(stores, day, advance)


def _reprocess(stores: Stores, day: date, advance: Callable[[int, int], None]) -> None:
    from tasks_pipeline.processing.reprocess import reprocess_events

    reprocess_events(stores, day, on_progress=advance)


def _count(stores: Stores, days: Sequence[date]) -> list[Result]:
    """Compute the figures of days again in this process."""
    import duckdb

    from tasks_pipeline.analytics.statistics.compute import SWAPPED, DaysFailed, compute_statistics
    from tasks_pipeline.analytics.statistics.verdicts import judge_again

    results: list[Result] = []
    with days_progress(days) as advance:
        for start in range(0, len(days), SWAPPED):
            some = days[start : start + SWAPPED]
            failed: Mapping[date, Exception] = {}
            try:
                try:
                    compute_statistics(stores, some, on_progress=lambda day: advance(day, 1.0))
                except DaysFailed as failure:
                    failed = failure.failed
                judge_again(stores, some, datetime.now(UTC))
            except duckdb.Error as error:
                failed = dict.fromkeys(some, error)
            results += [
                Result(day, f"failed: {first_line(failed[day])}" if day in failed else "done") for day in some
            ]
    return results


def _here(
    stores: Stores,
    days: Sequence[date],
    compute: Callable[[Stores, date, Callable[[int, int], None]], None],
) -> list[Result]:
    """Compute days again in this process."""
    import duckdb

    from tasks_pipeline.processing.process_batch import RawGone
    from tasks_pipeline.processing.reprocess import DayChanging

    results = []
    with days_progress(days) as advance:
        for day in days:
            try:
                compute(stores, day, lambda done, of, day=day: advance(day, done / of))  # type: ignore[misc]
            except (RawGone, DayChanging, duckdb.Error) as error:
                results.append(Result(day, f"failed: {first_line(error)}"))
            else:
                results.append(Result(day, "done"))
            advance(day, 1.0)
    return results


def _launch(ui_url: str, days: Sequence[date], mode: str) -> str:
    from tasks_pipeline.lanes import RECOMPUTE
    from tasks_pipeline.service.dagster_client import launch_backfill

    title = f"{mode} {_listed(days)}"
    op, settings = (
        ("statistics", {"only_changed": False}) if mode == "statistics" else ("process_event", {"mode": mode})
    )
    config = {"ops": {op: {"config": settings}}}
    backfill_id = launch_backfill(ui_url, op, days, RECOMPUTE.tags, title, config)
    click.echo(f"Dagster works on it: {ui_url}/runs/b/{backfill_id}", err=True)
    return backfill_id


def _follow(ui_url: str, backfill_id: str, days: Sequence[date]) -> list[Result]:
    from tasks_pipeline.service.dagster_client import ENDED, run_error

    with days_progress(days) as advance:
        for found in watched(ui_url, backfill_id):
            for day in days:
                run = found.run_of(day)
                if run is not None and run.status in ENDED:
                    advance(day, 1.0)
    return [_result(day, found, lambda run: run_error(ui_url, run.run_id)) for day in days]


def _result(day: date, found: Backfill, why: Callable[[Run], str]) -> Result:
    run = found.run_of(day)
    if run is None:
        return Result(day, f"not started: {found.error or found.status.lower()}")
    if run.status == "SUCCESS":
        return Result(day, "done")
    return Result(day, f"{run.status.lower()}: {why(run) or f'see run {run.run_id[:8]}'}")


def _counted_all_the_same(stores: Stores, results: Sequence[Result], since: datetime) -> list[Result]:
    """Days of a run that failed have their figures where it was another day that raised."""
    from tasks_pipeline.analytics.statistics.days import versions_of

    with stores.state.read() as connection:
        versions = versions_of(connection, [result.day for result in results])
    counted = {day for day, version in versions.items() if version.checked_at >= since}
    return [Result(each.day, "done") if each.day in counted else each for each in results]


def _row(stores: Stores, result: Result) -> dict[str, Any]:
    from tasks_pipeline.processing.books import books_of_state, row_counts

    books = books_of_state(stores, result.day)
    return {
        "day": result.day,
        "result": result.result,
        "events": row_counts(stores, result.day)["events"],
        **{name: getattr(books, name) for name in _COUNTS},
    }


def _figures(stores: Stores, results: Sequence[Result]) -> list[dict[str, Any]]:
    """A row for each day whose figures were computed."""
    from tasks_pipeline.analytics.statistics.compute import event_figures
    from tasks_pipeline.analytics.statistics.days import versions_of

    days = [result.day for result in results]
    with stores.state.read() as connection:
        versions = versions_of(connection, days)
    figures = event_figures(stores.lake, days)
    return [
        {
            "day": result.day, "result": result.result, "errors": figures[result.day]["errors"], "users": figures[result.day]["users"],
            "version": versions[result.day].version if result.day in versions else None,
            "changed by": list(versions[result.day].causes) if result.day in versions else [],
        }
        for result in results
    ]  # fmt: skip
