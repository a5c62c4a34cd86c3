"""`config`: check the configuration file, show what is in force, print its schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.output import current_home, user_errors
from tasks_pipeline.config import config_schema, load_config
from tasks_pipeline.home import Home


@click.group()
def config() -> None:
    """Check or show the configuration file, `tasks_pipeline.yaml` in the home directory."""


@config.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.pass_context
def check(ctx: click.Context, file: Path | None) -> None:
    """Check the configuration file, or another FILE, and print every mistake with its line.

    Exits 0 when it can be used and 1 when not. Variables named by ${env:NAME} must be set.

    \b
    Examples:
      tasks-pipeline config check
      tasks-pipeline config check ./tasks_pipeline.yaml
    Prints:
      /srv/tasks/tasks_pipeline.yaml:7: projects[0].keys[0].public_key: Field required
    """
    home = current_home(ctx)
    if file is None and not _has_file(home):
        click.echo(f"{home.config_path} does not exist: the defaults are used (tasks-pipeline config show)")
        return
    with user_errors():
        checked = load_config(file or home.config_path)
    count = len(checked.projects)
    click.echo(f"{file or home.config_path}: good, {count} project{'s' if count != 1 else ''}")


@config.command()
@click.pass_context
def show(ctx: click.Context) -> None:
    """Print the configuration in force as YAML, with every default filled in.

    Values given as ${env:NAME} are printed that way, not with the secret. The output is itself a valid file.

    \b
    Example:
      tasks-pipeline config show > tasks_pipeline.yaml
    """
    import yaml

    home = current_home(ctx)
    with user_errors(OSError):
        effective: Any = home.config().model_dump(mode="json")
        if _has_file(home):
            effective = _with_references(
                effective, yaml.safe_load(home.config_path.read_text(encoding="utf-8"))
            )
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


def _has_file(home: Home) -> bool:
    return home.config_override is not None or home.config_path.exists()


def _with_references(effective: Any, written: Any) -> Any:
    """The effective values, except where the file has a reference to a variable: there the reference."""
    if isinstance(effective, dict) and isinstance(written, dict):
        return {k: _with_references(v, written.get(k)) for k, v in effective.items()}
    if isinstance(effective, list) and isinstance(written, list):
        return [_with_references(*pair) for pair in zip(effective, written, strict=True)]
    return written if isinstance(written, str) and "${env:" in written else effective
