"""Blobs of attachments that go: removed at once, unless another row names the same bytes."""

from __future__ import annotations

from datetime import datetime

from tasks_pipeline.retention.blobs import named_in_state
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.stores import Stores


def sweep_blobs(stores: Stores, condition: str, before: datetime) -> int:
    """Remove the blobs that attachments which meet a condition name and no other row does; gives how many.

    Nothing that was received before the moment waits: so who stored one of them before that has its row, and who does since makes it
    young, and keeps it.
    """
    rows = stores.lake.query(
        f"SELECT DISTINCT digest FROM lake.attachments WHERE ({condition}) AND digest IS NOT NULL AND digest NOT IN ("
        f"SELECT digest FROM lake.attachments WHERE ({condition}) IS NOT TRUE AND digest IS NOT NULL) ORDER BY digest"
    )
    swept = 0
    for some in chunks([row["digest"] for row in rows]):
        with stores.state.read() as connection:
            named = set(named_in_state(connection, some))
        swept += sum(stores.blobs.sweep(digest, before) for digest in some if digest not in named)
    return swept
