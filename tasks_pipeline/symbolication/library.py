"""What is known about uploaded files, as far as events asked for it: lookups in them, remembered while nothing arrives.

Between the languages (which know frames) and the worker (which knows files).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tasks_pipeline.config.symbols import Symbols
from tasks_pipeline.symbolication.bounded import BoundedWorker, WorkerFailed
from tasks_pipeline.symbolication.cache import SymbolCache, read_entry, write_entry
from tasks_pipeline.symbolication.recent import Recent
from tasks_pipeline.symbolication.requests import Answer, Failure, File, Request
from tasks_pipeline.symbolication.source import Artifact, DebugFile, SymbolFileMissing, SymbolSource

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOKUPS = 5_000  # answers of the source kept, and failures
RESULTS = 10_000  # positions and addresses kept with their source lines, about 2 KB each
CONDEMNED_SECONDS = (
    86_400  # a file that did harm is tried again after so long: perhaps the machine was to blame
)
TRIM_AFTER = 20  # entries added to the cache


class FileFailed(Exception):
    """A file cannot be used; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


@dataclass(slots=True)
class Budget:
    """Seconds that reading files may still take for one event."""

    seconds: float


class Library:
    """Files of a source, read by a worker."""

    def __init__(self, source: SymbolSource, cache: SymbolCache, limits: Symbols) -> None:
        self.source = source
        self._cache = cache
        self._worker = BoundedWorker(limits.max_file_bytes, limits.worker_memory_bytes, limits.file_seconds)
        self._event_seconds = limits.event_seconds
        self._bounds = f"{limits.worker_memory_bytes} {limits.file_seconds}"
        self._generation: int | None = None
        self._told = False
        self._lookups: Recent[object, Any] = Recent(LOOKUPS)
        self._failures: Recent[str, Failure] = Recent(LOOKUPS)
        self._results: Recent[tuple[str, object], Any] = Recent(RESULTS)
        self._stored = 0

    def close(self) -> None:
        """End the worker."""
        self._worker.close()

    def arrived_through(self, generation: int) -> None:
        """Forget lookups from before this arrival. Whoever says so once says so always: the source is asked no more."""
        self._told = True
        self._see(generation)

    def budget(self) -> Budget:
        """A budget for one event, which finds what arrived before."""
        if not self._told:
            self._see(self.source.generation())
        return Budget(self._event_seconds)

    def _see(self, generation: int) -> None:
        if generation != self._generation:
            self._generation = generation
            self._lookups.clear()

    def remembered(self, key: object, look_up: Callable[[], T]) -> T:
        """What a lookup in the source returned, until something arrives there."""
        found: tuple[T] | None = self._lookups.get(key)
        if found is None:
            found = self._lookups.put(key, (look_up(),))
        return found[0]

    def debug_files(self, project_id: int, debug_id: str) -> Sequence[DebugFile]:
        """Debug files with a debug id, newest first."""
        return self.remembered(
            ("debug", project_id, debug_id), lambda: tuple(self.source.debug_files(project_id, debug_id))
        )

    def artifacts(self, project_id: int, debug_id: str) -> Sequence[Artifact]:
        """Artifacts with a debug id, newest first."""
        return self.remembered(
            ("artifacts", project_id, debug_id),
            lambda: tuple(self.source.artifacts_by_debug_id(project_id, debug_id)),
        )

    def artifacts_at(
        self, project_id: int, release: str, dist: str | None, urls: tuple[str, ...]
    ) -> Sequence[Artifact]:
        """Artifacts of a release under URLs."""
        return self.remembered(
            ("urls", project_id, release, dist, urls),
            lambda: tuple(self.source.artifacts_by_url(project_id, release, dist, urls)),
        )

    def file(self, artifact: Artifact) -> File:
        """An artifact as the worker reads it. Raises FileFailed when its blob is gone."""
        target = self._cache.path("member", artifact.digest, artifact.path)
        return File(self.blob(artifact.digest), artifact.path, target)

    def blob(self, digest: str) -> str:
        """Path of a blob. Raises FileFailed when it is gone."""
        try:
            return str(self.source.fetch(digest))
        except SymbolFileMissing as error:
            log.warning("the blob %s of an uploaded file is missing", digest)
            raise FileFailed(Failure("missing", "its blob is gone")) from error

    def entry(self, *parts: str) -> str:
        """Where an entry of the cache lies."""
        return self._cache.path(*parts)

    def look_up(
        self,
        subject: str,
        keys: Sequence[T],
        request: Callable[[list[T]], Request],
        budget: Budget,
    ) -> list[Any]:
        """One result for each key, the worker asked only for those not known yet.

        `subject` names the file or files that are read; what makes the request gets the unknown keys. Raises
        FileFailed.
        """
        known: dict[T, Any] = {}
        for key in dict.fromkeys(keys):
            found: tuple[Any] | None = self._results.get((subject, key))
            if found is not None:
                known[key] = found[0]
        unknown = [key for key in dict.fromkeys(keys) if key not in known]
        if unknown:
            answer = self._ask(subject, request(unknown), budget)
            for key, result in zip(unknown, answer.results, strict=True):
                known[key] = self._results.put((subject, key), (result,))[0]
        return [known[key] for key in keys]

    def _ask(self, subject: str, request: Request, budget: Budget) -> Answer:
        failure = self._failures.get(subject) or self._condemned(subject)
        if failure is not None:
            raise FileFailed(failure)
        if budget.seconds <= 0:
            raise FileFailed(
                Failure("too_large", f"reading files took more than {self._event_seconds:.0f} s")
            )
        started = time.monotonic()
        try:
            answer = self._worker.ask(request)
        except WorkerFailed as error:
            raise FileFailed(self._condemn(subject, str(error))) from error
        finally:
            budget.seconds -= time.monotonic() - started
        self._make_room(answer)
        if answer.failure is not None:
            if answer.failure.status == "unavailable":
                log.warning("cannot read %s: %s", subject, answer.failure.detail)
            else:
                self._failures.put(subject, answer.failure)
            raise FileFailed(answer.failure)
        return answer

    def _make_room(self, answer: Answer) -> None:
        if answer.stored:
            if self._stored % TRIM_AFTER == 0:
                self._cache.trim()
            self._stored += 1

    def _condemn(self, subject: str, detail: str) -> Failure:
        """Remember, for other processes too, that a file does harm."""
        log.warning("an uploaded file is not read any more: %s: %s", subject, detail)
        write_entry(self._cache.path("condemned", subject, self._bounds), detail.encode())
        return self._failures.put(subject, Failure("too_large", detail))

    def _condemned(self, subject: str) -> Failure | None:
        path = Path(self._cache.path("condemned", subject, self._bounds))
        try:
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            return None
        detail = read_entry(path, use=False) if age < CONDEMNED_SECONDS else None
        if detail is None:
            return None
        return self._failures.put(subject, Failure("too_large", detail.decode()))
