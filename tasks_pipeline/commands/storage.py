"""`storage`: what uses the disk."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.output import current_home
from tasks_pipeline.commands.common.queries import open_all, size_text
from tasks_pipeline.commands.common.tables import say, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasks_pipeline.upkeep.volumes import Volume

_SHOWN = 40


@click.command()
@click.option(
    "--by", type=click.Choice(["table", "day"]), default="table", show_default=True, help="One line for each."
)
@click.option("--all", "show_all", is_flag=True, help=f"Show more than the {_SHOWN} largest.")
@json_option
@click.pass_context
def storage(ctx: click.Context, by: str, show_all: bool, as_json: bool) -> None:
    """Show what uses the disk: by store, table and project, or by day; the totals, and how much is free.

    No event is read for it: sizes are from catalogs and names of files. Numbers with ~ are concluded from a part: a file of the lake
    holds rows of several projects, and its bytes are shared out among them. Days are UTC days of receipt.

    \b
    Examples:
      tasks-pipeline storage
      tasks-pipeline storage --by day
      tasks-pipeline storage --by day --json
    """
    from tasks_pipeline.storage.sizes import disk_of
    from tasks_pipeline.upkeep.volumes import volumes

    with open_all(current_home(ctx), to_look=True) as stores:
        found = volumes(stores, by_day=by == "day")
        free, total = disk_of(stores.home)
        slugs = stores.slugs
    if as_json:
        print_json([_as_dict(one, slugs) for one in found])
        return
    lines = _by_day(found) if by == "day" else [_line(one, slugs) for one in found if one.bytes]
    shown = lines if show_all or by == "day" else lines[:_SHOWN]
    if by == "day":
        table(shown, ["day", "bytes", "rows", "tables"], wrap=["tables"])
    else:
        table(
            shown,
            ["store", "table", "project", "bytes", "rows", "files", "oldest"],
            cut=["table", "project"],
            drop=["oldest", "files"],
        )
    if len(shown) < len(lines):
        say(f"and {len(lines) - len(shown)} smaller ones (--all)")
    _print_totals(found, free, total)


def _as_dict(one: Volume, slugs: Mapping[int, str]) -> dict[str, Any]:
    project = None if one.project is None else slugs.get(one.project, str(one.project))
    return asdict(one) | {"project": project}


def _line(one: Volume, slugs: Mapping[int, str]) -> dict[str, object]:
    about = "~" if one.estimate else ""
    return _as_dict(one, slugs) | {
        "bytes": f"{about}{size_text(one.bytes)}",
        "rows": "" if one.rows is None else f"{one.rows:,}",
        "files": "" if one.files is None else f"{one.files:,}",
    }


def _by_day(found: Sequence[Volume]) -> list[dict[str, object]]:
    """A line for each day, the newest first, with its three largest tables; the last one is of what has no day."""
    days: dict[Any, list[Volume]] = defaultdict(list)
    for one in found:
        days[one.oldest].append(one)
    ordered = sorted((day for day in days if day is not None), reverse=True)
    lines = []
    for day in [*ordered, *([None] if None in days else [])]:
        tables: dict[str, int] = defaultdict(int)
        for one in days[day]:
            tables[one.table] += one.bytes
        largest = sorted(tables, key=lambda name: -tables[name])[:3]
        lines.append(
            {
                "day": "of no day" if day is None else day.isoformat(),
                "bytes": size_text(sum(tables.values())),
                "rows": f"{sum(one.rows or 0 for one in days[day]):,}",
                "tables": ", ".join(f"{name} {size_text(tables[name])}" for name in largest),
            }
        )
    return lines


def _print_totals(found: Sequence[Volume], free: int, total: int) -> None:
    from tasks_pipeline.upkeep.volumes import bytes_by_store

    sums = bytes_by_store(found)
    click.secho("\ntotals", bold=True)
    rows = [
        {"store": store, "bytes": size_text(size)}
        for store, size in sorted(sums.items(), key=lambda one: -one[1])
    ]
    rows += [
        {"store": "all", "bytes": size_text(sum(sums.values()))},
        {"store": "free disk", "bytes": f"{size_text(free)} of {size_text(total)}"},
    ]
    table(rows, ["store", "bytes"])
