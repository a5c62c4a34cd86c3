"""What assets and their materialisations show in the UI: owners, documents, columns, figures. Numbers and our own words only, never
a stranger's text.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from datetime import date
from statistics import median
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from sqlalchemy import Table

from tasks_pipeline.processing.drain import DrainReport
from tasks_pipeline.processing.stopwatch import STAGES
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES, LakeTable
from tasks_pipeline.words import sparkline

COMPUTED = (*RECEIVED_TABLES, "groups")
"""Assets that are computed from the envelopes of a day, all by one op."""
OF_A_DAY = ("envelopes", *COMPUTED)
"""Assets with a partition for each UTC day of receipt."""
OF_HEALTH = ("release_health", "session_users")
"""Assets with a partition for each UTC day on which sessions began."""
OF_FACTS = ("analytics_events",)
"""Assets with a partition for each UTC day on which facts were so."""
REPORTS = {"day": "daily_report", "week": "weekly_report", "month": "monthly_report"}
"""By kind of period: the asset with a partition for each."""
CLEANUP = ("cleanup_plan", "cleanup_old_events", "delete_old_file_attachments", "deletions")
"""Assets of what is removed because its retention is over."""
STATISTICS = "statistics"
"""The asset of all tables of figures, with a partition for each UTC day."""
ROWS_GONE = "gone: their retention is over"
RAW_GONE = "gone; only what is stored of the day can be processed again"
_OWNERS = {
    "event_processing": "team:ingest",
    "groups": "team:triage",
    "releases": "team:releases",
    "notifications": "team:notifications",
    "monitoring": "team:monitoring",
    "integrations": "team:integrations",
    "analytics": "team:analytics",
    "maintenance": "team:operations",
    "reports": "team:reports",
}
"""By group of assets; teams are names that the UI can filter by."""
_DOCUMENTS = {
    "event_processing": "docs/storage.md",
    "groups": "docs/groups.md",
    "releases": "docs/releases.md",
    "notifications": "docs/notifications.md",
    "monitoring": "docs/monitors.md",
    "integrations": "docs/integrations.md",
    "analytics": "docs/analytics.md",
    "maintenance": "docs/dagster.md",
    "cleanup_plan": "docs/retention.md",
    "cleanup_old_events": "docs/retention.md",
    "deletions": "docs/privacy.md",
    "delete_old_file_attachments": "docs/retention.md",
    "reports": "docs/reports.md",
    "statistics": "docs/figures.md",
    "release_health": "docs/health.md",
    "session_users": "docs/health.md",
    "envelopes": "docs/spool.md",
    "alerts": "docs/alerts.md",
    "backup": "docs/backup.md",
    "pipeline_probes": "docs/watch.md",
    "release_adoption": "docs/adoption.md",
    "report_deliveries": "docs/report-delivery.md",
    "optimize_database": "docs/upkeep.md",
    "clear_expired_caches": "docs/upkeep.md",
    "storage_health": "docs/upkeep.md",
    "old_runs": "docs/upkeep.md",
}
"""By asset, else by group: where it is explained."""


def complete(
    assets: Sequence[dg.AssetsDefinition | dg.AssetSpec], partitions: Mapping[str, dg.PartitionsDefinition]
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets with what they have in common: their owner, document and place in the code, and by asset their days."""

    def completed(spec: dg.AssetSpec) -> dg.AssetSpec:
        key, group = spec.key.to_user_string(), spec.group_name or ""
        document = dg.MetadataValue.path(_DOCUMENTS.get(key, _DOCUMENTS[group]))
        return spec.replace_attributes(
            owners=[_OWNERS[group]],
            partitions_def=partitions.get(key),
            metadata={**spec.metadata, "document": document},
        )

    with warnings.catch_warnings(category=dg.BetaWarning, action="ignore"):
        placed = dg.with_source_code_references(assets)
    return list(dg.map_asset_specs(completed, placed))  # type: ignore[arg-type]


def column_schema(table: LakeTable) -> dg.TableSchema:
    """The columns of a lake table, as the UI shows them."""
    return dg.TableSchema(columns=[dg.TableColumn(c.name, c.type, c.description) for c in table.columns])


def of_state(table: Table) -> dict[str, Any]:
    """The name and the columns of a table of the state database, as metadata of its asset."""
    columns = [
        dg.TableColumn(c.name, str(c.type), c.comment, dg.TableColumnConstraints(nullable=bool(c.nullable)))
        for c in table.columns
    ]
    return {
        "dagster/table_name": f"state.{table.name}",
        "dagster/column_schema": dg.TableSchema(columns=columns),
    }


def drain_metadata(report: DrainReport) -> dict[str, Any]:
    """What a drain did, for the `events` asset. `this_run_…` are its own items; the row count beside them is of the day."""
    seconds = max(report.rate, default=-1) + 1
    rates = [report.rate[s] for s in range(seconds)]
    figures: dict[str, Any] = {
        f"this_run_{name}": report.counts[name]
        for name in ("stored", "duplicate", "filtered", "discarded", "invalid")
    }
    figures |= {"this_run_batches": report.batches, "this_run_envelopes": report.envelopes}
    figures |= {"ended": report.ended_because, **stage_metadata(report.seconds)}
    if rates:
        figures["items_per_second"] = dg.MetadataValue.md(
            f"`{sparkline(rates)}` up to {max(rates):,} a second"
        )
    if report.lag_seconds:
        figures["lag_median_seconds"] = round(median(report.lag_seconds), 3)
        figures["lag_max_seconds"] = round(max(report.lag_seconds), 3)
    return figures


def envelopes_of(day: date, count: int, figures: Mapping[str, Any]) -> dg.AssetMaterialization:
    """What is known of the envelopes of a day; no run makes them.

    They are only ever added, and what waits is told elsewhere: with a new version each time, every drain would make the
    tables that it just wrote look outdated.
    """
    return dg.AssetMaterialization(
        "envelopes",
        metadata=rows_metadata(count, figures),
        partition=day.isoformat(),
        tags={DATA_VERSION_TAG: day.isoformat()},
    )


def stage_metadata(seconds: Mapping[str, float]) -> dict[str, float]:
    """Where the time of the work went, in seconds: one figure for each stage, so that the UI plots it over the runs."""
    return {f"{stage}_seconds": round(seconds[stage], 3) for stage in STAGES if stage in seconds}


def rows_metadata(rows: int, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Row count of a partition in the form that the UI plots, and further figures."""
    return {"dagster/partition_row_count": rows, **(extra or {})}
