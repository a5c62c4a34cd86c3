"""Checks of the pipeline itself: its probes. The watch evaluates them every minute; they can also be executed by hand."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.dagster_facts import dagster_facts
from tasks_pipeline.sensors.pipeline_watch import check_of
from tasks_pipeline.watch.probes import DESCRIPTIONS, readings


@dg.multi_asset_check(
    name="check_pipeline",
    specs=[
        dg.AssetCheckSpec(name, asset="pipeline_probes", description=text)
        for name, text in DESCRIPTIONS.items()
    ],
    can_subset=True,
)
def check_pipeline(
    context: dg.AssetCheckExecutionContext, stores: StoresResource
) -> Iterator[dg.AssetCheckResult]:
    """Read the probes now."""
    facts = dagster_facts(context.instance)
    asked = {key.name for key in context.selected_asset_check_keys}
    with stores.open() as opened:
        for reading in readings(opened, facts, datetime.now(UTC)):
            if reading.name not in asked:
                continue
            found = check_of(reading, reading.status)
            yield dg.AssetCheckResult(
                asset_key=found.asset_key,
                check_name=found.check_name,
                passed=found.passed,
                severity=found.severity,
                metadata=found.metadata,
                description=found.description,
            )
