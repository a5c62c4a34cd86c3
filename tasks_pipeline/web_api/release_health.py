"""Health and adoption as objects of the release endpoints ask for them: the one place where these are connected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tasks_pipeline.web_api import health_json
from tasks_pipeline.web_api.calls import Call

Row = Mapping[str, Any]
FIELDS: dict[str, tuple[str, Callable[[list[float]], float]]] = {
    "sessions": ("totalSessions", sum),
    "users": ("totalUsers", sum),
    "crash_free_sessions": ("crashFreeSessions", min),
    "crash_free_users": ("crashFreeUsers", min),
    "adoption": ("adoption", max),
}
"""By sort: the field of `healthData`, and what it is of several projects. Users are of a project each, so they add up."""


def health_data(
    call: Call, rows: Sequence[Row], since: datetime, until: datetime, *, details: bool = True
) -> Mapping[tuple[int, str], Mapping[str, Any]]:
    """`healthData` of releases (rows of the table) in a span and in the environments that were asked for, by project and version;
    those without sessions are left out. Raises what the lake does."""
    return health_json.health_data(
        call.lake, rows, since, until, environments=_environments(call), details=details
    )


def adoption_stages(call: Call, rows: Sequence[Row]) -> Mapping[tuple[int, str], Mapping[str, Any]]:
    """`{stage, adopted, unadopted}` of releases (rows of the table) by project and version; those without are left out."""
    with call.services.state.read() as connection:
        return health_json.adoption_stages(connection, rows, environments=_environments(call))


def _environments(call: Call) -> list[str] | None:
    """The environments that were asked for; None for all."""
    return call.query.getlist("environment") or None


def sorted_by_health(
    sort: str, rows: Sequence[Row], health: Mapping[tuple[int, str], Mapping[str, Any]]
) -> dict[str, float]:
    """What each version is sorted by, greatest first; those that have nothing of it are left out."""
    name, of_several = FIELDS[sort]
    values: dict[str, list[float]] = {}
    for row in rows:
        value = health.get((row["project_id"], row["version"]), {}).get(name)
        if value is not None:
            values.setdefault(row["version"], []).append(float(value))
    return {version: float(of_several(found)) for version, found in values.items()}
