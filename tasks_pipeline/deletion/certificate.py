"""The certificate of a deletion: what kind of thing went, how much from where, and when; not its name, and nothing of what it held."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from tasks_pipeline.deletion.chosen import Chosen
from tasks_pipeline.erasure.requests import Request
from tasks_pipeline.erasure.selection import Erased
from tasks_pipeline.privacy.certificate import HASH, digest_of

ABOUT = {
    "groups": "deletion of groups with everything of them",
    "release": "deletion of a release with everything of it",
    "project": "deletion of a project with everything of it",
}
ONE = {"groups": "group", "release": "release", "project": "project"}


def certificate_of_deletion(request: Request, chosen: Chosen, erased: Sequence[Erased]) -> dict[str, Any]:
    """The certificate of a request that is done, of which nothing was found when it was looked for again. Groups and projects are named
    by their numbers."""
    found = {
        "id": request.id,
        "about": ABOUT[chosen.kind],
        "requested_by": request.requested_by,
        "requested_at": request.requested_at.astimezone(UTC).isoformat(),
        "done_at": datetime.now(UTC).isoformat(),
        "identifiers": {ONE[chosen.kind]: len(chosen.groups) or 1},
        "projects": list(chosen.projects),
        "groups": list(chosen.groups),
        "erased": [each.as_dict() for each in erased],
        "checks": [
            {
                "what": "it was looked for again in the lake, the archive, the state database and reports",
                "found": [],
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
