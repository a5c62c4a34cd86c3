"""`releases show`: one release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.queries import age, open_state
from tasks_pipeline.commands.common.tables import field_lines, say, table
from tasks_pipeline.commands.releases.commits import author_json, commit_json
from tasks_pipeline.commands.releases.deploys import deploy_json
from tasks_pipeline.commands.releases.health import print_health, uncounted
from tasks_pipeline.commands.releases.summaries import find_named, in_project, summaries
from tasks_pipeline.commands.releases.with_health import add_health, counted_lake, health_of
from tasks_pipeline.words import counted

if TYPE_CHECKING:
    from tasks_pipeline.groups.of_release import Listed
    from tasks_pipeline.releases.commit_lists import Author

_MOST_COMMITS = 2000
_MOST_DEPLOYS = 1000
_AUTHORS_SHOWN = 5
_DEPLOYS_SHOWN = 5
_GROUPS_SHOWN = 5
_GROUP_COLUMNS = {
    "short_id": "group",
    "title": "title",
    "status": "status",
    "times_seen": "events",
    "when": "ago",
}


@click.command()
@click.argument("version")
@in_project
@json_option
@click.pass_context
def show(ctx: click.Context, version: str, project: str | None, as_json: bool) -> None:
    """Show one release: what its name tells, its dates, deploys, groups and health, and who wrote it. --project says which, where several
    projects have it.

    \b
    Examples:
      tasks-pipeline releases show shop@2.0.0
      tasks-pipeline releases show shop@2.0.0 --project shop --json
    """
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.groups.of_release import new_groups, regressed_groups, resolved_groups
        from tasks_pipeline.releases.commit_lists import contents_of, list_commits, previous_with_commits
        from tasks_pipeline.releases.deploys import list_deploys
        from tasks_pipeline.releases.known import first_after, last_before

        rows = find_named(state, slugs, version, project)
        if len(rows) > 1:
            having = ", ".join(slugs[row["project_id"]] for row in rows)
            raise click.ClickException(
                f"{cell(version)} is in several projects; --project says which: {having}"
            )
        ((summary,), _) = summaries(state, slugs, rows)
        now = datetime.now(UTC)
        with counted_lake(current_home(ctx), state) as lake:
            add_health(lake, state, rows, [summary], now)
            health, figures = health_of(lake, rows[0], now)
        newest = rows[0]["last_session_at"]
        waiting = uncounted(state, newest) if newest else ""
        with state.read() as connection:
            project_id = rows[0]["project_id"]
            rows_of_deploys = list_deploys(connection, [project_id], version, _MOST_DEPLOYS)
            commits = list_commits(connection, version, limit=_MOST_COMMITS)
            made_of = contents_of(connection, version)
            place = connection, project_id, version, rows[0]["order_date"]
            beside = {
                "previous": last_before(*place), "next": first_after(*place),
                "previous_with_commits": previous_with_commits(connection, [project_id], version),
            }  # fmt: skip
            named = connection, project_id, slugs[project_id], version
            found = {
                "new": new_groups(*named), "resolved": resolved_groups(*named), "regressed": regressed_groups(*named),
            }  # fmt: skip
    deploys = [deploy_json(row) for row in rows_of_deploys]
    details = {
        **beside,
        "deploys": deploys,
        "commits": [commit_json(row) for row in commits],
        "authors": [author_json(author) for author in made_of.authors],
        **groups_of(found),
        "health": health,
    }
    if as_json:
        print_json(summary | details)
    else:
        _print_release(summary | beside, made_of.authors, deploys, now)
        _print_groups(found, now, gap=bool(deploys))
        print_health(figures, summary["stages"])
        if waiting:
            say(waiting)


def groups_of(found: Mapping[str, Listed]) -> dict[str, Any]:
    """What JSON says of the groups of a release: the newest of each kind, and how many there are."""
    return {
        **{f"{kind}_groups": listed.count for kind, listed in found.items()},
        **{f"groups_{kind}": listed.groups for kind, listed in found.items()},
    }


def _print_groups(found: Mapping[str, Listed], now: datetime, *, gap: bool) -> None:
    """The newest groups of each kind; with a `gap` before the first ones."""
    for kind, listed in found.items():
        if not listed.groups:
            continue
        if gap:
            click.echo()
        gap = True
        more = f", the newest {_GROUPS_SHOWN}" if listed.count > _GROUPS_SHOWN else ""
        click.echo(f"{counted(listed.count, f'{kind} group')}{more}")
        rows = [group | {"when": age(group["at"], now)} for group in listed.groups[:_GROUPS_SHOWN]]
        table(rows, _GROUP_COLUMNS, cut=["title"], drop=["times_seen", "status"])


def _print_release(
    summary: Mapping[str, Any],
    authors: Sequence[Author],
    deploys: Sequence[Mapping[str, Any]],
    now: datetime,
) -> None:
    click.secho(f"{cell(summary['version'])}  {cell(summary['short_version'])}", bold=True)
    dates = {
        "first heard of": "date_created", "started": "date_started", "released": "date_released",
        "first event": "first_event", "last event": "last_event",
    }  # fmt: skip
    facts = [
        ("status", f"{summary['status']}, project {summary['project']}"),
        ("latest", cell(summary["latest_reason"]) if summary["latest"] else ""),
        *(
            (title, f"{cell(summary[name])} UTC, {age(summary[name], now)} ago")
            for title, name in dates.items()
            if summary[name] is not None
        ),
        ("seen", _seen(summary)),
        ("url", cell(summary["url"])),
        ("ref", cell(summary["ref"])),
        ("previous", cell(summary["previous"])),
        ("next", cell(summary["next"])),
        ("commits", _commits(summary)),
        ("authors", _names(authors)),
        ("deploys", str(summary["deploy_count"])),
    ]
    for line in field_lines(facts):
        click.echo(line)
    click.echo()
    if deploys:
        table(
            deploys[:_DEPLOYS_SHOWN],
            {"environment": "environment", "name": "name", "finished_at": "UTC", "url": "url"},
            cut=["name", "url"],
            drop=["url", "name"],
        )


def _commits(summary: Mapping[str, Any]) -> str:
    """How many commits it has, and since which release these are: clients send what came after the last that has any."""
    count, since = summary["commit_count"], summary["previous_with_commits"]
    return f"{count} since {cell(since)}" if count and since else str(count)


def _names(authors: Sequence[Author]) -> str:
    """The authors with the most commits, each with how many these are."""
    most = sorted(authors, key=lambda author: -author.commits)
    shown = [f"{cell(author.name or author.email)} ({author.commits})" for author in most[:_AUTHORS_SHOWN]]
    more = len(most) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _seen(summary: Mapping[str, Any]) -> str:
    if summary["events"] is None:
        return ""
    return f"{counted(summary['events'], 'event')} by {counted(summary['users'], 'user')}"
