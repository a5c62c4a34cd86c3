"""What our side changed: entries of the log of groups since the last look at it, and the links of those groups.

Numbers of entries become visible out of order on PostgreSQL, where a transaction takes its number long before it ends. So the cursor
stays SETTLED_AFTER behind, and remembers what it has seen of that time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from tasks_pipeline.groups.decisions import merged_targets
from tasks_pipeline.integrations.polling import save
from tasks_pipeline.links.rows import HELD, LINKED, ask_for_looks, links_of_groups
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import group_actions, tracker_cursors

OURS = ""
"""The tracker in whose place the cursor of the log is kept: no tracker has an empty name."""
SETTLED_AFTER = timedelta(minutes=5)
AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class _Entry:
    id: int
    group_id: int
    at: datetime
    issue: str
    """Address of the issue that the decision came from; empty for one of ours."""


def note_changes(state: StateDatabase, now: datetime) -> int:
    """Have the links of groups looked at that something was decided about, or that events brought back; gives how many. The cursor
    moves in the same transaction. While nothing is decided it costs a look into an index."""
    with state.read() as connection:
        after, seen = _cursor(connection)
        if after is not None:
            entries, new = _new(connection, after, seen)
            if not new and len(entries) < AT_ONCE // 2:
                return 0
    with state.write() as connection:
        after, seen = _cursor(connection)
        if after is None:  # what was there before is compared by the first pass of each link
            newest = connection.execute(select(func.max(group_actions.c.id))).scalar() or 0
            save(state, connection, OURS, full_pass_after=newest)
            return 0
        entries, new = _new(connection, after, seen)
        asked = _ask(connection, new, now)
        after, seen = _moved_on(after, entries, now)
        save(state, connection, OURS, full_pass_after=after, seen={"ids": seen}, polled_at=now)
    return asked


def _ask(connection: Connection, new: Sequence[_Entry], now: datetime) -> int:
    """A group that was merged belongs to another now, and one that others were merged into has their links. The link that a decision
    came through is in step with it already."""
    if not new:
        return 0
    by_group: dict[int, set[str]] = defaultdict(set)
    for entry in new:
        by_group[entry.group_id].add(entry.issue)
    for group_id, target in merged_targets(connection, list(by_group)).items():
        by_group[target] |= by_group[group_id]
    links = [
        link.id
        for group_id, found in links_of_groups(connection, list(by_group)).items()
        for link in found
        if link.state in (LINKED, HELD) and not _is_robot(link.held) and by_group[group_id] != {link.url}
    ]
    ask_for_looks(connection, links, now)
    return len(links)


def _is_robot(held: str) -> bool:
    """Whether a link is held since two robots fight: no decision ends that, only time does."""
    return held == "flapping"


def _cursor(connection: Connection) -> tuple[int | None, list[int]]:
    c = tracker_cursors.c
    row = connection.execute(select(c.full_pass_after, c.seen).where(c.tracker == OURS)).first()
    return (None, []) if row is None else (row.full_pass_after, row.seen.get("ids", []))


def _new(connection: Connection, after: int, seen: Collection[int]) -> tuple[list[_Entry], list[_Entry]]:
    """Entries behind the cursor, and those of them that were not seen yet and changed something: others only tell, as ours do of
    issues."""
    c = group_actions.c
    query = select(c.id, c.group_id, c.at, c.status, c.assignee, c.data).where(c.id > after)
    rows = connection.execute(query.order_by(c.id).limit(AT_ONCE)).all()
    entries = [_Entry(row.id, row.group_id, row.at, str(row.data.get("issue") or "")) for row in rows]
    known = set(seen)
    changed = {row.id for row in rows if row.status is not None or row.assignee is not None}
    return entries, [each for each in entries if each.id not in known and each.id in changed]


def _moved_on(after: int, entries: list[_Entry], now: datetime) -> tuple[int, list[int]]:
    """The cursor behind all that is old enough, or by which a step was full, and what it has seen behind that."""
    settled = [entry.id for entry in entries if now - entry.at > SETTLED_AFTER]
    if len(entries) == AT_ONCE:
        settled = [entry.id for entry in entries]
    upto = max([after, *settled])
    return upto, [entry.id for entry in entries if entry.id > upto]
