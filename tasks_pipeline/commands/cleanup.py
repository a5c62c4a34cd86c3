"""`cleanup`: remove what is older than its retention now, or only say what would go."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import Day, json_option, project_option
from tasks_pipeline.commands.common.output import current_home
from tasks_pipeline.commands.common.queries import open_all, project_number, size_text
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.texts import printable
from tasks_pipeline.words import counted

if TYPE_CHECKING:
    from tasks_pipeline.archive.write import Archived
    from tasks_pipeline.retention.plan import Asked, Removal
    from tasks_pipeline.stores import Stores


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@project_option("Only what belongs to this project.")
@click.option(
    "--before",
    type=Day(),
    metavar="D",
    help="What is older than this day, instead of what is older than its retention. Needs --what.",
)
@click.option(
    "--what",
    "categories",
    metavar="CATEGORY",
    multiple=True,
    help="Only this: events, transactions, sessions, attachments …, a row of docs/retention.md; may be given several times.",
)
@json_option
@click.pass_context
def cleanup(
    ctx: click.Context,
    dry_run: bool,
    project: str | None,
    before: datetime | None,
    categories: Sequence[str],
    as_json: bool,
) -> None:
    """Remove what is older than its retention: what the service does every night.

    Deletions that were asked for and are open still are finished too. Days on which something waits stay, and those whose figures are not final. With `retention.archive_url` what goes is archived before,
    and stays where that cannot be done.

    \b
    Examples:
      tasks-pipeline cleanup --dry-run
      tasks-pipeline cleanup --project shop --what events --before 2026-10-01
    """
    from tasks_pipeline.retention.blobs import blobs_due, delete_old_file_attachments
    from tasks_pipeline.retention.cleanup import ALL, cleanup_old_events, plan_cleanup

    now = datetime.now(UTC)
    if before is not None and not categories:
        raise click.UsageError("--before needs --what: it would take figures and reports along")
    with open_all(current_home(ctx), to_look=dry_run) as stores:
        asked = _asked(stores, project, before and before.date(), categories)
        if dry_run:
            plan = plan_cleanup(stores, now, asked)
            removed, waiting = [*plan.removals, *blobs_due(stores, now, asked)], plan.waiting
            archived: list[Archived] = []
            certificates: list[str] = []
        else:
            old = cleanup_old_events(stores, now, asked)
            files = delete_old_file_attachments(stores, now, asked)
            removed, waiting = [*old.removed, *files.removed], old.waiting | files.waiting
            archived = [*old.archived, *files.archived]
            certificates = _finished(stores) if asked == ALL else []
        url = stores.config.retention.archive_url
        slugs = stores.slugs
    if as_json:
        totals = {
            "rows": sum(each.rows for each in removed),
            "files": sum(each.files for each in removed),
            "bytes": sum(each.size for each in removed),
        }
        stays = [{"day": day, "why": why} for day, why in sorted(waiting.items())]
        kept = {
            "url": url,
            "parts": len(archived),
            "rows": sum(each.rows for each in archived),
            "bytes": sum(each.size for each in archived),
        }
        print_json(
            {
                "removals": [each.as_dict(slugs) for each in removed],
                "totals": totals,
                "waiting": stays,
                "archived": kept,
                "certificates": certificates,
            }
        )
        return
    _show(removed, waiting, slugs, dry_run)
    if archived:
        size = size_text(sum(each.size for each in archived))
        rows = counted(sum(each.rows for each in archived), "row")
        click.echo(f"{rows} of it archived before, {size} in {printable(url or '')}")
    for path in certificates:
        click.echo(f"a deletion that was asked for before is finished; certificate: {printable(path)}")


def _finished(stores: Stores) -> list[str]:
    """Finish deletions that were asked for before; gives where the certificates lie."""
    from tasks_pipeline.deletion.run import KINDS as DELETIONS
    from tasks_pipeline.erasure.finish import finish_open
    from tasks_pipeline.privacy.delete import KINDS as PERSONS

    return [str(done.path) for done in finish_open(stores, {**PERSONS, **DELETIONS})]


def _asked(stores: Stores, project: str | None, before: date | None, categories: Sequence[str]) -> Asked:
    from tasks_pipeline.retention.cleanup import ALL
    from tasks_pipeline.retention.plan import Asked
    from tasks_pipeline.retention.policy import ATTACHMENTS, CATEGORIES, EVENTS

    if not categories and project is None:
        return ALL
    known = [name for name, each in CATEGORIES.items() if each.by in (EVENTS, ATTACHMENTS)]
    for name in categories:
        if name not in known:
            raise click.UsageError(f"--what {name}: not known; known are {', '.join(known)}")
    return Asked(frozenset(categories or known), project_number(stores.slugs, project), before)


def _show(removed: Sequence[Removal], waiting: dict[date, str], slugs: dict[int, str], dry_run: bool) -> None:
    rows = [each.as_dict(slugs) | {"size": size_text(each.size) if each.size else ""} for each in removed]
    if rows:
        table(rows, ["table", "project", "day", "rows", "files", "size", "reason"])
    total = counted(sum(each.rows for each in removed), "row")
    freed = size_text(sum(each.size for each in removed))
    click.echo(f"{total}, {freed} of files {'would go' if dry_run else 'went'}")
    for day, why in sorted(waiting.items()):
        click.echo(f"{day} stays for now: {why}")
