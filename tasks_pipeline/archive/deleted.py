"""What was deleted on purpose, and must not come back with a restored day: as far as anybody can know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tasks_pipeline.archive.manifest import ArchiveError, Manifest
from tasks_pipeline.archive.store import Archive, Part
from tasks_pipeline.storage.state.erasures import open_requests, superseded
from tasks_pipeline.storage.state.stones import deleted_projects
from tasks_pipeline.stores import Stores


def without_deleted(stores: Stores, archive: Archive, parts: Iterable[Part]) -> Iterator[Part]:
    """The parts of projects that were not deleted. Raises ArchiveError when all are of such."""
    with stores.state.read() as connection:
        gone = deleted_projects(connection)
    found = list(parts)
    kept = [part for part in found if part.project_id not in gone]
    if found and not kept:
        numbers = ", ".join(str(each) for each in sorted({part.project_id for part in found}))
        raise ArchiveError(
            f"{archive.url}: project {numbers} was deleted, and does not come back: remove what is archived of it"
        )
    yield from kept


def refuse_deleted(stores: Stores, archive: Archive, parts: Sequence[tuple[Part, Manifest]]) -> None:
    """Raise ArchiveError while a deletion is open, which may have to take rows out of the archive yet, and for a part as it was before a
    deletion took rows out of it."""
    with stores.state.read() as connection:
        opened, over = open_requests(connection), superseded(connection)
    if opened:
        raise ArchiveError(
            f"deletion {opened[0].id} is not finished, and what it deletes could come back: ask for it again, or let the nightly cleanup "
            "finish it"
        )
    for part, manifest in parts:
        if manifest.proof in over:
            raise ArchiveError(
                f"{archive.url}/{part.path} is as it was before a deletion took rows out of it: they would come back. "
                "Restore from the archive itself, or delete the same again with this one as `retention.archive_url`"
            )
