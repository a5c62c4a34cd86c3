"""`analytics types`: what is recorded, as the code describes it."""

from __future__ import annotations

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.tables import field_lines, say


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@json_option
def types(names: tuple[str, ...], as_json: bool) -> None:
    """Show the types of facts, with the attributes of each. NAME may be the beginning of one, as `release`.

    \b
    Examples:
      tasks-pipeline analytics types
      tasks-pipeline analytics types group.resolved
    """
    from tasks_pipeline.facts.documenting import described

    found = [one for one in described() if not names or one.name.startswith(names)]
    if not found:
        raise click.ClickException("no type begins so; `tasks-pipeline analytics types` shows all")
    if as_json:
        print_json([one.as_dict() for one in found])
        return
    for number, one in enumerate(found):
        if number:
            click.echo()
        click.secho(one.name, bold=True)
        say(one.description)
        for line in field_lines(
            ((a.name, f"{a.type}; {a.description}") for a in one.attributes), indent="  "
        ):
            click.echo(line)
