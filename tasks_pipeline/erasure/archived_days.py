"""What goes of archived days, told for requests and certificates, and which groups go with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from tasks_pipeline.archive.manifest import ArchiveError
from tasks_pipeline.archive.opened import OpenedDay
from tasks_pipeline.archive.rewrite import Changed, Rewritten
from tasks_pipeline.archive.rows import TABLES
from tasks_pipeline.archive.store import Archive, Part
from tasks_pipeline.erasure.selection import Erased

log = logging.getLogger(__name__)


def places_in(day: OpenedDay, wanted: Mapping[str, str]) -> set[tuple[str, int]]:
    """(part, position) of the envelopes that rows which go came in. Outcomes are of many envelopes."""
    return {
        (row["part"], row["position"])
        for name, condition in wanted.items()
        if name != "outcomes"
        for row in day.query(f"SELECT DISTINCT part, position FROM lake.{name} WHERE {condition}")
    }


def whole(archive: Archive, part: Part) -> tuple[str, list[dict[str, Any]]] | None:
    """The proof of a part that goes as a whole, and what goes with it; None where it is damaged."""
    try:
        manifest = archive.manifest(part)
    except ArchiveError:
        log.warning("%s is damaged, and goes all the same", part.path)
        return None
    found = [Erased(f"archive.{t.name}", t.rows, "deleted") for t in manifest.of_lake if t.rows]
    found += [Erased("archive.blobs", len(manifest.blobs), "deleted")] if manifest.blobs else []
    return manifest.proof, [each.as_dict() for each in found]


def told_of(new: Rewritten) -> list[dict[str, Any]]:
    """What goes of a part, or says something else from then on."""
    found = [Erased(f"archive.{name}", rows, "deleted") for name, rows in sorted(new.taken.items())]
    found += [Erased(f"archive.{name}", rows, "overwritten") for name, rows in sorted(new.changed.items())]
    found += [Erased("archive.blobs", new.blobs, "deleted")] if new.blobs else []
    return [each.as_dict() for each in found]


def emptied(day: OpenedDay, wanted: Mapping[str, str]) -> dict[str, Changed]:
    """What becomes of rows of groups when events go: those that no event of their day is left of go too."""
    stays = f"({wanted.get('events', 'false')}) IS NOT TRUE"
    left = {row["group_id"] for row in day.query(f"SELECT DISTINCT group_id FROM lake.events WHERE {stays}")}

    def of(column: str) -> Changed:
        def change(piece: pa.Table) -> tuple[pa.Table, int]:
            kept = [each in left for each in piece[column].to_pylist()]
            return piece.filter(pa.array(kept, pa.bool_())), kept.count(False)

        return change

    return {str(table.name): of("id" if table.name == "groups" else "group_id") for table in TABLES}
