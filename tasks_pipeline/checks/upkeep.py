"""Checks of upkeep: what it found, as the watch tells it to operators too."""

from collections.abc import Callable

import dagster as dg

from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.stores import Stores
from tasks_pipeline.watch import probes
from tasks_pipeline.watch.probes import Reading


def _check(name: str, asset: str, read: Callable[[Stores], Reading]) -> dg.AssetChecksDefinition:
    """A reading of the watch as a check of the asset that it comes from."""

    @dg.asset_check(name=name, asset=asset, description=probes.DESCRIPTIONS[name])
    def check(stores: StoresResource) -> dg.AssetCheckResult:
        with stores.open() as opened:
            reading = read(opened)
        unit, value = probes.measured(reading)
        return dg.AssetCheckResult(
            passed=reading.status == probes.OK,
            severity=dg.AssetCheckSeverity.WARN
            if reading.status == probes.WARNING
            else dg.AssetCheckSeverity.ERROR,
            metadata={unit: float(value)},
            description=reading.detail[:500],
        )

    return check


UPKEEP_CHECKS = [
    _check("damage", "optimize_database", probes.damage),
    _check("lake_files", "storage_health", probes.lake_files),
    _check("disk_days", "storage_health", probes.disk_days),
]
