"""Metrics of a project: a figure crosses its thresholds, and comes back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from tasks_pipeline.alerts.firing import Firing
from tasks_pipeline.config.alerts import AlertRule, Metric
from tasks_pipeline.storage.alerts import rule_state_rows, set_rule_states
from tasks_pipeline.storage.group_windows import error_count, sessions_in_window
from tasks_pipeline.storage.stores import Stores

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


def metric_firings(stores: Stores, rules: Mapping[int, Iterable[AlertRule]], now: datetime) -> list[Firing]:
    """What changes of metrics fire; their status is remembered. Of no data nothing is said."""
    firings: list[Firing] = []
    changed = {}
    with stores.state.read() as connection:
        keys = [
            (p, r.name, f"metric:{r.name}:{n}")
            for p, rs in rules.items()
            for r in rs
            for n in range(len(r.when))
        ]
        known = rule_state_rows(connection, keys)
    for project_id, of_project in rules.items():
        for rule in of_project:
            for number, trigger in enumerate(rule.when):
                if not isinstance(trigger, Metric):
                    continue
                value = reading(stores, project_id, rule, trigger, now)
                if value is None:
                    continue
                key = (project_id, rule.name, f"metric:{rule.name}:{number}")
                status = known.get(key, {}).get("status", OK)
                after = next_status(trigger, status, value)
                if after != status:
                    fired_at = known.get(key, {}).get("fired_at")
                    changed[key] = {
                        "status": after,
                        "fired_at": fired_at,
                        "changed_at": now,
                        "data": {"value": value},
                    }
                    firings.append(_firing(rule, project_id, key[2], trigger, value, after, now))
    if changed:
        with stores.state.write() as connection:
            set_rule_states(stores.state, connection, changed)
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


def _firing(
    rule: AlertRule, project_id: int, thread: str, trigger: Metric, value: float, status: str, now: datetime
) -> Firing:
    recovered = status == OK
    threshold = {WARNING: trigger.warning, CRITICAL: trigger.critical}.get(status)
    unit = "" if trigger.bad_above else " %"
    said = f"{value:,.4g}{unit} in {trigger.window_minutes:g} minutes"
    return Firing(
        key=f"metric:{project_id}:{thread}:{status}:{now.isoformat()}",
        project_id=project_id,
        rule=rule.name,
        kind="metric",
        thread=f"{thread}:{project_id}",
        targets=rule.notify,
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
