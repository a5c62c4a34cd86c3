"""Repositories of the organisation, and section `releases` of a project: where releases and their commits come from."""

from __future__ import annotations

from pydantic import Field

from tasks_pipeline.config.channels import HttpUrl
from tasks_pipeline.config.model import Model


class Repository(Model):
    """A repository that commits of releases are of."""

    name: str = Field(
        pattern=r"^[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,198}[^\s\x00-\x1f\x7f])?$",
        description="What clients call it, as `acme/shop`.",
    )
    url: HttpUrl | None = Field(None, description="Where people look at it.")
    provider: str = Field(
        "unknown",
        pattern=r"^[a-z][a-z0-9:_-]{0,63}$",
        description="Who hosts it. A provider that clients know makes them send refs instead of commits.",
    )


class Releases(Model):
    """How releases of the project come into being."""

    create_from_events: bool = Field(
        True,
        description="What is received with the name of a new release creates it; off: only the Web API does.",
    )
    max_new_per_day: int = Field(
        1000,
        ge=1,
        le=1_000_000,
        description="How many releases may come into being in the project on a UTC day before names that are only received make no more; the "
        "Web API makes any number.",
    )
