"""`backup`: make, list and verify backups, and restore one, also into the other kind of database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import Number, Option, json_option
from tasks_pipeline.commands.common.output import current_home
from tasks_pipeline.commands.common.queries import database_errors, one_line, open_all, size_text
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.texts import printable
from tasks_pipeline.words import counted

if TYPE_CHECKING:
    from tasks_pipeline.backup.manifest import File, Report
    from tasks_pipeline.backup.target import Target

_COLUMNS = {"name": "backup", "created_at": "of (UTC)", "engine": "databases", "files": "files", "bytes": "size", "rows": "rows", "problems": "problems"}  # fmt: skip


def _from_option(required: bool) -> Option:
    shown = "" if required else "  [default: `backup.to` of the configuration]"
    return click.option(
        "--from", "url", metavar="DIR|URL", required=required, help=f"Where the backups are.{shown}"
    )


@click.group(cls=CommandGroup)
def backup() -> None:
    """Make, list and verify backups, restore one. A restore may change the kind of database: that is how to move."""


@backup.command()
@click.option(
    "--to",
    "url",
    metavar="DIR|URL",
    help="Folder or fsspec URL, for this installation alone.  [default: `backup.to` of the configuration]",
)
@click.option(
    "--keep", type=Number(1, 10_000), metavar="N", help="Remove all backups but the newest.  [default: none]"
)
@json_option
@click.pass_context
def create(ctx: click.Context, url: str | None, keep: int | None, as_json: bool) -> None:
    """Make a backup of everything, while the service is at work or not. What the target has already is not stored again.

    \b
    Example:
      tasks-pipeline backup create --to /mnt/backups --keep 7
    """
    home = current_home(ctx)
    with open_all(home, to_look=True) as stores, _errors():
        from tasks_pipeline.backup.create import create_backup

        url = url or _configured(stores.config.backup.to)
        with _bar(None) as advance:
            report = create_backup(stores, url, keep=keep, progress=advance)
    _say(ctx, f"backup {report.name}", report, as_json)


@backup.command("list")
@_from_option(required=False)
@json_option
@click.pass_context
def list_backups(ctx: click.Context, url: str | None, as_json: bool) -> None:
    """List backups, the newest first.

    \b
    Example:
      tasks-pipeline backup list --from /mnt/backups
    """
    with _errors():
        from tasks_pipeline.backup.manifest import BackupError

        target = _target(ctx, url)
        rows: list[dict[str, Any]] = []
        for name in reversed(target.names()):
            try:
                found = target.manifest(name)
            except BackupError as error:
                rows.append({"name": name, "problems": [str(error)]})
                continue
            rows.append(
                {
                    "name": name,
                    "created_at": found.created_at,
                    "engine": found.engine,
                    "files": len(found.files),
                    "bytes": sum(file.size for file in found.files),
                    "rows": sum(found.rows.values()),
                    "problems": list(found.problems),
                }
            )
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo(f"there is no backup in {printable(target.url)}", err=True)
        return
    shown = [
        {**row, "bytes": size_text(row.get("bytes")), "problems": len(row["problems"]) or ""} for row in rows
    ]
    table(shown, _COLUMNS)


@backup.command()
@click.argument("name", required=False)
@_from_option(required=False)
@json_option
@click.pass_context
def verify(ctx: click.Context, name: str | None, url: str | None, as_json: bool) -> None:
    """Read a backup as a whole, the newest unless one is named (its beginning will do), and say what is wrong with it. Status 1
    when anything is.

    \b
    Example:
      tasks-pipeline backup verify --from /mnt/backups
    """
    with _errors():
        from tasks_pipeline.backup.verify import verify_backup

        target = _target(ctx, url)
        with _bar(_bytes_of(target, name)) as advance:
            report = verify_backup(target, name, progress=advance)
    _say(ctx, f"backup {report.name} {'is whole' if report.ok else 'is not whole'}", report, as_json)


@backup.command()
@click.argument("name", required=False)
@_from_option(required=True)
@json_option
@click.pass_context
def restore(ctx: click.Context, name: str | None, url: str, as_json: bool) -> None:
    """Put a backup, the newest unless one is named, into an empty home: SQLite, or PostgreSQL when TASKS_PIPELINE_DATABASE_URL
    says so, whichever the backup was made of.

    \b
    Example:
      tasks-pipeline --home /srv/new backup restore --from /mnt/backups
    """
    home = current_home(ctx, create=True)
    with one_line(*database_errors(home)), _errors():
        from tasks_pipeline.backup.restore import restore_backup

        target = _target(ctx, url)
        with _bar(_bytes_of(target, name)) as advance:
            report = restore_backup(home, target, name, progress=advance)
    _say(ctx, f"backup {report.name} is in {home.root}", report, as_json)


@contextmanager
def _errors() -> Iterator[None]:
    from tasks_pipeline.backup.manifest import BackupError

    with one_line(BackupError, OSError):
        yield


def _target(ctx: click.Context, url: str | None) -> Target:
    from tasks_pipeline.backup.target import open_target

    return open_target(url or _configured(current_home(ctx).config_to_look().config.backup.to))


def _configured(url: str | None) -> str:
    if url is None:
        raise click.UsageError(
            "neither the command nor `backup.to` of the configuration says where backups are"
        )
    return url


def _bytes_of(target: Target, name: str | None) -> int | None:
    """For a bar; a manifest that cannot be read is told later."""
    from tasks_pipeline.backup.manifest import BackupError

    found = target.find(name)
    try:
        return sum(file.size for file in target.manifest(found).files)
    except BackupError:
        return None


@contextmanager
def _bar(total: int | None) -> Iterator[Callable[[File], None]]:
    """A bar over bytes on a terminal; the block gets a function that takes each file that is done."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)

        def advance(file: File) -> None:
            bar.update(task, advance=file.size, description=file.store)

        yield advance


def _say(ctx: click.Context, what: str, report: Report, as_json: bool) -> None:
    """Print a report; problems end the command with status 1."""
    if as_json:
        print_json(asdict(report))
    else:
        click.echo(
            f"{what}: {counted(report.files, 'file')}, {size_text(report.bytes)}, {counted(report.rows, 'row')} "
            f"in {report.seconds:.1f} s"
        )
        for left_out in report.left_out:
            click.echo(f"not in it: {printable(left_out)}")
    for problem in report.problems:
        click.echo(f"problem: {printable(problem)}", err=True)
    if not report.ok:
        ctx.exit(1)
