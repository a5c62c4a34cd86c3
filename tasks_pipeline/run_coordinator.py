"""The run coordinator: Dagster's queue, which puts every run on a lane, also one that somebody started from the UI."""

from __future__ import annotations

import dagster as dg
from dagster._core.run_coordinator.base import SubmitRunContext

from tasks_pipeline.lanes import LANE_TAG, LANES, MAINTENANCE, Lane


class LaneRunCoordinator(dg.QueuedRunCoordinator):
    """Jobs, sensors and commands name the lane of their runs in its tags. A materialisation, a backfill or a check that
    is started from the UI names none: it would be ordered and bounded by nothing.
    """

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Put a run into the queue, with the tags of its lane where it has none."""
        run = context.dagster_run
        if LANE_TAG not in run.tags:
            tags = {**lane_of(context).tags, **run.tags}  # what a person has set by hand stays
            self._instance.add_run_tags(run.run_id, tags)
        return super().submit_run(context)


def lane_of(context: SubmitRunContext) -> Lane:
    """The lane that the assets of a run name in their tags: of several the one that waits for the others.

    Without assets (a check by itself, a job of somebody's own) it is housekeeping: one at a time, behind new events.
    """
    graph = context.workspace.asset_graph
    known = [graph.get(key) for key in context.dagster_run.asset_selection or () if graph.has(key)]
    lanes = [LANES[node.tags[LANE_TAG]] for node in known if node.tags.get(LANE_TAG) in LANES]
    return min(lanes, key=lambda lane: lane.priority, default=MAINTENANCE)
