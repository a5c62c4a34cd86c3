"""Section `symbols`: what symbolication may use of disk, memory and time."""

from __future__ import annotations

from pydantic import Field, model_validator

from tasks_pipeline.config.model import MIB, Model


class Symbols(Model):
    """Limits of symbolication. Files that go beyond them are reported on the event and cost no more."""

    cache_bytes: int = Field(
        2048 * MIB,
        ge=16 * MIB,
        description="Disk for unpacked sources, source maps and symbol tables; what was not used longest goes.",
    )
    max_file_bytes: int = Field(
        256 * MIB,
        ge=1024,
        description="Largest source, source map or mapping that is read, after unpacking; debug files may be larger.",
    )
    worker_memory_bytes: int = Field(
        2048 * MIB,
        ge=512 * MIB,
        description="Memory of the process that reads uploaded files; one that needs more is reported.",
    )
    file_seconds: float = Field(
        120, gt=0, le=3600, description="Longest time that reading one file may take, in seconds."
    )
    event_seconds: float = Field(
        120,
        gt=0,
        le=600,
        description="After so many seconds the remaining files of an event are not read any more.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Symbols:
        if self.max_file_bytes > self.worker_memory_bytes // 4:
            raise ValueError(
                f"max_file_bytes is {self.max_file_bytes}; allowed is at most a quarter of"
                f" worker_memory_bytes ({self.worker_memory_bytes // 4})"
            )
        return self
