"""`archive`: look at what retention removed and kept elsewhere, prove it, and bring a day back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import Day, Number, json_option, project_option
from tasks_pipeline.commands.common.output import current_home
from tasks_pipeline.commands.common.queries import one_line, open_all, project_number, size_text
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.texts import printable
from tasks_pipeline.words import counted

if TYPE_CHECKING:
    from tasks_pipeline.archive.restore import RestoredParts
    from tasks_pipeline.archive.store import Archive, Part
    from tasks_pipeline.archive.verify import Verified
    from tasks_pipeline.stores import Stores

_COLUMNS = {"day": "day", "project": "project", "category": "category", "part": "part", "rows": "rows", "size": "size", "archived_at": "archived (UTC)", "reason": "reason", "stays": "back until", "problem": "problem"}  # fmt: skip
_KEEP_DAYS = 30
_from_option = click.option(
    "--from",
    "url",
    metavar="DIR|URL",
    help="Where the archive is.  [default: `retention.archive_url` of the configuration]",
)


@click.group(cls=CommandGroup)
def archive() -> None:
    """List, verify and restore archived days: what retention removed, and kept as Parquet where `retention.archive_url` says."""


@archive.command("list")
@project_option("Only what was archived of this project.")
@_from_option
@json_option
@click.pass_context
def list_archive(ctx: click.Context, project: str | None, url: str | None, as_json: bool) -> None:
    """List what is archived, the oldest day first: a row for each day, project and category, and for each time some of it went.

    \b
    Examples:
      tasks-pipeline archive list
      tasks-pipeline archive list --project shop --json
    """
    from tasks_pipeline.archive.store import refuse_away

    with _opened(ctx, url) as (stores, found):
        refuse_away(stores.home, found)
        rows = list(_rows(stores, found, _project(stores, project)))
        where = found.url
    if as_json:
        print_json([{key: value for key, value in row.items() if key != "size"} for row in rows])
        return
    if not rows:
        click.echo(f"nothing is archived in {printable(where)}", err=True)
        return
    shown = [name for name in _COLUMNS if name not in ("stays", "problem") or any(row[name] for row in rows)]
    table(rows, {name: _COLUMNS[name] for name in shown}, drop=["reason", "archived_at"])


def _rows(stores: Stores, found: Archive, project_id: int | None) -> Iterator[dict[str, Any]]:
    from tasks_pipeline.archive.manifest import ArchiveError
    from tasks_pipeline.storage.state.restored import restored

    today = datetime.now(UTC).date()
    with stores.state.read() as connection:
        known_back = restored(connection)
    back = {(each.day, each.project_id): each.until for each in known_back if each.until >= today}
    for part, is_whole in sorted(found.look(project_id=project_id).items()):
        row: dict[str, Any] = {
            "day": part.day, "project": stores.slugs.get(part.project_id, str(part.project_id)), "category": part.category,
            "part": part.number, "stays": back.get((part.day, part.project_id)),
        }  # fmt: skip
        try:
            if not is_whole:
                raise ArchiveError("not finished: a cleanup was killed, and its rows are still stored")
            known = found.manifest(part)
        except (ArchiveError, FileNotFoundError) as error:
            nothing = dict.fromkeys(("rows", "bytes", "archived_at", "reason", "whole", "tables"))
            yield row | nothing | {"size": "", "problem": str(error)}
            continue
        yield row | {
            "rows": known.rows, "bytes": known.size, "size": size_text(known.size), "archived_at": known.archived_at,
            "reason": known.reason, "whole": known.whole, "tables": {each.name: each.rows for each in known.tables}, "problem": None,
        }  # fmt: skip


@archive.command()
@click.argument("day", type=Day(), required=False, metavar="[DAY]")
@project_option("Only what was archived of this project.")
@_from_option
@json_option
@click.pass_context
def verify(
    ctx: click.Context, day: datetime | None, project: str | None, url: str | None, as_json: bool
) -> None:
    """Read all that is archived, or what is of a day, and say what is wrong with it. Status 1 when anything is, and where there is
    nothing of what was named.

    \b
    Examples:
      tasks-pipeline archive verify
      tasks-pipeline archive verify 2026-08-31
    """
    from tasks_pipeline.archive.manifest import ArchiveError
    from tasks_pipeline.archive.store import refuse_away
    from tasks_pipeline.archive.verify import verify_archive

    on = None if day is None else day.date()
    with _opened(ctx, url) as (stores, found):
        project_id = _project(stores, project)
        refuse_away(stores.home, found)
        if (url or on) and not found.look(on, project_id):  # what was asked for by name, and is not there
            raise ArchiveError(
                f"{found.url} has nothing{f' of {on}' if on else ''}: `archive list` says what there is"
            )
        with _bar(_size_of(found, on, project_id)) as advance:
            report = verify_archive(found, on, project_id, advance)
    if as_json:
        print_json(asdict(report) | {"ok": report.ok})
    else:
        _say_verified(report)
    for problem in report.problems:
        click.echo(f"problem: {printable(problem)}", err=True)
    if not report.ok:
        ctx.exit(1)


def _say_verified(report: Verified) -> None:
    if not report.parts and not report.unfinished:
        click.echo("nothing is archived yet")
        return
    one = report.parts == 1
    what = (
        f"{'is' if one else 'are'}{'' if report.ok else ' not'} as {'it was' if one else 'they were'} written"
    )
    click.echo(
        f"{counted(report.parts, 'part')} {what}: {counted(report.files, 'file')}, {size_text(report.bytes)}, "
        f"{counted(report.rows, 'row')}"
    )
    for path in report.unfinished:
        click.echo(f"{path} was not finished: its rows are still stored, and the next cleanup archives them")


@archive.command()
@click.argument("day", type=Day(), metavar="DAY")
@project_option("Only what was archived of this project.")
@click.option(
    "--keep-days",
    type=Number(0, 3650),
    metavar="N",
    default=_KEEP_DAYS,
    show_default=True,
    help="So long it stays although its retention is over. 0: the next cleanup takes it again.",
)
@_from_option
@json_option
@click.pass_context
def restore(
    ctx: click.Context, day: datetime, project: str | None, keep_days: int, url: str | None, as_json: bool
) -> None:
    """Bring a day back as it was, row for row, with its groups. It can be searched and counted like any other then.

    Everything is proven before anything is touched. Once more changes nothing but how long the day stays.

    \b
    Examples:
      tasks-pipeline archive restore 2026-08-31
      tasks-pipeline archive restore 2026-08-31 --project shop --keep-days 7
    """
    from tasks_pipeline.archive.restore import restore_day

    until = datetime.now(UTC).date() + timedelta(days=keep_days - 1)
    with _opened(ctx, url, to_look=False) as (stores, found):
        project_id = _project(stores, project)
        with _bar(_size_of(found, day.date(), project_id)) as advance:
            report = restore_day(stores, found, day.date(), until, project_id, advance)
        slugs, short_ids = stores.slugs, _short_ids(stores, report)
    if as_json:
        print_json(_restored_json(report, slugs, short_ids))
        return
    _say_restored(report, short_ids)


def _restored_json(
    report: RestoredParts, slugs: Mapping[int, str], short_ids: Mapping[int, str]
) -> dict[str, Any]:
    found = asdict(report)
    found["projects"] = [slugs.get(number, str(number)) for number in report.projects]
    found["groups_made"] = [short_ids.get(number, str(number)) for number in report.groups_made]
    for name in ("groups_renumbered", "groups_joined"):
        pairs: dict[int, int] = found[name]
        found[name] = {str(old): short_ids.get(new, str(new)) for old, new in pairs.items()}
    return found


def _say_restored(report: RestoredParts, short_ids: Mapping[int, str]) -> None:
    if report.was_there:
        click.echo(f"{report.day} was restored before; {_stays(report)}")
        return
    of_tables = ", ".join(f"{counted(n, 'row')} of {name}" for name, n in report.rows.items() if n)
    click.echo(f"{report.day} is back: {of_tables or 'what was begun before is finished'}")
    if report.blobs:
        click.echo(f"{counted(report.blobs, 'file')} of attachments")
    if report.groups_made:
        names = ", ".join(short_ids.get(g, str(g)) for g in report.groups_made[:10])
        click.echo(
            f"{counted(len(report.groups_made), 'group')} made again: {names}{' …' if len(report.groups_made) > 10 else ''}"
        )
    for old, new in report.groups_renumbered.items():
        click.echo(f"group {old} is {short_ids.get(new, new)} now: another group has its number")
    for old, new in report.groups_joined.items():
        click.echo(f"events of group {old} belong to {short_ids.get(new, new)} now")
    if report.discarded:
        click.echo(f"{counted(report.discarded, 'event')} of groups that were discarded since stay away")
    if report.duplicates:
        click.echo(f"{counted(report.duplicates, 'row')} that came again meanwhile stay as they came")
    if not report.whole:
        click.echo("other rows of the day are in no archive: its figures stay what they were")
    click.echo(_stays(report))


def _stays(report: RestoredParts) -> str:
    if report.until < datetime.now(UTC).date():
        return "the next cleanup takes it again"
    return f"it stays through {report.until}, and then goes again"


def _short_ids(stores: Stores, report: RestoredParts) -> dict[int, str]:
    from sqlalchemy import select

    from tasks_pipeline.groups.short_id import format_short_id
    from tasks_pipeline.storage.state.database import chunks
    from tasks_pipeline.storage.state.tables import groups

    wanted = {*report.groups_made, *report.groups_renumbered.values(), *report.groups_joined.values()}
    found: dict[int, str] = {}
    with stores.state.read() as connection:
        for some in chunks(sorted(wanted)):
            query = select(groups.c.id, groups.c.project_id, groups.c.short_id).where(groups.c.id.in_(some))
            for number, project_id, short in connection.execute(query).tuples():
                found[number] = format_short_id(stores.slugs.get(project_id, str(project_id)), short)
    return found


def _project(stores: Stores, named: str | None) -> int | None:
    """The number of a project: by its slug, or of one that is not configured any more."""
    return int(named) if named is not None and named.isdecimal() else project_number(stores.slugs, named)


@contextmanager
def _opened(ctx: click.Context, url: str | None, *, to_look: bool = True) -> Iterator[tuple[Stores, Archive]]:
    """The stores, and the archive that is named or configured; what is wrong with it ends the command with a line."""
    from tasks_pipeline.archive.manifest import ArchiveError
    from tasks_pipeline.archive.store import open_archive

    with open_all(current_home(ctx), to_look=to_look) as stores, one_line(ArchiveError, OSError):
        where = url or stores.config.retention.archive_url
        if where is None:
            raise click.UsageError(
                "neither the command nor `retention.archive_url` of the configuration says where the archive is"
            )
        yield stores, open_archive(stores.home, where)


def _size_of(found: Archive, day: Any, project_id: int | None) -> int:
    """Bytes of what is archived, for a bar; what cannot be read is told later."""
    from tasks_pipeline.archive.manifest import ArchiveError

    size = 0
    for part in found.parts(day, project_id):
        try:
            size += found.manifest(part).size
        except (ArchiveError, FileNotFoundError):
            continue
    return size


@contextmanager
def _bar(total: int) -> Iterator[Callable[[Part, int], None]]:
    """A bar over bytes on a terminal; the block gets a function that takes each part that is done."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)

        def advance(part: Part, size: int) -> None:
            bar.update(task, advance=size, description=f"{part.day} {part.category}")

        yield advance
