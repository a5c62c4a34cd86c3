"""Section `uploads`: bounds on source maps and debug files that are sent to the Web API."""

from __future__ import annotations

from pydantic import Field

from tasks_pipeline.config.model import MIB, Model

CHUNK_BYTES = 2 * MIB
"""Size of the pieces that clients cut files into; small, so that a slow line moves one well within a request's time."""


class Uploads(Model):
    """What the Web API takes in, and how long it keeps pieces of files."""

    max_file_bytes: int = Field(2048 * MIB, ge=1024, description="Largest uploaded file, once it is whole.")
    max_unpacked_bytes: int = Field(
        4096 * MIB, ge=1024, description="Most bytes that the files in a bundle may have unpacked."
    )
    max_bundle_files: int = Field(50_000, ge=1, le=1_000_000, description="Most files in a bundle.")
    max_request_bytes: int = Field(
        4 * CHUNK_BYTES, ge=CHUNK_BYTES, description="Most bytes of pieces that clients send in one request."
    )
    chunk_hours: int = Field(
        24, ge=1, le=24 * 365, description="How long a piece of a file is kept after it was last asked about."
    )
