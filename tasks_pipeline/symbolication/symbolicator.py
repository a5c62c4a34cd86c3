"""symbolicate: the one way in. Which languages an event needs, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks_pipeline.config.symbols import Symbols
from tasks_pipeline.recurring import own_frames
from tasks_pipeline.symbolication.cache import SymbolCache
from tasks_pipeline.symbolication.library import Library
from tasks_pipeline.symbolication.source import SymbolSource
from tasks_pipeline.symbolication.stacks import (
    JAVASCRIPT,
    Findings,
    add_errors,
    has_java,
    has_javascript,
    has_native,
    restore,
)


def concerns(event: Mapping[str, Any]) -> bool:
    """Whether anything of an event could be found in symbol files; nearly none."""
    return "debug_meta" in event or event.get("platform") in JAVASCRIPT


class Symbolicator:
    """Symbolicates events with the files of a source. One for a process; `close()` ends its worker process.

    `folder` keeps what was made of uploaded files: it may be deleted at any time, and processes share it.
    """

    def __init__(self, source: SymbolSource, folder: Path, limits: Symbols) -> None:
        self._library = Library(source, SymbolCache(folder, limits.cache_bytes), limits)

    def symbolicate(self, event: dict[str, Any], project_id: int) -> tuple[str, ...]:
        """Resolve the frames of a normalised event, in place; the keys of files that were not there, sorted.

        The original of a stack that was changed is kept beside it as `raw_stacktrace`, and symbolicating again begins
        there, so it may be done as often as files arrive. Frames that cannot be resolved say why (`data`, and
        `errors` of the event). Whatever the files contain is no error.
        """
        if not concerns(event):
            return ()  # nearly all
        javascript, native, java = has_javascript(event), has_native(event), has_java(event)
        if not (javascript or native or java):
            return ()
        # symbolic takes 50 ms to import, and most processes never get here
        from tasks_pipeline.symbolication.java import symbolicate_java
        from tasks_pipeline.symbolication.javascript import symbolicate_javascript
        from tasks_pipeline.symbolication.native import symbolicate_native

        own_frames(event)
        restore(event)
        findings = Findings()
        budget = self._library.budget()
        if javascript:
            symbolicate_javascript(event, project_id, self._library, budget, findings)
        if native:
            symbolicate_native(event, project_id, self._library, budget, findings)
        if java:
            symbolicate_java(event, project_id, self._library, budget, findings)
        add_errors(event, findings)
        return tuple(sorted(findings.missing))

    def arrived_through(self, arrival: int) -> None:
        """Events from now on find what arrived up to this number; to be said before each batch.

        Without it the source is asked for each event, which costs more than symbolicating it.
        """
        self._library.arrived_through(arrival)

    def close(self) -> None:
        """End the worker process."""
        self._library.close()

    def __enter__(self) -> Symbolicator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
