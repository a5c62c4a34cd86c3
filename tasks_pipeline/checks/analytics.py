"""The check of facts: what the outbox took to the lake is there, each fact once."""

import warnings
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from tasks_pipeline.checks.events import of_no_partition
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.lake.tables import ANALYTICS_EVENTS

NAME = "facts_stored_once"


def check_analytics_events(days: dg.PartitionsDefinition) -> dg.AssetChecksDefinition:
    """The check of the facts of a day, which can be executed by itself, for a day or for today."""
    with warnings.catch_warnings(category=dg.PreviewWarning, action="ignore"):
        spec = dg.AssetCheckSpec(
            NAME,
            asset=ANALYTICS_EVENTS.name,
            description="By batch, rows of the outbox that were stored = rows in the lake, and no id is there twice.",
            blocking=True,
            partitions_def=days,
        )

    @dg.multi_asset_check(name="check_analytics_events", specs=[spec], can_subset=True)
    def look(context: dg.AssetCheckExecutionContext, stores: StoresResource) -> Iterator[Any]:
        """Count both for each partition of the run, or for today when it has none."""
        from tasks_pipeline.analytics.facts_stored import prove_facts

        keys = context.partition_keys if context.has_partition_key else []
        asked = [date.fromisoformat(key) for key in keys] or [datetime.now(UTC).date()]
        with stores.open() as opened:
            proofs = {day: prove_facts(opened.state, opened.lake, day) for day in asked}
        bad = [day for day, proof in proofs.items() if proof.differing or proof.doubled]
        sent = sum(sum(proof.sent.values()) for proof in proofs.values())
        result = dg.AssetCheckResult(
            asset_key=spec.asset_key,
            check_name=NAME,
            passed=not bad,
            severity=dg.AssetCheckSeverity.ERROR,
            description=f"{sent:,} facts stored; "
            + (f"wrong on {', '.join(map(str, bad))}" if bad else "all are in the lake once"),
            metadata={
                "facts": sent,
                "batches_that_differ": sum(len(proof.differing) for proof in proofs.values()),
                "facts_twice": sum(proof.doubled for proof in proofs.values()),
            },
        )
        yield from [result] if context.has_partition_key else of_no_partition(spec, result)

    return look
