"""What people find in the Dagster UI, as JSON: `make snapshot` writes it, a test compares, and a reviewer sees what a change made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg

from tasks_pipeline.definitions import build_defs

SNAPSHOT = Path(__file__).parents[1] / "data" / "edge.json"


def edge() -> dict[str, Any]:
    """Names, dependencies, groups, partitions, lanes and times of everything that is declared."""
    repository = build_defs().get_repository_def()
    graph = repository.asset_graph
    return {
        "assets": {
            key.to_user_string(): _asset(graph.get(key)) for key in sorted(graph.get_all_asset_keys())
        },
        "checks": {
            key.to_user_string(): {"blocking": graph.get(key).blocking}
            for key in sorted(graph.asset_check_keys, key=dg.AssetCheckKey.to_user_string)
        },
        "jobs": {
            job.name: _job(job) for job in _sorted(repository.get_all_jobs()) if not job.name.startswith("__")
        },
        "sensors": {sensor.name: _sensor(sensor) for sensor in _sorted(repository.sensor_defs)},
        "schedules": {schedule.name: _schedule(schedule) for schedule in _sorted(repository.schedule_defs)},
        "resources": sorted(repository.get_top_level_resources()),
    }


def written() -> str:
    return json.dumps(edge(), indent=2, sort_keys=True) + "\n"


def _sorted(things: Any) -> list[Any]:
    return sorted(things, key=lambda thing: thing.name)


def _asset(node: Any) -> dict[str, Any]:
    return {
        "depends_on": sorted(key.to_user_string() for key in node.parent_keys),
        "group": node.group_name,
        "kinds": sorted(node.kinds),
        "materializable": node.is_materializable,
        "owners": sorted(node.owners),
        "partitions": _partitions(node.partitions_def),
    }


def _partitions(definition: dg.PartitionsDefinition | None) -> str | None:
    """Their kind; they begin with the first envelope, which is another day in each installation."""
    return None if definition is None else type(definition).__name__


def _job(job: dg.JobDefinition) -> dict[str, Any]:
    return {
        "assets": sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys),
        "checks": sorted(key.to_user_string() for key in job.asset_layer.asset_graph.asset_check_keys),
        "ops": sorted(node.name for node in job.nodes),
        "partitions": _partitions(job.partitions_def),
        "tags": dict(job.run_tags or job.tags),
    }


def _sensor(sensor: dg.SensorDefinition) -> dict[str, Any]:
    return {
        "interval_seconds": sensor.minimum_interval_seconds,
        "starts": sorted(target.job_name for target in sensor.targets),
        "status": sensor.default_status.value,
    }


def _schedule(schedule: dg.ScheduleDefinition) -> dict[str, Any]:
    return {
        "cron": schedule.cron_schedule,
        "starts": schedule.job_name,
        "status": schedule.default_status.value,
        "timezone": schedule.execution_timezone,
    }


if __name__ == "__main__":
    SNAPSHOT.write_text(written(), encoding="utf-8")
