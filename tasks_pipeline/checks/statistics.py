"""Checks of statistics: the figures of a day are all that was stored, add up, and balance."""

import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from tasks_pipeline.analytics.statistics.proofs import Proof, prove, users_of, week_before
from tasks_pipeline.analytics.statistics.work import SLOTS
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.stores import Stores

Verdict = tuple[bool, str, dict[str, Any]]
"""Whether it holds, in a line, and figures."""
ASSET = "statistics"


def _all_events(proof: Proof) -> Verdict:
    figures = {"events": proof.events, "rows": proof.rows, "stored": proof.stored}
    if proof.due:  # the next run counts them
        return True, "something happened to its rows since it was computed", figures
    taken = proof.stored - proof.rows
    holds = proof.events == proof.rows and (taken == 0 or (proof.taken and taken > 0))
    removed = f", {taken:,} of them removed since" if taken else ""
    return holds, f"{proof.events:,} events in the tables, {proof.stored:,} stored{removed}", figures


def _add_up(proof: Proof) -> Verdict:
    uneven = {} if proof.due else {name: pair for name, pair in proof.sums.items() if pair[0] != pair[1]}
    holds = not uneven and not proof.astray and proof.most_slots <= SLOTS
    said = f"{', '.join(sorted(uneven)) or 'nothing'} is not what it is made of; {proof.astray or 'no'} rows lie in no slot of the day"
    figures = {"slots": proof.most_slots, "astray": proof.astray}
    return holds, said, figures | {name: pair[0] for name, pair in proof.sums.items()}


def _balanced(proof: Proof) -> Verdict:
    b = proof.balance
    said = f"{b.start:,} open at its begin + {b.entered:,} - {b.left:,} = {b.end:,} at its end, {b.level:,} by the levels"
    figures = {
        "open_at_start": b.start, "entered": b.entered, "left": b.left, "open_at_end": b.end, "level": b.level,
    }  # fmt: skip
    return proof.due or b.holds, said, figures


_CHECKS: dict[str, tuple[str, bool, Callable[[Proof], Verdict]]] = {
    "all_events_counted": (
        "Events of the figures = rows of events = stored by the outcomes, less what was removed on purpose since.",
        True,
        _all_events,
    ),
    "figures_add_up": (
        "Tables of the same rows say the same; each row lies in one of the 96 slots of its day.",
        True,
        _add_up,
    ),
    "groups_balance": (
        "Open groups at the end = open at the begin + entered - left, by the log, the moves and the levels.",
        True,
        _balanced,
    ),
}
"""By name: what must hold, whether it blocks what is built on the day, and who says so."""
USERS = "users_of_days_fit"


def check_statistics(days: dg.PartitionsDefinition) -> dg.AssetChecksDefinition:
    """The checks of days' figures, which can be executed by themselves, for days or for today."""
    with warnings.catch_warnings(category=dg.PreviewWarning, action="ignore"):
        specs = [
            dg.AssetCheckSpec(name, asset=ASSET, description=text, blocking=blocking, partitions_def=days)
            for name, (text, blocking, _) in _CHECKS.items()
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
            proofs = [prove(opened, day) for day in of_run or [datetime.now(UTC).date()]]
            found = {
                spec.name: [(proof.day, _CHECKS[spec.name][2](proof)) for proof in proofs]
                for spec in specs
                if spec.name in asked
            }
            if USERS in asked:
                found[USERS] = [(proof.day, _users_fit(opened, proof.day)) for proof in proofs]
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
