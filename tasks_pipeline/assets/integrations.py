"""Assets of issue trackers: issues in step with groups, and how each integration is doing. Names and figures only, no text of issues."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from tasks_pipeline.assets.metadata import of_state
from tasks_pipeline.integrations.figures import integration_figures
from tasks_pipeline.integrations.work import SyncReport
from tasks_pipeline.lanes import INTEGRATIONS, LANE_TAG
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.state.tables import integration_states, issue_links
from tasks_pipeline.stores import Stores
from tasks_pipeline.texts import clean

GROUP = "integrations"
TRACKERS = "trackers"
RECONCILED = "reconciled_issues"
_TAGS = {LANE_TAG: INTEGRATIONS.name}
_FIGURES = ("name", "type", "state", "links", "waiting", "dead", "requests_last_hour")
_WITH_WORDS_OF_OTHERS = {
    "created": "created there", "adopted": "adopted: it was there", "gone": "gone", "held": "held",
}  # fmt: skip
_NUMBERS = ("links", "waiting", "dead", "requests_last_hour")

trackers = dg.DynamicPartitionsDefinition(name=TRACKERS)
"""One for each tracker of the configuration; `integrations_sensor` keeps them so."""


class SyncConfig(dg.Config):
    """How a run carries over what changed."""

    linger_seconds: float | None = Field(
        0.0, description="How long to go on when nothing is due; null is as long as a run of the sensor does."
    )
    tracker: str | None = Field(
        None, description="This tracker alone, which is asked at once; null is all of them."
    )
    full: bool = Field(False, description="All links are looked at, whenever that was done last.")


@dg.asset(
    name="external_issues",
    deps=["groups", "alerts"],
    group_name=GROUP,
    kinds={"sql", "table"},
    tags=_TAGS,
    metadata=of_state(issue_links),
    description="Issues in trackers that groups are linked to, and what both sides last agreed on. Materialising makes what has to be made "
    "there, looks at what changed there, and passes over what changed here. With `tracker` and `full` one tracker is gone over by hand.",
)
def sync_integrations(
    context: dg.AssetExecutionContext, config: SyncConfig, stores: StoresResource
) -> dg.MaterializeResult[Any]:
    """Carry over what changed on either side, and linger for more."""
    from tasks_pipeline.integrations import sync

    linger = sync.LINGER_SECONDS if config.linger_seconds is None else config.linger_seconds
    with stores.open() as opened:
        report = sync.sync_integrations(
            opened,
            tracker=config.tracker,
            full=config.full,
            run_id=context.run.run_id,
            linger_seconds=linger,
        )
    context.log.info(str(report.figures()))
    for name, said in report.errors.items():
        context.log.warning(f"{name}: {said}")
    return dg.MaterializeResult(metadata=_moved(report))


@dg.asset(
    name=RECONCILED,
    deps=["external_issues"],
    group_name=GROUP,
    kinds={"sql", "table"},
    tags=_TAGS,
    description="All links of a tracker, each compared with its issue: a partition for each tracker, so that a backfill of all of them "
    "reconciles everything. Each link has its turn once a day anyway.",
)
def reconcile_issues(context: dg.AssetExecutionContext, stores: StoresResource) -> dg.MaterializeResult[Any]:
    """Look at every link of a tracker."""
    from tasks_pipeline.integrations import sync

    name = context.partition_key
    with stores.open() as opened:
        if opened.config.tracker(name) is None:
            raise dg.Failure(f"there is no tracker {name} any more")
        report = sync.sync_integrations(
            opened, tracker=name, full=True, run_id=context.run.run_id, linger_seconds=0
        )
    return dg.MaterializeResult(metadata=_moved(report))


class StatusConfig(dg.Config):
    """How a run looks at integrations."""

    all: bool = Field(
        False, description="Ask each of them and all of their places, whenever that was done last."
    )


@dg.asset(
    name="integration_status",
    deps=["external_issues"],
    group_name=GROUP,
    kinds={"sql", "table"},
    tags=_TAGS,
    metadata=of_state(integration_states),
    description="How each integration and each of its trackers is doing: ok, degraded, auth_failed, rate_limited, unreachable, misconfigured "
    "or disabled, why, and since when. Materialising asks those that are due, three calls at most; a change of state is told once.",
)
def integration_status(
    context: dg.AssetExecutionContext, config: StatusConfig, stores: StoresResource
) -> dg.MaterializeResult[Any]:
    """Look at the integrations that are due."""
    from tasks_pipeline.integrations.status import update_integration_status

    with stores.open() as opened:
        report = update_integration_status(opened, by_hand=config.all)
        figures = _states(opened)
    for change in report.changed:
        context.log.info(change)
    asked = {"checked": len(report.checked), "calls": report.calls, "changed": len(report.changed)}
    return dg.MaterializeResult(metadata=asked | figures)


def _moved(report: SyncReport) -> dict[str, Any]:
    """Counts, and tables of what was counted by tracker and of what moved."""
    columns = ("tracker", "issue", "what")
    moved = [
        dg.TableRecord({name: clean(row.get(name) or "", 200) for name in columns} | _without_title(row))
        for row in report.moved
    ]
    counted = sorted({what for counts in report.by_tracker.values() for what in counts})
    by_tracker = [
        dg.TableRecord({"tracker": name, **{what: counts[what] for what in counted}})
        for name, counts in sorted(report.by_tracker.items())
    ]
    schema = dg.TableSchema(
        columns=[dg.TableColumn("tracker"), *(dg.TableColumn(what, "int") for what in counted)]
    )
    return {
        **report.figures(),
        "moved": dg.MetadataValue.table(
            moved, schema=dg.TableSchema(columns=[dg.TableColumn(c) for c in columns])
        ),
        "trackers": dg.MetadataValue.table(by_tracker, schema=schema),
    }


def _without_title(row: dict[str, Any]) -> dict[str, str]:
    """Titles of what was made, and the words of the far side, are left out: strangers wrote them."""
    what, _, said = str(row.get("what") or "").partition(": ")
    return {"what": _WITH_WORDS_OF_OTHERS[what]} if said and what in _WITH_WORDS_OF_OTHERS else {}


def _states(stores: Stores) -> dict[str, Any]:
    """How each integration is."""
    with stores.state.read() as connection:
        rows = integration_figures(connection, stores.config, datetime.now(UTC))
    records = [
        dg.TableRecord({name: row[name] if row[name] is not None else "" for name in _FIGURES})
        for row in rows
    ]
    columns = [dg.TableColumn(name, "int" if name in _NUMBERS else "string") for name in _FIGURES]
    return {
        "waiting": sum(row["waiting"] for row in rows),
        "integrations": dg.MetadataValue.table(records, schema=dg.TableSchema(columns=columns)),
    }
