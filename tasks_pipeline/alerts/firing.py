"""Firing: what an alert rule, a monitor or a probe hands on to be recorded and told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tasks_pipeline.config.alerts import Storm


@dataclass(frozen=True, slots=True)
class Firing:
    """One firing of a rule, before it is known whether it is sent.

    `key` names the firing for ever: the same key fires once (at most 300 characters).
    `thread` is what messages about one thing share: `group:17`, `metric:RULE`, `incident:5`, `probe:NAME`.
    `targets` as in the configuration: `member:EMAIL`, `team:SLUG`, `channel:NAME`, `assignee`, `owners`, `suspects`,
    `members`, `operators`.
    `data`, all optional: title, culprit, level, platform, type, category, release, environment, short_id, times_seen,
    users, first_seen, last_seen, assignee, event {day, part, position, item, event_id}, paths (files of in-app frames, for
    owners), value, threshold, window_minutes, changed (what changed, a sentence), detail, monitor {slug, environment,
    status, expected_at, next_at}, url. Times are ISO 8601 in UTC.
    `create_issue`: the tracker in which the group is to have an issue.
    `interval_seconds`: an alert of the same rule and thread within so long is not recorded; recoveries always are.
    """

    key: str
    project_id: int
    rule: str
    kind: str
    thread: str
    targets: tuple[str, ...]
    at: datetime
    status: str = "firing"
    severity: str = "warning"
    group_id: int | None = None
    incident_id: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    interval_seconds: float = 0
    storm: Storm | None = None
    create_issue: str | None = None
