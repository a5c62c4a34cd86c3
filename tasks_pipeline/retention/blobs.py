"""delete_old_file_attachments: rows of attachments and of files of symbols that are over, and every blob that nothing refers to.

A blob is younger than the rows that refer to it, or as old: it is stored before they are. So what was not stored for GRACE and is
named by nothing then is named by nothing that is on its way either; and who stores it again makes it young again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

import pyarrow as pa
from sqlalchemy import Connection, select

from tasks_pipeline.archive.write import archiver_of
from tasks_pipeline.reports.store import FORMER
from tasks_pipeline.retention.cleanup import ALL, Cleanup, remove, tell_of_archive
from tasks_pipeline.retention.plan import Asked, Removal
from tasks_pipeline.retention.policy import ATTACHMENTS
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import artifact_bundles, debug_files, notifications, report_revisions
from tasks_pipeline.stores import Stores
from tasks_pipeline.upkeep.findings import UNARCHIVED_FILES

GRACE = timedelta(days=1)
"""Nothing takes so long between storing a blob and the row that refers to it."""
LOOKED_AT = 100_000
"""Blobs that are looked for in the lake at once: their digests are in memory."""


def delete_old_file_attachments(
    stores: Stores,
    now: datetime | None = None,
    asked: Asked = ALL,
    on_removed: Callable[[Removal], None] = lambda _removal: None,
) -> Cleanup:
    """Remove attachments, debug files and artifact bundles that are over, and the blobs that nothing refers to any more."""
    now = now or datetime.now(UTC)
    archiver = archiver_of(stores)
    report = remove(stores, now, asked.among(ATTACHMENTS), on_removed, archiver)
    if asked == ALL:
        tell_of_archive(stores, report, archiver, UNARCHIVED_FILES, now)
    if asked.wants("attachments"):
        before = now - GRACE
        stores.blobs.settle(before)
        swept = [size for digest, size in unreferenced(stores, before) if stores.blobs.sweep(digest, before)]
        if swept:
            removal = blobs_removal(swept)
            report.removed.append(removal)
            on_removed(removal)
    return report


def blobs_due(stores: Stores, now: datetime, asked: Asked) -> list[Removal]:
    """The blobs that would go now; those of attachments that are over go when their rows have gone."""
    if not asked.wants("attachments"):
        return []
    sizes = [size for _, size in unreferenced(stores, now - GRACE)]
    return [blobs_removal(sizes)] if sizes else []


def blobs_removal(sizes: Sequence[int]) -> Removal:
    """Blobs that go, by their sizes."""
    return Removal("attachments", "blobs", 0, None, len(sizes), len(sizes), sum(sizes), "unreferenced")


def unreferenced(stores: Stores, before: datetime) -> Iterator[tuple[str, int]]:
    """Digest and size of the blobs that were last stored before a moment and that nothing refers to."""
    old = stores.blobs.old(before)
    while sizes := dict(islice(old, LOOKED_AT)):
        with stores.state.read() as connection:
            named = set(named_in_state(connection, sorted(sizes)))
        named |= set(_of_lake(stores, [digest for digest in sizes if digest not in named]))
        yield from ((digest, size) for digest, size in sizes.items() if digest not in named)


def _of_lake(stores: Stores, digests: Sequence[str]) -> Iterable[str]:
    if not digests:
        return []
    with stores.lake.given("old_blobs", [pa.table({"digest": digests})]):
        rows = stores.lake.query("SELECT DISTINCT digest FROM old_blobs JOIN lake.attachments USING (digest)")
    return [row["digest"] for row in rows]


def named_in_state(connection: Connection, digests: Sequence[str]) -> Iterator[str]:
    """Digests that rows of the state database name: of these, and others of reports."""
    for table in (debug_files, artifact_bundles):
        for some in chunks(digests):
            yield from connection.execute(select(table.c.digest).where(table.c.digest.in_(some))).scalars()
    for files in connection.execute(select(report_revisions.c.files)).scalars():
        yield from texts_in(files)
    for data in connection.execute(
        select(notifications.c.data).where(notifications.c.type == "report")
    ).scalars():
        yield from texts_in(data)


def texts_in(value: object) -> Iterator[str]:
    """All texts within JSON: what of them is a digest refers to a blob, unless it is a former one."""
    match value:
        case str():
            yield value
        case dict():
            for name, each in value.items():
                if not name.startswith(FORMER):
                    yield from texts_in(each)
        case list():
            for each in value:
                yield from texts_in(each)
