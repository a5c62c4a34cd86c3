"""What materialisations show in the UI: column schemas, figures, sparklines. Numbers and our own words only, never a stranger's text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import dagster as dg

from tasks_pipeline.processing.drain import DrainReport
from tasks_pipeline.storage.lake.tables import LakeTable

_BARS = "▁▂▃▄▅▆▇█"
SPARKLINE_LENGTH = 60


def column_schema(table: LakeTable) -> dg.TableSchema:
    """The columns of a lake table, as the UI shows them."""
    return dg.TableSchema(columns=[dg.TableColumn(c.name, c.type, c.description) for c in table.columns])


def sparkline(values: Sequence[float]) -> str:
    """Values as one line of bars, at most SPARKLINE_LENGTH of them; neighbours are added up when there are more."""
    if not values:
        return ""
    width = -(-len(values) // SPARKLINE_LENGTH)
    sums = [sum(values[i : i + width]) for i in range(0, len(values), width)]
    top = max(sums) or 1
    return "".join(_BARS[min(len(_BARS) - 1, int(v / top * (len(_BARS) - 1) + 0.5))] for v in sums)


def drain_metadata(report: DrainReport) -> dict[str, Any]:
    """What a drain did, for the `events` asset."""
    seconds = max(report.rate, default=-1) + 1
    rates = [report.rate[s] for s in range(seconds)]
    figures: dict[str, Any] = {
        name: report.counts[name] for name in ("stored", "duplicate", "filtered", "discarded", "invalid")
    }
    figures |= {"batches": report.batches, "envelopes": report.envelopes, "ended": report.ended_because}
    if rates:
        figures["items_per_second"] = dg.MetadataValue.md(
            f"`{sparkline(rates)}` up to {max(rates):,} a second"
        )
    if report.lag_seconds:
        figures["lag_median_seconds"] = round(median(report.lag_seconds), 3)
        figures["lag_max_seconds"] = round(max(report.lag_seconds), 3)
    return figures


def rows_metadata(rows: int, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Row count of a partition in the form that the UI plots, and further figures."""
    return {"dagster/partition_row_count": rows, **(extra or {})}
