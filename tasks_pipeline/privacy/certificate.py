"""Certificates: that a person's data was deleted, what, when, and how it was checked; nothing of whom."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks_pipeline.erasure.requests import Request
from tasks_pipeline.erasure.selection import Erased
from tasks_pipeline.files import write_atomically
from tasks_pipeline.home import Home

HASH = "sha256"


def certificate_of(
    request: Request,
    identifiers: Mapping[str, int],
    project: str | None,
    erased: Sequence[Erased],
    left: Sequence[Erased],
) -> dict[str, Any]:
    """The certificate of a request that is done: `identifiers` counts them by kind, `left` is what was found when the person was looked
    for again, all of it received since. `sha256` is of all else, as JSON with sorted keys and without spaces."""
    found = {
        "id": request.id,
        "about": "deletion of a person's data",
        "requested_by": request.requested_by,
        "requested_at": request.requested_at.astimezone(UTC).isoformat(),
        "done_at": datetime.now(UTC).isoformat(),
        "identifiers": dict(identifiers),
        "project": project,
        "erased": [each.as_dict() for each in erased],
        "checks": [
            {
                "what": "the person was looked for again in the lake, the archive, the spool, attachments, the state database, reports, "
                "Dagster's store and logs",
                "found_received_before": [],
                "received_since": [each.as_dict() for each in left],
            }
        ],
        "not_covered": [
            "messages that were sent",
            "backups made before",
            "archives that the configuration does not name any more, and copies of archives",
            "the write-ahead log of a PostgreSQL server",
        ],
        "version": version("tasks-pipeline"),
    }
    return found | {HASH: digest_of(found)}


def digest_of(certificate: Mapping[str, Any]) -> str:
    """The hash of a certificate, by all of it but the hash."""
    told = {name: value for name, value in certificate.items() if name != HASH}
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_certificate(home: Home, certificate: Mapping[str, Any]) -> Path:
    """Store a certificate, durably; gives where."""
    home.certificates_dir.mkdir(exist_ok=True, mode=0o700)
    path = home.certificates_dir / f"{certificate['id']}.json"
    write_atomically(path, json.dumps(certificate, indent=1) + "\n")
    os.chmod(path, 0o600)
    return path


def certificates(home: Home) -> list[dict[str, Any]]:
    """All certificates, the newest first; `valid` says whether one is as it was written."""
    found = []
    for path in home.certificates_dir.glob("*.json") if home.certificates_dir.is_dir() else ():
        told = json.loads(path.read_text(encoding="utf-8"))
        found.append({**told, "valid": told.get(HASH) == digest_of(told), "path": str(path)})
    return sorted(found, key=lambda each: str(each.get("done_at")), reverse=True)
