"""Sections `receiver` and `processing`: how the installation takes and processes things."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks_pipeline.config.model import MIB, Model


class Receiver(Model):
    """The HTTP endpoint that SDKs talk to."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(9000, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    public_url: str | None = Field(
        None, description="URL that clients use, when a proxy stands before the receiver."
    )
    trust_forwarded_for: bool = Field(False, description="Take the client's address from X-Forwarded-For.")
    metrics: Literal["loopback", "public"] = Field(
        "loopback",
        description="Who may read /metrics: whoever asks from this machine without a proxy between, or everybody.",
    )
    max_body_bytes: int = Field(40 * MIB, ge=1024, description="Largest HTTP body, as sent.")
    max_envelope_bytes: int = Field(100 * MIB, ge=1024, description="Largest envelope after decompression.")
    max_event_bytes: int = Field(1 * MIB, ge=1024, description="Largest event, transaction or feedback item.")
    max_attachment_bytes: int = Field(40 * MIB, ge=0, description="Largest attachment.")
    max_items: int = Field(200, ge=1, description="Most items in one envelope.")
    min_free_disk_bytes: int = Field(
        256 * MIB, ge=0, description="Below this much free disk the answer is 503."
    )


class Processing(Model):
    """How runs of process_events drain the spool."""

    linger_seconds: float = Field(
        150,
        ge=0,
        description="How long a drain waits for new work before it ends. Each start leaves a run of 0.2 MB in Dagster.",
    )
    max_run_seconds: float = Field(
        600, gt=0, description="After this long a drain ends and a fresh one is started."
    )
    batch_envelopes: int = Field(2500, ge=1, le=20_000, description="Most envelopes in one batch.")
    parallel_drains: int = Field(
        1,
        ge=1,
        le=64,
        description="Most drains at work on one day when much waits; more than 1 needs spare cores.",
    )
    batch_bytes: int = Field(32 * MIB, ge=1024, description="Most compressed bytes in one batch.")
