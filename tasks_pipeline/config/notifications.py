"""Section `notifications`: how messages are sent, and what they link to."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from tasks_pipeline.config.channels import HttpUrl
from tasks_pipeline.config.model import Model


class Notifications(Model):
    """How runs of send_alert_notification empty the outbox."""

    linger_seconds: float = Field(
        30, ge=0, description="How long a sender waits for new messages before it ends."
    )
    max_run_seconds: float = Field(
        600, gt=0, description="After this long a sender ends and a fresh one is started."
    )
    lease_seconds: float = Field(
        180, ge=10, le=3600, description="A message in flight for so long is given up as of unknown end."
    )
    breaker_failures: int = Field(
        5, ge=1, le=1000, description="Failures in a row after which a channel is left alone …"
    )
    breaker_seconds: float = Field(
        30, gt=0, le=3600, description="… for so long; doubled each time, up to an hour."
    )
    retry_seconds: float = Field(
        5, gt=0, le=3600, description="Wait after a first failure; doubled each time, up to an hour."
    )
    ui_url: HttpUrl | None = Field(None, description="Address of the Dagster UI for links in messages.")
    templates_dir: Path | None = Field(
        None, description="Folder of templates that replace those of the same name."
    )
