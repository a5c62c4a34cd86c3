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
from tasks_pipeline.releases.shares import crash_free_text
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.stores import Stores
from tasks_pipeline.words import minutes

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
class Measured:
    """The value of a metric, and how people read it."""

    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """The value of a metric that a rule looks at: trigger number `number` of the rule."""

    project_id: int
    rule: AlertRule
    number: int
    trigger: Metric
    measured: Measured

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
                    measured = reading(stores, project_id, rule, trigger, now)
                    if measured is not None:
                        found.append(Reading(project_id, rule, number, trigger, measured))
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
        after = next_status(each.trigger, status, each.measured.value)
        if after != status:
            changed[each.key] = {
                "status": after, "fired_at": before.get("fired_at"), "changed_at": now, "data": {"value": each.measured.value},
            }  # fmt: skip
            firings.append(_firing(each, after, now))
    if changed:
        set_rule_states(state, connection, changed)
    return firings


def reading(
    stores: Stores,
    project_id: int,
    rule: AlertRule,
    trigger: Metric,
    now: datetime,
    *,
    as_of: datetime | None = None,
) -> Measured | None:
    """A metric now; None when there is too little to say anything. With `as_of` sessions count as they were at that moment.

    Of the rule's conditions `environment` counts, when it names one.
    """
    since = now - timedelta(minutes=trigger.window_minutes)
    named = [c.environment for c in rule.conditions.all if c.environment]
    environment = named[0][0] if named and not set(named[0][0]) & set("*?[") else None
    if trigger.metric == "error_count":
        count = error_count(stores, project_id, since, now, environment)
        return Measured(float(count), f"{count:,.4g}")
    seen = sessions_in_window(stores, project_id, since, now, environment, as_of=as_of)
    if seen.sessions < trigger.min_sessions:
        return None
    if trigger.metric == "crash_free_sessions":
        return _crash_free(seen.crashed, seen.sessions)
    return _crash_free(seen.crashed_users, seen.users)


def _crash_free(crashed: int, of: int) -> Measured | None:
    text = crash_free_text(crashed, of)
    return Measured(100 * (of - crashed) / of, text) if text is not None else None


def _firing(read: Reading, status: str, now: datetime) -> Firing:
    project_id, rule, thread = read.key
    trigger, measured = read.trigger, read.measured
    recovered = status == OK
    threshold = {WARNING: trigger.warning, CRITICAL: trigger.critical}.get(status)
    unit = "" if trigger.bad_above else " %"
    said = f"{measured.text}{unit} in {minutes(trigger.window_minutes)}"
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
            "value": round(measured.value, 4),
            "category": "metric",
            "window_minutes": trigger.window_minutes,
            **({"threshold": threshold} if threshold is not None else {}),
        },
    )
