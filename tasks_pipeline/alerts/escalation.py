"""Escalation: a group with far more events in an hour than its own past lets expect."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from tasks_pipeline.stores import Stores

PAST = timedelta(days=7)
LEAST_PAST_HOURS = 24  # a younger group has no past to compare with
LEAST_EVENTS = 20  # in an hour: fewer are no escalation, whatever was before
SPREADS = 5.0
GROUPS_LOOKED_AT = 5000


@dataclass(frozen=True, slots=True)
class Escalation:
    """A group above its bound in the last 60 minutes; `event` is the newest row. `key` is the same for the rest of the day."""

    group_id: int
    count: int
    bound: float
    key: str
    event: dict[str, Any]


def bound(hours: Sequence[int]) -> float:
    """The most events to be expected in an hour, from counts of the hours before (empty ones are zeros).

    The median plus five times the spread, where the spread is the median absolute deviation (times 1.4826, which makes it a
    standard deviation for normal counts: Rousseeuw and Croux, 1993), but at least what chance alone makes of so many events
    (Poisson: the root of the mean). Rare bursts of the past count: it is never below the 95th percentile.
    """
    if not hours:
        return math.inf
    middle = median(hours)
    deviation = 1.4826 * median(abs(count - middle) for count in hours)
    mean = sum(hours) / len(hours)
    ordered = sorted(hours)
    usual = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return max(middle + SPREADS * max(deviation, math.sqrt(max(mean, 1.0))), float(usual))


def escalating(
    stores: Stores, project_id: int, now: datetime, groups: Collection[int] | None = None
) -> list[Escalation]:
    """Groups whose last 60 minutes are above their bound and hold at least LEAST_EVENTS events."""
    since = now - timedelta(hours=1)
    parameters: dict[str, Any] = {
        "project": project_id, "since": since, "until": now, "day": since.date(), "last": now.date(),
        "least": LEAST_EVENTS,
    }  # fmt: skip
    only = ""
    if groups is not None:
        only, parameters["groups"] = "AND group_id IN (SELECT unnest($groups))", list(groups)
    current = stores.lake.query(
        "SELECT group_id, count(*) AS events, arg_max({'event_id': event_id, 'day': day, 'part': part, 'position': position, "
        "'item': item, 'level': level, 'environment': environment, 'release': release, 'platform': platform, "
        "'title': title, 'exception_type': exception_type, 'tags': tags}, received_at) AS newest FROM lake.events "
        f"WHERE day BETWEEN $day AND $last AND project_id = $project AND received_at >= $since AND received_at < $until {only} "
        f"GROUP BY group_id HAVING count(*) >= $least ORDER BY events DESC LIMIT {GROUPS_LOOKED_AT}",
        parameters,
    )
    if not current:
        return []
    past = _past_hours(stores, project_id, [row["group_id"] for row in current], since)
    found = []
    for row in current:
        hours = past.get(row["group_id"], [])
        limit = bound(hours) if len(hours) >= LEAST_PAST_HOURS else math.inf
        if row["events"] > limit:
            found.append(
                Escalation(row["group_id"], row["events"], limit, f"{now:%Y-%m-%d}", dict(row["newest"]))
            )
    return found


def _past_hours(
    stores: Stores, project_id: int, group_ids: Sequence[int], until: datetime
) -> dict[int, list[int]]:
    """Events per hour before a moment, from the first event of the group in the last week on, with zeros for empty hours."""
    start = until - PAST
    rows = stores.lake.query(
        "SELECT group_id, floor((epoch($until::TIMESTAMPTZ) - epoch(received_at)) / 3600)::BIGINT AS ago, count(*) AS events "
        "FROM lake.events WHERE day BETWEEN $first AND $last AND project_id = $project AND received_at >= $start "
        "AND received_at < $until AND group_id IN (SELECT unnest($groups)) GROUP BY ALL",
        {
            "project": project_id,
            "start": start,
            "until": until,
            "first": start.date(),
            "last": until.date(),
            "groups": list(group_ids),
        },
    )
    counts: dict[int, dict[int, int]] = defaultdict(dict)
    for row in rows:
        counts[row["group_id"]][row["ago"]] = row["events"]
    return {
        group_id: [ago_counts.get(ago, 0) for ago in range(max(ago_counts) + 1)]
        for group_id, ago_counts in counts.items()
    }
