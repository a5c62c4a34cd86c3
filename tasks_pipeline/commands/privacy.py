"""`privacy`: what there is of a person, found, exported and deleted; and the certificates of deletions."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.common.deleting import ends_in_a_line, progress_of, say_certified
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option, project_option
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.queries import one_line, open_all, project_number
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.commands.common.user import user_name
from tasks_pipeline.texts import printable
from tasks_pipeline.words import counted

if TYPE_CHECKING:
    from tasks_pipeline.erasure.selection import Erased
    from tasks_pipeline.privacy.identity import Identity
    from tasks_pipeline.privacy.person import Found
    from tasks_pipeline.stores import Stores

PATIENCE = 60
"""Seconds for which the command waits until a running service has processed what waits."""


def whose(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say who is meant."""
    options = (
        click.option("--user-id", "user_ids", metavar="ID", multiple=True, help="Id of the user, as clients send it; may be given several times."),
        click.option("--email", "emails", metavar="ADDRESS", multiple=True, help="Mail address, in any case of letters; may be given several times."),
        click.option("--ip", "ips", metavar="ADDRESS", multiple=True, help="IPv4 or IPv6 address; may be given several times."),
        project_option("Only in this project.  [default: in all]"),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=CommandGroup)
def privacy() -> None:
    """Find, export and delete what there is of a person: whoever has one of the given ids and addresses."""


@privacy.command()
@whose
@json_option
@click.pass_context
def find(
    ctx: click.Context, user_ids: Sequence[str], emails: Sequence[str], ips: Sequence[str], project: str | None, as_json: bool
) -> None:  # fmt: skip
    """Show where something of a person is, and how much, archived days too. Nothing is changed. Status 1 where it could not look.

    \b
    Example:
      tasks-pipeline privacy find --user-id 4711 --email ann@example.org
    Prints:
      where             rows  would be
      lake.events         12  deleted
      lake.sessions       40  deleted
      spool               31  erased
      state.alerts         1  overwritten
    """
    with open_all(current_home(ctx), to_look=True) as stores:
        found = _look(stores, _identity(stores, user_ids, emails, ips, project))
    if as_json:
        print_json([each.as_dict() for each in found.places])
    else:
        _show(found)
    _say_unseen(ctx, found.unseen)


@privacy.command()
@whose
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--even-if-many",
    is_flag=True,
    help="Also where that is half of all events, or an id that programs send for nobody.",
)
@click.option(
    "--pseudonymise",
    is_flag=True,
    help="Keep the events, with pseudonyms in the place of what identifies the person; files go.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would become of what.")
