"""Lanes: the classes of runs, each with its own priority, concurrency and queue, and the reason for them.

No Dagster here: jobs read the tags, the service writes the limits into dagster.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass

LANE_TAG = "lane"
QUEUE_TAG = "dagster-celery/queue"
"""Where a run waits for a worker, in a deployment with a broker."""
DRAIN_TAG = "tasks_pipeline/drain"
"""On a run that drains: its day."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A class of runs.

    `priority` orders waiting runs (higher first), `max_concurrent_runs` bounds those at work at once, `queue` is the
    worker queue in a deployment with queues, `max_runtime_seconds` ends a run that hangs.
    """

    name: str
    priority: int
    max_concurrent_runs: int
    queue: str
    max_runtime_seconds: int
    why: str

    @property
    def tags(self) -> dict[str, str]:
        """Run tags that put a run on this lane."""
        return {
            LANE_TAG: self.name,
            "dagster/priority": str(self.priority),
            "dagster/max_runtime": str(self.max_runtime_seconds),
            QUEUE_TAG: self.queue,
        }


EVENTS = Lane(
    name="events",
    priority=10,
    max_concurrent_runs=3,
    queue="events",
    max_runtime_seconds=1_200,
    why="New events come first: people wait for them. Three at once: two drains for a large backlog, and one so that "
    "around midnight yesterday's rest does not hold up today. A drain ends by itself after processing.max_run_seconds; twice that means it hangs.",
)
RECOMPUTE = Lane(
    name="recompute",
    priority=-10,
    max_concurrent_runs=1,
    queue="recompute",
    max_runtime_seconds=6 * 3_600,
    why="The past can wait for the present. One at a time: a backfill of a month must not take every core.",
)
MAINTENANCE = Lane(
    name="maintenance",
    priority=-5,
    max_concurrent_runs=1,
    queue="maintenance",
    max_runtime_seconds=3_600,
    why="Housekeeping takes the lake's writer lock for a while; two of them would only wait for each other.",
)

NOTIFICATIONS = Lane(
    name="notifications",
    priority=20,
    max_concurrent_runs=2,
    queue="notifications",
    max_runtime_seconds=1_200,
    why="People wait for messages, and a sender costs little: it goes before everything. Two at once: one that sends, and "
    "one that puts digests together or, for a few seconds, one that still waits for the answer to its last message. A sender ends by itself after notifications.max_run_seconds; twice that means it hangs.",
)
MONITORING = Lane(
    name="monitoring",
    priority=15,
    max_concurrent_runs=1,
    queue="monitoring",
    max_runtime_seconds=1_200,
    why="Silence of a monitor must be noticed while events flood in. One at a time: a run looks at all monitors, and two "
    "would ask the same addresses.",
)
RELEASES = Lane(
    name="releases",
    priority=5,
    max_concurrent_runs=1,
    queue="releases",
    max_runtime_seconds=1_200,
    why="What shipped is told within a minute, also while a night's housekeeping is at work; events go before it. One at a "
    "time: two would look at the same releases. A run ends by itself after ten minutes; twice that means it hangs.",
)
INTEGRATIONS = Lane(
    name="integrations",
    priority=12,
    max_concurrent_runs=2,
    queue="integrations",
    max_runtime_seconds=1_200,
    why="Far sides answer slowly and have limits of their own: who waits for them keeps nothing else waiting. Two at once: one that "
    "carries over and lingers, with one call in flight for each integration, and one that looks how they are, or at all links of a tracker "
    "by hand. A run ends by itself after ten minutes; twice that means it hangs.",
)

LANES: dict[str, Lane] = {
    lane.name: lane
    for lane in (NOTIFICATIONS, MONITORING, INTEGRATIONS, EVENTS, RELEASES, MAINTENANCE, RECOMPUTE)
}
