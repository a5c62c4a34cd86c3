"""What Dagster says of itself, as plain data: the edge fills it in, probes read it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Failing:
    """Failures in a row of a job, a sensor or a schedule, and the last error."""

    name: str
    failures: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class DagsterFacts:
    """Jobs whose newest runs failed, sensors and schedules whose newest ticks failed, daemons that are not well."""

    jobs: tuple[Failing, ...] = ()
    ticks: tuple[Failing, ...] = ()
    daemons: tuple[str, ...] = field(default=())
    error: str = ""
    """Why nothing is known; else empty."""
