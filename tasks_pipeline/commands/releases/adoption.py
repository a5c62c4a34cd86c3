"""`releases adoption`: which releases are in use, and how far they have come."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.bars import with_bar
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option, limit_option
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.queries import age, lake_of, open_state, project_number
from tasks_pipeline.commands.common.tables import say, table
from tasks_pipeline.commands.releases.health import environment_words, percent
from tasks_pipeline.commands.releases.summaries import in_environment, in_project

if TYPE_CHECKING:
    from tasks_pipeline.releases.adoption import Adoption, AdoptionKey
    from tasks_pipeline.releases.stages import Stage

_COLUMNS = {
    "project": "project",
    "environment": "environment",
    "version": "release",
    "adoption": "of sessions",
    "of_users": "of users",
    "sessions": "sessions",
    "users": "users",
    "stage": "stage",
    "since": "since",
}


@click.command()
@in_project
@in_environment
@limit_option(50, "rows to show")
@json_option
@click.pass_context
def adoption(
    ctx: click.Context, project: str | None, environment: str | None, limit: int, as_json: bool
) -> None:
    """Show the share of each release in the sessions and users of the last 24 full hours, and its stage.

    A release is adopted where a tenth of the sessions of six hours are its own, and replaced when it has fewer again. Shares of
    users may be more than the whole together: a user may use two releases.

    \b
    Examples:
      tasks-pipeline releases adoption
      tasks-pipeline releases adoption --environment production --json
    """
    with open_state(current_home(ctx)) as (state, slugs), lake_of(current_home(ctx), state) as lake:
        from tasks_pipeline.releases.adoption import adoption_at
        from tasks_pipeline.releases.spans import full_hour
        from tasks_pipeline.releases.stages import current_stages

        now = datetime.now(UTC)
        at = full_hour(now)
        number = project_number(slugs, project)
        chosen = list(slugs) if number is None else [number]
        found = adoption_at(lake, at, chosen, environment=environment)
        most = sorted(found.items(), key=_most_first)[:limit]
        with state.read() as connection:
            stages = current_stages(connection, {(key[0], key[2]) for key, _ in most})
    rows = [_row(slugs, key, one, stages.get((key[0], key[2]), {}), at) for key, one in most]
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo(f"no sessions in the 24 hours before {cell(at)[:16]} UTC", err=True)
        return
    table(
        [_shown(row, now) for row in rows],
        _COLUMNS,
        cut=["version"],
        drop=["users", "sessions", "of_users", "since", "project", "adoption"],
    )
    click.echo()
    say(f"of the 24 hours before {cell(at)[:16]} UTC; stages by the 6 hours before each full hour")


def _most_first(entry: tuple[AdoptionKey, Adoption]) -> tuple[Any, ...]:
    (project_id, environment, version), one = entry
    return project_id, environment is not None, environment or "", -one.sessions, version


def _row(
    slugs: Mapping[int, str], key: AdoptionKey, one: Adoption, stages: Mapping[str, Stage], at: datetime
) -> dict[str, Any]:
    project_id, environment, version = key
    stage = stages.get(environment or "")
    return {
        "project": slugs[project_id],
        "environment": environment,
        "version": version,
        "at": at,
        "sessions": one.sessions,
        "users": one.users,
        "adoption": one.of_sessions,
        "adoption_users": one.of_users,
        "stage": stage and stage.stage,
        "since": stage and stage.since,
        "adopted_at": stage and stage.adopted_at,
        "unadopted_at": stage and stage.unadopted_at,
        "all": {"sessions": one.all_sessions, "users": one.all_users},
    }


def _shown(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    from tasks_pipeline.releases.shares import percent_text

    everyone = row["all"]
    return {
        **row,
        "environment": environment_words(row["environment"]),
        "adoption": with_bar(row["adoption"], percent(percent_text(row["sessions"], everyone["sessions"]))),
        "of_users": percent(percent_text(row["users"], everyone["users"])) or "",
        "stage": (row["stage"] or "").replace("_", " "),
        "since": age(row["since"], now),
    }
