"""The asset report_deliveries: who gets which report, and what became of it. Figures only, no address and no text of a report."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from tasks_pipeline.assets.metadata import of_state
from tasks_pipeline.assets.notifications import GROUP
from tasks_pipeline.lanes import LANE_TAG, MAINTENANCE
from tasks_pipeline.reports.deliveries import STATUSES, counts_since
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.state.tables import report_deliveries
from tasks_pipeline.stores import Stores

LATELY = timedelta(days=35)


@dg.asset(
    name="report_deliveries",
    deps=["daily_report", "weekly_report", "monthly_report"],
    group_name=GROUP,
    kinds={"sql", "email"},
    tags={LANE_TAG: MAINTENANCE.name},
    metadata=of_state(report_deliveries),
    description="Who gets which report: a row for each closed period and subscriber, decided once by a message in the outbox or by "
    "a reason. Materialising puts what is due; never twice, never empty. `tasks-pipeline members show` says who gets what, and when.",
)
def deliver_reports(context: dg.AssetExecutionContext, stores: StoresResource) -> dg.MaterializeResult[Any]:
    """Put due reports into the outbox. Fails behind all others when one could not be composed."""
    from tasks_pipeline.reports import deliver

    with stores.open() as opened:
        report = deliver.deliver_reports(opened, datetime.now(UTC))
        figures = report.figures() | _by_status(opened)
    context.log.info(str(report.figures()))
    if report.failed:
        raise dg.Failure(
            f"{len(report.failed)} reports could not be composed; the others were put into the outbox. They stay due.",
            metadata=figures,
            allow_retries=False,
        )
    return dg.MaterializeResult(metadata=figures)


def _by_status(stores: Stores) -> dict[str, int]:
    """Rows of the newest periods by what became of them."""
    with stores.state.read() as connection:
        counts = counts_since(connection, datetime.now(UTC).date() - LATELY)
    return {f"lately_{status}": counts[status] for status in STATUSES}
