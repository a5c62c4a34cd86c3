"""`releases commits`: what a release is made of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option, limit_option
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.queries import age, open_state
from tasks_pipeline.commands.common.tables import say, table
from tasks_pipeline.commands.releases.summaries import find_named
from tasks_pipeline.words import counted, short_commit

if TYPE_CHECKING:
    from tasks_pipeline.releases.commit_lists import Author


@click.command()
@click.argument("version")
@limit_option(50, "commits to show")
@json_option
@click.pass_context
def commits(ctx: click.Context, version: str, limit: int, as_json: bool) -> None:
    """List the commits of a release, newest first. They are the same in all projects that have it.

    \b
    Examples:
      tasks-pipeline releases commits shop@2.0.0
      tasks-pipeline releases commits shop@2.0.0 --limit 2000 --json
    """
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.releases.commit_lists import contents_of, list_commits, pending_releases

        find_named(state, slugs, version, None)
        with state.read() as connection:
            rows = list_commits(connection, version, limit=limit)
            made_of = contents_of(connection, version)
            pending = bool(pending_releases(connection, [version]))
    found = [commit_json(row) for row in rows]
    if as_json:
        print_json(found)
        return
    if found:
        table(
            [_shown(row, datetime.now(UTC)) for row in found],
            ["commit", "author", "age", "files", "message"],
            cut=["message", "author"],
            drop=["files", "age"],
        )
        click.echo()
    authors = counted(len(made_of.authors), "author")
    say(f"{counted(made_of.commits, 'commit')} by {authors}, {counted(made_of.files, 'file')} changed")
    if pending:
        say("further ones are announced, and come when somebody sends them")


def commit_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON says of a commit."""
    return {
        "sha": row["sha"],
        "repository": row["repository"],
        "message": row["message"],
        "author_name": row["name"],
        "author_email": row["email"],
        "committed_at": row["committed_at"],
        "files": row["files"],
    }


def author_json(author: Author) -> dict[str, Any]:
    """What JSON says of an author of a release."""
    return {"name": author.name, "email": author.email, "commits": author.commits}


def _shown(commit: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    from tasks_pipeline.releases.suspects import first_line

    return {
        "commit": short_commit(cell(commit["sha"])),
        "author": commit["author_name"] or commit["author_email"] or "",
        "age": age(commit["committed_at"], now),
        "files": commit["files"],
        "message": first_line(commit["message"]),
    }
