"""A source of symbols over files in memory and on disk, and what is needed to symbolicate an event with it."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from symbolic import normalize_debug_id

from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.event import normalise_event
from tasks_pipeline.symbolication.js_names import plain_url
from tasks_pipeline.symbolication.source import Artifact, DebugFile, SymbolFileMissing

DATA = Path(__file__).parents[1] / "data" / "symbols"
PROJECT = 1


class MemorySource:
    """A SymbolSource that counts how often it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arrived = 0
        self.asked = 0
        self.artifacts: list[tuple[str | None, str | None, Artifact]] = []
        self.files: list[DebugFile] = []

    def add_blob(self, data: bytes) -> str:
        """Keep a blob."""
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / digest).write_bytes(data)
        return digest

    def add_bundle(self, data: bytes, release: str | None = None, dist: str | None = None) -> None:
        """An artifact bundle: its manifest says what is in it."""
        digest = self.add_blob(data)
        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            manifest = json.loads(bundle.read("manifest.json"))
        for path, facts in manifest["files"].items():
            headers = facts.get("headers", {})
            artifact = Artifact(
                digest,
                path,
                facts["type"],
                facts.get("url") and plain_url(facts["url"]),
                headers.get("debug-id"),
                headers.get("sourcemap"),
            )
            self.artifacts.append((release, dist, artifact))
        self.arrived += 1

    def add_debug_file(
        self, data: bytes, debug_id: str, kind: str, *features: str, name: str = "", arch: str = "x86_64"
    ) -> None:
        """A debug file."""
        digest = self.add_blob(data)
        self.files.append(DebugFile(normalize_debug_id(debug_id), kind, features, arch, name, digest))
        self.arrived += 1

    def generation(self) -> int:
        return self.arrived

    def debug_files(self, project_id: int, debug_id: str) -> Sequence[DebugFile]:
        self.asked += 1
        return [f for f in reversed(self.files) if f.debug_id == debug_id and project_id == PROJECT]

    def artifacts_by_debug_id(self, project_id: int, debug_id: str) -> Sequence[Artifact]:
        self.asked += 1
        return [a for _, _, a in reversed(self.artifacts) if a.debug_id == debug_id and project_id == PROJECT]

    def artifacts_by_url(
        self, project_id: int, release: str, dist: str | None, urls: Sequence[str]
    ) -> Sequence[Artifact]:
        self.asked += 1
        return [
            artifact
            for url in urls
            for of, with_dist, artifact in reversed(self.artifacts)
            if artifact.url == url and (of, with_dist) == (release, dist) and project_id == PROJECT
        ]

    def fetch(self, digest: str) -> Path:
        path = self.folder / digest
        if not path.exists():
            raise SymbolFileMissing(digest)
        return path


def bundle(files: dict[str, tuple[dict[str, Any], bytes]]) -> bytes:
    """An artifact or source bundle of files: what the manifest says of each, and its bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for path, (_, data) in files.items():
            made.writestr(path, data)
        made.writestr(
            "manifest.json", json.dumps({"files": {path: facts for path, (facts, _) in files.items()}})
        )
    return b"SYSB\x02\0\0\0" + out.getvalue()


def script(
    source: bytes, source_map: bytes | None = None, url: str = "~/app.js", debug_id: str | None = None
) -> bytes:
    """A bundle of a minified script and its map."""
    headers = {"debug-id": debug_id} if debug_id else {}
    files = {"files/_/_/app.js": ({"type": "minified_source", "url": url, "headers": headers}, source)}
    if source_map is not None:
        of_source = files["files/_/_/app.js"][0]
        of_source["headers"] = {**headers, "sourcemap": f"{url.rpartition('/')[2]}.map"}
        facts = {"type": "source_map", "url": f"{url}.map", "headers": headers}
        files["files/_/_/app.js.map"] = (facts, source_map)
    return bundle(files)


def normalised(event: dict[str, Any]) -> dict[str, Any]:
    """A copy of an event as the step before symbolication leaves it."""
    context = ItemContext(PROJECT, datetime(2026, 11, 23, tzinfo=UTC), "0" * 32)
    return normalise_event(json.loads(json.dumps(event)), context)
