"""`releases`: list them, look at one, archive, restore and delete it; what the names of releases tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option, limit_option, project_option
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.queries import age, open_state, project_number
from tasks_pipeline.commands.common.tables import field_lines, say, table
from tasks_pipeline.protocol.release import ReleaseName, parse_release

if TYPE_CHECKING:
    from tasks_pipeline.releases.known import Latest, Row
    from tasks_pipeline.storage.state.database import StateDatabase

_COLUMNS = {
    "version": "release",
    "project": "project",
    "latest": "latest",
    "status": "status",
    "created": "first heard of",
    "released": "released",
    "last_event": "last event",
    "deploys": "deploys",
}
_COMING = (
    "commit_count", "new_groups", "events", "users", "sessions", "crash_free_sessions", "crash_free_users", "adoption", "stages",
)  # fmt: skip
_COMING_DETAILS = ("commits", "authors", "groups_new", "groups_resolved", "groups_regressed", "health")
"""Fields that nothing makes yet: null in JSON, and in no table."""
_MOST_DEPLOYS = 1000
_DEPLOYS_SHOWN = 5
_project_option = project_option("In this project only.")


@click.group(cls=CommandGroup)
def releases() -> None:
    """List releases, look at one, archive, restore and delete it; see what names of releases tell."""


@releases.command("list")
@_project_option
@click.option(
    "--status",
    type=click.Choice(["open", "archived", "all"]),
    default="open",
    show_default=True,
    help="Which to list.",
)
@limit_option(50, "releases to show")
@json_option
@click.pass_context
def list_command(ctx: click.Context, project: str | None, status: str, limit: int, as_json: bool) -> None:
    """List releases, newest first by date of release or else of creation, and say which is the latest and why.

    \b
    Examples:
      tasks-pipeline releases list
      tasks-pipeline releases list --project shop --status all --json
    Prints:
      release     project  latest  status  released  last event  deploys
      shop@1.9.1  shop             open              1 min             0
      shop@2.0.0  shop     latest  open    2 d       10 s              1
    """
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.releases.known import STATUSES, list_releases

        number = project_number(slugs, project)
        chosen = list(slugs) if number is None else [number]
        statuses = STATUSES if status == "all" else (status,)
        with state.read() as connection:
            rows = list_releases(connection, chosen, statuses=statuses, limit=limit)
        found, latest = _summaries(state, slugs, rows)
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("no releases", err=True)
        return
    now = datetime.now(UTC)
    table(
        [_shown(row, now) for row in found],
        _COLUMNS,
        cut=["version"],
        drop=["created", "status", "deploys", "last_event", "released"],
    )
    click.echo()
    for project_id, one in latest.items():
        say(f"latest of {slugs[project_id]}: {cell(one.version)} ({cell(one.reason)})")


@releases.command()
@click.argument("version")
@_project_option
@json_option
@click.pass_context
def show(ctx: click.Context, version: str, project: str | None, as_json: bool) -> None:
    """Show one release: what its name tells, its dates, its deploys. --project says which, where several projects have it.

    \b
    Examples:
      tasks-pipeline releases show shop@2.0.0
      tasks-pipeline releases show shop@2.0.0 --project shop --json
    """
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.releases.known import list_deploys

        rows = _named(state, slugs, version, project)
        if len(rows) > 1:
            having = ", ".join(slugs[row["project_id"]] for row in rows)
            raise click.ClickException(
                f"{cell(version)} is in several projects; --project says which: {having}"
            )
        ((summary,), _) = _summaries(state, slugs, rows)
        with state.read() as connection:
            deploys = list_deploys(connection, [rows[0]["project_id"]], version, _MOST_DEPLOYS)
    details = {"deploys": deploys, **dict.fromkeys(_COMING_DETAILS)}
    if as_json:
        print_json(summary | details)
    else:
        _print_release(summary, deploys, datetime.now(UTC))


@releases.command()
@click.argument("version")
@_project_option
@json_option
@click.pass_context
def archive(ctx: click.Context, version: str, project: str | None, as_json: bool) -> None:
    """Archive a release: it leaves the lists and is not the latest any more. Its events go on as before.

    \b
    Example:
      tasks-pipeline releases archive shop@999.9.9
    """
    _set_status(ctx, version, project, "archived", "is archived; `releases restore` undoes that", as_json)


@releases.command()
@click.argument("version")
@_project_option
@json_option
@click.pass_context
def restore(ctx: click.Context, version: str, project: str | None, as_json: bool) -> None:
    """Open an archived release again.

    \b
    Example:
      tasks-pipeline releases restore shop@2.0.0
    """
    _set_status(ctx, version, project, "open", "is open", as_json)


@releases.command()
@click.argument("version")
@_project_option
@json_option
@click.pass_context
def delete(ctx: click.Context, version: str, project: str | None, as_json: bool) -> None:
    """Forget a release and its deploys. Its events and artifacts stay, and its next event makes it again.

    \b
    Example:
      tasks-pipeline releases delete shop@2.0.0
    """
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.releases.known import delete_release

        ids = [row["project_id"] for row in _named(state, slugs, version, project)]
        delete_release(state, ids, version)
    _say(
        slugs, ids, version, "deleted", as_json,
        "is deleted; its next event makes it again. `releases archive` is what people usually mean",
    )  # fmt: skip


@releases.command()
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@click.option("--sort", is_flag=True, help="In ascending order, instead of the order given.")
@json_option
def parse(names: tuple[str, ...], sort: bool, as_json: bool) -> None:
    """Show what names of releases tell: package, kind, version, short name. With --sort, the older versions first.

    Names that cannot tell which is the newer stand by package, then by name; where releases are compared, dates decide.

    \b
    Examples:
      tasks-pipeline releases parse shop@1.10.0-rc.1+7 @scope/pkg@1.0rc1
      tasks-pipeline releases parse --sort --json shop@1.10.0 shop@1.9.0
    """
    parsed = [(name, parse_release(name)) for name in names]
    if sort:
        parsed.sort(key=_ascending)
    rows = [_parts(told) for _, told in parsed]
    if as_json:
        print_json(rows)
        return
    for row, (name, told) in zip(rows, parsed, strict=True):
        row |= {"name": name, "numbers": _dotted(told.numbers), "pre": _dotted(told.pre)}
    table(
        rows,
        ["name", "package", "kind", "numbers", "pre", "build", "short"],
        cut=["name", "short"],
        drop=["short", "package"],
    )


def _ascending(named: tuple[str, ReleaseName]) -> tuple[str, bool, str, str]:
    name, told = named
    return told.package or "", told.sort_key is None, told.sort_key or "", name


def _parts(told: ReleaseName) -> dict[str, Any]:
    return {part: getattr(told, part) for part in ("package", "kind", "numbers", "pre", "build", "short")}


def _dotted(parts: Iterable[object] | None) -> str:
    return ".".join(map(str, parts or ()))


def _named(state: StateDatabase, slugs: Mapping[int, str], version: str, project: str | None) -> list[Row]:
    """The release in each project that has it, or in the one that is named. Raises ClickException when there is none."""
    from tasks_pipeline.releases.known import find_releases

    number = project_number(slugs, project)
    with state.read() as connection:
        rows = find_releases(connection, list(slugs) if number is None else [number], version)
    if not rows:
        where = "" if project is None else f" in {cell(project)}"
        raise click.ClickException(
            f"there is no release {cell(version)}{where}; `tasks-pipeline releases list --status all` shows them"
        )
    return rows


def _summaries(
    state: StateDatabase, slugs: Mapping[int, str], rows: Sequence[Row]
) -> tuple[list[dict[str, Any]], dict[int, Latest]]:
    """What JSON says of releases, and by project the latest of all of its releases."""
    from tasks_pipeline.releases.known import deploy_counts, latest_release

    with state.read() as connection:
        deployed = deploy_counts(connection, {(row["project_id"], row["version"]) for row in rows})
        latest = {
            number: found
            for number in dict.fromkeys(row["project_id"] for row in rows)
            if (found := latest_release(connection, number))
        }
    summaries = []
    for row in rows:
        of_project = latest.get(row["project_id"])
        is_latest = of_project is not None and of_project.version == row["version"]
        summaries.append(
            {
                "version": row["version"],
                "short_version": parse_release(row["version"]).short,
                "package": row["package"],
                "project": slugs[row["project_id"]],
                "status": row["status"],
                "latest": is_latest,
                "latest_reason": of_project.reason if of_project and is_latest else None,
                "date_created": row["created_at"],
                "date_started": row["started_at"],
                "date_released": row["released_at"],
                "order_date": row["order_date"],
                "first_event": row["first_event_at"],
                "last_event": row["last_event_at"],
                "url": row["url"],
                "deploy_count": deployed.get((row["project_id"], row["version"]), 0),
                **dict.fromkeys(_COMING),
            }
        )
    return summaries, latest


def _shown(summary: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    return {
        **{name: summary[name] for name in ("version", "project", "status")},
        "latest": "latest" if summary["latest"] else "",
        "created": age(summary["date_created"], now),
        "released": age(summary["date_released"], now),
        "last_event": age(summary["last_event"], now),
        "deploys": summary["deploy_count"],
    }


def _print_release(summary: Mapping[str, Any], deploys: Sequence[Row], now: datetime) -> None:
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
        ("url", cell(summary["url"])),
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


def _set_status(
    ctx: click.Context, version: str, project: str | None, status: str, said: str, as_json: bool
) -> None:
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.releases.known import save_release

        ids = [row["project_id"] for row in _named(state, slugs, version, project)]
        save_release(state, ids, version, {"status": status})
    _say(slugs, ids, version, status, as_json, said)


def _say(
    slugs: Mapping[int, str], ids: Sequence[int], version: str, status: str, as_json: bool, said: str
) -> None:
    """What was done with a release in some projects."""
    where = [slugs[project_id] for project_id in ids]
    if as_json:
        print_json([{"version": version, "project": slug, "status": status} for slug in where])
    else:
        click.echo(f"{cell(version)} in {', '.join(where)} {said}")
