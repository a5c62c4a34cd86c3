"""Style and scripts: files of this package, with a hash in the address so that browsers may keep them for good."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import brotli
from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"
PREFIX = "/assets/"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent, by encoding."""

    media_type: str
    bodies: Mapping[str, bytes]


def asset_url(name: str) -> str:
    """The address of a file of `static/`."""
    return f"{PREFIX}{_names()[name]}"


def serve(request: Request) -> Response:
    """A file, for good: its name changes with it."""
    found = _assets().get(request.path_params["name"].rstrip("/"))
    if found is None:
        return Response("there is no such file", 404, media_type="text/plain")
    accepted = {
        part.partition(";")[0].strip() for part in request.headers.get("accept-encoding", "").split(",")
    }
    encoding = next((name for name in ("br", "gzip") if name in accepted), "")
    headers = {
        "cache-control": "public, max-age=31536000, immutable",
        "vary": "accept-encoding",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
        **({"content-encoding": encoding} if encoding else {}),
    }
    return Response(found.bodies[encoding], 200, headers, found.media_type)


@cache
def _names() -> dict[str, str]:
    return {path.name: _hashed(path) for path in sorted(FOLDER.iterdir()) if path.suffix in _TYPES}


def _hashed(path: Path) -> str:
    return f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}{path.suffix}"


@cache
def _assets() -> dict[str, Asset]:
    return {_hashed(FOLDER / name): _read(FOLDER / name) for name in _names()}


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    return Asset(
        _TYPES[path.suffix], {"": body, "gzip": gzip.compress(body, 9, mtime=0), "br": brotli.compress(body)}
    )
