"""The way to disk: everything that waits is written in one append, by one thread. Nothing here looks into envelopes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tasks_pipeline.outages import Outage
from tasks_pipeline.receiver.prometheus import Metrics
from tasks_pipeline.storage.spool.interface import Receipt, Spool, SpoolError, SpoolWriter

log = logging.getLogger(__name__)

MAX_BATCH_ENVELOPES = 2000
MAX_BATCH_BYTES = 32 * 1024 * 1024
MAX_QUEUED_ENVELOPES = 20_000
MAX_QUEUED_BYTES = 128 * 1024 * 1024
REOPEN_SECONDS = 1.0
"""How long to wait before the spool is opened again after that failed."""
UNREADY_SECONDS = 5.0
"""How long a failed append makes the receiver not ready, when no other append has succeeded since."""


class SpoolFailed(Exception):
    """The receipt is not on disk; the message says why."""


class QueueFull(Exception):
    """Too much waits for the disk already."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    receipt: Receipt
    done: asyncio.Future[None]


class GroupCommit:
    """Writes receipts in groups: while one append runs, what comes in waits for the next.

    `open_spool` is called again and again until it succeeds. The spool is closed at the end.
    """

    def __init__(self, open_spool: Callable[[], Spool], metrics: Metrics) -> None:
        self._open_spool = open_spool
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(1, "group-commit")
        self._spool: Spool | None = None
        self._writer: SpoolWriter | None = None
        self._problem: str | None = "the spool is not open yet"
        self._failed_at: float | None = None
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._closing = False
        self._closed = Outage(log, "the spool cannot be opened, which is tried every second")
        self._lost = Outage(log, "envelopes cannot be written")
        metrics.queued_envelopes.set_function(lambda: len(self._waiting))
        metrics.queued_bytes.set_function(lambda: self._bytes)

    async def start(self, patience: float) -> None:
        """Begin to work; returns when the spool is open, or after `patience` seconds without it."""
        self._loop = asyncio.get_running_loop()
        self._wanted = asyncio.Event()
        self._opening = asyncio.create_task(self._open())
        self._work = asyncio.create_task(self._run())
        await asyncio.wait([self._opening], timeout=patience)

    async def submit(self, receipt: Receipt) -> None:
        """Return once the receipt is on disk. Raises QueueFull at once, SpoolFailed when it could not be written."""
        size = len(receipt.body)
        if self._writer is None or self._closing:
            raise SpoolFailed(self._problem or "the receiver is closing")
        if len(self._waiting) >= MAX_QUEUED_ENVELOPES or self._bytes + size > MAX_QUEUED_BYTES:
            raise QueueFull
        self._bytes += size
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(_Waiting(receipt, done))
        self._wanted.set()
        await done

    def problem(self) -> str | None:
        """Why nothing can be written now; None when it can."""
        if self._failed_at is not None and time.monotonic() - self._failed_at > UNREADY_SECONDS:
            return None
        return self._problem

    async def close(self) -> None:
        """Write what waits, then close the spool."""
        self._closing = True
        self._opening.cancel()
        self._wanted.set()
        await asyncio.wait([self._opening, self._work])
        await self._loop.run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    async def _run(self) -> None:
        while self._waiting or not self._closing:
            await self._wanted.wait()
            if batch := self._take():
                problem = await self._loop.run_in_executor(self._thread, self._append, batch)
                self._resolve(batch, problem)
            if not self._waiting and not self._closing:
                self._wanted.clear()

    def _take(self) -> list[_Waiting]:
        """What waits, within the limits of a batch."""
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < MAX_BATCH_ENVELOPES and size < MAX_BATCH_BYTES:
            batch.append(self._waiting.popleft())
            size += len(batch[-1].receipt.body)
        return batch

    def _resolve(self, batch: list[_Waiting], problem: str | None) -> None:
        self._bytes -= sum(len(waiting.receipt.body) for waiting in batch)
        for waiting in batch:
            if waiting.done.done():  # its request was cancelled
                continue
            if problem is None:
                waiting.done.set_result(None)
            else:
                waiting.done.set_exception(SpoolFailed(problem))

    async def _open(self) -> None:
        while not await self._loop.run_in_executor(self._thread, self._open_writer):
            await asyncio.sleep(REOPEN_SECONDS)

    # In the thread --------------------------------------------------------------------------------------------------

    def _open_writer(self) -> bool:
        try:
            self._spool = self._spool or self._open_spool()
            self._writer = self._spool.writer()
        except Exception as error:  # noqa: BLE001 - the outage tells it
            self._closed.failed(error, expected=isinstance(error, SpoolError))
            self._problem = f"the spool cannot be opened: {type(error).__name__}"
            return False
        self._problem = None
        self._closed.over()
        return True

    def _append(self, batch: list[_Waiting]) -> str | None:
        """Why the batch is not on disk; None when it is."""
        assert self._writer is not None  # submit lets nothing in before
        started = time.monotonic()
        try:
            self._writer.append([waiting.receipt for waiting in batch])
        except Exception as error:  # noqa: BLE001 - the outage tells it
            self._lost.failed(error, expected=isinstance(error, SpoolError))
            self._problem = f"the last append failed: {type(error).__name__}"
            self._failed_at = time.monotonic()
            return self._problem
        self._metrics.append_seconds.observe(time.monotonic() - started)
        self._problem = self._failed_at = None
        self._lost.over()
        return None

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._spool is not None:
            self._spool.close()
