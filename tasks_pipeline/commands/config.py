"""`config`: check the configuration file, show what is in force, print its schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.output import cell, current_home, user_errors
from tasks_pipeline.config import ConfigError, config_schema
from tasks_pipeline.config.loading import config_text
from tasks_pipeline.config.mistake import dotted
from tasks_pipeline.config.showing import shown_config
from tasks_pipeline.words import counted

if TYPE_CHECKING:
    from tasks_pipeline.config import Config


@click.group(cls=CommandGroup)
def config() -> None:
    """Check or show the configuration file, `tasks_pipeline.yaml` in the home directory."""


@config.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@json_option
@click.pass_context
def check(ctx: click.Context, file: Path | None, as_json: bool) -> None:
    """Check the configuration file, or another FILE, and print every mistake with its line.

    Exits 0 when it can be used and 1 when not. What is no mistake but leads nowhere is a note. Variables named by ${env:NAME} must be set; their values are not shown.

    \b
    Examples:
      tasks-pipeline config check
      tasks-pipeline config check ./tasks_pipeline.yaml
    Prints:
      /srv/tasks/tasks_pipeline.yaml:7: projects[0].slug: Field required
    """
    home = current_home(ctx, create=True)
    path = file or home.config_path
    if file is None and not home.has_config and not as_json:
        click.echo(f"{path} does not exist: the defaults are used (tasks-pipeline config show)")
        return
    try:
        is_there = file is not None or home.has_config
        checked = home.read_config(path, look_at_files=True) if is_there else home.config()
    except ConfigError as error:
        if not as_json:
            raise click.ClickException(str(error)) from error
        mistakes = _rows(error, str(path))
        print_json({"file": str(path), "good": False, "projects": None, "mistakes": mistakes, "notes": []})
        ctx.exit(1)
    count, notes = len(checked.projects), _notes(checked)
    if as_json:
        print_json({"file": str(path), "good": True, "projects": count, "mistakes": [], "notes": notes})
    else:
        click.echo(f"{path}: good, {counted(count, 'project')}")
        for note in notes:
            click.echo(f"note: {cell(note)}")


@config.command()
@json_option
@click.pass_context
def show(ctx: click.Context, as_json: bool) -> None:
    """Print the configuration in force as YAML, with every default filled in.

    Values given as ${env:NAME} are printed that way, not with the secret; other secrets are masked. The output is
    itself a valid file.

    \b
    Example:
      tasks-pipeline config show > tasks_pipeline.yaml
    """
    import yaml

    home = current_home(ctx, create=True)
    with user_errors(OSError):
        text = config_text(home.config_path) if home.has_config else ""
        shown = home.read_config(home.config_path, to_look=True) if text else home.config()
        effective = shown_config(shown, text)
    if as_json:
        print_json(effective)
        return
    click.echo(yaml.safe_dump(effective, sort_keys=False, allow_unicode=True), nl=False)


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors.

    \b
    Example:
      tasks-pipeline config schema > tasks_pipeline.schema.json
    With the YAML extension of an editor, the first line of the file is then:
      # yaml-language-server: $schema=tasks_pipeline.schema.json
    """
    print_json(config_schema() | {"title": "tasks_pipeline.yaml"})


def _notes(checked: Config) -> list[str]:
    """What is no mistake, but hardly what somebody wants."""
    from tasks_pipeline.notifications.subscriptions import without_links
    from tasks_pipeline.reports.recipients import unreached

    links = without_links(checked)
    return [*([links] if links else []), *unreached(checked)]


def _rows(error: ConfigError, source: str) -> list[dict[str, Any]]:
    """The mistakes for programs; `line` is null where a mistake is not in one line."""
    return [
        {
            "line": mistake.line or None,
            "path": dotted(mistake.path),
            "message": mistake.said,
            "found": mistake.found or None,
            "text": mistake.text(source),
        }
        for mistake in error.mistakes
    ]
