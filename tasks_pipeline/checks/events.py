"""Checks of a day's events: the books balance, event ids are unique, clocks are sane."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime

import dagster as dg

from tasks_pipeline.processing.books import (
    Books,
    books_of_lake,
    odd_timestamps,
    repeated_event_ids,
    row_counts,
)
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.stores import Stores

ODD_SHARE = 0.05  # a few clocks are always wrong

_BOOKS = dg.AssetCheckSpec(
    "books_balance",
    asset="events",
    description="Items accepted by the receiver = stored + duplicate + filtered + discarded + invalid + waiting.",
    blocking=True,
)
_UNIQUE = dg.AssetCheckSpec(
    "event_ids_unique",
    asset="events",
    description="An event id stands once in its project, and every event has its payload.",
    blocking=True,
)
_TIMES = dg.AssetCheckSpec(
    "timestamps_sane",
    asset="events",
    description="Few events say that they happened after their receipt, or more than a day before it.",
)


@dg.multi_asset_check(name="check_events", specs=[_BOOKS, _UNIQUE, _TIMES])
def check_events(
    context: dg.AssetCheckExecutionContext, stores: StoresResource
) -> Iterator[dg.AssetCheckResult]:
    """Look at what lies in the lake for the partition."""
    day = _day(context.run.tags)
    with stores.open() as opened:
        yield _books_balance(books_of_lake(opened, day))
        yield _event_ids_unique(opened, day)
        yield _timestamps_sane(opened, day)


def _day(tags: Mapping[str, str]) -> date:
    """The partition of the run (a backfill names it as a range), today for a check that is executed by itself.

    Checks with partitions of their own are a preview in Dagster 1.13: its UI does not count what they found.
    """
    key = tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_start")
    return date.fromisoformat(key) if key else datetime.now(UTC).date()


def _books_balance(books: Books) -> dg.AssetCheckResult:
    figures = {name: value for name, value in books.as_dict().items() if isinstance(value, int)}
    return dg.AssetCheckResult(
        asset_key="events",
        check_name=_BOOKS.name,
        passed=books.difference == 0,
        severity=dg.AssetCheckSeverity.ERROR,
        description="balanced" if books.difference == 0 else f"{books.difference} items are unaccounted for",
        metadata={**figures, "difference": books.difference},
    )


def _event_ids_unique(stores: Stores, day: date) -> dg.AssetCheckResult:
    repeated = repeated_event_ids(stores, day)
    rows = row_counts(stores, day)
    without = rows["events"] - rows["event_payloads"]
    return dg.AssetCheckResult(
        asset_key="events",
        check_name=_UNIQUE.name,
        passed=not repeated and without == 0,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "repeated_ids": len(repeated),
            "events_without_payload": without,
            "examples": ", ".join(row["event_id"] for row in repeated[:5]) or "none",
        },
    )


def _timestamps_sane(stores: Stores, day: date) -> dg.AssetCheckResult:
    odd = odd_timestamps(stores, day)
    return dg.AssetCheckResult(
        asset_key="events",
        check_name=_TIMES.name,
        passed=odd["future"] + odd["late"] <= ODD_SHARE * odd["events"],
        severity=dg.AssetCheckSeverity.WARN,
        metadata=dict(odd),
    )
