"""evaluate_windows: rules about windows of time: so many events or users, shares of sessions, metrics, escalation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any

from tasks_pipeline.alerts.conditions import matches
from tasks_pipeline.alerts.counts import events_in_window, group_facts, sessions_in_window
from tasks_pipeline.alerts.escalation import Escalation, escalating
from tasks_pipeline.alerts.evaluate import firing_of, latest_release_of
from tasks_pipeline.alerts.fire import fire
from tasks_pipeline.alerts.firing import Firing
from tasks_pipeline.alerts.metrics import Reading, metric_firings, readings
from tasks_pipeline.alerts.rules import rules_of
from tasks_pipeline.config import Config
from tasks_pipeline.config.alerts import AlertRule, Count, SessionPercent
from tasks_pipeline.groups.changes import GroupChange
from tasks_pipeline.storage.ledger.backlog import backlogs, oldest_coming
from tasks_pipeline.storage.state.passed_over import Failure, each_alone, is_own_fault, note_passed_over
from tasks_pipeline.stores import Stores
from tasks_pipeline.words import counted, minutes

TIMED = ("events", "users", "session_percent", "metric", "escalation")


def timed_rules(config: Config) -> dict[int, list[AlertRule]]:
    """By project: the rules that have to be evaluated in time."""
    found = {
        p.id: [r for r in rules_of(config, p.id) if any(t.type in TIMED for t in r.when)]
        for p in config.projects
    }
    return {project_id: rules for project_id, rules in found.items() if rules}


def evaluate_windows(stores: Stores, now: datetime, *, groups: Collection[int] | None = None) -> list[int]:
    """Evaluate the rules about windows for some groups, or for everything; gives the ids of new alerts.

    Asking twice fires once: the key of a firing holds its window. With `groups` only what is about those is looked at. A rule
    that raises is passed over, which the probe of that name tells.
    """
    rules = timed_rules(stores.config)
    if not rules:
        return []
    firings: list[Firing] = []
    metrics: list[Reading] = []
    failures: list[Failure] = []
    nothing_waits = cache(partial(_nothing_waits, stores, now))
    for project_id, of_project in rules.items():
        escalations = cache(partial(_escalating, stores, project_id, now, groups))
        for rule in of_project:
            try:
                firings += _of_rule(stores, project_id, rule, now, groups, escalations)
                if groups is None and any(t.type == "metric" for t in rule.when) and nothing_waits():
                    metrics += readings(stores, {project_id: [rule]}, now)
            except Exception as error:
                if not is_own_fault(error):
                    raise
                failures.append((f"rule {rule.name} of project {project_id}", error))
    if not firings and not metrics and not failures:
        return []
    return _fire(stores, firings, metrics, failures, now)


def _fire(
    stores: Stores,
    firings: Sequence[Firing],
    metrics: Sequence[Reading],
    failures: Sequence[Failure],
    now: datetime,
) -> list[int]:
    """Fire what was found, each by itself when one cannot be, and note what failed."""
    state, config = stores.state, stores.config

    def told(some: Sequence[Reading]) -> list[int]:
        """The status of a metric is remembered only where its change is fired."""
        return fire(state, connection, config, metric_firings(state, connection, some, now), now)

    with state.write() as connection:
        state.serialise(connection, "metrics", "alerts")
        fired, untold = each_alone(
            connection, firings, lambda some: fire(state, connection, config, some, now)
        )
        crossed, unread = each_alone(connection, metrics, told)
        failed = [(firing.project_id, firing.rule, error) for firing, error in untold]
        failed += [(reading.project_id, reading.rule.name, error) for reading, error in unread]
        said = [(f"rule {rule} of project {project_id}", error) for project_id, rule, error in failed]
        note_passed_over(state, connection, "rules", [*failures, *said], now)
    return [alert_id for ids in (*fired, *crossed) for alert_id in ids]


def _nothing_waits(stores: Stores, now: datetime) -> bool:
    """Whether metrics may be judged. While envelopes wait their counts are not known, and a silence may be our own."""
    oldest = oldest_coming(backlogs(stores.state, stores.spool))
    return oldest is None or now - oldest <= timedelta(minutes=1)


def _of_rule(
    stores: Stores,
    project_id: int,
    rule: AlertRule,
    now: datetime,
    groups: Collection[int] | None,
    escalations: Callable[[], _Escalations],
) -> list[Firing]:
    """What the triggers of a rule fire, metrics apart."""
    firings: list[Firing] = []
    for trigger in rule.when:
        if isinstance(trigger, Count | SessionPercent):
            firings += _counted(stores, project_id, rule, trigger, now, groups)
    if any(trigger.type == "escalation" for trigger in rule.when):
        firings += _escalated(stores, project_id, rule, now, *escalations())
    return firings


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
    window = minutes(trigger.window_minutes)
    if isinstance(trigger, SessionPercent):
        return f"Its events are {value:.1f} percent of the sessions of the last {window}; the threshold is {threshold:g}."
    return (
        f"{counted(round(value), trigger.type[:-1])} in the last {window}; the threshold is {threshold:,.0f}."
    )


_Escalations = tuple[list[Escalation], dict[int, dict[str, Any]]]
"""Groups of a project that escalate, and facts of them."""


def _escalating(
    stores: Stores, project_id: int, now: datetime, groups: Collection[int] | None
) -> _Escalations:
    found = escalating(stores, project_id, now, groups)
    if not found:
        return [], {}
    with stores.state.read() as connection:
        return found, group_facts(connection, [each.group_id for each in found])


def _escalated(
    stores: Stores,
    project_id: int,
    rule: AlertRule,
    now: datetime,
    found: Sequence[Escalation],
    facts: Mapping[int, Mapping[str, Any]],
) -> list[Firing]:
    firings: list[Firing] = []
    latest = latest_release_of(stores.state, project_id)
    for each in found:
        known = facts.get(each.group_id)
        if known is None or not matches(rule.conditions, each.event, known, now, latest):
            continue
        said = {
            "value": each.count, "threshold": round(each.bound, 1), "window_minutes": 60,
            "changed": f"It escalates: {counted(each.count, 'event')} in an hour, where at most {each.bound:,.0f} were to be expected.",
        }  # fmt: skip
        change = GroupChange("escalation", project_id, each.group_id, each.key, now, {**known, **said})
        firings.append(firing_of(rule, change, each.event))
    return firings