@json_option
@click.pass_context
def delete(
    ctx: click.Context,
    user_ids: Sequence[str],
    emails: Sequence[str],
    ips: Sequence[str],
    project: str | None,
    yes: bool,
    even_if_many: bool,
    pseudonymise: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Delete all that there is of a person, physically, and write a certificate that does not say whose it was.

    With --pseudonymise events stay and can be read: ids, addresses and names are replaced by pseudonyms from which nobody finds back.

    Shows what was found and asks. A service may run meanwhile. What is interrupted is finished by the nightly cleanup, or by the same
    command again. Backups and messages that were sent are not reached.

    \b
    Examples:
      tasks-pipeline privacy delete --email ann@example.org
      tasks-pipeline privacy delete --user-id 4711 --project shop --yes --json
      tasks-pipeline privacy delete --user-id 4711 --pseudonymise --dry-run
    """
    if not yes and not dry_run and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("this deletes for good: give --yes where nobody can be asked")
    from tasks_pipeline.privacy.delete import delete_person
    from tasks_pipeline.privacy.pseudonymise import planned

    with open_all(current_home(ctx), to_look=dry_run) as stores:
        person = _identity(stores, user_ids, emails, ips, project)
        found = _look(stores, person)
        if pseudonymise:
            found = replace(found, places=planned(found.places))
        if not as_json:
            _show(found)
        for why in found.unseen:
            click.echo(f"could not look there: {printable(why)}", err=True)
        if dry_run:
            if as_json:
                print_json([each.as_dict() for each in found.places])
            ctx.exit(1 if found.unseen else 0)
        _refuse_many(found, person, even_if_many)
        if not found.places and not found.unseen and not _is_open(stores, person, pseudonymise):
            click.echo("[]" if as_json else "nothing is deleted")
            return
        if not yes:
            what = "Replace all of it by pseudonyms" if pseudonymise else "Delete all of it"
            click.confirm(f"{what}, for good?", abort=True)
        with ends_in_a_line(), progress_of(found.places) as on_erased:
            done = delete_person(
                stores, person, user_name(), on_erased, patience=PATIENCE, pseudonymise=pseudonymise
            )
    if as_json:
        print_json([each.as_dict() for each in done.erased])
        return
    table([{"where": e.where, "rows": e.rows, "how": e.how} for e in done.erased], ["where", "rows", "how"])
    say_certified(done)


@privacy.command()
@whose
@click.option("--to", "path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.zip", required=True, help="The archive; it must not be there yet.")  # fmt: skip
@click.option("--into-home", is_flag=True, help="Allow a file within the home of the installation.")
@json_option
@click.pass_context
def export(
    ctx: click.Context,
    user_ids: Sequence[str],
    emails: Sequence[str],
    ips: Sequence[str],
    project: str | None,
    path: Path,
    into_home: bool,
    as_json: bool,
) -> None:
    """Write everything that is found of a person into an archive, readable by its owner only.

    JSON lines by where it is (lake/events.jsonl, state/alerts.jsonl …), attached files, and index.json.

    \b
    Example:
      tasks-pipeline privacy export --email ann@example.org --to ~/ann.zip
    """
    from tasks_pipeline.privacy.export import ExportError, export_person, refuse_home

    with open_all(current_home(ctx), to_look=True) as stores, one_line(ExportError):
        person = _identity(stores, user_ids, emails, ips, project)
        if not into_home:
            refuse_home(stores, path)
        unseen: list[str] = []
        counts = export_person(stores, person, path, unseen.append)
    if as_json:
        print_json({"path": str(path), "found": counts})
    else:
        if counts:
            table([{"where": where, "rows": n} for where, n in counts.items()], ["where", "rows"])
        click.echo(f"{counted(sum(counts.values()), 'row')} in {cell(path)}")
    _say_unseen(ctx, unseen)


@privacy.command()
@json_option
@click.pass_context
def certificates(ctx: click.Context, as_json: bool) -> None:
    """List certificates of deletions, the newest first.

    \b
    Example:
      tasks-pipeline privacy certificates
    """
    from tasks_pipeline.erasure.certificate import certificates as all_certificates

    found = all_certificates(current_home(ctx))
    if as_json:
        print_json(found)
    elif found:
        rows = [
            {
                "id": each["id"],
                "done": each["done_at"][:19],
                "by": each["requested_by"],
                "named by": ", ".join(f"{n} {kind}" for kind, n in each["identifiers"].items()),
                "rows": sum(e["rows"] for e in each["erased"]),
                "valid": "yes" if each["valid"] else "CHANGED",
            }
            for each in found
        ]
        table(rows, list(rows[0]))
    else:
        click.echo("no certificates: nobody was deleted")


def _identity(
    stores: Stores, user_ids: Sequence[str], emails: Sequence[str], ips: Sequence[str], project: str | None
) -> Identity:
    from tasks_pipeline.privacy.identity import Identity, IdentityError

    try:
        person = Identity.of(user_ids, emails, ips, project_number(stores.slugs, project))
    except IdentityError as error:
        raise click.UsageError(str(error)) from error
    for member in stores.config.members:
        if member.email.lower() in person.emails:
            click.echo(
                f"{cell(member.email)} is a member in the configuration: what makes a member one (settings, decisions, messages to them) stays",
                err=True,
            )
    return person


def _look(stores: Stores, person: Identity) -> Found:
    from tasks_pipeline.privacy.person import Person

    return Person(person).look(stores)


def _say_unseen(ctx: click.Context, unseen: Sequence[str]) -> None:
    """Say what could not be looked at; then the command has not done all that was asked, and its status is 1."""
    for why in unseen:
        click.echo(f"could not look there: {printable(why)}", err=True)
    if unseen:
        ctx.exit(1)


def _is_open(stores: Stores, person: Identity, pseudonymise: bool) -> bool:
    from tasks_pipeline.privacy.person import Person
    from tasks_pipeline.privacy.pseudonymise import Pseudonymised
    from tasks_pipeline.storage.state.erasures import is_open

    kind = Pseudonymised.kind if pseudonymise else Person.kind
    return is_open(stores.state, kind, person.data)


def _show(found: Found) -> None:
    rows: list[dict[str, Any]] = [_place(each) for each in found.places]
    if rows:
        table(rows, ["where", "rows", "would be"])
        click.echo(f"{found.events:,} of {found.of_events:,} events", err=True)
    else:
        click.echo("nothing is found")
    if found.also:
        named = " ".join(_as_option(each) for each in found.also)
        click.echo(f"the same person may be known as {named}: name that too, if it is", err=True)


def _as_option(key: str) -> str:
    """A key of users as the option that names the same one; a name is no option, and is shown as it is stored."""
    kind, _, value = key.partition(":")
    option = {"id": "--user-id", "email": "--email", "ip": "--ip"}.get(kind)
    return cell(key if option is None else f"{option} {shlex.quote(value)}")[:100]


def _place(each: Erased) -> dict[str, Any]:
    return {"where": each.where, "rows": each.rows, "would be": each.how}


def _refuse_many(found: Found, person: Identity, even_if_many: bool) -> None:
    if even_if_many:
        return
    if person.nobody:
        raise click.ClickException(
            f"--user-id {cell(person.nobody[0])}: programs send this for nobody, and others would lose their data; --even-if-many does it all the same"
        )
    if found.is_many:
        raise click.ClickException(
            f"{found.events:,} of {found.of_events:,} events would go, which is hardly one person; --even-if-many does it all the same"
        )
