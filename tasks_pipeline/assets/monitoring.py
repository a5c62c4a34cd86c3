"""Assets of monitoring: incidents of monitors, and the pipeline's watch over itself. Names and figures only."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from tasks_pipeline.assets.metadata import of_state
from tasks_pipeline.assets.notifications import alerts_since
from tasks_pipeline.lanes import LANE_TAG, MONITORING
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.state.tables import incidents, probes

GROUP = "monitoring"

pipeline_probes = dg.AssetSpec(
    "pipeline_probes",
    description="What the pipeline watches of itself: lag, queues, error rates, failing runs, sensors and schedules, disk, "
    "clock. Read every minute by `pipeline_watch_sensor`; each probe is a check of this asset.",
    group_name=GROUP,
    kinds={"sql", "table"},
    freshness_policy=dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=12), warn_window=timedelta(hours=7)
    ),
    metadata=of_state(probes),
)


class CheckMonitorsConfig(dg.Config):
    """How a run watches monitors."""

    linger_seconds: float | None = Field(
        0.0,
        description="How long to go on when nothing is due; null is as long as a run of the sensor does.",
    )


@dg.asset(
    name="monitor_incidents",
    deps=["check_ins"],
    group_name=GROUP,
    kinds={"sql", "table"},
    tags={LANE_TAG: MONITORING.name},
    metadata=of_state(incidents),
    description="Incidents of cron and uptime monitors: opened when a check-in is missing, late or bad, or an address does "
    "not answer as expected, and closed by recovery. Materialising checks every monitor that is due.",
)
def check_monitors(
    context: dg.AssetExecutionContext, config: CheckMonitorsConfig, stores: StoresResource
) -> dg.MaterializeResult[Any]:
    """Check what is due, open and close incidents, and go on while something is due soon."""
    from tasks_pipeline.monitors.loop import watch_monitors

    began = datetime.now(UTC)
    with stores.open() as opened:
        report = watch_monitors(opened, linger_seconds=config.linger_seconds)
        fired = alerts_since(opened, began)
    if fired is not None:
        context.log_event(fired)
    context.log.info(str(report))
    return dg.MaterializeResult(metadata=report.figures())
