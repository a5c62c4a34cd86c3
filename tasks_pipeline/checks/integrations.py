"""Checks of external_issues: links are looked at, nothing is stuck, both sides agree, nothing was made twice."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from tasks_pipeline.integrations.proofs import AGREED, PROOFS, prove
from tasks_pipeline.integrations.sampling import sample, with_sample
from tasks_pipeline.resources.stores import StoresResource


@dg.multi_asset_check(
    name="check_external_issues",
    specs=[
        dg.AssetCheckSpec(name, asset="external_issues", description=text) for name, text in PROOFS.items()
    ],
    can_subset=True,
)
def check_external_issues(
    context: dg.AssetCheckExecutionContext, stores: StoresResource
) -> Iterator[dg.AssetCheckResult]:
    """Look at what is stored of links and of what has to be made, and read a few issues as they are now."""
    asked, now = {key.name for key in context.selected_asset_check_keys}, datetime.now(UTC)
    with stores.open() as opened:
        with opened.state.read() as connection:
            found = prove(connection, opened.config, now, [name for name in PROOFS if name in asked])
        read = sample(opened, now) if AGREED in asked else {}
    for proof in [with_sample(each, read) if each.name == AGREED else each for each in found]:
        yield dg.AssetCheckResult(
            asset_key="external_issues",
            check_name=proof.name,
            passed=proof.holds,
            severity=dg.AssetCheckSeverity.WARN,
            description=proof.said,
            metadata={"count": proof.many},
        )
