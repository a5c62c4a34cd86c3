"""evaluate_windows: rules about windows of time: so many events or users, shares of sessions, metrics, escalation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from tasks_pipeline.alerts.conditions import matches
from tasks_pipeline.alerts.counts import events_in_window, group_facts, sessions_in_window
from tasks_pipeline.alerts.escalation import escalating
from tasks_pipeline.alerts.evaluate import firing_of, latest_release_of
from tasks_pipeline.alerts.fire import fire
from tasks_pipeline.alerts.firing import Firing
from tasks_pipeline.alerts.metrics import Reading, metric_firings, readings
from tasks_pipeline.alerts.rules import rules_of
from tasks_pipeline.config import Config
from tasks_pipeline.config.alerts import AlertRule, Count, SessionPercent
from tasks_pipeline.groups.changes import GroupChange
from tasks_pipeline.storage.ledger.backlog import backlogs, oldest_coming
from tasks_pipeline.stores import Stores

TIMED = ("events", "users", "session_percent", "metric", "escalation")
SEVERITY = "warning"


def timed_rules(config: Config) -> dict[int, list[AlertRule]]:
    """By project: the rules that have to be evaluated in time."""
    found = {
        p.id: [r for r in rules_of(config, p.id) if any(t.type in TIMED for t in r.when)]
        for p in config.projects
    }
    return {project_id: rules for project_id, rules in found.items() if rules}


def evaluate_windows(stores: Stores, now: datetime, *, groups: Collection[int] | None = None) -> list[int]:
    """Evaluate the rules about windows for some groups, or for everything; gives the ids of new alerts.

    Asking twice fires once: the key of a firing holds its window. With `groups` only what is about those is looked at.
    """
    rules = timed_rules(stores.config)
    if not rules:
        return []
    firings: list[Firing] = []
    for project_id, of_project in rules.items():
        for rule in of_project:
            for trigger in rule.when:
                if isinstance(trigger, Count | SessionPercent):
                    firings += _counted(stores, project_id, rule, trigger, now, groups)
    firings += _escalations(stores, rules, now, groups)
    metrics = _of_projects(stores, rules, now) if groups is None else []
    if not firings and not metrics:
        return []
    with stores.state.write() as connection:
        firings += metric_firings(stores.state, connection, metrics, now)
        return fire(stores.state, connection, stores.config, firings, now)


def _of_projects(stores: Stores, rules: Mapping[int, Iterable[AlertRule]], now: datetime) -> list[Reading]:
    """Metrics. While envelopes wait their counts are not known, and a silence may be our own: nothing is said then."""
    wanted = {
        p: [r for r in of_project if any(t.type == "metric" for t in r.when)]
        for p, of_project in rules.items()
    }
    if not any(wanted.values()):
        return []
    oldest = oldest_coming(backlogs(stores.state, stores.spool))
    if oldest is not None and now - oldest > timedelta(minutes=1):
        return []
    return readings(stores, wanted, now)


def _counted(
    stores: Stores,
    project_id: int,
    rule: AlertRule,
    trigger: Count | SessionPercent,
    now: datetime,
    groups: Collection[int] | None,
) -> list[Firing]:
    since = now - timedelta(minutes=trigger.window_minutes)
    sessions = 0
    if isinstance(trigger, SessionPercent):
        sessions = sessions_in_window(stores, project_id, since, now).sessions
        if sessions < trigger.min_sessions:
            return []
        least = max(1, int(sessions * trigger.percent / 100))
        of_groups = events_in_window(stores, project_id, since, now, least_events=least, groups=groups)
    elif trigger.type == "events":
        of_groups = events_in_window(
            stores, project_id, since, now, least_events=trigger.count, groups=groups
        )
    else:
        of_groups = events_in_window(stores, project_id, since, now, least_users=trigger.count, groups=groups)
    if not of_groups:
        return []
    with stores.state.read() as connection:
        facts = group_facts(connection, of_groups)
    firings = []
    latest = latest_release_of(stores.state, project_id)
    for group_id, window in of_groups.items():
        known = facts.get(group_id)
        if known is None:
            continue
        kept = [event for event in window.events if matches(rule.conditions, event, known, now, latest)]
        share = len(kept) / len(window.events) if window.events else 0.0
        # Conditions are applied to the newest events of the window; the count is scaled by the share that meets them.
        value, threshold = _value(trigger, window.count * share, window.users * share, sessions)
        if not kept or value < threshold:
            continue
        bucket = int(now.timestamp() // max(trigger.window_minutes * 60, rule.every_minutes * 60, 60))
        said = {
            "value": round(value, 2), "threshold": threshold, "window_minutes": trigger.window_minutes,
            "changed": _said(trigger, value, threshold),
        }  # fmt: skip
        change = GroupChange(trigger.type, project_id, group_id, str(bucket), now, {**known, **said})
        firings.append(firing_of(rule, change, kept[0]))
    return firings


def _value(
    trigger: Count | SessionPercent, events: float, users: float, sessions: int
) -> tuple[float, float]:
    if isinstance(trigger, SessionPercent):
        return 100 * events / max(1, sessions), trigger.percent
    return (events if trigger.type == "events" else users), trigger.count


def _said(trigger: Count | SessionPercent, value: float, threshold: float) -> str:
    window = f"{trigger.window_minutes:g} minutes"
    if isinstance(trigger, SessionPercent):
        return f"Its events are {value:.1f} percent of the sessions of the last {window}; the threshold is {threshold:g}."
    return f"{value:,.0f} {trigger.type} in the last {window}; the threshold is {threshold:,.0f}."


def _escalations(
    stores: Stores, rules: Mapping[int, Iterable[AlertRule]], now: datetime, groups: Collection[int] | None
) -> list[Firing]:
    firings: list[Firing] = []
    for project_id, of_project in rules.items():
        wanted = [rule for rule in of_project if any(t.type == "escalation" for t in rule.when)]
        if not wanted:
            continue
        found = escalating(stores, project_id, now, groups)
        if not found:
            continue
        with stores.state.read() as connection:
            facts = group_facts(connection, [each.group_id for each in found])
        latest = latest_release_of(stores.state, project_id)
        for each in found:
            known = facts.get(each.group_id)
            if known is None:
                continue
            said = {
                "value": each.count, "threshold": round(each.bound, 1), "window_minutes": 60,
                "changed": f"It escalates: {each.count:,} events in an hour, where at most {each.bound:,.0f} were to be expected.",
            }  # fmt: skip
            change = GroupChange("escalation", project_id, each.group_id, each.key, now, {**known, **said})
            firings += [
                firing_of(rule, change, each.event)
                for rule in wanted
                if matches(rule.conditions, each.event, known, now, latest)
            ]
    return firings
