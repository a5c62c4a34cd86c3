"""Ticks that skipped are forgotten soon: Dagster itself keeps each for a day at least, and nobody reads thousands of them."""

from __future__ import annotations

from datetime import datetime, timedelta

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickStatus

KEPT = timedelta(minutes=10)
"""So long the reasons why nothing was started can be read in the UI. A tick takes 1.3 KB."""


def drop_idle_ticks(instance: dg.DagsterInstance, now: datetime) -> None:
    """Remove the older ticks of sensors that started nothing and failed at nothing; the others stay as `retention` says."""
    before = (now - KEPT).timestamp()
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        instance.purge_ticks(state.instigator_origin_id, state.selector_id, before, [TickStatus.SKIPPED])
