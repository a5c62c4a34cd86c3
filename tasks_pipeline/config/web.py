"""Section `web`: pages and the Web API."""

from __future__ import annotations

from pydantic import Field

from tasks_pipeline.config.model import Model


class Web(Model):
    """The process that serves people and clients of the Web API."""

    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/?#@]+$",
        description="Address of the pages for people, without a path: links in messages lead there. That of the receiver when absent.",
    )
    host: str = Field("127.0.0.1", description="Address that `tasks-pipeline web` listens on.")
    port: int = Field(
        9080, ge=1, le=65_535, description="Port that it listens on, and that `receive` forwards to."
    )
