"""Metrics of a project: a figure crosses its thresholds, and comes back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from tasks_pipeline.alerts.counts import error_count, sessions_in_window
from tasks_pipeline.alerts.firing import Firing
from tasks_pipeline.alerts.records import StateKey, rule_state_rows, set_rule_states
from tasks_pipeline.config.alerts import AlertRule, Metric
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.stores import Stores

OK, WARNING, CRITICAL = "ok", "warning", "critical"
_RANK = {OK: 0, WARNING: 1, CRITICAL: 2}
_NAMES = {
    "error_count": "Errors",
    "crash_free_sessions": "Crash free sessions",
    "crash_free_users": "Crash free users",
}


def next_status(trigger: Metric, status: str, value: float) -> str:
    """The status of a metric after a reading.

    Between `resolve` and the mildest threshold it stays what it was, so that a value at the edge does not flap.
    """
    sign = 1 if trigger.bad_above else -1

    def beyond(threshold: float | None) -> bool:
        return threshold is not None and sign * value >= sign * threshold

    reached = CRITICAL if beyond(trigger.critical) else WARNING if beyond(trigger.warning) else OK
    if _RANK[reached] >= _RANK[status] or status == OK:
        return reached
    if trigger.resolve is None or sign * value < sign * trigger.resolve or reached != OK:
        return reached
    return status


@dataclass(frozen=True, slots=True)
class Reading:
    """The value of a metric that a rule looks at: trigger number `number` of the rule."""

    project_id: int
    rule: AlertRule
    number: int
    trigger: Metric
    value: float

    @property
    def key(self) -> StateKey:
        """Where its status is remembered."""
        return self.project_id, self.rule.name, f"metric:{self.rule.name}:{self.number}"


def readings(stores: Stores, rules: Mapping[int, Iterable[AlertRule]], now: datetime) -> list[Reading]:
    """The metrics of rules by project; those without enough data are left out."""
    found = []
    for project_id, of_project in rules.items():
        for rule in of_project:
            for number, trigger in enumerate(rule.when):
                if isinstance(trigger, Metric):
                    value = reading(stores, project_id, rule, trigger, now)
                    if value is not None:
                        found.append(Reading(project_id, rule, number, trigger, value))
    return found


def metric_firings(
    state: StateDatabase, connection: Connection, read: Sequence[Reading], now: datetime
) -> list[Firing]:
    """What changes of metrics fire. Their status is remembered in the caller's transaction, which has to fire them too: so a
    change is told once, also when several look at once or die in between."""
    state.serialise(connection, "metrics")
    known = rule_state_rows(connection, (each.key for each in read))
    firings: list[Firing] = []
    changed: dict[StateKey, dict[str, Any]] = {}
    for each in read:
        before = known.get(each.key, {})
        status = before.get("status", OK)
        after = next_status(each.trigger, status, each.value)
        if after != status:
            changed[each.key] = {
                "status": after, "fired_at": before.get("fired_at"), "changed_at": now, "data": {"value": each.value},
            }  # fmt: skip
            firings.append(_firing(each, after, now))
    if changed:
        set_rule_states(state, connection, changed)
    return firings


def reading(stores: Stores, project_id: int, rule: AlertRule, trigger: Metric, now: datetime) -> float | None:
    """The value of a metric now; None when there is too little to say anything.

    Of the rule's conditions `environment` counts, when it names one.
    """
    since = now - timedelta(minutes=trigger.window_minutes)
    named = [c.environment for c in rule.conditions.all if c.environment]
    environment = named[0][0] if named and not set(named[0][0]) & set("*?[") else None
    if trigger.metric == "error_count":
        return float(error_count(stores, project_id, since, now, environment))
    seen = sessions_in_window(stores, project_id, since, now, environment)
    if seen.sessions < trigger.min_sessions:
        return None
    if trigger.metric == "crash_free_sessions":
        return 100 * (1 - seen.crashed / seen.sessions)
    return 100 * (1 - seen.crashed_users / seen.users) if seen.users else None


def _firing(read: Reading, status: str, now: datetime) -> Firing:
    project_id, rule, thread = read.key
    trigger, value = read.trigger, read.value
    recovered = status == OK
    threshold = {WARNING: trigger.warning, CRITICAL: trigger.critical}.get(status)
    unit = "" if trigger.bad_above else " %"
    said = f"{value:,.4g}{unit} in {trigger.window_minutes:g} minutes"
    return Firing(
        key=f"metric:{project_id}:{thread}:{status}:{now.isoformat()}",
        project_id=project_id,
        rule=rule,
        kind="metric",
        thread=f"{thread}:{project_id}",
        targets=read.rule.notify,
        at=now,
        status="recovered" if recovered else "firing",
        severity="info" if recovered else status,
        data={
            "title": f"{_NAMES[trigger.metric]}: {said}",
            "changed": "It is back within its thresholds."
            if recovered
            else f"It crossed its {status} threshold of {threshold:g}{unit}.",
            "value": round(value, 4),
            "category": "metric",
            "window_minutes": trigger.window_minutes,
            **({"threshold": threshold} if threshold is not None else {}),
        },
    )
