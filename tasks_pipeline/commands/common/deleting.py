"""What commands that delete for good share: showing what goes, asking, a bar, what went."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import Option
from tasks_pipeline.commands.common.output import cell
from tasks_pipeline.commands.common.queries import one_line
from tasks_pipeline.commands.common.tables import table

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks_pipeline.deletion.chosen import Chosen
    from tasks_pipeline.erasure.finish import Done
    from tasks_pipeline.erasure.selection import Erased
    from tasks_pipeline.stores import Stores

dry_run_option: Option = click.option("--dry-run", is_flag=True, help="Only show what would go.")
yes_option: Option = click.option("--yes", is_flag=True, help="Do not ask.")


def delete_chosen(
    stores: Stores,
    chosen: Chosen,
    *,
    by: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    notes: Sequence[str] = (),
) -> None:
    """Show what goes, ask, delete it, say what went. Raises ClickException when it has to wait."""
    from tasks_pipeline.deletion.run import delete, plan

    if not (yes or dry_run) and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("this deletes for good: give --yes where nobody can be asked, or --dry-run")
    planned = plan(stores, chosen)
    if dry_run:
        _show(planned, "would go", chosen, as_json)
        return
    if not as_json:
        _show(planned, "goes", chosen, as_json=False)
        for note in notes:
            click.echo(note)
    if not yes:
        click.confirm(f"Delete {cell(chosen.said)} for good? Only a backup brings it back", abort=True)
    with ends_in_a_line(), progress_of(planned) as on_erased:
        done = delete(stores, chosen, by, on_erased)
    if as_json:
        print_json([each.as_dict() for each in done.erased])
        return
    _show(done.erased, "went", chosen, as_json=False)
    say_certified(done)


@contextmanager
def ends_in_a_line() -> Iterator[None]:
    """What keeps a deletion from being finished now ends the command with a line."""
    from tasks_pipeline.erasure.finish import NotAllGone
    from tasks_pipeline.erasure.raw import Waits
    from tasks_pipeline.retention.lake import DayChanging

    try:
        with one_line(Waits, NotAllGone):
            yield
    except DayChanging as error:
        raise click.ClickException(
            f"others keep writing files of {error}: ask again, or the nightly cleanup goes on with it"
        ) from error


def say_certified(done: Done) -> None:
    """Say where the certificate is, and what no deletion reaches."""
    click.echo(f"looked for again: nothing is left; certificate: {cell(done.path)}")
    if done.since:
        came = ", ".join(f"{each.rows} in {each.where}" for each in done.since)
        click.echo(
            f"programs go on sending: {came} came since, and stay; end that, and delete again", err=True
        )
    click.echo(
        "Backups made before still hold it: remove them, or delete again after one was restored. Messages that were sent cannot be called back.",
        err=True,
    )


def _show(found: Sequence[Erased], verb: str, chosen: Chosen, as_json: bool) -> None:
    if as_json:
        print_json([each.as_dict() for each in found])
        return
    rows: list[dict[str, Any]] = [each.as_dict() for each in found]
    if rows:
        table(rows, ["where", "rows", "how"])
    click.echo(f"{'this' if rows else 'nothing'} {verb} with {cell(chosen.said)}")


@contextmanager
def progress_of(planned: Sequence[Erased]) -> Iterator[Callable[[Erased], None]]:
    """A bar over the rows that were planned, on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("deleting", total=max(1, sum(each.rows for each in planned)))

        def advance(each: Erased) -> None:
            bar.update(task, advance=each.rows, description=f"deleting: {each.where}")

        yield advance
