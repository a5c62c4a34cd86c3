"""Checks of a day's events: the books balance, event ids are unique, clocks are sane."""

import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from tasks_pipeline.processing.books import (
    books_of_lake,
    odd_timestamps,
    repeated_event_ids,
    row_counts,
)
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.stores import Stores
from tasks_pipeline.words import counted

ODD_SHARE = 0.05  # a few clocks are always wrong

BOOKS, UNIQUE, TIMES = "books_balance", "event_ids_unique", "timestamps_sane"


def check_events(days: dg.PartitionsDefinition) -> dg.AssetChecksDefinition:
    """The checks of a day's events, which can be executed by themselves, for a day or, as the UI does, for today."""
    with warnings.catch_warnings(category=dg.PreviewWarning, action="ignore"):
        specs = [
            dg.AssetCheckSpec(
                BOOKS,
                asset="events",
                description="Items accepted by the receiver = stored + duplicate + filtered + discarded + invalid + waiting.",
                blocking=True,
                partitions_def=days,
            ),
            dg.AssetCheckSpec(
                UNIQUE,
                asset="events",
                description="An event id stands once in its project, and every event has its payload.",
                blocking=True,
                partitions_def=days,
            ),
            dg.AssetCheckSpec(
                TIMES,
                asset="events",
                description="Few events say that they happened after their receipt, or more than a day before it.",
                partitions_def=days,
            ),
        ]

    @dg.multi_asset_check(name="check_events", specs=specs, can_subset=True)
    def look(context: dg.AssetCheckExecutionContext, stores: StoresResource) -> Iterator[Any]:
        """Look at what lies in the lake for the partition, or for today when the run has none."""
        today = datetime.now(UTC).date()
        day = date.fromisoformat(context.partition_key) if context.has_partition_key else today
        asked = {key.name for key in context.selected_asset_check_keys}
        with stores.open() as opened:
            for spec in specs:
                if spec.name in asked:
                    found = _CHECKS[spec.name](opened, day)
                    yield from [found] if context.has_partition_key else of_no_partition(spec, found)

    return look


def of_no_partition(spec: dg.AssetCheckSpec, found: dg.AssetCheckResult) -> Iterator[Any]:
    """What was found by a run that nobody gave a partition: "Execute all" in the UI gives none, and of a result Dagster would
    ask which partition was checked."""
    yield dg.AssetCheckEvaluation(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=found.passed,
        metadata=found.metadata,
        severity=found.severity,
        description=found.description,
        blocking=spec.blocking,
    )
    yield dg.Output(None, spec.get_python_identifier())


def _books_balance(stores: Stores, day: date) -> dg.AssetCheckResult:
    books = books_of_lake(stores, day)
    figures = {name: value for name, value in books.as_dict().items() if isinstance(value, int)}
    return dg.AssetCheckResult(
        asset_key="events",
        check_name=BOOKS,
        passed=books.difference == 0,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{day}: balanced{books.gone and f'; {books.gone}'}"
        if books.difference == 0
        else f"{day}: {counted(books.difference, 'item')} unaccounted for",
        metadata={"day": day.isoformat(), **figures, "difference": books.difference},
    )


def _event_ids_unique(stores: Stores, day: date) -> dg.AssetCheckResult:
    repeated = repeated_event_ids(stores, day)
    rows = row_counts(stores, day)
    without = rows["events"] - rows["event_payloads"]
    return dg.AssetCheckResult(
        asset_key="events",
        check_name=UNIQUE,
        passed=not repeated and without == 0,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{day}: {len(repeated) or 'no'} event ids stand more than once, {without or 'no'} events miss their payload",
        metadata={
            "day": day.isoformat(),
            "repeated_ids": len(repeated),
            "events_without_payload": without,
            "examples": ", ".join(row["event_id"] for row in repeated[:5]) or "none",
        },
    )


def _timestamps_sane(stores: Stores, day: date) -> dg.AssetCheckResult:
    odd = odd_timestamps(stores, day)
    return dg.AssetCheckResult(
        asset_key="events",
        check_name=TIMES,
        passed=odd["future"] + odd["late"] <= ODD_SHARE * odd["events"],
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{day}: of {odd['events']} events {odd['future']} say they happened after their receipt, "
        f"{odd['late']} more than a day before it",
        metadata={"day": day.isoformat(), **odd},
    )


_CHECKS: dict[str, Callable[[Stores, date], dg.AssetCheckResult]] = {
    BOOKS: _books_balance,
    UNIQUE: _event_ids_unique,
    TIMES: _timestamps_sane,
}
