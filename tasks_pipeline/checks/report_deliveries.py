"""Checks of report_deliveries: every subscriber of a closed period has a row, and nobody has two messages of one report."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from tasks_pipeline.reports.deliveries import STATUSES, counts_since, twice_told, without_row
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.stores import Stores

ALL, ONCE = "all_subscribers_accounted_for", "one_message_each"
LOOKED_BACK = timedelta(days=35)
_ASKED_WITHIN = timedelta(minutes=30)
"""Rows of a period are made by the next tick after its end."""


@dg.multi_asset_check(
    name="check_report_deliveries",
    specs=[
        dg.AssetCheckSpec(
            ALL,
            asset="report_deliveries",
            description="Subscribers of a closed period = sent + waiting + failed + skipped.",
        ),
        dg.AssetCheckSpec(
            ONCE,
            asset="report_deliveries",
            description="One message per kind, period and subscriber.",
            blocking=True,
        ),
    ],
    can_subset=True,
)
def check_report_deliveries(
    context: dg.AssetCheckExecutionContext, stores: StoresResource
) -> Iterator[dg.AssetCheckResult]:
    """Count the rows and messages of the last weeks."""
    asked = {key.name for key in context.selected_asset_check_keys}
    now = datetime.now(UTC)
    with stores.open() as opened:
        if ALL in asked:
            yield _all_accounted_for(opened, now)
        if ONCE in asked:
            yield _one_each(opened, now)


def _all_accounted_for(stores: Stores, now: datetime) -> dg.AssetCheckResult:
    with stores.state.read() as connection:
        missing = without_row(connection, stores.config, now - _ASKED_WITHIN)
        counts = counts_since(connection, (now - LOOKED_BACK).date())
    return dg.AssetCheckResult(
        asset_key="report_deliveries",
        check_name=ALL,
        passed=not missing,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{len(missing) or 'no'} subscribers of closed periods have no row",
        metadata={"missing": len(missing), **{status: counts[status] for status in STATUSES}},
    )


def _one_each(stores: Stores, now: datetime) -> dg.AssetCheckResult:
    with stores.state.read() as connection:
        twice = twice_told(connection, now - LOOKED_BACK)
    return dg.AssetCheckResult(
        asset_key="report_deliveries",
        check_name=ONCE,
        passed=not twice,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{len(twice) or 'no'} subscribers were told of a report twice",
        metadata={"twice": len(twice)},
    )
