"""Section `monitors` of a project: cron jobs that have to report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from tasks_pipeline.config.alerts import Target
from tasks_pipeline.config.model import Model, Wrong, refuse
from tasks_pipeline.config.people import TimeZone
from tasks_pipeline.protocol.checkins import is_crontab, monitor_slug


def _crontab(text: str) -> str:
    if not is_crontab(text):
        raise ValueError(
            "not a crontab expression; allowed are five fields (0 3 * * *) and @hourly, @daily …"
        )
    return " ".join(text.split())


def _slug(text: str) -> str:
    slug = monitor_slug(text)
    if not slug:
        raise ValueError(
            "names nothing; allowed is what check-ins call the job, with a letter or digit in it"
        )
    return slug


class Interval(Model):
    """So much time from one run to the next."""

    every: int = Field(ge=1, le=100_000, description="So many units.")
    unit: Literal["minute", "hour", "day", "week", "month", "year"] = Field(description="Of what.")


class CronMonitor(Model):
    """A job that sends check-ins. What stands here wins over what a client says of the monitor."""

    slug: Annotated[str, AfterValidator(_slug)] = Field(
        max_length=1000, description="What check-ins call it, as they spell it."
    )
    name: str = Field("", max_length=100, description="Shown to people; the slug when empty.")
    schedule: Annotated[str, AfterValidator(_crontab)] | Interval = Field(
        description="A crontab expression, or {every: 10, unit: minute}."
    )
    timezone: TimeZone = Field("UTC", description="Time zone of the schedule.")
    margin_minutes: int = Field(1, ge=0, le=40_320, description="A check-in may be so late.")
    max_runtime_minutes: int = Field(30, ge=1, le=40_320, description="A run may take so long.")
    failure_threshold: int = Field(1, ge=1, le=720, description="Failures in a row that open an incident.")
    recovery_threshold: int = Field(1, ge=1, le=720, description="Good runs in a row that close it.")
    environments: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = Field(
        (), description="Environments that are expected before their first check-in."
    )
    owner: Target | None = Field(None, description="A member's address or team:SLUG: assignee of its groups.")
    muted: bool = Field(False, description="Incidents are noted, but nobody is told.")
    enabled: bool = Field(True, description="A disabled monitor expects nothing.")

    @model_validator(mode="after")
    def _owner(self) -> CronMonitor:
        if self.owner is not None and not self.owner.startswith(("member:", "team:")):
            refuse([Wrong(("owner",), "cannot own anything; allowed are an e-mail address and team:SLUG")])
        return self


def as_row(monitor: CronMonitor) -> dict[str, object]:
    """The form in which the state database keeps it, which is that of a client's `monitor_config`."""
    schedule: dict[str, object] = (
        {"type": "crontab", "value": monitor.schedule}
        if isinstance(monitor.schedule, str)
        else {"type": "interval", "value": monitor.schedule.every, "unit": monitor.schedule.unit}
    )
    return {
        "schedule": schedule,
        "timezone": monitor.timezone,
        "checkin_margin": monitor.margin_minutes,
        "max_runtime": monitor.max_runtime_minutes,
        "failure_issue_threshold": monitor.failure_threshold,
        "recovery_threshold": monitor.recovery_threshold,
        **({"owner": monitor.owner.removeprefix("member:")} if monitor.owner else {}),
    }
