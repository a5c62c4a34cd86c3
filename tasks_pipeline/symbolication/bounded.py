"""The worker process seen from outside: started when first needed, limited in time, started again when it dies."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import TracebackType

import msgspec

from tasks_pipeline.symbolication.requests import LENGTH, RESULTS, Answer, Request

_INHERITED = (
    *("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL"),
    "TASKS_PIPELINE_SERVICE",  # what the service ends with itself (service/leftovers.py)
)
_START_SECONDS = 60.0  # allowed on top for the first answer of a new process, which imports its code first
_ATTEMPTS = 2  # memory may have been used up by what was read before, so a death is proved twice


class WorkerFailed(Exception):
    """Reading a file cost the worker process its life or too much time; the message says which."""


class BoundedWorker:
    """Asks one worker process, one question at a time; threads wait for each other."""

    def __init__(self, max_file_bytes: int, memory_bytes: int, seconds: float) -> None:
        self._arguments = [str(max_file_bytes), str(memory_bytes), str(seconds)]
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> BoundedWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, request: Request) -> Answer:
        """The answer, in bounded time. Raises WorkerFailed."""
        body = msgspec.msgpack.encode(request)
        with self._lock:
            for attempt in range(_ATTEMPTS):
                try:
                    return _typed(self._exchange(body), request)
                except EOFError as error:
                    self._stop()
                    if attempt == _ATTEMPTS - 1:
                        raise WorkerFailed("it ends the process that reads it") from error
                except TimeoutError as error:
                    self._stop()
                    raise WorkerFailed(f"reading it takes more than {self._seconds:.0f} s") from error
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        """End the process; the next question starts another."""
        with self._lock:
            self._stop()

    def _exchange(self, body: bytes) -> bytes:
        process = self._process
        deadline = time.monotonic() + self._seconds
        if process is None:
            process = self._process = self._start()
            deadline += _START_SECONDS
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(LENGTH.pack(len(body)) + body)
            process.stdin.flush()
        except BrokenPipeError as error:
            raise EOFError from error
        (length,) = LENGTH.unpack(_read(process.stdout.fileno(), LENGTH.size, deadline))
        return _read(process.stdout.fileno(), length, deadline)

    def _start(self) -> subprocess.Popen[bytes]:
        # No secrets of this process's environment go to one that strangers' files may take over.
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return subprocess.Popen(
            [sys.executable, "-m", "tasks_pipeline.symbolication.worker", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            bufsize=-1,
        )

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what was still to be written is of no use to anybody
                    pipe.close()


def _typed(body: bytes, request: Request) -> Answer:
    answer = msgspec.msgpack.decode(body, type=Answer)
    if answer.failure is not None:
        return answer
    results = msgspec.convert(answer.results, RESULTS[type(request)])
    return Answer(results=results, stored=answer.stored)


def _read(descriptor: int, length: int, deadline: float) -> bytes:
    """So many bytes of a pipe. Raises EOFError when it ends before, TimeoutError when the deadline passes."""
    chunks = []
    while length:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        chunk = os.read(descriptor, min(length, 1 << 20))
        if not chunk:
            raise EOFError
        chunks.append(chunk)
        length -= len(chunk)
    return b"".join(chunks)
