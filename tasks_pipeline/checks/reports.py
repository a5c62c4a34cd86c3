"""Checks of reports: what they say is what the tables of figures say, and none says more than can be known."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from tasks_pipeline.assets.metadata import REPORTS
from tasks_pipeline.checks.events import of_no_partition
from tasks_pipeline.reports.periods import Kind
from tasks_pipeline.reports.proofs import (
    ADDS_UP,
    Stored,
    impossible,
    stored_reports,
    too_early,
    unbalanced,
    unequal_sums,
)
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.state.proofs import note_check, of_report
from tasks_pipeline.stores import Stores

_Look = Callable[[Stores, Sequence[Stored], datetime], list[str]]
MOST_KEYS = 60
"""Of a run of more keys the newest are looked at: each is proved when it is computed by itself."""

_CHECKS: dict[str, tuple[str, bool, _Look]] = {
    "headline_is_the_sum": (
        "Errors, transactions and items of each report are what the tables of figures have within its bounds, and what its local "
        "days come to.",
        True,
        lambda stores, found, _: unequal_sums(stores, found),
    ),
    ADDS_UP: (
        "Groups open at the end = open at the start + entered - left; stored errors = what the tables have, less what went since.",
        True,
        lambda _stores, found, _now: unbalanced(found),
    ),
    "nothing_impossible": (
        "Percentiles rise, shares lie between 0 and 1, and none is told without what it is of.",
        False,
        lambda _stores, found, _now: impossible(found),
    ),
    "final_is_final": (
        "No report is marked final while one of its days may change, and there is none of a period that goes on.",
        True,
        too_early,
    ),
}
"""By name: what must hold, whether it holds up what is built on it, and who looks."""


def check_reports(periods: Mapping[str, dg.PartitionsDefinition]) -> list[dg.AssetChecksDefinition]:
    """The checks of all kinds of reports; each can be executed by itself."""
    return [_checks(kind, partitions) for kind, partitions in periods.items()]  # type: ignore[arg-type]


def _checks(kind: Kind, partitions: dg.PartitionsDefinition) -> dg.AssetChecksDefinition:
    asset = REPORTS[kind]
    with warnings.catch_warnings(category=dg.PreviewWarning, action="ignore"):
        specs = [
            dg.AssetCheckSpec(
                name, asset=asset, description=text, blocking=blocking, partitions_def=partitions
            )
            for name, (text, blocking, _) in _CHECKS.items()
        ]

    @dg.multi_asset_check(name=f"check_{asset}", specs=specs, can_subset=True)
    def look(context: dg.AssetCheckExecutionContext, stores: StoresResource) -> Iterator[Any]:
        """Count again for all keys of the run."""
        asked = {key.name for key in context.selected_asset_check_keys}
        keys = _keys(context)
        now = datetime.now(UTC)
        with stores.open() as opened:
            found = [each for key in keys for each in stored_reports(opened, kind, key)]
            for spec in specs:
                if spec.name not in asked:
                    continue
                wrong = _CHECKS[spec.name][2]
                if not keys:
                    yield from of_no_partition(
                        spec, _result(spec, keys, len(found), wrong(opened, found, now))
                    )
                    continue
                for key in keys:
                    of_key = [each for each in found if each.report.key == key]
                    result = _result(spec, [key], len(of_key), wrong(opened, of_key, now))
                    if spec.blocking:
                        _remember(opened, spec.name, of_key, now)
                    yield _evaluation(spec, key, result)
                yield dg.Output(None, spec.get_python_identifier())

    return look


def _remember(stores: Stores, check: str, found: Sequence[Stored], now: datetime) -> None:
    """Note how a check came out of each report: one that is known to be wrong is sent to nobody."""
    wrong = _CHECKS[check][2]
    said = {each.id: "; ".join(wrong(stores, [each], now)) for each in found}
    with stores.state.write() as connection:
        for report_id, failed in said.items():
            note_check(stores.state, connection, of_report(report_id), check, now, failed)


def _evaluation(spec: dg.AssetCheckSpec, key: date, result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    """What was found of one key, at its partition: a run of many has one for each."""
    return dg.AssetCheckEvaluation(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=result.passed,
        metadata=result.metadata or {},
        severity=result.severity,
        description=result.description,
        blocking=spec.blocking,
        partition=key.isoformat(),
    )


def _keys(context: dg.AssetCheckExecutionContext) -> list[date]:
    if not (context.has_partition_key or context.has_partition_key_range):
        return []
    return [date.fromisoformat(key) for key in sorted(context.partition_keys)][-MOST_KEYS:]


def _result(
    spec: dg.AssetCheckSpec, keys: Sequence[date], reports: int, wrong: Sequence[str]
) -> dg.AssetCheckResult:
    said = f"{len(wrong)} of {reports} reports: {'; '.join(wrong[:5])}" if wrong else f"{reports} reports"
    return dg.AssetCheckResult(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=not wrong,
        severity=dg.AssetCheckSeverity.ERROR,
        description=said,
        metadata={"reports": reports, "wrong": len(wrong), "keys": len(keys)},
    )
