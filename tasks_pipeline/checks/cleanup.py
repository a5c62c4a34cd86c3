"""The check of the cleanup: nothing is older than its retention."""

from datetime import UTC, datetime

import dagster as dg

from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.retention.cleanup import left_over, unarchived_days
from tasks_pipeline.words import counted


@dg.asset_check(
    asset="cleanup_old_events",
    name="nothing_is_older_than_its_retention",
    description="Nothing is older than its retention by more than a day, but for days on which something waits.",
)
def check_cleanup(stores: StoresResource) -> dg.AssetCheckResult:
    """Look for what a night should have removed."""
    with stores.open() as opened:
        found = left_over(opened, datetime.now(UTC))
        unarchived = unarchived_days(opened)
    rows = sum(each.rows for each in found)
    tables = sorted({each.table for each in found})
    because = f", and could not be archived: {'; '.join(unarchived)}" if unarchived else ""
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{counted(rows, 'row')} of {', '.join(tables)} should be gone{because}"
        if found
        else "nothing is older",
        metadata={
            "rows": rows,
            "tables": ", ".join(tables) or "none",
            "not_archived": "; ".join(unarchived) or "none",
        },
    )
