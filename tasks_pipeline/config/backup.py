"""Section `backup`: where backups go, how often one is made, and how many are kept."""

from __future__ import annotations

from pydantic import Field

from tasks_pipeline.config.model import Model, PlaceUrl


class Backup(Model):
    """Backups that are made by themselves; `tasks-pipeline backup create` makes one at any time."""

    to: PlaceUrl | None = Field(
        None,
        description="Folder on another disk, or fsspec URL (`s3://bucket/prefix`), for this installation alone; absent: none are made.",
    )
    every_hours: float = Field(24, ge=1, le=24 * 31, description="Time between two backups.")
    keep: int = Field(7, ge=1, le=10_000, description="The newest that stay when another one was made.")
