"""What other grouping rules would make of a group's newest events. Nothing is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tasks_pipeline.grouping import GroupingRules, group_event
from tasks_pipeline.groups.assign import known_keys
from tasks_pipeline.protocol.decode import decode_json
from tasks_pipeline.reading.asked import Asked
from tasks_pipeline.reading.events import EventQuery, payloads_of, read_events
from tasks_pipeline.reading.lake import ReadLake

EVENTS = 200
"""The newest that are tried."""


@dataclass(frozen=True, slots=True)
class Goes:
    """Events that would belong to a group together: one that is there, by its id, or None for a new one."""

    group_id: int | None
    title: str
    culprit: str
    decided_by: str
    events: int


@dataclass(frozen=True, slots=True)
class Trial:
    """How many events were tried, and where they would go, the most first."""

    events: int
    goes: Sequence[Goes]


def try_rules(asked: Asked, lake: ReadLake, group_id: int, rules: GroupingRules) -> Trial:
    """Group the newest events of a group by rules."""
    rows = read_events(asked, lake, EventQuery(group_id), EVENTS, upwards=False)
    found = payloads_of(asked, lake, rows)
    groupings = [
        (row["project_id"], group_event(decode_json(payload), rules))
        for row in rows
        if (payload := found.get((row["day"], row["part"], row["position"], row["item"]))) is not None
    ]
    with asked.state.read() as connection:
        known = known_keys(
            connection, {(project, key) for project, grouping in groupings for key in grouping.keys}
        )
    counted: Counter[tuple[int | None, str]] = Counter()
    named: dict[tuple[int | None, str], tuple[str, str, str]] = {}
    for project, grouping in groupings:
        target = next((known[project, key] for key in grouping.keys if (project, key) in known), None)
        place = (target, "" if target is not None else grouping.keys[0])
        counted[place] += 1
        named.setdefault(place, (grouping.title, grouping.culprit, grouping.variant))
    return Trial(len(groupings), [Goes(place[0], *named[place], n) for place, n in counted.most_common(50)])
