"""`analytics events`: the newest facts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option, limit_option, project_option
from tasks_pipeline.commands.common.output import current_home
from tasks_pipeline.commands.common.queries import lake_of, open_state, project_number
from tasks_pipeline.commands.common.since import Since
from tasks_pipeline.commands.common.tables import table

_COLUMNS = {
    "at": "when (UTC)",
    "type": "what",
    "project": "project",
    "who": "who",
    "source": "recorded by",
    "said": "attributes",
}


@click.command()
@click.option(
    "--type",
    "types",
    metavar="NAME",
    multiple=True,
    help="Only these, as `analytics types` names them; may be given several times.",
)
@project_option("Facts of this project only.")
@click.option("--since", type=Since(), help="How far back: 24h, 7d, a date.  [default: 7d]")
@limit_option(50, "facts to show")
@json_option
@click.pass_context
def events(
    ctx: click.Context,
    types: tuple[str, ...],
    project: str | None,
    since: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List facts, the newest first: what happened to groups, releases and monitors, who was told, what people decided.

    Those that are still on their way to the lake are among them. Members are shown as keyed hashes.

    \b
    Examples:
      tasks-pipeline analytics events --type release.deployed --since 30d
      tasks-pipeline analytics events --project shop --json
    """
    home = current_home(ctx)
    _check_types(types)
    with open_state(home) as (state, slugs), lake_of(home, state) as lake:
        from tasks_pipeline.analytics.facts_stored import newest_facts

        number = project_number(slugs, project)
        start = since or datetime.now(UTC) - timedelta(days=7)
        rows = newest_facts(state, lake, types=types, project_id=number, since=start, limit=limit)
    found = [row | {"project": slugs.get(row["project_id"]) or (row["project_id"] or "")} for row in rows]
    if as_json:
        print_json(found)
    elif found:
        table([_shown(row) for row in found], _COLUMNS, cut=["said"], drop=["source", "who"])
    else:
        click.echo("no facts; `--since` says how far back to look", err=True)


def _check_types(types: tuple[str, ...]) -> None:
    from tasks_pipeline.facts.types import CUSTOM, TYPES

    for name in types:
        if name not in TYPES and not name.startswith(CUSTOM):
            raise click.BadParameter(
                f"there is no type {name!r}; `tasks-pipeline analytics types` shows them", param_hint="--type"
            )


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    said = " ".join(
        f"{name}={value}" for name, value in (row["data"] or {}).items() if value not in (None, "")
    )
    who = f"{row['actor_kind']} {row['actor']}".strip()
    return {**row, "who": "" if who == "system" else who, "said": said}
