"""Assets of what shipped: releases with their commits, deploys and figures. Figures only, no name that somebody sent."""

from typing import Any

import dagster as dg
from pydantic import Field

from tasks_pipeline.assets.metadata import of_state
from tasks_pipeline.lanes import LANE_TAG, RELEASES
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.state import tables

GROUP = "releases"


class ShipConfig(dg.Config):
    """How a run works on releases."""

    linger_seconds: float | None = Field(
        0.0,
        description="How long to wait for more before the run ends; null is as long as a run of the sensor does.",
    )


@dg.asset(
    name="releases",
    deps=["events", "transactions", "sessions", "groups"],
    group_name=GROUP,
    kinds={"sql", "table"},
    tags={LANE_TAG: RELEASES.name},
    metadata=of_state(tables.releases),
    description="Releases that were heard of or announced. The drain and the Web API note them; materialising does what is left: "
    "process_new_release for those that are new (resolutions in a commit that they hold, groups that their commits fix), "
    "update_release_data for those of which commits came since, messages about deploys, and events and users, counted at most "
    "every 15 minutes.",
)
def process_new_release(
    context: dg.AssetExecutionContext, config: ShipConfig, stores: StoresResource
) -> dg.MaterializeResult[Any]:
    """Do what waits for releases and deploys, and linger for more."""
    from tasks_pipeline.shipping.loop import ship_releases

    with stores.open() as opened:
        report = ship_releases(opened, linger_seconds=config.linger_seconds)
    context.log.info(str(report))
    return dg.MaterializeResult(metadata=report.figures())
