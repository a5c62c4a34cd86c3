"""`python -m benchmarks.symbolication`: what symbolication costs per frame and per event, in one JSON object.

The source of symbols answers from memory, so what the state database costs is not in it.
"""

from __future__ import annotations

import json
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tasks_pipeline.config.symbols import Symbols
from tasks_pipeline.symbolication.source import Artifact, DebugFile
from tasks_pipeline.symbolication.symbolicator import Symbolicator

DEBUG_ID = "248bcf3a-41a8-5d27-8cc8-87e636bed392"
URL = "https://shop.test/app.js"
FRAMES = 50
SECONDS = 1.0
FUNCTIONS = 20_000
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


class _Files:
    """A SymbolSource of one script and its map."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def generation(self) -> int:
        return 1

    def debug_files(self, project_id: int, debug_id: str) -> Sequence[DebugFile]:
        return ()

    def artifacts_by_debug_id(self, project_id: int, debug_id: str) -> Sequence[Artifact]:
        return tuple(
            Artifact("bundle", path, kind, f"~/{path}", DEBUG_ID, None)
            for path, kind in (("app.js", "minified_source"), ("app.js.map", "source_map"))
        )

    def artifacts_by_url(
        self, project_id: int, release: str, dist: str | None, urls: Sequence[str]
    ) -> Sequence[Artifact]:
        return ()

    def fetch(self, digest: str) -> Path:
        return self._folder / digest


def measure() -> dict[str, float]:
    """Frames and events per second, and microseconds for an event with nothing to do."""
    with tempfile.TemporaryDirectory() as folder:
        return _measure(Path(folder))


def _measure(folder: Path) -> dict[str, float]:
    columns = _write_bundle(folder / "bundle")
    with Symbolicator(_Files(folder), folder / "cache", Symbols()) as symbolicator:
        started = time.perf_counter()
        symbolicator.symbolicate(_event(columns[:1]), 1)
        first = time.perf_counter() - started
        repeated = _rate(lambda index: symbolicator.symbolicate(_event(columns[:FRAMES]), 1))
        fresh = _rate(
            lambda index: symbolicator.symbolicate(_event(columns[index * FRAMES :][:FRAMES]), 1),
            len(columns) // FRAMES,
        )
        nothing = _rate(lambda index: symbolicator.symbolicate({"platform": "python", "release": "r"}, 1))
        making = _rate(lambda index: _event(columns[:FRAMES]))
    seconds_each = 1 / repeated - 1 / making
    return {
        "sourcemap_frames_per_s": FRAMES / seconds_each,
        "sourcemap_events_per_s": 1 / seconds_each,
        "sourcemap_first_seen_frames_per_s": FRAMES * fresh,
        "sourcemap_first_event_s": first,
        "nothing_to_do_us": 1e6 / nothing,
    }


def _rate(work: Callable[[int], object], most: int = 1_000_000) -> float:
    started = time.perf_counter()
    count = 0
    while count < most and time.perf_counter() - started < SECONDS:
        work(count)
        count += 1
    return count / (time.perf_counter() - started)


def _event(columns: list[int]) -> dict[str, Any]:
    frames = [
        {"filename": URL, "function": "a", "lineno": 1, "colno": column, "in_app": True} for column in columns
    ]
    return {
        "platform": "javascript",
        "exception": {"values": [{"type": "Error", "stacktrace": {"frames": frames}}]},
        "debug_meta": {"images": [{"type": "sourcemap", "code_file": URL, "debug_id": DEBUG_ID}]},
    }


def _write_bundle(path: Path) -> list[int]:
    """A bundle with a script of many functions and its map of about 2 MB; columns (from 1) inside the functions."""
    script, columns, mappings = [], [], []
    position = generated = 0
    for index in range(FUNCTIONS):
        text = f"function f{index}(a,b){{return a+b}}"
        column = position + text.index("return")
        mappings.append(f"{_vlq(column - generated)}A{_vlq(3 if index else 1)}A")
        generated = column
        columns.append(column + 1)
        script.append(text)
        position += len(text)
    source = "".join(
        f"function add{i}(first, second) {{\n  return first + second;\n}}\n" for i in range(FUNCTIONS)
    )
    source_map = {
        "version": 3,
        "sources": ["../src/add.ts"],
        "sourcesContent": [source],
        "names": [],
        "mappings": ",".join(mappings),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("app.js", "".join(script))
        bundle.writestr("app.js.map", json.dumps(source_map))
    return columns


def _vlq(number: int) -> str:
    digits, number = "", number << 1
    while True:
        digits += _DIGITS[number & 31 | (32 if number > 31 else 0)]
        number >>= 5
        if not number:
            return digits


if __name__ == "__main__":
    print(json.dumps({name: round(value, 4) for name, value in measure().items()}, indent=2))
