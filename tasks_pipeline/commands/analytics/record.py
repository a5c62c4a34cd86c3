"""`analytics record`: a fact of one's own."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option, project_option
from tasks_pipeline.commands.common.output import current_home
from tasks_pipeline.commands.common.queries import open_state, project_number
from tasks_pipeline.commands.common.user import user_name

_WHOLE = re.compile(r"-?[0-9]+")
_DECIMAL = re.compile(r"-?[0-9]+\.[0-9]+")
_MOST_DIGITS = 18  # a whole number of the database, and a decimal one that JSON keeps, have room for these
_WORDS = {"true": True, "false": False}


@click.command()
@click.argument("name", metavar="custom.NAME")
@click.argument("attributes", metavar="[KEY=VALUE]...", nargs=-1)
@project_option("The project that it is about; without it the installation.")
@click.option(
    "--once", metavar="TEXT", help="Record it once for this text, however often the command is used."
)
@json_option
@click.pass_context
def record(
    ctx: click.Context,
    name: str,
    attributes: tuple[str, ...],
    project: str | None,
    once: str | None,
    as_json: bool,
) -> None:
    """Record a fact of your own, to be counted beside the others: a campaign, an experiment, a night of maintenance.

    The configuration has to allow it: `analytics: {custom: true}`. Values are texts of at most 200 characters, numbers of at most
    18 digits, true or false; addresses in them are not kept.

    \b
    Example:
      tasks-pipeline analytics record custom.campaign name=spring visitors=1200
    """
    values = dict(_attribute(text) for text in attributes)
    home = current_home(ctx)
    if not home.config_to_look().config.analytics.custom:
        raise click.ClickException(
            "facts of one's own are off; `analytics: {custom: true}` in the configuration allows them"
        )
    with open_state(home) as (state, slugs):
        import msgspec

        from tasks_pipeline.facts.actors import member
        from tasks_pipeline.facts.record import INSTALLATION, BrokenFact, fact_id, known_facts
        from tasks_pipeline.facts.record import record as record_fact
        from tasks_pipeline.facts.types import Custom

        now = datetime.now(UTC)
        project_id = project_number(slugs, project) or INSTALLATION
        try:
            fact = Custom.made(name, values, once or uuid.uuid4().hex)
        except (msgspec.ValidationError, BrokenFact) as error:
            raise click.ClickException(f"this cannot be recorded: {error}") from error
        with state.write() as connection:
            number = fact_id(fact, project_id, now)
            known = bool(known_facts(connection, [number]))
            record_fact(state, connection, fact, at=now, project_id=project_id, actor=member(user_name()))
    if as_json:
        print_json({"id": number.hex(), "type": name, "new": not known})
    else:
        click.echo(f"{name} was recorded before" if known else f"{name} is recorded")


def _attribute(text: str) -> tuple[str, str | int | float | bool]:
    from tasks_pipeline.facts.types import LONGEST

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.BadParameter(f"{text[:80]!r} is no KEY=VALUE", param_hint="KEY=VALUE")
    if value in _WORDS:
        return key, _WORDS[value]
    if len(value) > LONGEST:
        raise _refused(key, f"has {len(value):,} characters; a text has at most {LONGEST}")
    if not _WHOLE.fullmatch(value) and not _DECIMAL.fullmatch(value):
        return key, value
    if any(len(digits) > _MOST_DIGITS for digits in value.lstrip("-").split(".")):
        raise _refused(key, f"is a number with more than {_MOST_DIGITS} digits before or behind its point")
    return key, float(value) if "." in value else int(value)


def _refused(key: str, why: str) -> click.BadParameter:
    return click.BadParameter(f"{key[:80]!r} {why}", param_hint="KEY=VALUE")
