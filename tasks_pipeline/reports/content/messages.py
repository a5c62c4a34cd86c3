"""Messages of a report: how many were sent, held back and failed, how long they took, which rules are noisy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks_pipeline.releases.durations import percentile
from tasks_pipeline.reports.content.held import Figures
from tasks_pipeline.reports.content.spans import Bounds, in_slots
from tasks_pipeline.reports.report import Notifications
from tasks_pipeline.reports.scopes import Scope

MOST_RULES = 10
NOISY = 10
"""A rule with fewer messages in a period is not noisy."""
HELD_BACK = ("skipped", "collapsed", "digest")


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages of all projects in a period, by project, rule, channel and status; how long they took by project."""

    counts: Sequence[dict[str, Any]]
    seconds: Sequence[dict[str, Any]]

    def of(self, scope: Scope) -> Notifications:
        """The section of a scope."""
        own = [row for row in self.counts if scope.holds(row["project_id"])]
        took: Counter[int] = Counter()
        for row in self.seconds:
            if scope.holds(row["project_id"]):
                took[row["bucket"]] += int(row["n"])
        sent = _added(own, "channel", "sent")
        rules = _added([row for row in own if row["rule"]], "rule", "sent")
        held = {status: _added(own, "status", status)[status] for status in HELD_BACK}
        return Notifications(
            sent=sum(sent.values()),
            held_back={status: count for status, count in held.items() if count},
            failed=sum(_added(own, "status", "dead").values()),
            p50_seconds=_rounded(percentile(took, 50)),
            p95_seconds=_rounded(percentile(took, 95)),
            by_channel=_first(sent, MOST_RULES),
            noisy_rules=_first(Counter({r: n for r, n in rules.items() if n >= NOISY}), MOST_RULES),
        )


def _added(rows: Sequence[dict[str, Any]], by: str, status: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for row in rows:
        if row["status"] == status:
            found[row[by]] += int(row["count"])
    return found


def _first(counts: Counter[str], most: int) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:most])


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def read_messages(lake: Figures, span: Bounds) -> Messages:
    """Messages of a period."""
    if not span.days:
        return Messages((), ())
    rows = f"lake.notification_stats WHERE {in_slots(span)}"
    return Messages(
        lake.query(
            f"SELECT project_id, rule, channel, status, sum(count)::BIGINT AS count FROM {rows} GROUP BY ALL"
        ),
        lake.query(
            "SELECT project_id, bucket, sum(n)::BIGINT AS n FROM (SELECT project_id, unnest(map_keys(seconds)) AS bucket, "
            f"unnest(map_values(seconds)) AS n FROM {rows}) GROUP BY ALL"
        ),
    )
