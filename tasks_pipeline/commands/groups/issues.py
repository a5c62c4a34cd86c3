"""`groups link`, `unlink`, `links`, `create-issue` and `comment`: issues that groups are linked to, and what people say about groups."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.queries import group_named, one_line, open_all
from tasks_pipeline.commands.common.tables import field_lines, table
from tasks_pipeline.commands.groups.decide import actor_option
from tasks_pipeline.words import counted

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tasks_pipeline.config.integrations import AnyIntegration, Tracker
    from tasks_pipeline.links.rows import Link
    from tasks_pipeline.stores import Stores

_LINKS = (
    "id",
    "tracker",
    "key",
    "url",
    "title",
    "state",
    "theirs",
    "agreed",
    "held",
    "note",
    "error",
    "last_looked_at",
)


@click.command()
@click.argument("group_id", metavar="ID")
@click.argument("issue", required=False)
@click.option("--create", metavar="TRACKER", help="Make a new issue in this tracker.")
@click.option("--tracker", metavar="NAME", help="Where ISSUE is, if that does not say it.")
@click.option(
    "--take",
    type=click.Choice(["ours", "theirs"]),
    help="Who is right where they differ.  [default: theirs if it is closed and nothing came since, else ours]",
)
@actor_option
@json_option
@click.pass_context
def link(
    ctx: click.Context,
    group_id: str,
    issue: str | None,
    create: str | None,
    tracker: str | None,
    take: str | None,
    actor: str,
    as_json: bool,
) -> None:
    """Link a group to an issue: one that is there, by address, key or number, or with --create a new one. From then on both are kept in step.

    \b
    Examples:
      tasks-pipeline groups link SHOP-2 --create shop-issues
      tasks-pipeline groups link SHOP-2 https://github.com/acme/shop/issues/12
      tasks-pipeline groups link SHOP-2 acme/shop#12 --take theirs
      tasks-pipeline groups link SHOP-2 17 --tracker shop-issues
    """
    if (issue is None) == (create is None):
        raise click.UsageError("one of ISSUE and --create TRACKER is needed")
    if create is not None:
        if take is not None or tracker is not None:
            raise click.UsageError("--take and --tracker go with ISSUE")
        _create(ctx, group_id, create, actor, as_json=as_json)
    else:
        assert issue is not None
        _link(ctx, group_id, issue, tracker, take, actor, as_json=as_json)


@click.command("create-issue")
@click.argument("group_id", metavar="ID")
@click.argument("tracker")
@actor_option
@json_option
@click.pass_context
def create_issue(ctx: click.Context, group_id: str, tracker: str, actor: str, as_json: bool) -> None:
    """Make an issue of a group in a tracker: the same as `groups link ID --create TRACKER`.

    \b
    Example:
      tasks-pipeline groups create-issue SHOP-2 shop-issues
    """
    _create(ctx, group_id, tracker, actor, as_json=as_json)


@click.command("unlink")
@click.argument("group_id", metavar="ID")
@click.argument("issue", required=False)
@click.option("--tracker", metavar="NAME", help="Links to this tracker only.")
@actor_option
@json_option
@click.pass_context
def unlink_command(
    ctx: click.Context, group_id: str, issue: str | None, tracker: str | None, actor: str, as_json: bool
) -> None:
    """Keep a group and an issue in step no more. Neither is changed. ISSUE is its key or address; it may be left out when there is one.

    \b
    Examples:
      tasks-pipeline groups unlink SHOP-2 acme/shop#12
      tasks-pipeline groups unlink SHOP-2 --tracker shop-issues
    """
    from tasks_pipeline.links.making import LinkError, unlink
    from tasks_pipeline.links.rows import UNLINKED

    with open_all(current_home(ctx), to_look=True) as stores:
        group = group_named(stores.state, stores.slugs, group_id)
        with one_line(LinkError), stores.state.write() as connection:
            live = [each for each in _links(connection, group["id"]) if each.state != UNLINKED]
            found = [
                each
                for each in live
                if issue in (None, each.shown_key, each.url) and tracker in (None, each.tracker)
            ]
            if len(found) != 1:
                shown = ", ".join(f"{each.shown_key or '(being made)'} in {each.tracker}" for each in live)
                raise click.ClickException(
                    f"{group['short_id']} is linked to {shown}: name one of them"
                    if live
                    else f"{group['short_id']} is linked to no issue"
                )
            unlink(stores.state, connection, stores.config, found[0], actor=actor)
    if as_json:
        print_json({"group": group["short_id"], "tracker": found[0].tracker, "key": found[0].shown_key})
    else:
        key = cell(found[0].shown_key) or "an issue that is being made"
        click.echo(f"{group['short_id']} and {key} in {found[0].tracker} are not linked any more")


@click.command()
@click.argument("group_id", metavar="ID")
@json_option
@click.pass_context
def links(ctx: click.Context, group_id: str, as_json: bool) -> None:
    """List the issues of a group, also those that are not linked any more: how they are, what both sides agreed on, what went wrong.

    \b
    Example:
      tasks-pipeline groups links SHOP-2
    """
    with open_all(current_home(ctx), to_look=True) as stores:
        group = group_named(stores.state, stores.slugs, group_id)
        with stores.state.read() as connection:
            rows = [_row(each) for each in _links(connection, group["id"])]
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo(f"{group['short_id']} is linked to no issue", err=True)
    else:
        table(
            rows,
            {
                "key": "issue",
                "tracker": "tracker",
                "state": "link",
                "theirs": "theirs",
                "agreed": "agreed",
                "title": "title",
            },
            cut=["title"],
            drop=["agreed"],
        )
        wrong = [
            (f"{cell(row['key']) or row['tracker']} {name}", cell(row[name]))
            for row in rows
            for name in ("held", "error", "note")
        ]
        for line in field_lines(wrong):
            click.echo(line)


@click.command()
@click.argument("group_id", metavar="ID")
@click.argument("text", required=False)
@click.option("--edit", type=int, metavar="NUMBER", help="Change this comment instead.")
@click.option("--delete", "deleted", type=int, metavar="NUMBER", help="Delete this comment instead.")
@actor_option
@json_option
@click.pass_context
def comment(
    ctx: click.Context,
    group_id: str,
    text: str | None,
    edit: int | None,
    deleted: int | None,
    actor: str,
    as_json: bool,
) -> None:
    """Say something about a group; it goes to the issues that it is linked to, too. `-` reads the text from standard input.

    \b
    Examples:
      tasks-pipeline groups comment SHOP-2 "The bank says it is their fault"
      echo 'two lines' | tasks-pipeline groups comment SHOP-2 -
    """
    from tasks_pipeline.links.comments import CommentError, add_comment, delete_comment, edit_comment

    if (text is None) == (deleted is None) or (edit is not None and deleted is not None):
        raise click.UsageError("TEXT is needed, or --delete NUMBER")
    if text == "-":
        text = sys.stdin.read()
    with open_all(current_home(ctx), to_look=True) as stores:
        group = group_named(stores.state, stores.slugs, group_id)
        with one_line(CommentError):
            if deleted is not None:
                number, done = deleted, "deleted"
                _of_group(stores, group, deleted)
                delete_comment(stores.state, deleted, actor)
            elif edit is not None:
                number, done = edit, "changed"
                _of_group(stores, group, edit)
                edit_comment(stores.state, edit, actor, text or "")
            else:
                number, done = add_comment(stores.state, group["id"], actor, text or ""), "added"
    if as_json:
        print_json({"group": group["short_id"], "comment": number, "what": done})
    else:
        click.echo(f"comment {number} of {group['short_id']} {done}")


issue_commands = (link, create_issue, unlink_command, links, comment)


def issues_of_group(connection: Connection, group_id: int) -> tuple[list[dict[str, Any]], list[str]]:
    """What `groups show --json` says of the issues of a group, and for people what is wrong with them."""
    from tasks_pipeline.links.rows import UNLINKED

    shown = [each for each in _links(connection, group_id) if each.state != UNLINKED]
    rows = [
        {
            "tracker": each.tracker,
            "key": each.shown_key,
            "url": each.url,
            "state": each.theirs.get("state") if each.state == "linked" else each.state,
            "agreed": each.agreed_state,
            "held": each.held,
        }
        for each in shown
    ]
    return rows, [_why(each) for each in shown]


def issue_facts(rows: Sequence[Mapping[str, Any]], why: Sequence[str]) -> list[tuple[str, str]]:
    """The issues of a group for people, by name."""
    lines = []
    for number, (row, said) in enumerate(zip(rows, why, strict=True)):
        key = cell(row["key"]) or f"an issue in {cell(row['tracker'])}"
        state = "is being made" if row["state"] == "creating" else cell(row["state"])
        lines.append(
            (
                "" if number else "issues",
                f"{key} {state}{f': {cell(said)}' if said else ''} {cell(row['url'])}".rstrip(),
            )
        )
    return lines


def _why(link: Link) -> str:
    return link.held or link.error or link.note


def _create(ctx: click.Context, group_id: str, tracker: str, actor: str, *, as_json: bool) -> None:
    from tasks_pipeline.links.making import LinkError, request_issue

    with open_all(current_home(ctx), to_look=True) as stores:
        group = group_named(stores.state, stores.slugs, group_id)
        with one_line(LinkError), stores.state.write() as connection:
            made = request_issue(stores.state, connection, stores.config, group["id"], tracker, actor=actor)
    if as_json:
        print_json({"group": group["short_id"], "link": made.id, "tracker": tracker, "state": made.state})
    else:
        click.echo(
            f"an issue of {group['short_id']} is to be made in {tracker}: within seconds where the service runs,"
        )
        click.echo(
            f"or by `tasks-pipeline integrations sync {tracker}`; `tasks-pipeline groups links {group['short_id']}` shows it"
        )


def _link(
    ctx: click.Context,
    group_id: str,
    issue: str,
    tracker: str | None,
    take: str | None,
    actor: str,
    *,
    as_json: bool,
) -> None:
    from tasks_pipeline.integrations.creating import link_issue
    from tasks_pipeline.integrations.gate import open_gate
    from tasks_pipeline.trackers.answers import TrackerError
    from tasks_pipeline.trackers.provider import open_provider

    with open_all(current_home(ctx)) as stores:
        group = group_named(stores.state, stores.slugs, group_id)
        name = tracker or _tracker_of(stores, issue, group)
        place = stores.config.tracker(name)
        integration = None if place is None else stores.config.integration(place.integration)
        if integration is None:
            known = ", ".join(each.name for each in stores.config.trackers) or "none"
            raise click.ClickException(f"there is no tracker {cell(name)[:100]}; there are: {known}")
        with (
            one_line(ValueError, TrackerError),  # LinkError is a ValueError
            open_gate(stores.state, integration) as gate,
            open_provider(integration, gate) as provider,
        ):
            made = link_issue(stores, provider, group["id"], name, issue, actor=actor, take=take)
    if as_json:
        print_json({"group": group["short_id"], **_row(made)})
    else:
        click.echo(
            f"{group['short_id']} is linked to {cell(made.shown_key)}: {cell(made.title)} {cell(made.url)}"
        )


def _tracker_of(stores: Stores, issue: str, group: Mapping[str, Any]) -> str:
    """The tracker that an issue's address or key names, or the only one whose issues may be called so. Raises ClickException with
    those that it may be of."""
    served = [
        each for each in stores.config.trackers if not each.projects or group["project"] in each.projects
    ]
    named = [each for each in served if _names(issue, each, stores.config.integration(each.integration))]
    found = named or [
        each for each in served if _may_name(issue, stores.config.integration(each.integration))
    ]
    if len(found) == 1:
        return found[0].name
    known = ", ".join(_shown_place(each, stores) for each in found or served) or "none"
    raise click.ClickException(
        f"{cell(issue)[:200]} may be of several trackers; name one by --tracker: {known}"
        if found
        else f"{cell(issue)[:200]} is of no tracker for project {group['project']}; there are: {known}"
    )


def _shown_place(tracker: Tracker, stores: Stores) -> str:
    """A tracker with what is known of where it is: `shop-issues (github acme/shop)`."""
    integration = stores.config.integration(tracker.integration)
    where = tracker.repository or tracker.project or (integration.url if integration else "")
    return f"{tracker.name} ({integration.type if integration else '?'} {where})"


def _may_name(issue: str, integration: AnyIntegration | None) -> bool:
    """Whether an issue of a tracker may be called so when nothing says which it is: by its number, in Roundup as `issue12`, on GitHub with
    another name of its repository."""
    prefixes = {"roundup": "(?:#|issue)?", "github": r"(?:[\w.-]+/[\w.-]+#|#)?"}
    prefix = prefixes.get(integration.type if integration is not None else "", "#?")
    return re.fullmatch(f"{prefix}[0-9]{{1,12}}", issue.strip()) is not None


def _names(issue: str, tracker: Tracker, integration: AnyIntegration | None) -> bool:
    """Whether an address or `owner/name#12` is of a tracker."""
    place = (tracker.repository or "").casefold()
    if "://" not in issue:
        return bool(place) and issue.casefold().startswith(f"{place}#")
    at_home = integration is not None and issue.startswith(f"{integration.url.rstrip('/')}/")
    return at_home and (not place or f"/{place}/" in issue.casefold())


def _links(connection: Connection, group_id: int) -> list[Link]:
    from tasks_pipeline.links.rows import links_of_groups

    return links_of_groups(connection, [group_id]).get(group_id, [])


def _row(link: Link) -> dict[str, Any]:
    values = {
        "id": link.id, "tracker": link.tracker, "key": link.shown_key, "url": link.url, "title": link.title, "state": link.state,
        "theirs": link.theirs.get("status") or link.theirs.get("state"), "agreed": link.agreed_state, "held": link.held,
        "note": link.note, "error": link.error, "last_looked_at": link.last_looked_at,
    }  # fmt: skip
    return {name: values[name] for name in _LINKS}


def _of_group(stores: Stores, group: Mapping[str, Any], comment: int) -> None:
    from tasks_pipeline.links.comments import comments_of

    with stores.state.read() as connection:
        known = [row["id"] for row in comments_of(connection, group["id"], 10_000)]
    if comment not in known:
        raise click.ClickException(
            f"{group['short_id']} has no comment {comment}; it has {counted(len(known), 'comment')}"
        )
