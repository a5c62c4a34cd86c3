"""Transactions of a report: how long they take, how many fail, which are the worst.

Percentiles are read from added histograms, within one percent; exact, by nearest rank, where the rows themselves are all there
and not too many. Apdex and failures are counted by the tables, whose thresholds were those of their day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasks_pipeline.config.projects import Project
from tasks_pipeline.releases.durations import GROWTH, percentile
from tasks_pipeline.reports.content.balance import nearest_rank
from tasks_pipeline.reports.content.held import Figures
from tasks_pipeline.reports.content.measures import Measure
from tasks_pipeline.reports.content.spans import ON_SLOT, Bounds, in_days, in_slots, moment, spans_table
from tasks_pipeline.reports.report import TransactionRow, Transactions
from tasks_pipeline.reports.scopes import Scope

if TYPE_CHECKING:
    import numpy as np


MOST = 10
LEAST_COUNT = 50
"""Of fewer transactions of a name in the period nothing is said about the name."""
LEAST_GROWTH, LEAST_GROWTH_MS = 0.1, 20
"""p95 of a name must have grown by this share, and by so many milliseconds, to be told of as growth: less is chance, or felt by
nobody."""
EXACT_UP_TO = 200_000
"""Of so many transactions in the period percentiles are exact."""
TOLERATED = 4
NAME_LENGTH = 200


@dataclass(slots=True)
class Timings:
    """Transactions of all projects in a period: histograms by project, single durations where they are told apart, names that may
    stand in a list, and by project users who waited too long, of how many."""

    histograms: Mapping[int, Counter[int]] = field(default_factory=dict)
    durations: Mapping[int, np.ndarray] | None = None
    names: Sequence[dict[str, Any]] = ()
    misery: Mapping[int, tuple[int, int]] | None = None

    def of(self, scope: Scope, measure: Measure, hours: float, slugs: Mapping[int, str]) -> Transactions:
        """The section of a scope."""
        if not measure.transactions:
            return Transactions()
        known = {percent: self._percentile(scope, percent) for percent in (50, 75, 95)}
        misery, users = self._misery(scope)
        own = [row for row in self.names if scope.holds(row["project_id"])]
        return Transactions(
            count=measure.transactions,
            p50_ms=known[50],
            p75_ms=known[75],
            p95_ms=known[95],
            apdex=apdex(measure),
            failure_rate=failure_rate(measure),
            per_minute=round(measure.transactions / (hours * 60), 4) if hours else None,
            misery_users=misery,
            misery=misery / users if misery is not None and users else None,
            slowest=_rows(own, "p95_ms", slugs),
            growing=_rows([r for r in own if r["slower"]], "growth", slugs),
            failing=_rows([r for r in own if r["failed"]], "failure_rate", slugs),
            heaviest=_rows(own, "total_ms", slugs),
        )

    def _percentile(self, scope: Scope, percent: int) -> float | None:
        if self.durations is not None:
            own = [each for p, each in self.durations.items() if scope.holds(p)]
            return nearest_rank([float(value) for each in own for value in each], percent)
        added: Counter[int] = Counter()
        for project_id, histogram in self.histograms.items():
            if scope.holds(project_id):
                added.update(histogram)
        found = percentile(added, percent)
        return None if found is None else round(found * 1000, 3)

    def _misery(self, scope: Scope) -> tuple[int | None, int]:
        if self.misery is None:
            return None, 0
        own = [each for p, each in self.misery.items() if scope.holds(p)]
        return sum(m for m, _ in own), sum(u for _, u in own)


def apdex(measure: Measure) -> float | None:
    """(satisfied + half of tolerable) / all."""
    if not measure.transactions:
        return None
    return round((measure.satisfied + measure.tolerable / 2) / measure.transactions, 6)


def failure_rate(measure: Measure) -> float | None:
    """The share that failed."""
    return round(measure.failed_transactions / measure.transactions, 6) if measure.transactions else None


def read_timings(
    lake: Figures, raw: Figures, span: Bounds, before: Bounds | None, projects: Sequence[Project], count: int
) -> Timings:
    """Transactions of a period; `raw` has their rows as long as they are kept, `count` is how many there are, `before` the period before it."""
    if not count or not span.days:
        return Timings()
    histograms: dict[int, Counter[int]] = {}
    for row in lake.query(_histograms(span)):
        histograms.setdefault(row["project_id"], Counter())[row["bucket"]] += int(row["n"])
    there = _raw_count(raw, span) == count
    return Timings(
        histograms,
        _durations(raw, span) if there and count <= EXACT_UP_TO else None,
        _names(lake, span, before),
        _misery(raw, span, projects) if there else None,
    )


def _histograms(span: Bounds) -> str:
    return (
        "SELECT project_id, bucket, sum(n)::BIGINT AS n FROM (SELECT project_id, unnest(map_keys(durations)) AS bucket, "
        f"unnest(map_values(durations)) AS n FROM lake.transaction_stats WHERE {in_slots(span)}) GROUP BY ALL"
    )


def _received(span: Bounds) -> str:
    return f"{in_days([span])} AND received_at >= {moment(span.start)} AND received_at < {moment(span.end)}"


def _raw_count(raw: Figures, span: Bounds) -> int:
    (row,) = raw.query(f"SELECT count(*) AS n FROM lake.transactions WHERE {_received(span)}")
    return int(row["n"])


def _durations(raw: Figures, span: Bounds) -> dict[int, np.ndarray]:
    rows = raw.arrow(
        f"SELECT project_id, duration_ms FROM lake.transactions WHERE {_received(span)} AND duration_ms IS NOT NULL"
    ).to_pandas()
    return {int(p): frame.to_numpy() for p, frame in rows.groupby("project_id")["duration_ms"]}


def _names(lake: Figures, span: Bounds, before: Bounds | None) -> list[dict[str, Any]]:
    """Names that are among the first of their project in some list, in SQL, so that any number of names may come."""
    spans = [span, *([before] if before is not None and before.days else [])]
    added = (
        "SELECT number, project_id, name, op, sum(count) AS count, sum(failed) AS failed, sum(sum_ms) AS total_ms "
        f"FROM lake.transaction_stats JOIN {spans_table(spans)} ON {ON_SLOT} WHERE {in_days(spans)} GROUP BY ALL"
    )
    buckets = (
        "SELECT number, project_id, name, op, bucket, sum(n) AS n FROM (SELECT number, project_id, name, op, "
        "unnest(map_keys(durations)) AS bucket, unnest(map_values(durations)) AS n FROM lake.transaction_stats "
        f"JOIN {spans_table(spans)} ON {ON_SLOT} WHERE {in_days(spans)}) GROUP BY ALL"
    )
    key = "number, project_id, name, op"
    percentiles = ", ".join(
        f"min(bucket) FILTER (upto * 100 >= {percent} * total) AS b{percent}" for percent in (50, 95)
    )
    placed = (
        f"SELECT {key}, {percentiles} FROM (SELECT *, sum(n) OVER (PARTITION BY {key} ORDER BY bucket) AS upto, "
        f"sum(n) OVER (PARTITION BY {key}) AS total FROM ({buckets})) GROUP BY ALL"
    )
    joined = f"SELECT * FROM ({added}) LEFT JOIN ({placed}) USING ({key})"
    grown_ms = f"2 * (pow({GROWTH}, now.b95) - pow({GROWTH}, earlier.b95)) / {1 + GROWTH}"
    grown = f"CASE WHEN {grown_ms} >= {LEAST_GROWTH_MS} THEN now.b95 - earlier.b95 END"
    places = ", ".join(
        f"row_number() OVER (PARTITION BY now.project_id ORDER BY {order} DESC NULLS LAST, now.name, now.op)"
        for order in ("now.b95", grown, "now.failed / now.count", "now.total_ms")
    )
    rows = lake.query(
        f"WITH joined AS ({joined}) SELECT now.project_id, now.name, now.op, now.count::BIGINT AS count, "
        "now.failed::BIGINT AS failed, now.total_ms, now.b50, now.b95, earlier.b95 AS before_b95 "
        "FROM (SELECT * FROM joined WHERE number = 0) now LEFT JOIN "
        f"(SELECT * FROM joined WHERE number = 1 AND count >= {LEAST_COUNT}) earlier USING (project_id, name, op) "
        f"WHERE now.count >= {LEAST_COUNT} QUALIFY least({places}) <= {MOST}"
    )
    for row in rows:
        row |= {"p50_ms": _middle(row["b50"]), "p95_ms": _middle(row["b95"])}
        earlier = _middle(row["before_b95"])
        row["growth"] = round(row["p95_ms"] / earlier - 1, 6) if earlier and row["p95_ms"] else None
        row["slower"] = (row["growth"] or 0) >= LEAST_GROWTH and row["p95_ms"] - earlier >= LEAST_GROWTH_MS
        row["failure_rate"] = round(row["failed"] / row["count"], 6)
    return rows


def _middle(bucket: int | None) -> float | None:
    """What is told of a bucket, in milliseconds."""
    return None if bucket is None else round(2 * GROWTH**bucket / (1 + GROWTH), 3)


def _misery(raw: Figures, span: Bounds, projects: Sequence[Project]) -> dict[int, tuple[int, int]]:
    """By project: users with a transaction above four times its threshold, and all users."""
    named = [(p.id, name, ms) for p in projects for name, ms in p.performance.thresholds.items()]
    rows = raw.query(
        "SELECT t.project_id, count(DISTINCT user_key) AS users, count(DISTINCT user_key) FILTER ("
        f"duration_ms > {TOLERATED} * coalesce(n.ms, p.ms, 300)) AS miserable FROM lake.transactions t "
        "LEFT JOIN (SELECT unnest($projects::BIGINT[]) AS project_id, unnest($defaults::DOUBLE[]) AS ms) p "
        "ON p.project_id = t.project_id "
        "LEFT JOIN (SELECT unnest($named::BIGINT[]) AS project_id, unnest($names::VARCHAR[]) AS name, unnest($ms::DOUBLE[]) AS ms) n "
        f"ON n.project_id = t.project_id AND n.name = t.name WHERE {_received(span)} GROUP BY t.project_id",
        {
            "projects": [p.id for p in projects],
            "defaults": [float(p.performance.threshold_ms) for p in projects],
            "named": [project_id for project_id, _, _ in named],
            "names": [name for _, name, _ in named],
            "ms": [float(ms) for _, _, ms in named],
        },
    )
    return {row["project_id"]: (int(row["miserable"]), int(row["users"])) for row in rows}


def _rows(rows: Sequence[dict[str, Any]], number: str, slugs: Mapping[int, str]) -> list[TransactionRow]:
    worst = sorted(rows, key=lambda r: (-(r[number] or 0), r["project_id"], r["name"], r["op"]))[:MOST]
    return [
        TransactionRow(
            project=slugs.get(r["project_id"], str(r["project_id"])),
            name=r["name"][:NAME_LENGTH],
            op=r["op"][:NAME_LENGTH],
            count=r["count"],
            p50_ms=r["p50_ms"],
            p95_ms=r["p95_ms"],
            growth=r["growth"],
            failure_rate=r["failure_rate"],
            total_ms=round(r["total_ms"], 3),
        )
        for r in worst
    ]
