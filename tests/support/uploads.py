"""Files to upload, and a client that uploads as sentry-cli does: ask, send what is missing, ask again."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

DATA = Path(__file__).parent.parent / "data" / "uploads"
CRASHER = (DATA / "crasher.debug").read_bytes()
CRASHER_ID = "30a2a0e9-1749-25d3-06c0-d4244f61b852"
MAPPING = (DATA / "mapping.txt").read_bytes()
MAPPING_ID = "c038584d-c366-570c-ad1e-034fa0d194d7"
RECORDED_BUNDLE = (DATA / "artifact-bundle.sysb").read_bytes()
RECORDED_RELEASE, RECORDED_DIST = "shop-web@20261122121149+29816", "d1"
RECORDED_ID = "248bcf3a-41a8-5d27-8cc8-87e636bed392"
MAP_ID = "11111111-2222-3333-4444-555555555555"


def sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def symbols(number: int, lines: int = 1) -> bytes:
    """A Breakpad symbol file with a debug id of its own: see `symbols_id`."""
    functions = "".join(f"FUNC {i * 16:x} 10 0 function_{i}\n" for i in range(lines))
    return f"MODULE Linux x86_64 {UUID(int=number).hex.upper()}0 shop\n{functions}".encode()


def symbols_id(number: int) -> str:
    return str(UUID(int=number))


def fat_macho(first: int, second: int) -> bytes:
    """A Mach-O for two architectures, each with its own debug id."""
    thin = [_macho(0x0100_0007, 3, first), _macho(0x0100_000C, 0, second)]
    head, offset = struct.pack(">II", 0xCAFEBABE, 2), 4096
    body = b""
    for (kind, subtype), data in zip([(0x0100_0007, 3), (0x0100_000C, 0)], thin, strict=True):
        head += struct.pack(">IIIII", kind, subtype, offset + len(body), len(data), 12)
        body += data.ljust(4096, b"\0")
    return head.ljust(offset, b"\0") + body


def _macho(kind: int, subtype: int, number: int) -> bytes:
    command = struct.pack("<II", 0x1B, 24) + UUID(int=number).bytes
    return struct.pack("<IIIIIIII", 0xFEEDFACF, kind, subtype, 0xA, 1, len(command), 0, 0) + command


def bundle(files: Mapping[str, bytes], stated: object, *, magic: bytes = b"SYSB", version: int = 2) -> bytes:
    """An artifact bundle with a manifest (left out when None)."""
    buffer = io.BytesIO()
    buffer.write(magic + version.to_bytes(4, "little"))
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in files.items():
            _add(zipped, name, data)
        if stated is not None:
            _add(zipped, "manifest.json", json.dumps(stated).encode())
    return buffer.getvalue()


def small_bundle(debug_id: str = MAP_ID) -> bytes:
    """A bundle of a minified file and its map."""
    headers = {"debug-id": debug_id.upper()}
    return bundle(
        {"files/a.js": b"a()", "files/a.js.map": b"{}"},
        {
            "files": {
                "files/a.js": {
                    "type": "minified_source",
                    "url": "~/a.js",
                    "headers": headers | {"Sourcemap": "a.js.map"},
                },
                "files/a.js.map": {"type": "source_map", "url": "~/a.js.map", "headers": headers},
            }
        },
    )


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in files.items():
            _add(target, name, data)
    return buffer.getvalue()


def _add(target: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Without the time of day, so that each process makes the same file."""
    target.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


class Uploader:
    """A client of the Web API. `asked` are the chunks that the server was found to lack, in order."""

    def __init__(self, http: httpx.Client, token: str, chunk_bytes: int = 2 * 1024 * 1024) -> None:
        self.http = http
        self.http.headers["authorization"] = f"Bearer {token}"
        self.chunk_bytes = chunk_bytes
        self.asked: list[str] = []

    def cut(self, data: bytes) -> dict[str, bytes]:
        """The chunks of a file by their SHA-1."""
        pieces = [data[i : i + self.chunk_bytes] for i in range(0, len(data), self.chunk_bytes)]
        return {sha1(piece): piece for piece in pieces}

    def send(self, chunks: Mapping[str, bytes], *, compress: bool = True) -> httpx.Response:
        """Send chunks under these names."""
        field = "file_gzip" if compress else "file"
        parts = [
            (field, (name, gzip.compress(data, mtime=0) if compress else data, "application/octet-stream"))
            for name, data in chunks.items()
        ]
        return self.http.post("/api/0/organizations/acme/chunk-upload/", files=parts)

    def ask_debug_file(
        self, data: bytes, name: str, project: str = "shop", checksum: str = ""
    ) -> dict[str, Any]:
        """How far a debug file is."""
        checksum = checksum or sha1(data)
        body = {checksum: {"name": name, "chunks": list(self.cut(data))}}
        answer = self.http.post(f"/api/0/projects/acme/{project}/files/difs/assemble/", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()[checksum]
        return found

    def ask_bundle(
        self,
        data: bytes,
        projects: Sequence[str] = ("shop",),
        release: str | None = None,
        dist: str | None = None,
    ) -> dict[str, Any]:
        """How far a bundle is."""
        body = {"checksum": sha1(data), "chunks": list(self.cut(data)), "projects": projects}
        body |= {"version": release, "dist": dist}
        answer = self.http.post("/api/0/organizations/acme/artifactbundle/assemble/", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def debug_file(self, data: bytes, name: str = "shop", project: str = "shop") -> dict[str, Any]:
        """Upload a debug file and give what became of it."""
        found = self.ask_debug_file(data, name, project)
        self._send_missing(data, found)
        while found["state"] not in ("ok", "error"):
            found = self.ask_debug_file(data, name, project)
        return found

    def bundle(
        self,
        data: bytes,
        projects: Sequence[str] = ("shop",),
        release: str | None = None,
        dist: str | None = None,
    ) -> dict[str, Any]:
        """Upload a bundle and give what became of it."""
        found = self.ask_bundle(data, projects, release, dist)
        self._send_missing(data, found)
        while found["state"] not in ("ok", "error"):
            found = self.ask_bundle(data, projects, release, dist)
        return found

    def _send_missing(self, data: bytes, found: Mapping[str, Any]) -> None:
        self.asked += found["missingChunks"]
        chunks = self.cut(data)
        missing = {name: chunks[name] for name in found["missingChunks"]}
        for name, piece in missing.items():
            assert self.send({name: piece}).status_code == 200
