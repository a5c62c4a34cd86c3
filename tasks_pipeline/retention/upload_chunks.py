"""Cleanup of upload chunks that nobody assembled."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tasks_pipeline.uploads.chunks import ChunkStore

if TYPE_CHECKING:
    from tasks_pipeline.stores import Stores


def drop_stale_chunks(stores: Stores, older_than: datetime) -> int:
    """Remove pieces of uploads that nobody asked for since, and drafts of files that were never finished."""
    stores.blobs.drop_drafts(older_than)
    return ChunkStore(stores.state, stores.home.chunks_url).drop_stale(older_than)
