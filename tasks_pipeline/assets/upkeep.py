"""Assets of upkeep: each materialisation says what it gained, in figures that the UI plots. What is removed for its age is in maintenance.py."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from tasks_pipeline.assets.maintenance import GROUP, NIGHTLY, TAGS, DropConfig, removed_text
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.words import counted

_SHOWN = 30


class OptimizeConfig(dg.Config):
    """What of it is done."""

    steps: list[str] = Field(
        [],
        description="merge_small_files, trim_catalog, give_space_back, take_statistics, check_integrity; none named: all of them.",
    )


@dg.asset(
    name="optimize_database",
    group_name=GROUP,
    kinds={"ducklake", "sql"},
    tags=TAGS,
    freshness_policy=NIGHTLY,
    description="The stores, looked after: small files of the lake are merged, its catalog is trimmed, files that dead processes left are "
    "removed, databases give back what they do not need and know how their tables are made, and a part of everything is read to "
    "find damage. What the tables hold stays the same. It stands back while events wait for too long.",
)
def optimize_database(
    context: dg.AssetExecutionContext, config: OptimizeConfig, stores: StoresResource
) -> dg.MaterializeResult[Any]:
    """Merge small files, trim the catalog, give space back, take statistics, look for damage."""
    from tasks_pipeline.upkeep import optimize

    if unknown := set(config.steps) - set(optimize.STEPS):
        raise dg.Failure(
            f"no such steps: {', '.join(sorted(unknown))}; there are {', '.join(optimize.STEPS)}",
            allow_retries=False,
        )
    with stores.open() as opened:
        done = optimize.optimize_database(opened, datetime.now(UTC), config.steps or None)
    for problem in done.damage:
        context.log.error(f"damaged: {problem}")
    if done.postponed:
        context.log.warning(f"the rest is for the next run: {done.postponed}")
    if done.failed:
        said = "; ".join(f"{step}: {why}" for step, why in done.failed.items())
        raise dg.Failure(said, metadata=dict(done.figures))
    return dg.MaterializeResult(metadata={**done.figures, "postponed": done.postponed or "no"})


@dg.asset(
    name="clear_expired_caches",
    group_name=GROUP,
    kinds={"file", "cleanup"},
    tags=TAGS,
    freshness_policy=NIGHTLY,
    description="Caches, bounded: entries that nobody used for 30 days go, and those that were not used longest where a cache is larger "
    "than it may be; also what DuckDB left on disk when its process died. All of it can be made again.",
)
def clear_expired_caches(
    context: dg.AssetExecutionContext, stores: StoresResource
) -> dg.MaterializeResult[Any]:
    """Bound the caches of the home by age and size."""
    from tasks_pipeline.upkeep import caches

    with stores.open() as opened:
        cleared = caches.clear_expired_caches(opened, datetime.now(UTC))
    metadata: dict[str, Any] = {
        "removed_files": sum(one.removed_files for one in cleared),
        "removed_bytes": sum(one.removed_bytes for one in cleared),
    }
    for one in cleared:
        name = one.name.replace("-", "_")
        metadata[f"{name}_files"] = one.files - one.removed_files
        metadata[f"{name}_bytes"] = one.bytes - one.removed_bytes
        if one.bytes:
            metadata[f"{name}_used_within_a_day_percent"] = round(100 * one.used_bytes / one.bytes, 1)
    context.log.info(f"{counted(metadata['removed_files'], 'file')} of caches removed")
    return dg.MaterializeResult(metadata=metadata)


@dg.asset(
    name="old_runs",
    group_name=GROUP,
    kinds={"dagster", "cleanup"},
    tags=TAGS,
    freshness_policy=NIGHTLY,
    description="What Dagster itself would keep for ever, removed `retention.dagster_days` after its end: runs with their events and "
    "captured output, results of checks, ticks. The newest run of each partition stays with what it says of it, and so does the last "
    "result of each check. Of runs that ended well and are superseded the newest 1,500 stay.",
)
def drop_old_runs(
    context: dg.AssetExecutionContext, config: DropConfig, stores: StoresResource
) -> dg.MaterializeResult[Any]:
    """Remove runs, their events and their captured output after `retention.dagster_days`."""
    from tasks_pipeline import old_runs

    days = stores.resolve().config_in_force().config.retention.dagster_days
    now = datetime.now(UTC)
    before = now - timedelta(days=days)
    metadata: dict[str, Any] = {"days": days, "dry_run": config.dry_run}
    if config.dry_run:
        runs = old_runs.drop_old_runs(context.instance, before, dry_run=True)
    else:
        pruned = old_runs.prune(context.instance, before, now)
        runs = pruned.runs
        metadata |= {
            "runs_thinned": pruned.thinned,
            "events": pruned.events,
            "check_results": pruned.check_results,
            "ticks": pruned.ticks,
            "log_files": pruned.log_files,
            "bytes_given_back": pruned.bytes,
        }
    context.log.info(f"{counted(len(runs), 'run')} {removed_text(config.dry_run)}")
    return dg.MaterializeResult(metadata={"runs": len(runs), **metadata})


@dg.asset(
    name="storage_health",
    group_name=GROUP,
    kinds={"sql", "parquet"},
    tags=TAGS,
    freshness_policy=dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=26), warn_window=timedelta(hours=8)
    ),
    description="What each store takes, over time; whether the files of the lake are those that its catalog names; how much disk is free, "
    "and for how many days it will do.",
)
def storage_health(stores: StoresResource) -> dg.MaterializeResult[Any]:
    """Measure the stores, compare the lake with its catalog, and say how long the disk will do."""
    from tasks_pipeline.upkeep import health

    with stores.open() as opened:
        found = health.look_at_storage(opened, datetime.now(UTC))
        slugs = opened.slugs
    metadata: dict[str, Any] = {
        **{f"{store}_bytes": size for store, size in found.stores.items()},
        "all_bytes": sum(found.stores.values()),
        "free_bytes": found.free,
        "disk_bytes": found.total,
        "lake_files": found.files.named,
        "missing_files": len(found.files.missing),
        "orphans": len(found.files.orphans),
        "orphan_bytes": sum(file.size for file in found.files.orphans),
    }
    if found.days_until_full is not None:
        metadata["days_until_full"] = round(found.days_until_full, 1)
    records = [
        dg.TableRecord(
            {
                "store": one.store,
                "table": one.table,
                "project": "" if one.project is None else slugs.get(one.project, str(one.project)),
                "bytes": one.bytes,
            }
        )
        for one in found.volumes[:_SHOWN]
    ]
    columns = [dg.TableColumn(name) for name in ("store", "table", "project")] + [
        dg.TableColumn("bytes", "int")
    ]
    metadata["largest"] = dg.MetadataValue.table(records, schema=dg.TableSchema(columns=columns))
    return dg.MaterializeResult(metadata=metadata)
