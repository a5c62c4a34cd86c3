"""Checks of external_issues: links are looked at, nothing is stuck, both sides agree, nothing was made twice."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from tasks_pipeline.integrations.proofs import PROOFS, prove
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
    """Look at what is stored of links and of what has to be made; nothing is asked outside."""
    asked = {key.name for key in context.selected_asset_check_keys}
    with stores.open() as opened, opened.state.read() as connection:
        found = prove(
            connection, opened.config, datetime.now(UTC), [name for name in PROOFS if name in asked]
        )
    for proof in found:
        yield dg.AssetCheckResult(
            asset_key="external_issues",
            check_name=proof.name,
            passed=proof.holds,
            severity=dg.AssetCheckSeverity.WARN,
            description=proof.said,
            metadata={"count": proof.many},
        )
