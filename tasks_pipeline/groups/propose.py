"""merge_events: find groups that look alike, propose them, and merge those that are alike enough for their project."""

from __future__ import annotations

from dataclasses import dataclass, field

from tasks_pipeline.config.merging import Merging
from tasks_pipeline.groups.decisions import AUTOMATIC, DecisionError, cluster, merged_targets
from tasks_pipeline.groups.merging import merge_groups
from tasks_pipeline.groups.regrouping import finish_regroupings
from tasks_pipeline.groups.similar import (
    propose,
    proposed_pairs,
    rejected_between,
    sign_groups,
    signatures_by_platform,
)
from tasks_pipeline.groups.similarity import Pair, similar_pairs
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.stores import Stores


@dataclass(slots=True)
class MergeReport:
    """What a run did: groups that got a signature, new proposals, and the pairs that were merged (or would be)."""

    signed: int = 0
    proposed: int = 0
    merged: list[Pair] = field(default_factory=list)


def merge_events(
    stores: Stores, *, merge_above: float | None = None, dry_run: bool = False, actor: str = AUTOMATIC
) -> MergeReport:
    """Propose similar groups of every project, and merge those above its `merging.merge_above`.

    `merge_above` stands in for the projects' own. Never across projects or platforms, never groups of custom
    fingerprints, never what somebody took apart. `dry_run` finds and proposes, but merges nothing. Doing it again finds
    nothing new.
    """
    report = MergeReport(signed=sign_groups(stores.state, stores.lake))
    for (project_id, _platform), signatures in sorted(signatures_by_platform(stores.state).items()):
        pairs = similar_pairs(signatures, _settings(stores, project_id).propose_above)
        report.proposed += propose(stores.state, project_id, pairs)
    for project in stores.config.projects:
        least = merge_above if merge_above is not None else project.merging.merge_above
        if least is not None:
            for pair in proposed_pairs(stores.state, project_id=project.id, least=least):
                if dry_run or _merge(stores.state, pair, actor):
                    report.merged.append(pair)
    with stores.lake.lock():
        finish_regroupings(stores.state, stores.lake)
    return report


def _settings(stores: Stores, project_id: int) -> Merging:
    project = stores.config.project(project_id)
    return project.merging if project else Merging()


def _merge(state: StateDatabase, pair: Pair, actor: str) -> bool:
    """Merge a proposed pair, the newer into the older, unless that would join what somebody took apart.

    Either may have been merged before, in this run or by a person.
    """
    with state.read() as connection:
        targets = merged_targets(connection, pair[:2])
        older, newer = sorted(targets.get(group_id, group_id) for group_id in pair[:2])
        apart = rejected_between(connection, cluster(connection, older), cluster(connection, newer))
    if older == newer or apart:
        return False
    try:
        merge_groups(state, older, [newer], actor, {"similarity": pair[2]})
    except DecisionError:  # a person was faster
        return False
    return True
