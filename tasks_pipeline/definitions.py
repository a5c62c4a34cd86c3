"""build_defs(): the one place where assets, checks, sensors, schedules, jobs and resources meet."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from tasks_pipeline.assets.event_processing import envelopes, process_events
from tasks_pipeline.assets.groups import merge_events
from tasks_pipeline.checks.events import check_events
from tasks_pipeline.jobs import (
    drop_expired_envelopes_job,
    drop_stale_chunks_job,
    merge_events_job,
    process_events_job,
    recompute_job,
    reprocess_job,
)
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.schedules import (
    drop_expired_envelopes_schedule,
    drop_stale_chunks_schedule,
    merge_events_schedule,
)
from tasks_pipeline.sensors.late_symbols import late_symbols_sensor
from tasks_pipeline.sensors.new_envelopes import new_envelopes_sensor
from tasks_pipeline.sensors.run_failures import run_failure


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Fresh definitions; tests hand in resources of their own."""
    return dg.Definitions(
        assets=[envelopes, process_events, merge_events],
        asset_checks=[check_events],
        jobs=[
            process_events_job,
            recompute_job,
            reprocess_job,
            merge_events_job,
            drop_expired_envelopes_job,
            drop_stale_chunks_job,
        ],
        sensors=[new_envelopes_sensor, late_symbols_sensor, run_failure],
        schedules=[drop_expired_envelopes_schedule, drop_stale_chunks_schedule, merge_events_schedule],
        resources={"stores": StoresResource(), **(resource_overrides or {})},
        # A fresh interpreter per step would cost seconds; a run is one process.
        executor=dg.in_process_executor,
    )


defs = build_defs()
