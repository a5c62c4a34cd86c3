"""Assets about groups as a whole: similar groups, proposed or merged. Figures and short ids only, no text of events."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from tasks_pipeline.assets.metadata import of_state
from tasks_pipeline.groups.lists import short_ids
from tasks_pipeline.groups.propose import MergeReport
from tasks_pipeline.groups.propose import merge_events as find_and_merge
from tasks_pipeline.groups.similar import proposed_pairs
from tasks_pipeline.groups.similarity import Pair
from tasks_pipeline.lanes import LANE_TAG, MAINTENANCE
from tasks_pipeline.processing.catch_up import CaughtUp, catch_up_hours, catch_up_releases
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.state.tables import similar_groups
from tasks_pipeline.stores import Stores

GROUP = "groups"
PAIRS_SHOWN = 50


@dg.asset(
    name="similar_groups",
    deps=["groups", "event_payloads"],
    group_name=GROUP,
    kinds={"sql", "table"},
    tags={LANE_TAG: MAINTENANCE.name},
    freshness_policy=dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=6), warn_window=timedelta(hours=2)
    ),
    metadata=of_state(similar_groups),
    description="Pairs of groups that look alike by type, frames in app and message: proposed, or merged where the "
    "project's `merging.merge_above` says so. What people took apart stays apart.",
)
def merge_events(context: dg.AssetExecutionContext, stores: StoresResource) -> dg.MaterializeResult[Any]:
    """Sign new groups, propose the similar ones, merge those that are similar enough. Days of groups that were counted before
    their releases or hours were learn them here."""
    with stores.open() as opened:
        report, caught_up = find_and_merge(opened), catch_up_releases(opened)
        hours = catch_up_hours(opened, datetime.now(UTC))
        context.log.info(
            f"{report.signed} groups signed, {report.proposed} pairs proposed, {len(report.merged)} merged"
        )
        return dg.MaterializeResult(
            metadata=_metadata(opened, report, caught_up) | {"days_that_learned_hours": hours}
        )


def _metadata(stores: Stores, report: MergeReport, caught_up: CaughtUp) -> dict[str, Any]:
    waiting = proposed_pairs(stores.state)
    return {
        "signed_groups": report.signed,
        "new_proposals": report.proposed,
        "merged_pairs": len(report.merged),
        "open_proposals": len(waiting),
        "days_that_learned_releases": caught_up.done,
        "days_without_releases": caught_up.left,
        "merged": _table(stores, report.merged),
        "proposed": _table(stores, waiting),
    }


def _table(stores: Stores, pairs: list[Pair]) -> dg.TableMetadataValue:
    shown = pairs[:PAIRS_SHOWN]
    names = short_ids(stores.state, stores.slugs, [group_id for pair in shown for group_id in pair[:2]])
    records = [
        dg.TableRecord({"group": names[older], "similar": names[newer], "score": score})
        for older, newer, score in shown
    ]
    columns = [dg.TableColumn("group"), dg.TableColumn("similar"), dg.TableColumn("score", "float")]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns=columns))
