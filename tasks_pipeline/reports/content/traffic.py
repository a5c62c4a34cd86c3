"""What became of items in a period: the books, and keys of which items were refused, dropped by clients, or near their quota."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from tasks_pipeline.config.projects import Project
from tasks_pipeline.releases.spans import SLOT
from tasks_pipeline.reports.content.held import Figures
from tasks_pipeline.reports.content.measures import BOOKED
from tasks_pipeline.reports.content.spans import Bounds, in_slots, moment
from tasks_pipeline.reports.report import Books, KeyRow
from tasks_pipeline.reports.scopes import Scope

MOST = 20
_OF_EVENTS = ("error", "security")
"""Categories of which event_stats has the stored ones."""
_BOOKED = ("stored", "duplicate", "filtered", "discarded", "invalid")
_NEAR = 0.5
"""From this share of a quota on a key is worth a line though nothing was refused."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Items of all projects in a period, by project, category and outcome; rows of keys; and projects of which the tables of figures
    have another number of events than are there."""

    outcomes: Sequence[dict[str, Any]]
    keys: Sequence[dict[str, Any]]
    miscounted: Collection[int] = ()

    def books(self, scope: Scope, errors: int, waiting: int, may_be_gone: bool) -> Books:
        """The books of a scope. `errors` are those in the tables of figures, `may_be_gone` says whether events of these days were
        discarded, moved or deleted since: only then may fewer be there than were stored, and then as many as are there."""
        found: dict[str, dict[str, int]] = {}
        for row in self.outcomes:
            if scope.holds(row["project_id"]):
                of_category = found.setdefault(row["category"], {})
                of_category[row["outcome"]] = of_category.get(row["outcome"], 0) + int(row["quantity"])
        accepted = sum(found.get(c, {}).get(o, 0) for c in _OF_EVENTS for o in _BOOKED)
        stored = sum(found.get(c, {}).get("stored", 0) for c in _OF_EVENTS)
        gone = stored - errors
        adds_up = gone == 0 or (gone > 0 and may_be_gone)
        return Books(
            outcomes={name: dict(sorted(found[name].items())) for name in sorted(found)},
            accepted=accepted,
            stored=stored,
            gone=gone,
            waiting=waiting,
            balanced=adds_up and not any(scope.holds(project_id) for project_id in self.miscounted),
        )

    def key_rows(self, scope: Scope, slugs: Mapping[int, str]) -> list[KeyRow]:
        """Keys of a scope, the most refused first."""
        own = sorted((r for r in self.keys if scope.holds(r["project_id"])), key=_most_refused_first)[:MOST]
        return [
            KeyRow(
                project=slugs.get(r["project_id"], str(r["project_id"])),
                public_key=r["public_key"],
                category=r["category"],
                accepted=int(r["accepted"]),
                refused=int(r["refused"]),
                dropped_by_clients=int(r["dropped"]),
                refused_hours=int(r["refused_hours"]),
                share=None if r["share"] is None else round(r["share"], 4),
            )
            for r in own
        ]


def _most_refused_first(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        -row["refused"],
        -row["dropped"],
        -(row["share"] or 0),
        row["project_id"],
        row["public_key"],
        row["category"],
    )


def read_traffic(
    lake: Figures, whole: Figures, span: Bounds, projects: Sequence[Project], counted_days: Collection[date]
) -> Traffic:
    """Items of a period; events are counted once more in the `whole` lake, on days that have all of which figures were made."""
    if not span.days:
        return Traffic((), ())
    rows = in_slots(span)
    outcomes = lake.query(
        "SELECT project_id, category, outcome, sum(quantity)::BIGINT AS quantity FROM lake.outcome_stats "
        f"WHERE {rows} GROUP BY ALL"
    )
    keys = lake.query(_keys(rows), _quotas(projects))
    return Traffic(outcomes, keys, _miscounted(whole, span, counted_days) if counted_days else ())


def _miscounted(lake: Figures, span: Bounds, days: Collection[date]) -> list[int]:
    chosen = ", ".join(f"DATE '{day.isoformat()}'" for day in sorted(days))
    there = f"received_at >= {moment(span.start)} AND received_at < {moment(span.end)}"
    rows = lake.query(
        "SELECT project_id FROM ("
        f"SELECT project_id, events FROM lake.event_stats WHERE {in_slots(span)} AND day IN ({chosen}) UNION ALL "
        f"SELECT project_id, -count(*) AS events FROM lake.events WHERE day IN ({chosen}) AND {there} GROUP BY project_id"
        ") GROUP BY project_id HAVING sum(events) <> 0"
    )
    return [row["project_id"] for row in rows]


def _keys(rows: str) -> str:
    """Keys and categories with something refused or dropped, or near a quota: its share in the busiest window. Windows shorter
    than a slot are told as if a slot were even; it is the least that the share can have been."""
    seconds = f"greatest(seconds, {SLOT.seconds})"
    return f"""
        WITH items AS (SELECT * FROM lake.outcome_stats WHERE {rows}), quota AS (
            SELECT unnest($numbers::INTEGER[]) AS number, unnest($projects::BIGINT[]) AS project_id,
            unnest($keys::VARCHAR[]) AS key, unnest($categories::VARCHAR[]) AS kind, unnest($limits::DOUBLE[]) AS most,
            unnest($seconds::BIGINT[]) AS seconds
        ), busy AS (
            SELECT number, sum(quantity) * any_value(seconds) / (any_value(most) * any_value({seconds})) AS share
            FROM items JOIN quota ON {_COUNTED} WHERE most > 0 AND outcome IN {BOOKED}
            GROUP BY number, epoch(slot)::BIGINT // {seconds}
        ), shares AS (SELECT quota.*, peak FROM quota JOIN (SELECT number, max(share) AS peak FROM busy GROUP BY number) USING (number)
        ), keys AS (
            SELECT project_id, public_key, category, coalesce(sum(quantity) FILTER (outcome IN {BOOKED}), 0)::BIGINT AS accepted,
            coalesce(sum(quantity) FILTER (outcome IN ('rate_limited', 'refused')), 0)::BIGINT AS refused,
            coalesce(sum(quantity) FILTER (outcome = 'client_discard'), 0)::BIGINT AS dropped,
            count(DISTINCT date_trunc('hour', slot)) FILTER (outcome = 'rate_limited') AS refused_hours
            FROM items GROUP BY ALL
        ), told AS (
            SELECT items.project_id, public_key, category, accepted, refused, dropped, refused_hours, max(peak) AS share
            FROM keys items LEFT JOIN shares quota ON {_COUNTED} GROUP BY ALL
        )
        SELECT * FROM told WHERE refused > 0 OR dropped > 0 OR share >= {_NEAR}
        QUALIFY row_number() OVER (PARTITION BY project_id ORDER BY refused DESC, dropped DESC, public_key, category) <= {MOST}"""


_COUNTED = "quota.project_id = items.project_id AND quota.key IN ('', items.public_key) AND quota.kind IN ('all', items.category)"
"""Which items a quota counts: of a project (no key) or a key, of a category or all."""


def _quotas(projects: Sequence[Project]) -> dict[str, Any]:
    found = [
        (project.id, public_key, quota)
        for project in projects
        for public_key, quotas in [
            ("", project.quotas),
            *((key.public_key, key.quotas) for key in project.keys),
        ]
        for quota in quotas
    ]
    return {
        "numbers": list(range(len(found))),
        "projects": [project_id for project_id, _, _ in found],
        "keys": [public_key for _, public_key, _ in found],
        "categories": [quota.category for _, _, quota in found],
        "limits": [float(quota.limit) for _, _, quota in found],
        "seconds": [quota.window_seconds for _, _, quota in found],
    }
