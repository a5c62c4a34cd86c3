"""What a rule would have done: on stored events and decisions, changing nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from tasks_pipeline.alerts.conditions import matches
from tasks_pipeline.alerts.counts import events_in_window, group_facts, sessions_in_window
from tasks_pipeline.alerts.escalation import escalating
from tasks_pipeline.alerts.evaluate import latest_release_of
from tasks_pipeline.alerts.metrics import next_status, reading
from tasks_pipeline.config.alerts import AlertRule, Count, Metric, SessionPercent
from tasks_pipeline.links.making import wants_new
from tasks_pipeline.links.wording import draft_of, told_of
from tasks_pipeline.storage.state.tables import group_actions, groups, incidents, monitor_environments
from tasks_pipeline.stores import Stores
from tasks_pipeline.trackers.issue import Draft
from tasks_pipeline.trackers.provider import open_provider
from tasks_pipeline.words import counted

STEPS = 200  # windows are looked at so many times at most in the whole time


@dataclass(frozen=True, slots=True)
class TrialFiring:
    """A firing that would have been: of a group, or of the project when `group_id` is None."""

    at: datetime
    kind: str
    group_id: int | None
    title: str
    said: str = ""


def try_rule(
    stores: Stores,
    rule: AlertRule,
    project_id: int,
    since: datetime,
    until: datetime,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[TrialFiring]:
    """What a rule would have fired in a time, its action interval applied, oldest first.

    New groups are those first seen in it, returning ones those whose log says so. Windows are looked at in steps of a quarter of
    their length, so a firing may be shown that much later than it would have been. Conditions on what a group had counted are
    applied to what it has counted now.
    """
    found: list[TrialFiring] = []
    for number, trigger in enumerate(rule.when):
        on_progress(number, len(rule.when))
        if isinstance(trigger, Count | SessionPercent):
            found += _of_windows(stores, rule, trigger, project_id, since, until)
        elif isinstance(trigger, Metric):
            found += _of_metric(stores, rule, trigger, project_id, since, until)
        elif trigger.type == "new_group":
            found += _new_groups(stores, rule, project_id, since, until)
        elif trigger.type in ("regression", "unignored"):
            action = "regress" if trigger.type == "regression" else "unignore"
            found += _from_log(stores, rule, trigger.type, action, project_id, since, until)
        elif trigger.type == "escalation":
            found += _escalations(stores, rule, project_id, since, until)
        elif trigger.type == "monitor":
            found += _of_incidents(stores, rule, project_id, since, until)
    on_progress(len(rule.when), len(rule.when))
    return list(_at_intervals(sorted(found, key=lambda f: f.at), timedelta(minutes=rule.every_minutes)))


@dataclass(frozen=True, slots=True)
class TrialIssue:
    """An issue that would have been made: for which group, where, and what it would say."""

    group_id: int
    tracker: str
    draft: Draft


def issues_of(stores: Stores, rule: AlertRule, firings: Sequence[TrialFiring], most: int) -> list[TrialIssue]:
    """Issues that a rule would ask for now, at most so many: for groups that fired and have no open one. Nothing is asked there.

    Raises TrackerError when the settings of the integration keep it from being asked at all.
    """
    tracker = stores.config.tracker(rule.create_issue or "")
    integration = stores.config.integration(tracker.integration) if tracker else None
    if tracker is None or integration is None:
        return []
    fired = dict.fromkeys(firing.group_id for firing in firings if firing.group_id is not None)
    with stores.state.read() as connection:
        wanted = [group_id for group_id in fired if wants_new(connection, group_id, tracker)][:most]
    folder = stores.config.notifications.templates_dir
    found = []
    with open_provider(integration) as form:
        for group_id in wanted:
            told = told_of(stores, group_id)
            if told is not None:
                draft = draft_of(told, tracker, form, templates_dir=folder)
                found.append(TrialIssue(group_id, tracker.name, draft))
    return found


def _at_intervals(found: list[TrialFiring], interval: timedelta) -> Iterator[TrialFiring]:
    last: dict[Any, datetime] = {}
    for firing in found:
        thread = firing.group_id if firing.group_id is not None else firing.kind
        if firing.kind == "metric" or thread not in last or firing.at - last[thread] >= interval:
            last[thread] = firing.at
            yield firing


def _new_groups(
    stores: Stores, rule: AlertRule, project_id: int, since: datetime, until: datetime
) -> Iterator[TrialFiring]:
    rows = stores.lake.query(
        "SELECT * EXCLUDE (missing_symbols) FROM lake.events WHERE project_id = ? AND day >= ? "
        "QUALIFY row_number() OVER (PARTITION BY group_id ORDER BY received_at, part, position) = 1",
        [project_id, since.date()],
    )
    by_group = {row["group_id"]: row for row in rows}
    query = select(groups.c.id, groups.c.first_seen, groups.c.created_at).where(
        groups.c.project_id == project_id, groups.c.created_at >= since, groups.c.created_at < until
    )
    with stores.state.read() as connection:
        created = {row.id: row for row in connection.execute(query)}
        facts = group_facts(connection, created)
    latest = latest_release_of(stores.state, project_id)
    for group_id, row in created.items():
        event = by_group.get(group_id)
        if event is not None and matches(
            rule.conditions, event, facts.get(group_id, {}), row.created_at, latest
        ):
            yield TrialFiring(row.created_at, "new_group", group_id, event["title"])


def _from_log(
    stores: Stores,
    rule: AlertRule,
    kind: str,
    action: str,
    project_id: int,
    since: datetime,
    until: datetime,
) -> Iterator[TrialFiring]:
    a = group_actions.c
    query = (
        select(a.group_id, a.at, groups.c.title)
        .join(groups, groups.c.id == a.group_id)
        .where(a.project_id == project_id, a.action == action, a.at >= since, a.at < until)
        .where(groups.c.type.not_in(("cron", "uptime")))  # those are told of by their incidents
    )
    with stores.state.read() as connection:
        rows = list(connection.execute(query))
        facts = group_facts(connection, {row.group_id for row in rows})
    latest = latest_release_of(stores.state, project_id)
    for row in rows:
        known = facts.get(row.group_id, {})
        if matches(rule.conditions, known, known, row.at, latest):
            yield TrialFiring(row.at, kind, row.group_id, row.title)


def _of_incidents(
    stores: Stores, rule: AlertRule, project_id: int, since: datetime, until: datetime
) -> Iterator[TrialFiring]:
    i, e = incidents.c, monitor_environments.c
    query = (
        select(
            i.opened_at, i.group_id, i.reason, e.environment, groups.c.title, groups.c.type, groups.c.level
        )
        .join(groups, groups.c.id == i.group_id)
        .join(monitor_environments, e.id == i.environment_id, isouter=True)
        .where(i.project_id == project_id, i.opened_at >= since, i.opened_at < until)
    )
    with stores.state.read() as connection:
        rows = list(connection.execute(query))
        facts = group_facts(connection, {row.group_id for row in rows})
    latest = latest_release_of(stores.state, project_id)
    for row in rows:
        event = {"title": row.title, "level": row.level, "environment": row.environment}
        known = {**facts.get(row.group_id, {}), "category": row.type}
        if matches(rule.conditions, event, known, row.opened_at, latest):
            yield TrialFiring(row.opened_at, "monitor", row.group_id, row.title, row.reason)


def _moments(window_minutes: float, since: datetime, until: datetime) -> Iterator[datetime]:
    step = max(timedelta(minutes=window_minutes / 4), (until - since) / STEPS)
    at = since + step
    while at < until:
        yield at
        at += step
    yield until


def _of_windows(
    stores: Stores,
    rule: AlertRule,
    trigger: Count | SessionPercent,
    project_id: int,
    since: datetime,
    until: datetime,
) -> Iterator[TrialFiring]:
    window = timedelta(minutes=trigger.window_minutes)
    latest = latest_release_of(stores.state, project_id)
    for at in _moments(trigger.window_minutes, since, until):
        least_events, least_users = 1, 0
        sessions = None
        if isinstance(trigger, SessionPercent):
            sessions = sessions_in_window(stores, project_id, at - window, at, as_of=at).sessions
            if sessions < trigger.min_sessions:
                continue
            least_events = max(1, int(sessions * trigger.percent / 100))
        elif trigger.type == "events":
            least_events = trigger.count
        else:
            least_users = trigger.count
        found = events_in_window(
            stores, project_id, at - window, at, least_events=least_events, least_users=least_users
        )
        with stores.state.read() as connection:
            facts = group_facts(connection, found)
        for group_id, seen in found.items():
            known = facts.get(group_id, {})
            kept = [e for e in seen.events if matches(rule.conditions, e, known, at, latest)]
            if kept:
                said = ", ".join(
                    counted(number, word)
                    for number, word in ((seen.count, "event"), (seen.users, "user"), (sessions, "session"))
                    if number is not None
                )
                yield TrialFiring(at, trigger.type, group_id, kept[0]["title"], said)


def _escalations(
    stores: Stores, rule: AlertRule, project_id: int, since: datetime, until: datetime
) -> Iterator[TrialFiring]:
    told = set()
    latest = latest_release_of(stores.state, project_id)
    for at in _moments(60, since, until):
        found = [each for each in escalating(stores, project_id, at) if (each.group_id, each.key) not in told]
        with stores.state.read() as connection:
            facts = group_facts(connection, [each.group_id for each in found])
        for each in found:
            if matches(rule.conditions, each.event, facts.get(each.group_id, {}), at, latest):
                told.add((each.group_id, each.key))
                said = f"{counted(each.count, 'event')} in an hour, at most {each.bound:,.0f} expected"
                yield TrialFiring(at, "escalation", each.group_id, each.event["title"], said)


def _of_metric(
    stores: Stores, rule: AlertRule, trigger: Metric, project_id: int, since: datetime, until: datetime
) -> Iterator[TrialFiring]:
    status = "ok"
    for at in _moments(trigger.window_minutes, since, until):
        read = reading(stores, project_id, rule, trigger, at, as_of=at)
        after = status if read is None else next_status(trigger, status, read.value)
        if read is not None and after != status:
            yield TrialFiring(at, "metric", None, f"{trigger.metric} is {after}", read.text)
        status = after
