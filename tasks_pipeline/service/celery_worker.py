"""The command of a Celery worker that runs the runs of lanes. Without a broker runs are processes of Dagster's code server."""

from __future__ import annotations

from collections.abc import Sequence

from tasks_pipeline.service.service import CannotStart


def command(lanes: Sequence[str], concurrency: int | None) -> list[str]:
    """What to execute for a worker of some lanes. Raises CannotStart when no broker is configured."""
    raise CannotStart(
        "no broker is configured: runs are processes of the `dagster` role, and there is nothing for a worker to do"
    )
