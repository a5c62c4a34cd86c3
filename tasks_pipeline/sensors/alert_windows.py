"""alert_windows_sensor: alert rules about windows of time, which fire and recover also when nothing comes any more."""

from datetime import UTC, datetime

import dagster as dg

from tasks_pipeline.alerts.windows import evaluate_windows
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.words import counted


@dg.sensor(
    name="alert_windows_sensor",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Evaluates rules on windows, sessions, metrics and escalation; the drain does so too for the groups it "
    "touches. Their messages are sent by alert_notifications_sensor.",
)
def alert_windows_sensor(
    context: dg.SensorEvaluationContext, stores: StoresResource
) -> dg.SensorResult | dg.SkipReason:
    """Evaluated in the tick: a few queries, and a run would cost more than they do."""
    with stores.open() as opened:
        fired = evaluate_windows(opened, datetime.now(UTC))
    if not fired:
        return dg.SkipReason("no rule fired")
    return dg.SensorResult(
        skip_reason=f"{counted(len(fired), 'alert')} recorded; what is to be sent is in the outbox",
        asset_events=[dg.AssetMaterialization("alerts", metadata={"fired": len(fired)})],
    )
