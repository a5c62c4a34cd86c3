"""Partitions whose runs failed: sensors leave them alone for a while, longer each time, and start the others at once."""

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile

import dagster as dg

from tasks_pipeline.partitions import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG

FIRST_PAUSE = timedelta(minutes=15)
"""So long after a run failed its partitions are tried again; twice as long after each further one."""
LONGEST_PAUSE = timedelta(hours=4)
_LOOKED_BACK = timedelta(days=1)  # has six runs at least that failed one after the other


def held_back(
    instance: dg.DagsterInstance, job: str, keys: Collection[date], now: datetime
) -> dict[date, datetime]:
    """Those of the keys whose last runs of a job failed, and that are not to be tried again yet, with the moment when they are."""
    if not keys:
        return {}
    ended = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]
    filters = dg.RunsFilter(job_name=job, statuses=ended, created_after=now - _LOOKED_BACK)
    records = instance.get_run_records(filters)  # the newest first
    found: dict[date, datetime] = {}
    for key in keys:
        own = (record for record in records if _has(record.dagster_run.tags, key.isoformat()))
        failed = list(takewhile(lambda r: r.dagster_run.status is dg.DagsterRunStatus.FAILURE, own))
        if failed:
            pause = min(FIRST_PAUSE * 2 ** (len(failed) - 1), LONGEST_PAUSE)
            again = datetime.fromtimestamp(failed[0].end_time or 0.0, UTC) + pause
            if again > now:
                found[key] = again
    return found


def _has(tags: Mapping[str, str], key: str) -> bool:
    """Whether a run was of a partition."""
    if RANGE_START_TAG in tags:
        return tags[RANGE_START_TAG] <= key <= tags[RANGE_END_TAG]
    return tags.get(PARTITION_TAG) == key


def told(held: Mapping[date, datetime]) -> str:
    """Partitions that failed for people, the newest first: `2026-11-20 failed and is tried again at 10:30 UTC`."""
    newest = sorted(held.items(), reverse=True)
    said = [f"{key} failed and is tried again at {again:%H:%M} UTC" for key, again in newest[:_NAMED]]
    return "; ".join([*said, *([f"and {len(held) - _NAMED} more"] if len(held) > _NAMED else [])])


_NAMED = 5
