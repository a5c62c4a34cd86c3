"""Checks of statistics: the figures of a day are all that was stored, add up, and balance."""

import warnings
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from tasks_pipeline.analytics.statistics.proofs import users_of, week_before
from tasks_pipeline.analytics.statistics.verdicts import CHECKS, Verdict, judge
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.stores import Stores

ASSET = "statistics"
USERS = "users_of_days_fit"


def check_statistics(days: dg.PartitionsDefinition) -> dg.AssetChecksDefinition:
    """The checks of days' figures, which can be executed by themselves, for days or for today."""
    with warnings.catch_warnings(category=dg.PreviewWarning, action="ignore"):
        specs = [
            dg.AssetCheckSpec(name, asset=ASSET, description=text, blocking=blocking, partitions_def=days)
            for name, (text, blocking, _) in CHECKS.items()
        ]
        users = dg.AssetCheckSpec(
            USERS,
            asset=ASSET,
            description="Distinct users of the week that ends with the day: at least those of its greatest day, at most all days' added up.",
            partitions_def=days,
        )

    @dg.multi_asset_check(name="check_statistics", specs=[*specs, users], can_subset=True)
    def look(context: dg.AssetCheckExecutionContext, stores: StoresResource) -> Iterator[Any]:
        """Look at all days of the run, or at today when it has none."""
        asked = {key.name for key in context.selected_asset_check_keys}
        of_run = [date.fromisoformat(key) for key in context.partition_keys] if _has_days(context) else []
        with stores.open() as opened:
            now = datetime.now(UTC)
            found = judge(opened, of_run or [now.date()], now, asked)
            if USERS in asked:
                found[USERS] = [(day, _users_fit(opened, day)) for day in of_run or [now.date()]]
        for spec in (*specs, users):
            for day, verdict in found.get(spec.name, ()):
                yield _evaluation(spec, day, verdict, of_run)
            if spec.name in found:
                yield dg.Output(None, spec.get_python_identifier())

    return look


def _has_days(context: dg.AssetCheckExecutionContext) -> bool:
    return bool(context.has_partition_key or context.has_partition_key_range)


def _users_fit(stores: Stores, day: date) -> Verdict:
    period, most, added = users_of(stores, week_before(day))
    said = f"{period:,} users in the week that ends with it, {most:,} on one day at most, {added:,} added up"
    return most <= period <= added, said, {"users": period, "most_of_a_day": most, "added_up": added}


def _evaluation(
    spec: dg.AssetCheckSpec, day: date, verdict: Verdict, of_run: list[date]
) -> dg.AssetCheckEvaluation:
    """What was found of one day: a run of many has one evaluation for each."""
    holds, said, figures = verdict
    return dg.AssetCheckEvaluation(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=holds,
        metadata={"day": day.isoformat(), **figures},
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{day}: {said}",
        blocking=spec.blocking,
        partition=day.isoformat() if of_run else None,
    )
