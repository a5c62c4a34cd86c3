"""Upkeep beside a drain: the tail is flushed when it is due, and the files of a day stay few."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from tasks_pipeline.storage.lake.compaction import CROWDED, MOST, compact, crowded, of_past_days, tidy
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.tail import is_due
from tasks_pipeline.storage.state.passed_over import note_passed_over
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)

LOOK_AFTER_FILES = 8
TIDY_EVERY = timedelta(minutes=5)


class Upkeep:
    """Looks after the lake while batches are stored.

    Files are merged by a thread beside, for the rows of a flood take seconds; a drain waits for it only when a day would
    have more files than MOST. Whatever goes wrong there is tried again by the next look and fails no batch.
    """

    def __init__(
        self,
        stores: Stores,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        tidied: Callable[[Lake], object] = tidy,
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._tidy = tidied
        self._files = LOOK_AFTER_FILES  # a look at the beginning: what others left
        self._tidied_at: datetime | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Upkeep:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    def after_batch(self, in_files: bool) -> None:
        """To be said after each batch, with whether it made files. What fails here is told, and tried again later: the
        batch is stored."""
        try:
            self._keep(in_files)
        except Exception as error:
            log.exception("the lake could not be looked after")
            self._note(error)

    def _keep(self, in_files: bool) -> None:
        if is_due(self._stores.state, self._clock()):
            in_files = flush(self._stores.state, self._stores.lake) > 0
        self._files += in_files
        if self._files >= MOST - CROWDED:
            self.wait()
        if self._files >= LOOK_AFTER_FILES and not self._at_work():
            self._look()

    def _note(self, error: Exception) -> None:
        """Let the watch tell of it."""
        state, failed = self._stores.state, [("the lake", error)]
        try:
            with state.write() as connection:
                note_passed_over(
                    state, connection, "upkeep of the lake", failed, datetime.now(UTC), logged=True
                )
        except SQLAlchemyError:
            log.warning("it could not be noted that the lake could not be looked after")

    def wait(self) -> None:
        """Wait until nothing is at work beside."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _at_work(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _look(self) -> None:
        self._files = 0
        lake = self._stores.lake
        now = self._clock()
        if self._tidied_at is None or not timedelta(0) <= now - self._tidied_at < TIDY_EVERY:
            self._tidied_at = now
            self._tidy(lake)
        if crowded(lake) or of_past_days(lake, now.date()):
            self._thread = threading.Thread(target=self._compact, name="compaction", daemon=True)
            self._thread.start()

    def _compact(self) -> None:
        try:
            with closing(Lake(self._stores.home, self._stores.state)) as lake:
                compact(lake, crowded(lake))
                compact(lake, of_past_days(lake, self._clock().date()))
        except Exception as error:  # the next look tries again; the files are all there
            log.exception("files of the lake could not be merged")
            self._note(error)
