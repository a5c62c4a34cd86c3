"""The asset `suspect_commits`: which commits may have caused which groups. Figures only, no text of commits."""

from typing import Any

import dagster as dg

from tasks_pipeline.assets.metadata import of_state
from tasks_pipeline.lanes import LANE_TAG, RELEASES
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.state.tables import suspect_commits

GROUP = "releases"


@dg.asset(
    name="suspect_commits",
    deps=["releases", "groups"],
    group_name=GROUP,
    kinds={"sql", "table"},
    tags={LANE_TAG: RELEASES.name},
    metadata=of_state(suspect_commits),
    description="Commits that changed the files that groups fail in, of the release in which a group was first seen and the four "
    "before it. Drains find those of new groups; this finds what they left, and what commits that came late make of older groups.",
)
def find_suspect_commits(
    context: dg.AssetExecutionContext, stores: StoresResource
) -> dg.MaterializeResult[Any]:
    """Look for the suspects that are due, a bounded number of groups."""
    from tasks_pipeline.shipping.suspects import find_due_suspects

    with stores.open() as opened:
        report = find_due_suspects(opened)
    context.log.info(str(report))
    return dg.MaterializeResult(metadata=report.figures())
