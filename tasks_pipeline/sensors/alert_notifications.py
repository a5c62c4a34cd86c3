"""alert_notifications_sensor: starts a sender when messages wait, and already when events are on their way that may become messages."""

from datetime import UTC, datetime

import dagster as dg

from tasks_pipeline.jobs import send_alert_notification_job
from tasks_pipeline.notifications.outbox import waiting_notifications
from tasks_pipeline.nudging.wanted import SENDER, may_alert
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.workers import described, runs_going_on
from tasks_pipeline.storage.ledger.backlog import backlogs, day_may_run
from tasks_pipeline.storage.ledger.drains import active_drains
from tasks_pipeline.stores import Stores
from tasks_pipeline.words import counted


@dg.sensor(
    name="alert_notifications_sensor",
    job=send_alert_notification_job,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts send_alert_notification when messages are due and nobody sends. Where alert rules have somewhere "
    "to send to, a sender stands by as soon as events wait: starting it after them would cost seconds more.",
)
def alert_notifications_sensor(
    context: dg.SensorEvaluationContext, stores: StoresResource
) -> dg.SensorResult | dg.SkipReason:
    """One sender at a time, beside one that is at its end; the skip reason says what waits and who works."""
    now = datetime.now(UTC)
    with stores.open() as opened:
        backlog = waiting_notifications(opened.state, now)
        if backlog.oldest is not None:
            waiting = f"{counted(backlog.count, 'message')} waiting, the oldest for {(now - backlog.oldest).total_seconds():.0f} s"
        elif may_alert(opened.config) and _events_are_coming(opened):
            waiting = "no message waits, but events are on their way"
        else:
            return dg.SkipReason("nothing waits")
        longest = opened.config.notifications.max_run_seconds
    senders = runs_going_on(context.instance, send_alert_notification_job.name, longest)
    if senders:
        return dg.SkipReason(f"{waiting}; {described(senders)}")
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                tags=dict(SENDER.tags),
                run_config=dict(SENDER.config),
            )
        ]
    )


def _events_are_coming(stores: Stores) -> bool:
    return bool(active_drains(stores.state)) or any(
        day_may_run(backlog, datetime.now(UTC)) for backlog in backlogs(stores.state, stores.spool)
    )
