"""Section `alert_rules`: when something is worth telling, and to whom."""

from __future__ import annotations

from pydantic import Field

from tasks_pipeline.config.model import Model


class Storm(Model):
    """Above `alerts` within `window_minutes` the alerts of a rule collapse into one message with counts."""

    alerts: int = Field(20, ge=1, le=100_000, description="Alerts of the rule that are sent one by one.")
    window_minutes: float = Field(5, gt=0, le=1440, description="Within so many minutes.")
