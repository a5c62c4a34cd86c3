"""Where symbolication gets its files from: what it asks for, as plain data. The state database and the blobs answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class SymbolFileMissing(Exception):
    """What a lookup found is not there any more; the message names its digest."""


@dataclass(frozen=True, slots=True)
class DebugFile:
    """An uploaded debug file. `kind` is its container (elf, macho, pe, pdb, breakpad, wasm, sourcebundle, proguard),
    `features` what it holds (symtab, debug, unwind, sources, mapping), `digest` the blob."""

    debug_id: str
    kind: str
    features: tuple[str, ...]
    arch: str
    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file in an artifact bundle: the bundle's blob and the name inside it.

    `type` is minified_source, source_map, source …; `url` as uploaded (`~/assets/app.min.js`), in the spelling of `js_names.plain_url`; `source_map` the
    reference to its map that the bundle states, relative to `url` or absolute.
    """

    digest: str
    path: str
    type: str
    url: str | None
    debug_id: str | None
    source_map: str | None


class SymbolSource(Protocol):
    """Lookups by project. Newest upload first where several match; nothing raises when there is nothing."""

    def generation(self) -> int:
        """Grows with every arrival; results of lookups may be kept while it stays the same."""

    def debug_files(self, project_id: int, debug_id: str) -> Sequence[DebugFile]:
        """Debug files with this (normalised) debug id."""

    def artifacts_by_debug_id(self, project_id: int, debug_id: str) -> Sequence[Artifact]:
        """Artifacts with this debug id, whatever their type."""

    def artifacts_by_url(
        self, project_id: int, release: str, dist: str | None, urls: Sequence[str]
    ) -> Sequence[Artifact]:
        """Artifacts of a release and dist under any of these URLs, in the order of `urls`."""

    def fetch(self, digest: str) -> Path:
        """The blob as a local file, which stays there at least for the process. Raises SymbolFileMissing."""
