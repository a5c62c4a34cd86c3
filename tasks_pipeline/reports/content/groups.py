"""Lists of groups in a report: the top ones, the new, those that came back, and the noisy that nobody looks at.

Read once for all projects of a period, at most so many of each project and list, so that no number of groups is too many.
Titles are those of now; everything else is as of the period.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from tasks_pipeline.groups.short_id import format_short_id
from tasks_pipeline.reports.content.held import Figures
from tasks_pipeline.reports.content.measures import newest, up_to
from tasks_pipeline.reports.content.spans import (
    ON_DAY,
    Bounds,
    has_slot,
    in_days,
    in_moments,
    spans_table,
    summed_slots,
)
from tasks_pipeline.reports.report import GroupRow
from tasks_pipeline.reports.scopes import Scope
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import alerts, commits, groups, notifications, suspect_commits

MOST = 10
"""Groups in a list."""
MOST_OF_TEAMS = 200  # groups assigned to teams that are looked at beside those of their projects
MOST_NOTIFIED = 500
NOISY_SHARE = 0.05
NOISY_MESSAGES = 10
_DECIDED = "('ignored', 'resolved')"
"""SQL: statuses of groups that somebody has decided about, whenever that was: they are not waiting for anybody."""
TITLE_LENGTH = 200


@dataclass(frozen=True, slots=True)
class GroupLists:
    """Rows of groups of all projects in a period: what may stand in a list of some scope."""

    rows: Sequence[dict[str, Any]]
    errors: Mapping[int, int]

    def of(self, scope: Scope) -> dict[str, list[dict[str, Any]]]:
        """The lists of a scope: top, top_by_users, new, returning, noisy."""
        own = [r for r in self.rows if scope.holds(r["project_id"]) or _assigned(r, scope)]
        return {name: pick(own)[:MOST] for name, pick in _LISTS.items()}


def _assigned(row: Mapping[str, Any], scope: Scope) -> bool:
    return scope.team is not None and row["assignee"] == scope.assignee


def _picked(
    wanted: Callable[[dict[str, Any]], Any], number: str
) -> Callable[[Iterable[dict[str, Any]]], list[dict[str, Any]]]:
    """Those that are wanted, with the greatest number first; ties by the group's number."""

    def pick(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted((r for r in rows if wanted(r)), key=lambda r: (-r[number], r["group_id"]))

    return pick


_LISTS = {
    "top": _picked(lambda r: r["events"], "events"),
    "top_by_users": _picked(lambda r: r["users"], "users"),
    "new": _picked(lambda r: r["created"], "events"),
    "returning": _picked(lambda r: r["returned"], "events"),
    "noisy": _picked(lambda r: r["noisy"], "events"),
}


def read_lists(lake: Figures, state: StateDatabase, span: Bounds, before: Bounds | None) -> GroupLists:
    """What may stand in the lists of a period; `before` is the period before it."""
    if not span.days:
        return GroupLists((), {})
    told = _notified(state, span)
    ids = ", ".join(map(str, sorted(told))) or "NULL"
    rows = lake.query(_candidates(span, before, ids))
    totals = {r["project_id"]: int(r["project_events"] or 0) for r in rows}
    for row in rows:
        row["notifications"] = told.get(row["group_id"], 0)
        share = row["events"] / totals[row["project_id"]] if row["events"] else 0
        loud = share >= NOISY_SHARE or row["notifications"] >= NOISY_MESSAGES
        row["noisy"] = loud and row["events"] > 0 and row["unattended"]
    return GroupLists(rows, totals)


def _candidates(span: Bounds, before: Bounds | None, told: str) -> str:
    """A row for each group that is among the first of its project in some list, that a team has, or that people were told of."""
    return f"""
        WITH now AS ({_events([span])}), earlier AS ({_events([before] if before else [])}), affected AS ({_users(span)}),
        moved AS ({_moved(span)}), known AS ({_known(span)}),
        joined AS (
            SELECT project_id, group_id, coalesce(now.events, 0) AS events, coalesce(earlier.events, 0) AS before,
            coalesce(affected.users, 0)::BIGINT AS users, coalesce(moved.created, false) AS created,
            coalesce(moved.returned, false) AS returned,
            NOT coalesce(moved.handled, false) AND coalesce(known.status, '') NOT IN {_DECIDED} AS unattended,
            coalesce(known.assignee, '') AS assignee, coalesce(known.status, '') AS status
            FROM now FULL JOIN moved USING (project_id, group_id)
            LEFT JOIN earlier USING (project_id, group_id) LEFT JOIN affected USING (project_id, group_id)
            LEFT JOIN known USING (project_id, group_id)
        )
        SELECT *, sum(events) OVER (PARTITION BY project_id) AS project_events FROM joined
        QUALIFY least({_place("events")}, {_place("users")}, {_place("events", "created")}, {_place("events", "returned")},
            {_place("events", "unattended")}) <= {MOST}
        OR (starts_with(assignee, 'team:') AND row_number() OVER (PARTITION BY assignee ORDER BY events DESC, group_id)
            <= {MOST_OF_TEAMS})
        OR group_id IN ({told})"""


def _place(number: str, wanted: str = "true") -> str:
    """SQL: the place of a row in the list of its project by a number, among those wanted; far behind for others."""
    return (
        f"CASE WHEN {wanted} THEN row_number() OVER (PARTITION BY project_id, {wanted} "
        f"ORDER BY {number} DESC, group_id) ELSE {MOST + 1} END"
    )


def _events(spans: Sequence[Bounds]) -> str:
    spans = [span for span in spans if span.days]
    if not spans:
        return (
            "SELECT NULL::BIGINT AS project_id, NULL::BIGINT AS group_id, NULL::BIGINT AS events WHERE false"
        )
    return (
        f"SELECT project_id, group_id, sum({summed_slots('slots')})::BIGINT AS events FROM lake.group_stats "
        f"JOIN {spans_table(spans)} ON {ON_DAY} WHERE {in_days(spans)} GROUP BY ALL HAVING sum({summed_slots('slots')}) > 0"
    )


def _users(span: Bounds) -> str:
    """Distinct users; where a day has too many to be listed, at least those of its day with the most."""
    listed = (
        "SELECT day, project_id, group_id, unnest(map_keys(users)) AS user_hash, unnest(map_values(users)) AS slots "
        f"FROM lake.group_stats WHERE {in_days([span])} AND users IS NOT NULL"
    )
    return (
        "SELECT project_id, group_id, max(users) AS users FROM ("
        f"SELECT project_id, group_id, count(DISTINCT user_hash) AS users FROM ({listed}) JOIN {spans_table([span])} ON {ON_DAY} "
        f"WHERE {has_slot('slots')} GROUP BY ALL UNION ALL SELECT project_id, group_id, max(user_count) FROM lake.group_stats "
        f"WHERE {in_days([span])} AND users IS NULL GROUP BY ALL) GROUP BY ALL"
    )


def _moved(span: Bounds) -> str:
    return (
        "SELECT project_id, group_id, bool_or(move = 'created') AS created, bool_or(move IN ('regress', 'unignore')) AS returned, "
        f"bool_or(\"by\" = 'person') AS handled FROM lake.group_moves WHERE {in_moments(span)} GROUP BY ALL"
    )


def _known(span: Bounds) -> str:
    return (
        f"SELECT project_id, group_id, {newest('assignee')} AS assignee, {newest('status_to')} AS status FROM lake.group_moves "
        f"WHERE {up_to(span.end)} GROUP BY ALL"
    )


def _notified(state: StateDatabase, span: Bounds) -> dict[int, int]:
    """Messages that were sent about groups in a span, of those with the most."""
    number = func.count()
    query = (
        select(alerts.c.group_id, number)
        .select_from(notifications.join(alerts, alerts.c.id == notifications.c.alert_id))
        .where(
            notifications.c.sent_at.is_not(None),
            notifications.c.sent_at >= span.start,
            notifications.c.sent_at < span.end,
            alerts.c.group_id.is_not(None),
        )
        .group_by(alerts.c.group_id)
        .order_by(number.desc(), alerts.c.group_id)
        .limit(MOST_NOTIFIED)
    )
    with state.read() as connection:
        return {group_id: int(count) for group_id, count in connection.execute(query)}


class Titles:
    """What groups are called now, and which commit may have caused them; read once for each."""

    def __init__(self, state: StateDatabase, slugs: Mapping[int, str], names: Mapping[str, str]) -> None:
        self._state, self._slugs, self._names = state, slugs, names
        self._known: dict[int, dict[str, Any]] = {}

    def rows(self, found: Sequence[Mapping[str, Any]]) -> list[GroupRow]:
        """Rows of a list as a report shows them; those of groups that are not there any more are left out."""
        self.read(row["group_id"] for row in found)
        return [
            self._row(row, self._known[row["group_id"]]) for row in found if row["group_id"] in self._known
        ]

    def read(self, group_ids: Iterable[int]) -> None:
        """Read what is not known yet."""
        missing = sorted(set(group_ids) - set(self._known))
        if not missing:
            return
        with self._state.read() as connection:
            for chunk in chunks(missing):
                rows = connection.execute(_ABOUT.where(groups.c.id.in_(chunk)))
                self._known.update({row.id: dict(row._mapping) for row in rows})
                suspects = connection.execute(_SUSPECTS.where(suspect_commits.c.group_id.in_(chunk)))
                for group_id, sha in suspects:
                    self._known[group_id]["suspect_commit"] = sha

    def _row(self, row: Mapping[str, Any], about: Mapping[str, Any]) -> GroupRow:
        slug = self._slugs.get(row["project_id"], str(row["project_id"]))
        return GroupRow(
            id=row["group_id"],
            short_id=format_short_id(slug, about["short_id"]),
            project=slug,
            title=about["title"][:TITLE_LENGTH],
            culprit=about["culprit"][:TITLE_LENGTH],
            level=about["level"],
            status=row["status"] or about["status"],
            events=row["events"],
            before=row["before"],
            users=row["users"],
            first_release=about["first_release"],
            assignee=self._names.get(row["assignee"], row["assignee"]) or None,
            suspect_commit=about.get("suspect_commit"),
            notifications=row["notifications"],
        )


_ABOUT = select(
    *(groups.c[name] for name in ("id", "short_id", "title", "culprit", "level", "status", "first_release"))
)
_SUSPECTS = (
    select(suspect_commits.c.group_id, commits.c.sha)
    .select_from(suspect_commits.join(commits, commits.c.sha == suspect_commits.c.sha))
    .where(suspect_commits.c.rank == 0)
)
