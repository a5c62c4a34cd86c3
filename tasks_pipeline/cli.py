"""`tasks-pipeline`: the group of commands. Each command lies in `commands/` and is imported only when it is used."""

from __future__ import annotations

import importlib
from typing import Any

import click

# Name: (module below tasks_pipeline, attribute, one line for the list). The line stands here so that `--help` need
# not import the modules, some of which take a second.
COMMANDS = {
    "init": ("commands.init", "init", "Write a configuration to start from."),
    "run": ("commands.service", "run", "Run the whole service: receiver, pages, Dagster, UI."),
    "dsn": ("commands.clients", "dsn", "Print the DSN of a project."),
    "send-test-event": ("commands.clients", "send_test_event", "Send one realistic error event."),
    "demo": ("commands.demo", "demo", "Show the main job on recorded traffic."),
    "groups": ("commands.groups.list", "groups", "List groups, look at one, decide about them, merge them."),
    "events": ("commands.events", "events", "List the newest events, look at one."),
    "projects": ("commands.projects", "projects", "List projects, delete one with everything of it."),
    "releases": (
        "commands.releases.group",
        "releases",
        "List releases, look at one, archive it; read names.",
    ),
    "reports": (
        "commands.reports.group",
        "reports",
        "Reports of days, weeks and months: look, preview, send, export, subscribe.",
    ),
    "monitors": ("commands.monitors", "monitors", "Look at cron and uptime monitors, mute them."),
    "alerts": ("commands.alerts", "alerts", "List alerts and rules, try a rule on the past."),
    "notifications": (
        "commands.notifications",
        "notifications",
        "Who got what, what waits; send a test message.",
    ),
    "integrations": (
        "commands.integrations",
        "integrations",
        "Look at issue trackers, try them, carry over what changed.",
    ),
    "members": ("commands.members", "members", "Look at members and their preferences."),
    "analytics": ("commands.analytics.group", "analytics", "Look at figures of days, and at facts."),
    "sql": ("commands.sql", "sql", "Run read-only SQL over everything stored."),
    "status": ("commands.status", "status", "Show what came, what became of it, what waits, how big it is."),
    "storage": ("commands.storage", "storage", "Show what uses the disk."),
    "watch": ("commands.watch", "watch", "Show how the pipeline itself is doing."),
    "config": ("commands.config", "config", "Check or show the configuration."),
    "token": ("commands.token", "token", "Make, list and revoke tokens for the Web API."),
    "debug-files": ("commands.debug_files", "debug_files", "List uploaded debug files and source maps."),
    "backup": (
        "commands.backup",
        "backup",
        "Make, list and verify backups, restore one, move to PostgreSQL.",
    ),
    "backfill": ("commands.backfill", "backfill", "Compute days again from their raw envelopes."),
    "cleanup": ("commands.cleanup", "cleanup", "Remove what is older than its retention."),
    "archive": ("commands.archive", "archive", "List and verify what cleanups archived, restore a day."),
    "privacy": (
        "commands.privacy",
        "privacy",
        "Find, export and delete what there is of a person; certificates.",
    ),
    "grouping": ("commands.grouping", "grouping", "Try the grouping on events from outside."),
    "receive": ("commands.service", "receive", "Run the receiver alone."),
    "web": ("commands.web", "web", "Serve pages and the Web API alone."),
    "worker": ("commands.roles", "worker", "Run the runs of some lanes, with a broker."),
    "dagster": ("commands.roles", "dagster", "Run Dagster without a receiver."),
    "migrate": ("commands.roles", "migrate", "Bring all tables to the installed version."),
    "health": ("commands.roles", "health", "Say whether a role on this host is well."),
}
SECTIONS = {
    "Start": ("init", "run", "dsn", "send-test-event", "demo"),
    "Look and decide": (
        "groups",
        "events",
        "projects",
        "releases",
        "reports",
        "monitors",
        "alerts",
        "notifications",
        "integrations",
        "members",
        "analytics",
        "sql",
    ),
    "Operate": (
        "status",
        "storage",
        "watch",
        "config",
        "token",
        "debug-files",
        "backup",
        "backfill",
        "cleanup",
        "archive",
        "privacy",
        "grouping",
    ),
    "Roles of several hosts": ("receive", "web", "worker", "dagster", "migrate", "health"),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is asked for."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for word in args:
            if not word.isascii() and any("\ud800" <= letter <= "\udfff" for letter in word):
                raise click.UsageError(
                    f"{word!a} is not UTF-8", ctx
                )  # no database takes it, no terminal shows it
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from tasks_pipeline.commands.common.used import note_name

        found = super().resolve_command(ctx, args)
        note_name(ctx, found[0])
        return found

    def invoke(self, ctx: click.Context) -> Any:
        from tasks_pipeline.commands.common.used import recorded

        with recorded(ctx):
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"tasks_pipeline.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, names in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, COMMANDS[name][2]) for name in names])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--home",
    metavar="DIR",
    envvar="TASKS_PIPELINE_HOME",
    type=click.Path(file_okay=False),
    help="Where everything of this installation lies.  [default: ~/.tasks-pipeline]",
)
@click.version_option(package_name="tasks-pipeline")
@click.pass_context
def main(ctx: click.Context, home: str | None) -> None:
    """Error tracking whose background work is a Dagster project; any Sentry SDK sends to it.

    \b
    Start here:
      tasks-pipeline run                 start everything; prints DSN and UI
      tasks-pipeline send-test-event     send an event to it
      tasks-pipeline groups list         what needs somebody
      tasks-pipeline COMMAND --help      what a command does, with examples

    \b
    Completion of commands and options, for bash (zsh and fish alike):
      eval "$(_TASKS_PIPELINE_COMPLETE=bash_source tasks-pipeline)"
    """
    ctx.obj = home


if __name__ == "__main__":
    # Started with -m by the service; the name of the command belongs into messages all the same.
    main(prog_name="tasks-pipeline")
