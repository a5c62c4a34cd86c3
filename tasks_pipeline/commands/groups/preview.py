"""`groups preview-rules`: what would move between groups under other grouping rules, before anything moves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import Day, json_option, project_option
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.queries import open_all, project_number
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.words import counted

if TYPE_CHECKING:
    from tasks_pipeline.processing.preview import Preview
    from tasks_pipeline.stores import Stores

DAYS = 7
_COLUMNS = {"events": "events", "source": "from", "target": "to", "title": "title"}


@click.command("preview-rules")
@click.option(
    "--config",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Configuration with the rules to try.  [default: the one in force]",
)
@click.option("--day", "days", type=Day(), metavar="D", multiple=True, help="Day of events to look at.")
@click.option("--from", "first", type=Day(), metavar="D", help=f"First day.  [default: {DAYS} days back]")
@click.option("--to", "last", type=Day(), metavar="D", help="Last day, included.  [default: today]")
@project_option("Events of this project only.")
@json_option
@click.pass_context
def preview_rules(
    ctx: click.Context,
    file: Path | None,
    days: Sequence[datetime],
    first: datetime | None,
    last: datetime | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Group stored events by other rules and show what would move; nothing is changed.

    Without --config the rules in force are tried: events that were grouped before the rules were changed keep their
    groups until their days are processed again (`backfill --stored`).

    \b
    Examples:
      tasks-pipeline groups preview-rules
      tasks-pipeline groups preview-rules --config new.yaml --project shop
      tasks-pipeline groups preview-rules --from 2026-11-01
    Prints:
      events  from     to       title
          12  SHOP-3F  SHOP-2   TimeoutError: the gateway did not answer
           4  SHOP-7   (new 1)  KeyError: 'sku'
      16 of 2,310 events would move
    """
    from tasks_pipeline.commands.backfill import asked_days, stored_days
    from tasks_pipeline.tools import Tools

    today = datetime.now(UTC).date()
    if not days and first is None:
        first = datetime.combine(today - timedelta(days=DAYS), datetime.min.time())
    asked = asked_days(days, first, last, today)
    home = current_home(ctx)
    with open_all(home, to_look=True) as stores:
        tools = stores.tools if file is None else Tools(home.read_config(file, to_look=True))
        wanted = stored_days(stores, asked, say=bool(days))
        preview = _preview(stores, tools, wanted, project_number(stores.slugs, project))
        names = _names(stores, preview)
    if as_json:
        print_json(
            {
                "events": preview.events,
                "moved": preview.moved,
                "moves": [_row(m, names) for m in preview.moves],
            }
        )
        return
    if preview.moves:
        table([_row(move, names) for move in preview.moves], _COLUMNS, cut=["title"])
    click.echo(f"{preview.moved:,} of {counted(preview.events, 'event')} would move")


def _preview(stores: Stores, tools: Any, days: Sequence[date], project_id: int | None) -> Preview:
    from tasks_pipeline.commands.common.progress import days_progress
    from tasks_pipeline.processing.preview import preview_rules as preview

    with days_progress(days) as advance:
        return preview(
            stores, tools, days, project_id, lambda day, done, of: advance(day, done / of if of else 1.0)
        )


def _names(stores: Stores, preview: Preview) -> dict[int, str]:
    from tasks_pipeline.groups.lists import short_ids

    groups = {g for move in preview.moves for g in (move.source, move.target) if g is not None}
    return short_ids(stores.state, stores.slugs, groups)


def _row(move: Any, names: dict[int, str]) -> dict[str, Any]:
    return {
        "events": move.events,
        "source": names[move.source],
        "target": f"(new {move.new})" if move.target is None else names[move.target],
        "title": cell(move.title),
    }
