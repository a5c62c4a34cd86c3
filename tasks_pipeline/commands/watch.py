"""`watch`: how the pipeline itself is doing."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.output import current_home
from tasks_pipeline.commands.common.queries import age, open_all
from tasks_pipeline.commands.common.tables import field_lines, table

TO_DO = {
    "lag": "tasks-pipeline status; the UI shows runs of process_events",
    "invalid_items": 'tasks-pipeline sql "SELECT reason, count(*) FROM lake.dead_letters GROUP BY 1"',
    "dead_letters": 'tasks-pipeline sql "SELECT reason, count(*) FROM lake.dead_letters GROUP BY 1"',
    "passed_over": "the log of the run (process_events, check_monitors) has where it failed",
    "outbox": "tasks-pipeline notifications queue",
    "dead_notifications": "tasks-pipeline notifications log --status dead",
    "channels": "tasks-pipeline notifications queue; notifications test channel:NAME",
    "spool": "tasks-pipeline status; docs/spool.md",
    "failed_attempts": "tasks-pipeline status; the UI: Runs, failed",
    "disk": "tasks-pipeline storage; make room",
    "disk_days": "tasks-pipeline storage; keep things for less long, or make room",
    "object_storage": "docs/storage.md: is the endpoint up, and are the AWS_… variables right?",
    "figures": "docs/reports.md: compute the days again, `backfill --statistics --from DAY --to DAY`",
    "lake_files": "docs/upkeep.md: restore the files from a backup",
    "damage": "docs/upkeep.md: what to do about damage",
    "early_removals": "tasks-pipeline storage; raise retention.max_disk, or keep things for less long",
    "archive": "docs/archive.md: what can go wrong; the next night tries again",
    "deletions": "docs/privacy.md: when it cannot be done at once",
    "clock": "synchronise the clocks",
    "failed_runs": "the UI: Runs, failed",
    "failed_ticks": "the UI: Automation",
    "daemons": "is the service running?",
    "workers": "is `tasks-pipeline worker` running for each lane?",
    "configuration": "tasks-pipeline config check",
}


@click.command()
@json_option
@click.pass_context
def watch(ctx: click.Context, as_json: bool) -> None:
    """Show how the pipeline itself is doing: what its probes read, since when, and what to do. Exits 1 when one is critical
    or cannot be read.

    What Dagster knows (runs, ticks, daemons) is as the service read it last; everything else is read now.

    \b
    Example:
      tasks-pipeline watch
    """
    from tasks_pipeline.storage.state.facts import all_probes
    from tasks_pipeline.watch.facts import DagsterFacts
    from tasks_pipeline.watch.probes import DESCRIPTIONS, readings

    now = datetime.now(UTC)
    of_dagster = ("failed_runs", "failed_ticks", "daemons")
    rows = []
    with open_all(current_home(ctx), to_look=True) as stores:
        with stores.state.read() as connection:
            known = all_probes(connection)
        for reading in readings(stores, DagsterFacts(), now):
            last = known.get(reading.name)
            status, detail, value = reading.status, reading.detail, reading.value
            if reading.name in of_dagster:
                status, detail, value = (last["status"], last["detail"], last["value"]) if last else ("unknown", "the service has not read it yet", None)  # fmt: skip
            rows.append(
                {
                    "probe": reading.name, "status": status, "value": value,
                    "for": age(last["since"], now) if last and last["status"] == status else "", "detail": detail,
                    "about": DESCRIPTIONS[reading.name], "what to do": "" if status in ("ok", "unknown") else TO_DO[reading.name],
                }
            )  # fmt: skip
    if as_json:
        print_json(rows)
    else:
        table(rows, ["probe", "status", "for", "detail"], wrap=["detail"])
        if to_do := [(str(row["probe"]), str(row["what to do"])) for row in rows if row["what to do"]]:
            click.echo("\nwhat to do")
            for line in field_lines(to_do):
                click.echo(line)
    if any(row["status"] in ("critical", "broken") for row in rows):
        raise SystemExit(1)
