"""Lanes: what the tags of runs say."""

from __future__ import annotations

from tasks_pipeline.config import Processing
from tasks_pipeline.lanes import EVENTS, LANE_TAG, LANES, MAINTENANCE, MONITORING, NOTIFICATIONS, RECOMPUTE


def test_every_lane_is_bounded_and_explained() -> None:
    for name, lane in LANES.items():
        assert lane.name == name
        assert lane.max_concurrent_runs >= 1
        assert len(lane.why) > 40
        assert lane.tags == {
            LANE_TAG: name,
            "dagster/priority": str(lane.priority),
            "dagster/max_runtime": str(lane.max_runtime_seconds),
            "dagster-celery/queue": lane.queue,
        }


def test_new_events_go_before_the_past() -> None:
    assert EVENTS.priority > MAINTENANCE.priority > RECOMPUTE.priority


def test_a_drain_ends_by_itself_long_before_it_is_ended() -> None:
    assert EVENTS.max_runtime_seconds >= 2 * Processing().max_run_seconds


def test_people_are_told_before_anything_else_is_done() -> None:
    assert NOTIFICATIONS.priority > MONITORING.priority > EVENTS.priority
