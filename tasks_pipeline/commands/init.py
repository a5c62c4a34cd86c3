"""`init`: a folder with what an installation is configured by, for whoever has the package and no checkout."""

from __future__ import annotations

from pathlib import Path

import click

from tasks_pipeline.commands.common.output import user_errors
from tasks_pipeline.texts import printable


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path) -> None:
    """Write a commented configuration with a key of its own into DIR, and what Dagster needs to load the definitions.

    The files are tasks_pipeline.yaml, dagster.yaml and workspace.yaml. What is there already stays as it is. DIR may be the home,
    or a folder of which `TASKS_PIPELINE_CONFIG` names the configuration.

    \b
    Examples:
      tasks-pipeline init /tmp/trial
      tasks-pipeline --home /tmp/trial run
    """
    with user_errors(OSError, ValueError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, text in _files().items():
            click.echo(f"{_written(folder / name, text)} {printable(str(folder / name))}")
    click.echo(f"next: tasks-pipeline --home {printable(str(folder))} run")


def _files() -> dict[str, str]:
    """What the files hold, by name."""
    import secrets
    from importlib.resources import files

    from tasks_pipeline.home import Home
    from tasks_pipeline.service.dagster_home import dagster_yaml, module_workspace_yaml

    home = Home.resolve(create=False)
    example = files("tasks_pipeline.config").joinpath("example.yaml").read_text(encoding="utf-8")
    return {
        "tasks_pipeline.yaml": example.replace("@KEY@", secrets.token_hex(16)),
        "dagster.yaml": dagster_yaml(postgres=not home.embedded, queues=home.queued),
        "workspace.yaml": module_workspace_yaml(),
    }


def _written(path: Path, text: str) -> str:
    """Write a file unless there is one; says which."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return "kept "
    return "wrote"
