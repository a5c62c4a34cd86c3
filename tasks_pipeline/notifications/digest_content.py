"""What a digest says: the groups that alerted in its period, the important ones first, with counts against the period before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, select

from tasks_pipeline.config.projects import project_name
from tasks_pipeline.groups.moves import leads_to
from tasks_pipeline.groups.short_id import format_short_id
from tasks_pipeline.notifications.message import GroupLine, Message
from tasks_pipeline.notifications.what_to_do import typed
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import alerts, groups, notifications
from tasks_pipeline.stores import Stores
from tasks_pipeline.texts import clean
from tasks_pipeline.words import counted

GROUPS_SHOWN = 25
SHORTEST_PERIOD = timedelta(hours=1)  # counts of a few minutes would say little
_WEIGHTS = {"escalation": 4, "regression": 3, "new_group": 3, "unignored": 2}
_WORDS = {
    "new_group": "new",
    "regression": "back again",
    "unignored": "no longer ignored",
    "escalation": "escalating",
    "events": "frequent",
    "users": "many users",
    "monitor": "monitor",
}


@dataclass
class _Group:
    """A group in a digest."""

    short_id: str
    title: str
    culprit: str
    kinds: dict[str, None] = field(default_factory=dict)
    critical: bool = False
    events: int = 0
    before: int = 0
    users: int = 0

    @property
    def importance(self) -> tuple[bool, int, int]:
        """Critical ones first, then by what happened, then by events and twice the users."""
        return (
            self.critical,
            max((_WEIGHTS.get(k, 1) for k in self.kinds), default=0),
            self.events + 2 * self.users,
        )


def digest_message(stores: Stores, row: Mapping[str, Any]) -> Message:
    """The message of a digest's row in the outbox."""
    since, until = (datetime.fromisoformat(row["data"][name]) for name in ("since", "until"))
    project = project_name(stores.slugs, row["project_id"])
    found, others, entries = _collected(stores, row["id"], project)
    _count(stores, found, min(since, until - SHORTEST_PERIOD), until)
    ordered = sorted(found.values(), key=lambda g: g.importance, reverse=True)
    kinds: dict[str, int] = defaultdict(int)
    for group in ordered:
        for kind in group.kinds:
            kinds[kind] += 1
    member = stores.config.member(row["target"].removeprefix("member:"))
    zone = ZoneInfo(member.timezone if member else "UTC")
    said = ", ".join(f"{count} {_WORDS.get(kind, kind)}" for kind, count in kinds.items())
    count = len(ordered)
    return Message(
        key=row["key"],
        thread=row["thread"],
        type="digest",
        status="digest",
        severity="critical" if any(g.critical for g in ordered) else "info",
        subject=f"[{project}] Digest: {counted(count, 'group')}" + (f", {said}" if said else ""),
        title=f"{counted(entries, 'alert')} since {since.astimezone(zone):%Y-%m-%d %H:%M %Z}",
        project=project,
        facts=(
            ("Until", f"{until.astimezone(zone):%Y-%m-%d %H:%M %Z}"),
            *((("Events", f"{sum(g.events for g in ordered):,} ({sum(g.before for g in ordered):,} in the period before)"),) if ordered else ()),
            *((("Other", "; ".join(others[:10])),) if others else ()),
        ),
        groups=tuple(
            GroupLine(
                g.short_id, g.title, g.culprit, ", ".join(_WORDS.get(k, k) for k in g.kinds), g.events, g.before, g.users
            )
            for g in ordered[:GROUPS_SHOWN]
        ),
        more_groups=max(0, count - GROUPS_SHOWN),
        commands=(typed(stores.home, "groups", "list"),) if ordered else (),
        data={"since": row["data"]["since"], "until": row["data"]["until"], "alerts": entries},
    )  # fmt: skip


def _collected(stores: Stores, digest_id: int, project: str) -> tuple[dict[int, _Group], list[str], int]:
    """Groups of a digest's entries by id, titles of alerts that are about no group, and the number of entries."""
    found: dict[int, _Group] = {}
    others: list[str] = []
    entries = 0
    with stores.state.read() as connection:
        told = _alerts_of(connection, digest_id)
        told_of = {row.group_id for row in told if row.group_id is not None}
        led = leads_to(connection, told_of)
        named = _named(connection, {led.get(group_id, group_id) for group_id in told_of})
    for row in told:
        entries += 1
        if row.group_id is None:
            others.append(clean(row.data.get("title") or row.rule, 150))
            continue
        group_id = led.get(row.group_id, row.group_id)
        group = found.get(group_id)
        if group is None:
            name = named[group_id]
            short_id = format_short_id(project, name.short_id)
            group = found[group_id] = _Group(short_id, clean(name.title, 200), clean(name.culprit, 200))
        group.kinds[row.kind] = None
        group.critical = group.critical or row.severity == "critical"
    return found, others, entries


def _alerts_of(connection: Connection, digest_id: int) -> list[Row[Any]]:
    """Alerts of a digest's entries, oldest first."""
    n = notifications.c
    ids = connection.execute(select(n.alert_id).where(n.digest_id == digest_id)).scalars()
    found: list[Row[Any]] = []
    for chunk in chunks(sorted(alert_id for alert_id in ids if alert_id is not None)):
        found += connection.execute(select(alerts).where(alerts.c.id.in_(chunk)).order_by(alerts.c.id))
    return found


def _named(connection: Connection, group_ids: set[int]) -> dict[int, Row[Any]]:
    """short_id, title and culprit of groups."""
    g = groups.c
    found: dict[int, Row[Any]] = {}
    for chunk in chunks(sorted(group_ids)):
        query = select(g.id, g.short_id, g.title, g.culprit).where(g.id.in_(chunk))
        found |= {row.id: row for row in connection.execute(query)}
    return found


def _count(stores: Stores, found: dict[int, _Group], since: datetime, until: datetime) -> None:
    """Events and users of the period, and events of the one before of the same length."""
    before = since - (until - since)
    rows = stores.lake.query(
        "SELECT group_id, count(*) FILTER (received_at >= $since) AS events, "
        "count(*) FILTER (received_at < $since) AS before, "
        "count(DISTINCT user_key) FILTER (received_at >= $since) AS users FROM lake.events "
        "WHERE day BETWEEN $first_day AND $last_day AND received_at >= $before AND received_at < $until "
        "AND group_id IN (SELECT unnest($groups)) GROUP BY group_id",
        {
            "since": since,
            "before": before,
            "until": until,
            "first_day": before.date(),
            "last_day": until.date(),
            "groups": list(found),
        },
    ) if found else []  # fmt: skip
    for row in rows:
        group = found[row["group_id"]]
        group.events, group.before, group.users = row["events"], row["before"], row["users"]
