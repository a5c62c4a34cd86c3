"""Texts in files that others go on writing to: overwritten in place, byte for byte, so that nobody's position in them moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from tasks_pipeline.erasure.selection import Erased
from tasks_pipeline.erasure.texts import Texts
from tasks_pipeline.home import Home

PIECE = 4 * 2**20
"""Bytes that are looked at together."""


def logs_of(home: Home) -> Iterator[Path]:
    """Logs of processes, and what runs and ticks of Dagster printed."""
    for folder, ending in ((home.logs_dir, "*"), (home.dagster_home, "*")):
        for path in sorted(folder.rglob(ending)):
            if path.is_file() and not path.is_symlink() and ".db" not in path.name and path.name not in _OWN:
                yield path


_OWN = ("dagster.yaml", "workspace.yaml")


def overwrite_logs(home: Home, texts: Texts) -> list[Erased]:
    """Overwrite texts in logs; gives in how many files."""
    found = sum(_overwrite(path, texts) > 0 for path in logs_of(home)) if texts else 0
    return [Erased("logs", found, "overwritten")] if found else []


def count_logs(home: Home, texts: Texts) -> list[Erased]:
    """Log files that hold one of the texts."""
    found = sum(any(True for _ in _spans(path, texts)) for path in logs_of(home)) if texts else 0
    return [Erased("logs", found, "overwritten")] if found else []


def _overwrite(path: Path, texts: Texts) -> int:
    spans = list(_spans(path, texts))
    if spans:
        with suppress(FileNotFoundError), path.open("r+b") as file:  # else it was turned over
            for first, last in spans:
                file.seek(first)
                new = texts.filled(file.read(last - first))
                file.seek(first)
                file.write(new)
    return len(spans)


def _spans(path: Path, texts: Texts) -> Iterable[tuple[int, int]]:
    """Where texts begin and end in a file, which is read in pieces that overlap."""
    overlap, begin = texts.longest, 0
    with suppress(FileNotFoundError), path.open("rb") as file:
        known = 0
        while True:
            file.seek(begin)
            content = file.read(PIECE + overlap)
            for first, last in texts.spans_in(content):
                if begin + first >= known:
                    known = begin + last
                    yield begin + first, begin + last
            if len(content) < PIECE + overlap:
                return
            begin += PIECE
