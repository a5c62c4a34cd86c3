"""The asset release_adoption: stages of releases, told hour by hour from their health. Figures only, no name of a release."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from tasks_pipeline.assets.metadata import of_state
from tasks_pipeline.lanes import LANE_TAG, MAINTENANCE
from tasks_pipeline.releases.adoption import StageReport, tell_stages
from tasks_pipeline.releases.stages import STAGES
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.state.tables import release_stages

GROUP = "releases"


@dg.asset(
    name="release_adoption",
    deps=["release_health", "session_users"],
    group_name=GROUP,
    kinds={"sql", "table"},
    tags={LANE_TAG: MAINTENANCE.name},
    metadata=of_state(release_stages),
    description="Stages of releases by project and environment: low adoption, adopted, replaced, by their share of the sessions "
    "of six hours. Materialising tells the full hours that passed, and again those of days whose health changed.",
)
def release_adoption(context: dg.AssetExecutionContext, stores: StoresResource) -> dg.MaterializeResult[Any]:
    """Bring the stages up to the last full hour."""
    with stores.open() as opened:
        report = tell_stages(opened.state, opened.lake, datetime.now(UTC))
    context.log.info(
        f"{report.hours} hours told, {len(report.added)} stages began, {report.gone} were taken back"
    )
    return dg.MaterializeResult(metadata=_metadata(report))


def _metadata(report: StageReport) -> dict[str, Any]:
    stages = report.stages()
    figures: dict[str, Any] = {
        "hours": report.hours,
        "transitions": len(report.added),
        "taken_back": report.gone,
        "changed_days": ", ".join(day.isoformat() for day in report.days) or "none",
        **{f"now_{stage}": stages[stage] for stage in STAGES},
    }
    if report.through is not None:
        figures["through"] = dg.MetadataValue.timestamp(report.through)
    return figures
