"""`demo`: the main job in about a minute, on recorded traffic of real clients."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.options import Number
from tasks_pipeline.commands.common.tables import table

if TYPE_CHECKING:
    from tasks_pipeline.demo.show import Shown

_GROUPS_SHOWN = 15
_REPORT_LINES = 30


@click.command()
@click.option(
    "--events", default=400, show_default=True, type=Number(50, 20_000), help="Shop events to send."
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the data in DIR, to look at it with `--home DIR`.",
)
def demo(events: int, keep: Path | None) -> None:
    """Show the main job: receive, process with Dagster, group, store.

    Starts the whole service on free ports in a temporary home, sends it recorded traffic of real SDKs and several
    hundred events of a sample shop, waits until Dagster has processed them, and prints what happened and what the
    report of today says of it. Stops everything at the end; exits 1 with the reason if anything was not as it should be.

    \b
    Example:
      tasks-pipeline demo --keep /tmp/demo
      tasks-pipeline --home /tmp/demo groups list
    Prints at the end:
      demo ok: received=… stored=… groups=…
    """
    from tasks_pipeline.demo.show import DemoFailed, run_demo, temporary_root
    from tasks_pipeline.home import Home

    try:
        if keep is not None:
            shown = run_demo(events, click.echo, Home(keep.resolve()))
        else:
            with temporary_root() as root:
                shown = run_demo(events, click.echo, Home(root))
    except DemoFailed as failure:
        raise click.ClickException(f"demo failed:\n{failure}") from failure
    _print(shown, keep)


def _command() -> str:
    """How this command line was called: it need not be on the PATH."""
    found = shutil.which("tasks-pipeline")
    own = Path(sys.argv[0])
    return "tasks-pipeline" if found or own.name != "tasks-pipeline" else str(own)


def _report(text: str) -> str:
    """The begin of a report; the rest is told by `reports preview`."""
    lines = text.splitlines()
    left = ["…"] if len(lines) > _REPORT_LINES else []
    return "\n".join(f"  {line}".rstrip() for line in [*lines[:_REPORT_LINES], *left])


def _message(document: dict[str, Any]) -> str:
    """The document of a webhook, what it says to people of it."""
    return "\n".join(f"  {line}" for line in str(document.get("text", document)).splitlines()[:20])


def _print(shown: Shown, keep: Path | None) -> None:
    from tasks_pipeline.reports.rendering.text import report_text

    books = shown.books
    assert books is not None
    names = ("accepted", "stored", "duplicate", "filtered", "discarded", "invalid", "waiting")
    answers = ", ".join(f"{count} × {status}" for status, count in sorted(shown.statuses.items()))
    click.echo(f"\nreceived  {sum(shown.statuses.values())} requests: {answers}\n\nbooks (items)")
    row = {name: getattr(books, name) for name in names} | {"balance": "✓"}
    table([row], [*names, "balance"], drop=[name for name in names if not row[name]])
    click.echo(f"\n{len(shown.groups)} groups; the largest:")
    largest = sorted(shown.groups, key=lambda g: -int(str(g["times_seen"])))[:_GROUPS_SHOWN]
    columns = {
        "short_id": "group",
        "title": "title",
        "level": "level",
        "times_seen": "events",
        "users": "users",
    }
    table([{**g, "title": str(g["title"])[:70]} for g in largest], columns, cut=["title"], drop=["level"])
    first = shown.messages[0].document
    click.echo(
        f"\n{shown.alerts} alerts of new groups: {len(shown.messages)} sent to a webhook one by one, the others wait to be "
        f"sent as one message; the first:\n{_message(first)}"
    )
    assert shown.report is not None
    click.echo(f"\nthe report of today, so far\n{_report(report_text(shown.report, rows=5))}")
    click.echo("\nDagster")
    table(
        [*shown.runs, *({"run": "", "job": f"check {n}", "status": "passed"} for n in shown.checks)],
        ["run", "job", "status"],
        cut=["job"],
    )
    stages = "  ".join(f"{stage} {seconds:.1f} s" for stage, seconds in shown.seconds.items())
    click.echo(f"\nstages    {stages}")
    if keep is None:
        click.echo(f"look      {_command()} demo --keep DIR   keeps the data; this demo's are gone\n")
    else:
        command = f"{_command()} --home {shlex.quote(str(keep))}"
        click.echo(
            f"look      {command} groups list\n          {command} reports preview day\n          {command} run   then open the UI it prints\n"
        )
    click.echo(f"demo ok: received={books.accepted} stored={books.stored} groups={len(shown.groups)}")
