"""Checks of deletions: nothing that was deleted is found again, and none is open for longer than a day."""

from datetime import UTC, datetime

import dagster as dg

from tasks_pipeline.deletion.found_again import found_again
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.watch.probes import deletions


@dg.asset_check(
    asset="deletions",
    name="nothing_deleted_is_found_again",
    description="Groups and projects that were deleted have no rows, and certificates are as they were written. Persons cannot be looked "
    "for: nobody knows any more who they were.",
)
def check_found_again(stores: StoresResource) -> dg.AssetCheckResult:
    """Look for what certificates name by its number."""
    with stores.open() as opened:
        found = found_again(opened)
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(found[:5]) or "nothing is found again",
        metadata={"found": len(found)},
    )


@dg.asset_check(
    asset="deletions",
    name="no_deletion_is_open_longer_than_a_day",
    description="What is asked to be deleted is deleted within a day.",
)
def check_open_deletions(stores: StoresResource) -> dg.AssetCheckResult:
    """Ask the probe."""
    with stores.open() as opened:
        reading = deletions(opened, datetime.now(UTC))
    return dg.AssetCheckResult(
        passed=reading.status == "ok",
        severity=dg.AssetCheckSeverity.ERROR,
        description=reading.detail,
        metadata={"open": int(reading.value or 0)},
    )
