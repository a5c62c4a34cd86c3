"""Section `analytics`: facts about what the product and its people did, beside those that it always records."""

from __future__ import annotations

from pydantic import Field

from tasks_pipeline.config.model import Model


class Analytics(Model):
    """Facts of one's own."""

    custom: bool = Field(
        False,
        description="Whether `tasks-pipeline analytics record custom.NAME` may record facts of one's own.",
    )
