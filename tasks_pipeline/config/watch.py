"""Section `watch`: how the pipeline watches itself, and who is told."""

from __future__ import annotations

from pydantic import Field, model_validator

from tasks_pipeline.config.alerts import Target
from tasks_pipeline.config.channels import TokenUrl
from tasks_pipeline.config.model import MIB, Model, Slug, Wrong, refuse


class Limits(Model):
    """Where a figure becomes worth telling: too large, or for what is left of something too small."""

    warning: float = Field(ge=0, description="Worth a look.")
    critical: float = Field(ge=0, description="Worth getting up.")


class Watch(Model):
    """What is watched every minute. A reading counts when it was bad `consecutive_readings` times in a row."""

    operators: tuple[Target, ...] = Field((), description="Who is told: members, teams, channels.")
    fallback_channel: Slug | None = Field(
        None, description="Channel that is used directly when the usual way is what broke."
    )
    heartbeat_url: TokenUrl | None = Field(
        None, description="Pinged while all is well, so that somebody outside notices when nothing is."
    )
    heartbeat_seconds: float = Field(60, ge=10, le=86_400, description="Time between pings.")
    consecutive_readings: int = Field(
        2, ge=1, le=60, description="Bad (or good) readings in a row that count."
    )
    repeat_minutes: float = Field(
        240, ge=1, le=43_200, description="An incident that goes on is told of again."
    )
    lag_seconds: Limits = Field(
        Limits(warning=120, critical=900), description="Age of the oldest unprocessed envelope."
    )
    outbox_seconds: Limits = Field(
        Limits(warning=120, critical=900), description="How late the oldest due message is."
    )
    dead_notifications: Limits = Field(
        Limits(warning=1, critical=50), description="Messages given up in an hour."
    )
    dead_letters: Limits = Field(
        Limits(warning=100, critical=5000), description="Items of today that were invalid."
    )
    invalid_percent: Limits = Field(
        Limits(warning=5, critical=50), description="Share of today's items that were invalid."
    )
    disk_free_bytes: Limits = Field(
        Limits(warning=2048 * MIB, critical=512 * MIB), description="Free space where the data lies."
    )
    disk_days: Limits = Field(
        Limits(warning=14, critical=3), description="Days until the disk is full, if it goes on as it did."
    )
    clock_skew_seconds: Limits = Field(
        Limits(warning=5, critical=60), description="Between this machine's clock and the database's."
    )
    failed_attempts: Limits = Field(
        Limits(warning=3, critical=10), description="Attempts that failed at what still waits."
    )
    failed_runs: Limits = Field(
        Limits(warning=1, critical=3), description="Runs of a job that failed in a row."
    )
    failed_ticks: Limits = Field(
        Limits(warning=3, critical=10), description="Ticks of a sensor or schedule that failed in a row."
    )

    @model_validator(mode="after")
    def _order(self) -> Watch:
        wrong = []
        for name in type(self).model_fields:
            limits = getattr(self, name)
            if isinstance(limits, Limits):
                falls = name in ("disk_free_bytes", "disk_days")
                if (limits.critical > limits.warning) if falls else (limits.critical < limits.warning):
                    allowed = "at most warning" if falls else "at least warning"
                    said = f"critical is {limits.critical:g}; allowed is {allowed} ({limits.warning:g})"
                    wrong.append(Wrong((name, "critical"), said))
        refuse(wrong)
        return self
