"""Waiting until those who asked before something changed have stored what they asked for."""

from __future__ import annotations

import time

from sqlalchemy import select

from tasks_pipeline.erasure.raw import Waits
from tasks_pipeline.storage.state.tables import batches
from tasks_pipeline.stores import Stores

PATIENCE_SECONDS = 30.0
_LOOKED_EVERY = 0.05


def wait_for_batches(stores: Stores, patience: float | None = None) -> None:
    """Wait until the batches that are open now are done. Raises Waits."""
    end = time.monotonic() + (PATIENCE_SECONDS if patience is None else patience)
    waiting = _open(stores, None)
    while waiting:
        waiting = _open(stores, waiting)
        if waiting and time.monotonic() >= end:
            raise Waits(
                "a batch of events is at work since before, and is not done: start the service (tasks-pipeline run), or wait; "
                "the deletion goes on by itself when it is stored, or when you ask again"
            )
        if waiting:
            time.sleep(_LOOKED_EVERY)


def _open(stores: Stores, among: set[int] | None) -> set[int]:
    query = select(batches.c.id).where(batches.c.status == "open")
    with stores.state.read() as connection:
        found = set(connection.execute(query).scalars())
    return found if among is None else found & among
