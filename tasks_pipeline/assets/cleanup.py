"""Assets of the cleanup: what tonight would remove, and what was removed. Figures and names of our own tables only."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from tasks_pipeline.assets.maintenance import GROUP, NIGHTLY, TAGS, DropConfig, removed_text
from tasks_pipeline.assets.metadata import COMPUTED, ROWS_GONE, rows_metadata
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.retention.blobs import blobs_due, delete_old_file_attachments
from tasks_pipeline.retention.cleanup import ALL, Cleanup, cleanup_old_events, plan_cleanup
from tasks_pipeline.retention.plan import Removal
from tasks_pipeline.retention.policy import ATTACHMENTS, EVENTS
from tasks_pipeline.stores import Stores
from tasks_pipeline.words import counted

MOST_SHOWN = 200


@dg.asset(
    name="cleanup_plan",
    group_name=GROUP,
    kinds={"ducklake", "sql"},
    tags=TAGS,
    freshness_policy=NIGHTLY,
    description="What is older than its retention and would be removed now, by table, project and day. Nothing is changed.",
)
def plan_of_cleanup(context: dg.AssetExecutionContext, stores: StoresResource) -> dg.MaterializeResult[Any]:
    """Count what a cleanup would remove."""
    began, now = time.monotonic(), datetime.now(UTC)
    with stores.open() as opened:
        plan = plan_cleanup(opened, now)
        removals = [*plan.removals, *blobs_due(opened, now, ALL)]
        slugs = opened.slugs
    for day, why in sorted(plan.waiting.items()):
        context.log.info(f"{day} stays for now: {why}")
    return _result(removals, began, slugs, waiting_days=len(plan.waiting))


@dg.asset(
    name="cleanup_old_events",
    group_name=GROUP,
    deps=["cleanup_plan"],
    kinds={"ducklake", "sql", "cleanup"},
    tags=TAGS,
    freshness_policy=NIGHTLY,
    description="Events, transactions, sessions, figures, groups and all else that was removed because its retention is over "
    "(`retention` in the configuration). Days on which something waits, and those whose figures are not final, stay.",
)
def cleanup(
    context: dg.AssetExecutionContext, config: DropConfig, stores: StoresResource
) -> dg.MaterializeResult[Any]:
    """Remove what is older than its retention, but for attachments and files of symbols."""
    return _removed(context, config, stores, cleanup_old_events, EVENTS)


@dg.asset(
    name="delete_old_file_attachments",
    group_name=GROUP,
    deps=["cleanup_plan"],
    kinds={"ducklake", "file", "cleanup"},
    tags=TAGS,
    freshness_policy=NIGHTLY,
    description="Attachments, minidumps, debug files and artifact bundles that were removed because their retention is over, and all "
    "blobs that nothing refers to any more.",
)
def delete_attachments(
    context: dg.AssetExecutionContext, config: DropConfig, stores: StoresResource
) -> dg.MaterializeResult[Any]:
    """Remove attachments and files of symbols that are older than their retention, and blobs without reference."""
    return _removed(context, config, stores, delete_old_file_attachments, ATTACHMENTS)


def _removed(
    context: dg.AssetExecutionContext,
    config: DropConfig,
    stores: StoresResource,
    remove: Callable[[Stores, datetime], Cleanup],
    by: str,
) -> dg.MaterializeResult[Any]:
    began, now = time.monotonic(), datetime.now(UTC)
    with stores.open() as opened:
        slugs = opened.slugs
        if config.dry_run:
            report = Cleanup(removed=plan_cleanup(opened, now, ALL.among(by)).removals)
        else:
            report = remove(opened, now)
        url = opened.config.retention.archive_url
    removals = report.removed
    for day, why in sorted(report.waiting.items()):
        context.log.info(f"{day} stays for now: {why}")
    for each in removals:
        context.log.info(
            f"{each.table} of {each.day or 'all days'}: {counted(each.rows, 'row')} {removed_text(config.dry_run)}"
        )
        if not config.dry_run and each.day is not None and each.table in COMPUTED:
            gone = {"rows": ROWS_GONE, "removed": each.rows}
            context.log_event(
                dg.AssetMaterialization(
                    each.table, metadata=rows_metadata(0, gone), partition=each.day.isoformat()
                )
            )
    kept = report.archived
    archived = {
        "archived_parts": len(kept),
        "archived_rows": sum(each.rows for each in kept),
        "archived_bytes": sum(each.size for each in kept),
        "archive": url or "none",
    }
    waiting = len(report.waiting)
    return _result(removals, began, slugs, dry_run=config.dry_run, waiting_days=waiting, **archived)


def _result(
    removals: Sequence[Removal], began: float, slugs: dict[int, str], **figures: Any
) -> dg.MaterializeResult[Any]:
    names = ("table", "project", "day", "rows", "files", "bytes", "reason")
    shown = [each.as_dict(slugs) for each in removals[:MOST_SHOWN]]
    records = [
        dg.TableRecord({name: row[name] if isinstance(row[name], int) else str(row[name] or "") for name in names})
        for row in shown
    ]  # fmt: skip
    types = {"rows": "int", "files": "int", "bytes": "int"}
    columns = [dg.TableColumn(name, types.get(name, "string")) for name in names]
    return dg.MaterializeResult(
        metadata={
            "rows": sum(each.rows for each in removals),
            "files": sum(each.files for each in removals),
            "bytes": sum(each.size for each in removals),
            "days": len({each.day for each in removals if each.day is not None}),
            "seconds": round(time.monotonic() - began, 3),
            "removed": dg.MetadataValue.table(records, schema=dg.TableSchema(columns=columns)),
            **figures,
        }
    )
