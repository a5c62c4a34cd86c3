"""Certificates: that something was deleted on purpose, what, when, and how that was checked; nothing of whose it was or what it said."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from tasks_pipeline.erasure.selection import Certified
from tasks_pipeline.home import Home
from tasks_pipeline.storage.state.erasures import Request
from tasks_pipeline.storage.targets import Tree

HASH = "sha256"
NOT_COVERED = (
    "messages that were sent",
    "backups made before",
    "archives that the configuration does not name any more, and copies of archives",
    "the write-ahead log of a PostgreSQL server",
)


def certificate_of(request: Request, told: Certified) -> dict[str, Any]:
    """The certificate of a request that is done. `sha256` is of all else, as JSON with sorted keys and without spaces."""
    found = {
        "id": request.id,
        "about": told.about,
        "requested_by": request.requested_by,
        "requested_at": request.requested_at.astimezone(UTC).isoformat(),
        "done_at": datetime.now(UTC).isoformat(),
        "identifiers": dict(told.identifiers),
        **told.named,
        "erased": [each.as_dict() for each in told.erased],
        "checks": [dict(told.check)],
        "not_covered": list(NOT_COVERED),
        "version": version("tasks-pipeline"),
    }
    return found | {HASH: digest_of(found)}


def digest_of(certificate: Mapping[str, Any]) -> str:
    """The hash of a certificate, by all of it but the hash."""
    told = {name: value for name, value in certificate.items() if name != HASH}
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_certificate(home: Home, certificate: Mapping[str, Any]) -> str:
    """Store a certificate, durably, where all hosts find it; gives where. Raises OSError."""
    tree, name = Tree(home.certificates_places[0]), _name(certificate["id"])
    tree.publish(name, (json.dumps(certificate, indent=1) + "\n").encode())
    return f"{tree.url}/{name}"


def read_certificate(home: Home, request_id: str) -> tuple[dict[str, Any], str]:
    """The certificate of a request that ended, and where it lies. Raises FileNotFoundError."""
    name = _name(request_id)
    tree = next((tree for tree in _trees(home) if tree.exists(name)), Tree(home.certificates_places[0]))
    found: dict[str, Any] = json.loads(tree.read(name))
    return found, f"{tree.url}/{name}"


def certificates(home: Home) -> list[dict[str, Any]]:
    """All certificates, the newest first; `valid` says whether one is as it was written. Raises OSError."""
    found = []
    for tree in _trees(home):
        for name in tree.names():
            if name.endswith(".json"):
                told = json.loads(tree.read(name))
                found.append(
                    {**told, "valid": told.get(HASH) == digest_of(told), "path": f"{tree.url}/{name}"}
                )
    return sorted(found, key=lambda each: str(each.get("done_at")), reverse=True)


def _trees(home: Home) -> list[Tree]:
    return [Tree(place) for place in home.certificates_places]


def _name(request_id: str) -> str:
    return f"{request_id}.json"
