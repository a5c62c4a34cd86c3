"""Backfills that Dagster works on, watched until they have ended. What they compute does not belong here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks_pipeline.service.dagster_client import Backfill

POLL_SECONDS = 1.0
PATIENCE_SECONDS = 60.0  # a webserver that the supervisor restarts is away for a while


def watched(ui_url: str, backfill_id: str) -> Iterator[Backfill]:
    """The state of a backfill until it has ended; a webserver that is away for a moment is waited for."""
    from tasks_pipeline.service.dagster_client import DagsterError, backfill_progress

    answered = time.monotonic()
    while True:
        try:
            found = backfill_progress(ui_url, backfill_id)
        except DagsterError:
            if time.monotonic() - answered > PATIENCE_SECONDS:
                raise
        else:
            answered = time.monotonic()
            yield found
            if found.ended:
                return
        time.sleep(POLL_SECONDS)
