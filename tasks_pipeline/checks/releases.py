"""Checks of release health: what is counted adds up, and is all that was received."""

import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from tasks_pipeline.checks.events import of_no_partition
from tasks_pipeline.releases.proofs import Proof, prove
from tasks_pipeline.resources.stores import StoresResource

Verdict = tuple[bool, str, dict[str, Any]]
"""Whether it holds, in a line, and figures."""


def _states_add_up(proof: Proof) -> Verdict:
    said = f"in {proof.uneven or 'no'} rows the states do not add up to the sessions"
    return not proof.uneven, said, {"rows": proof.rows, "uneven": proof.uneven}


def _hours_add_up(proof: Proof) -> Verdict:
    holds = proof.in_hours == proof.sessions and not proof.between_slots and not proof.doubled
    said = f"{proof.in_hours:,} sessions in the hours of the day, {proof.sessions:,} in all"
    figures = {"between_slots": proof.between_slots, "doubled_rows": proof.doubled}
    return holds, said, {"sessions": proof.sessions, "in_hours": proof.in_hours, **figures}


def _no_session_twice(proof: Proof) -> Verdict:
    more = {p: n for p, n in proof.stored.items() if n > proof.recounted.get(p, 0)} if proof.provable else {}
    said = f"{len(more) or 'no'} projects count a session in two releases, environments or slots"
    return not more, _unless_gone(proof, said), {"projects": len(more)}


def _users_fit(proof: Proof) -> Verdict:
    fewer = [p for p, n in proof.users.items() if n < proof.of_a_release[p]]
    more = [p for p, n in proof.users.items() if n > proof.with_user.get(p, 0)] if proof.provable else []
    said = (
        f"{len(more) or 'no'} projects have more users than sessions of known users, "
        f"{len(fewer) or 'no'} fewer than their largest release"
    )
    figures = {"users": sum(proof.users.values()), "sessions_with_user": sum(proof.with_user.values())}
    return not fewer and not more, said, figures


def _shares_possible(proof: Proof) -> Verdict:
    said = f"{proof.impossible or 'no'} rows have a crash-free share outside of 0 and 1"
    return not proof.impossible, said, {"impossible": proof.impossible}


def _all_counted(proof: Proof) -> Verdict:
    missing = sum(proof.recounted.values()) - proof.sessions
    figures = {"sessions": proof.sessions, "recounted": sum(proof.recounted.values())}
    if not proof.provable:
        return True, _unless_gone(proof, ""), figures
    if proof.due:  # they are counted by the next run
        return True, "rows came since the day was counted", figures
    return proof.stored == proof.recounted, f"{missing or 'no'} sessions are not counted", figures


def _unless_gone(proof: Proof, said: str) -> str:
    return said if proof.provable else "rows of sessions are gone: it cannot be counted again"


_CHECKS: dict[str, tuple[str, str, Callable[[Proof], Verdict]]] = {
    "states_add_up": (
        "release_health",
        "healthy + errored + unhandled + abnormal + crashed = sessions, in every row.",
        _states_add_up,
    ),
    "hours_add_up": (
        "release_health",
        "The hours add up to the day: each row lies in one of its slots, once.",
        _hours_add_up,
    ),
    "no_session_twice": (
        "release_health",
        "No session is in two releases: not more are counted than there are ids and sessions of buckets.",
        _no_session_twice,
    ),
    "all_sessions_counted": (
        "release_health",
        "Sessions of the day = distinct ids + sessions of buckets among the rows received, counted in another way.",
        _all_counted,
    ),
    "crash_free_possible": (
        "release_health",
        "Crash-free shares lie between 0 and 1.",
        _shares_possible,
    ),
    "users_fit": (
        "session_users",
        "Users of a day are at most the sessions of known users, and at least those of its largest release.",
        _users_fit,
    ),
}
"""By name: the asset, what must hold, and who says so."""


def check_release_health(days: dg.PartitionsDefinition) -> dg.AssetChecksDefinition:
    """The checks of the health of a day, which can be executed by themselves, for a day or for today."""
    with warnings.catch_warnings(category=dg.PreviewWarning, action="ignore"):
        specs = [
            dg.AssetCheckSpec(name, asset=asset, description=text, partitions_def=days)
            for name, (asset, text, _) in _CHECKS.items()
        ]

    @dg.multi_asset_check(name="check_release_health", specs=specs, can_subset=True)
    def look(context: dg.AssetCheckExecutionContext, stores: StoresResource) -> Iterator[Any]:
        """Count again for the partition, or for today when the run has none."""
        today = datetime.now(UTC).date()
        day = date.fromisoformat(context.partition_key) if context.has_partition_key else today
        asked = {key.name for key in context.selected_asset_check_keys}
        with stores.open() as opened:
            proof = prove(opened.lake, opened.state, day)
        for spec in specs:
            if spec.name in asked:
                found = _result(spec, day, _CHECKS[spec.name][2](proof))
                yield from [found] if context.has_partition_key else of_no_partition(spec, found)

    return look


def _result(spec: dg.AssetCheckSpec, day: date, verdict: Verdict) -> dg.AssetCheckResult:
    holds, said, figures = verdict
    return dg.AssetCheckResult(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=holds,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{day}: {said}",
        metadata={"day": day.isoformat(), **figures},
    )
