"""Work that goes on after its request was answered: a few at a time, each once, its failure told to who asks next."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context

from tasks_pipeline.uploads.facts import UploadError

log = logging.getLogger(__name__)

WORKERS = 2
MOST_WAITING = 1000


class Jobs:
    """Jobs by key, in threads. Nothing of them is durable: what a job has done is seen in the stores."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS, "assemble")
        self._lock = threading.Lock()
        self._jobs: dict[Hashable, Future[None]] = {}

    def start(self, key: Hashable, work: Callable[[], None]) -> bool:
        """Start work under a key, unless it goes on already; False when too much waits."""
        with self._lock:
            if key in self._jobs:
                return True
            if len(self._jobs) >= MOST_WAITING:  # of some that have ended, nobody ever asked
                self._jobs = {key: job for key, job in self._jobs.items() if not job.done()}
            if len(self._jobs) >= MOST_WAITING:
                return False
            # In the context of who asked: facts say where they come from.
            self._jobs[key] = self._pool.submit(copy_context().run, work)
        return True

    def running(self, key: Hashable) -> bool:
        """Whether work goes on under a key. What ended well is forgotten; raises UploadError once for what failed."""
        with self._lock:
            job = self._jobs.get(key)
            if job is None or not job.done():
                return job is not None
            del self._jobs[key]
        error = job.exception()
        if error is None or job.cancelled():
            return False
        if isinstance(error, UploadError):
            raise error
        log.error("assembling failed", exc_info=error)
        raise UploadError("internal error; send it again") from error

    def wait(self, keys: Iterable[Hashable], seconds: float) -> None:
        """Wait until the work under these keys has ended, for so long at most."""
        with self._lock:
            jobs = [self._jobs[key] for key in keys if key in self._jobs]
        wait(jobs, timeout=seconds)

    def close(self) -> None:
        """Start no more, and wait for what is at work."""
        self._pool.shutdown(wait=True, cancel_futures=True)
