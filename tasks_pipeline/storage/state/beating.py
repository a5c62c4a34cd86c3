"""beating: signs of life from a thread, for as long as a block lasts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy.exc import SQLAlchemyError

from tasks_pipeline.home import Home
from tasks_pipeline.outages import Outage
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.workers import BEAT_SECONDS, beat_run

log = logging.getLogger(__name__)


@contextmanager
def beating(beat: Callable[[], None], seconds: float, whose: str) -> Iterator[None]:
    """Call `beat` at once and every so many seconds, from a thread. One that fails is logged: the next may get through."""
    over, silence = threading.Event(), Outage(log, f"no sign of life of {whose}")

    def keep_beating() -> None:
        while True:
            try:
                beat()
                silence.over()
            except (SQLAlchemyError, OSError) as error:
                silence.failed(error)
            if over.wait(seconds):
                return

    heart = threading.Thread(target=keep_beating, name="heartbeat", daemon=True)
    heart.start()
    try:
        yield
    finally:
        over.set()
        heart.join()


@contextmanager
def run_at_work(home: Home, run_id: str, lane: str) -> Iterator[None]:
    """Let others see that this process carries out a run. The row outlives the block, for Dagster writes that the run ended after it."""
    began = datetime.now(UTC)
    state: StateDatabase | None = None

    def beat() -> None:
        nonlocal state
        state = state or StateDatabase(home)
        beat_run(state, run_id, lane, began, datetime.now(UTC))

    try:
        with beating(beat, BEAT_SECONDS, f"run {run_id}"):
            yield
    finally:
        if state is not None:
            state.close()
