"""Section `performance` of a project: when its transactions are quick enough."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks_pipeline.config.model import Model

Milliseconds = Annotated[float, Field(gt=0, le=86_400_000)]


class Performance(Model):
    """How transactions are judged."""

    threshold_ms: Milliseconds = Field(
        300,
        description="Up to so many milliseconds users are satisfied, up to four times as many they tolerate it (Apdex).",
    )
    thresholds: dict[str, Milliseconds] = Field(
        {}, max_length=1000, description="The same of single transactions, by name."
    )
