"""Assets of notifications: alerts as rules fired them, messages as they were sent, digests. Names and figures only, no text of events."""

from datetime import UTC, datetime
from statistics import median
from typing import Any

import dagster as dg
from pydantic import Field

from tasks_pipeline.alerts.records import alerts_by_status
from tasks_pipeline.assets.metadata import of_state
from tasks_pipeline.lanes import LANE_TAG, NOTIFICATIONS
from tasks_pipeline.notifications.outbox import channel_figures
from tasks_pipeline.notifications.sending import SendReport
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.state import tables
from tasks_pipeline.stores import Stores

GROUP = "notifications"
_TAGS = {LANE_TAG: NOTIFICATIONS.name}

alerts = dg.AssetSpec(
    "alerts",
    deps=["events", "sessions", "groups", "monitor_incidents"],
    description="Firings of alert rules: written by the drain in the transaction that counts a batch, by "
    "`alert_windows_sensor` for what takes time, and by incidents. Each has its messages in the outbox from the start. "
    "Whoever fires some says so here.",
    group_name=GROUP,
    kinds={"sql", "table"},
    metadata=of_state(tables.alerts),
)


def alerts_since(stores: Stores, began: datetime, *, least: int = 1) -> dg.AssetMaterialization | None:
    """What fired and recovered since a moment, as news of the asset `alerts`; None when that is less than `least`."""
    found = alerts_by_status(stores.state, began)
    if sum(found.values()) < least:
        return None
    figures = {"fired": found.get("firing", 0), "recovered": found.get("recovered", 0)}
    return dg.AssetMaterialization("alerts", metadata=figures)


class SendConfig(dg.Config):
    """How a run empties the outbox."""

    linger_seconds: float | None = Field(
        0.0,
        description="How long to wait for further messages before the run ends; null is `notifications.linger_seconds`.",
    )


@dg.asset(
    name="notifications",
    deps=[alerts],
    group_name=GROUP,
    kinds={"sql", "email"},
    tags=_TAGS,
    metadata=of_state(tables.notifications),
    description="The outbox: every message that was decided on, sent, held back or dead, and why. Materialising sends what "
    "is due. `tasks-pipeline notifications log` answers whether somebody got something.",
)
def send_alert_notification(
    context: dg.AssetExecutionContext, config: SendConfig, stores: StoresResource
) -> dg.MaterializeResult[Any]:
    """Send what the outbox holds, all channels side by side, and linger for more."""
    from tasks_pipeline.notifications.task import NotificationTask

    with stores.open() as opened:
        report = NotificationTask(opened).run(
            "send_alert", run_id=context.run.run_id, linger_seconds=config.linger_seconds
        )
        context.log.info(
            f"{report.sent} sent, {report.retried} to be tried again, {report.dead} dead; ended: {report.ended_because}"
        )
        return dg.MaterializeResult(metadata=_send_metadata(report) | _outbox_metadata(opened))


@dg.asset(
    name="digests",
    deps=["notifications", "groups"],
    group_name=GROUP,
    kinds={"sql", "email"},
    tags=_TAGS,
    metadata=of_state(tables.notifications),
    description="Digests: what members want collected instead of at once, per member and project on their schedule. "
    "Materialising puts those that are due into the outbox; never empty, never twice.",
)
def send_digest(context: dg.AssetExecutionContext, stores: StoresResource) -> dg.MaterializeResult[Any]:
    """Put due digests into the outbox."""
    from tasks_pipeline.notifications.task import NotificationTask

    with stores.open() as opened:
        report = NotificationTask(opened).run("send_digest")
    context.log.info(str(report))
    return dg.MaterializeResult(metadata=report.figures())


def _send_metadata(report: SendReport) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "sent": report.sent,
        "retried": report.retried,
        "dead": report.dead,
        "ended": report.ended_because,
    }
    if report.seconds:
        figures["alert_to_sent_median_seconds"] = round(median(report.seconds), 3)
        figures["alert_to_sent_max_seconds"] = round(max(report.seconds), 3)
    return figures


def _outbox_metadata(stores: Stores) -> dict[str, Any]:
    """How channels are doing."""
    found = channel_figures(stores.state, datetime.now(UTC))
    columns = ("channel", "waiting", "dead", "sent_today", "failures")
    records = [dg.TableRecord({name: row[name] or 0 for name in columns}) for row in found]
    schema = dg.TableSchema(
        columns=[dg.TableColumn(columns[0]), *(dg.TableColumn(c, "int") for c in columns[1:])]
    )
    return {
        "waiting": sum(row["waiting"] or 0 for row in found),
        "dead_letters": sum(row["dead"] or 0 for row in found),
        "channels": dg.MetadataValue.table(records, schema=schema),
    }
