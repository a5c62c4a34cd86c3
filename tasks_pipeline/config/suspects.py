"""Section `suspect_commits` of a project: what is made of the commits that may have caused a group."""

from __future__ import annotations

from pydantic import Field

from tasks_pipeline.config.model import Model


class SuspectCommits(Model):
    """What is made of the commits that may have caused a group, beside telling of them."""

    assign: bool = Field(
        False,
        description="Groups that nobody owns are assigned to the member who wrote the likeliest commit.",
    )
