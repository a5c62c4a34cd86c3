"""`alerts`: what rules fired, what rules there are, and what one would have done."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option, limit_option, project_option
from tasks_pipeline.commands.common.output import cell, current_home, user_errors
from tasks_pipeline.commands.common.queries import open_all, open_state, project_number
from tasks_pipeline.commands.common.since import Since
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.words import counted

if TYPE_CHECKING:
    from tasks_pipeline.alerts.trial import TrialFiring
    from tasks_pipeline.config.alerts import AlertRule, Conditions
    from tasks_pipeline.stores import Stores

_ISSUES = 20  # that are made out at most
_RULES = ("project", "rule", "when", "if", "notify", "every")
_COLUMNS = {"at": "at (UTC)", "project": "project", "rule": "rule", "kind": "kind", "severity": "severity", "group": "group", "title": "title"}  # fmt: skip


@click.group(cls=CommandGroup)
def alerts() -> None:
    """Look at alerts and alert rules; try a rule on what is stored."""


@alerts.command("list")
@click.option("--since", type=Since(), default="7d", show_default=True, help="Since when: 24h, 7d, a date.")
@project_option("Of this project only.")
@click.option("--rule", metavar="NAME", help="Of this rule only.")
@limit_option(100, "alerts", most=100_000)
@json_option
@click.pass_context
def list_command(
    ctx: click.Context, since: datetime, project: str | None, rule: str | None, limit: int, as_json: bool
) -> None:
    """List what alert rules fired, newest first.

    \b
    Examples:
      tasks-pipeline alerts list --since 24h
      tasks-pipeline alerts list --rule "new errors" --json
    """
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.alerts.records import list_alerts
        from tasks_pipeline.config.projects import project_name
        from tasks_pipeline.groups.lists import short_ids

        rows = list_alerts(
            state, since=since, project_id=project_number(slugs, project), rule=rule, limit=limit
        )
        names = short_ids(state, slugs, [row["group_id"] for row in rows if row["group_id"] is not None])
    for row in rows:
        row["project"] = project_name(slugs, row["project_id"])
        row["group"] = names.get(row["group_id"], "")
        row["title"] = row["data"].get("title", "")
        if row["status"] == "recovered":
            row["kind"] = "recovered"
    if as_json:
        print_json(rows)
    elif rows:
        table(rows, _COLUMNS, cut=["title", "rule"], drop=["severity", "kind", "project"])
    else:
        click.echo("no alerts", err=True)


@alerts.command("rules")
@json_option
@click.pass_context
def rules_command(ctx: click.Context, as_json: bool) -> None:
    """List alert rules: what they wait for, what must hold besides, who is told.

    \b
    Example:
      tasks-pipeline alerts rules
    """
    from tasks_pipeline.alerts.rules import rules_of

    with user_errors():
        config = current_home(ctx).config_to_look().config
    rows = [
        {
            "project": project.slug,
            "rule": rule.name,
            "when": ", ".join(map(_trigger_text, rule.when)),
            "if": conditions_text(rule.conditions),
            "notify": ", ".join(
                [*rule.notify, *([f"an issue in {rule.create_issue}"] if rule.create_issue else [])]
            ),
            "every": f"{rule.every_minutes:g} min",
        }
        for project in config.projects
        for rule in rules_of(config, project.id)
    ]
    if rows or as_json:
        table(rows, _RULES, as_json=as_json, wrap=["rule", "when", "notify", "if"], drop=["every"])
    else:
        click.echo("no rules: configure members or channels, and `alert_rules`", err=True)


@alerts.command("test")
@click.argument("rule_name", metavar="RULE")
@click.option("--since", type=Since(), default="24h", show_default=True, help="Since when: 24h, 7d, a date.")
@project_option("On this project only.")
@json_option
@click.pass_context
def test_command(
    ctx: click.Context, rule_name: str, since: datetime, project: str | None, as_json: bool
) -> None:
    """Show what a rule would have done on what is stored. Nothing is sent, nothing changes.

    The rule is read from the configuration file as it is now: change it, try it, and go on until it says what you
    want to hear.

    \b
    Examples:
      tasks-pipeline alerts test "new errors" --since 7d
      tasks-pipeline alerts test everything --project shop --json
    Prints, for example:
      at (UTC)             project  kind       group    title
      2026-11-23 09:12:44  shop     new_group  SHOP-3F  CheckoutFailed: step …
      1 alert; messages: 1 to member:anna@acme.example

    Of a rule that makes issues it shows the first that it would make now, with
    title, text, labels and fields.
    """
    from tasks_pipeline.alerts.rules import find_rule
    from tasks_pipeline.alerts.trial import try_rule
    from tasks_pipeline.groups.lists import short_ids
    from tasks_pipeline.groups.suspects import mails_of
    from tasks_pipeline.notifications.routing import routes
    from tasks_pipeline.trackers.answers import TrackerError

    home = current_home(ctx)
    with user_errors():
        config = home.config_to_look().config
    found = find_rule(config, rule_name)
    if found is None:
        known = [r.name for r in (*config.alert_rules, *(r for p in config.projects for r in p.alert_rules))]
        raise click.ClickException(
            f"there is no rule {cell(rule_name)!r}; there are: {', '.join(known) or 'none'}"
        )
    rule, project_ids = found
    rows: list[dict[str, Any]] = []
    now = datetime.now(UTC)
    told: Counter[str] = Counter()
    filed: list[dict[str, Any]] = []
    with open_all(home, to_look=True) as stores:
        slugs, only = stores.slugs, project_number(stores.slugs, project)
        for project_id in project_ids if only is None else {only}.intersection(project_ids):
            firings = try_rule(stores, rule, project_id, since, now)
            ids = [f.group_id for f in firings if f.group_id is not None]
            names = short_ids(stores.state, slugs, ids)
            with stores.state.read() as connection:
                authors = mails_of(connection, ids)
            for firing in firings:
                rows.append(
                    {
                        "at": firing.at, "project": slugs[project_id], "kind": firing.kind,
                        "group": names.get(firing.group_id or 0, ""), "title": firing.title, "said": firing.said,
                    }
                )  # fmt: skip
                found_routes = routes(
                    config,
                    project_id=project_id,
                    targets=rule.notify,
                    rule=rule.name,
                    severity="warning",
                    at=firing.at,
                    authors=authors.get(firing.group_id or 0, ()),
                )
                told.update(f"{r.target} ({r.delivery})" for r in found_routes)
            if rule.create_issue is not None:
                with user_errors(TrackerError):
                    filed += _filed(stores, rule, firings)
    if as_json:
        print_json(
            {"alerts": rows, "messages": dict(told), **({"issues": filed} if rule.create_issue else {})}
        )
        return
    if rows:
        columns = {"at": "at (UTC)", "project": "project", "kind": "kind", "group": "group", "said": "counted", "title": "title"}  # fmt: skip
        table(rows, columns, cut=["title", "said"], drop=["project", "kind"])
    messages = ", ".join(f"{count} to {who}" for who, count in told.most_common())
    click.echo(f"{counted(len(rows), 'alert')}; messages: {messages or 'none'}")
    if rule.create_issue is not None:
        _print_filed(filed, rule.create_issue)


def _filed(stores: Stores, rule: AlertRule, firings: Sequence[TrialFiring]) -> list[dict[str, Any]]:
    """Issues that a rule would ask for now, as JSON shows them."""
    from tasks_pipeline.alerts.trial import issues_of
    from tasks_pipeline.groups.lists import short_ids

    found = issues_of(stores, rule, firings, _ISSUES)
    names = short_ids(stores.state, stores.slugs, [issue.group_id for issue in found])
    return [
        {
            "group": names.get(issue.group_id, ""), "tracker": issue.tracker, "title": issue.draft.title,
            "body": issue.draft.body, "labels": list(issue.draft.labels), "fields": dict(issue.draft.fields),
        }
        for issue in found
    ]  # fmt: skip


def _print_filed(filed: Sequence[Mapping[str, Any]], tracker: str) -> None:
    """How many issues there would be, and the first of them whole."""
    more = " or more" if len(filed) >= _ISSUES else ""
    click.echo(f"issues: {len(filed)}{more} in {cell(tracker)}{'; the first:' if filed else ''}")
    for issue in filed[:1]:
        rows = {"group": issue["group"], "title": issue["title"], "labels": ", ".join(issue["labels"])}
        if issue["fields"]:
            rows["fields"] = json.dumps(issue["fields"], ensure_ascii=False)
        for name, value in rows.items():
            click.echo(f"  {name}: {cell(_seen(value))}".rstrip())
        for line in issue["body"].splitlines():
            click.echo(f"  | {cell(_seen(line))}".rstrip())


def _seen(text: str) -> str:
    """A text as it looks there: without what makes it harmless, which has no width."""
    return text.replace("\u200b", "")


def _trigger_text(trigger: Any) -> str:
    match trigger.type:
        case "events" | "users":
            return f"{trigger.count:,} {trigger.type} in {trigger.window_minutes:g} min"
        case "session_percent":
            return f"{trigger.percent:g}% of sessions in {trigger.window_minutes:g} min"
        case "metric":
            limits = [f"{n} {v:g}" for n in ("warning", "critical") if (v := getattr(trigger, n)) is not None]
            return f"{trigger.metric} in {trigger.window_minutes:g} min: {', '.join(limits)}"
    return str(trigger.type)


def conditions_text(conditions: Conditions) -> str:
    """Conditions in words."""
    parts = []
    for name in ("all", "any", "none"):
        found = [
            f"{c.subject} {value.model_dump(by_alias=True) if hasattr(value := getattr(c, c.subject), 'model_dump') else value}"
            for c in getattr(conditions, name)
        ]
        if found:
            parts.append(f"{name} of ({'; '.join(found)})")
    return " and ".join(parts)
