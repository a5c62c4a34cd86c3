"""Changes of groups that alert rules look at: a group is new, is back, is no longer ignored, escalates, has recovered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class GroupChange:
    """Something happened to a group, once.

    `kind`: new_group, regression, unignored, escalation, recovered. `key` makes the change unique for its group: when its
    status changed, the number of an incident … `facts` are what `Firing.data` holds. `events` are rows as of the lake's
    table `events` (without payload) that conditions are applied to; without any, conditions are applied to the facts.
    `severity`: info, warning or critical.
    """

    kind: str
    project_id: int
    group_id: int
    key: str
    at: datetime
    facts: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[Mapping[str, Any]] = ()
    incident_id: int | None = None
    severity: str = "warning"
