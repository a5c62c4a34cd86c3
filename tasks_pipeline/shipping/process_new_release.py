"""process_new_release: what happens once, when a release is first known in a project."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import select

from tasks_pipeline.releases.commits import count_commits
from tasks_pipeline.releases.due import Due, note_processed
from tasks_pipeline.shipping.commits import Shipped, apply_commits, read_commits
from tasks_pipeline.storage.state.tables import releases
from tasks_pipeline.stores import Stores


def process_new_release(stores: Stores, project_id: int, version: str) -> Shipped:
    """Settle what waited for the release, and apply the commits that it has already. Once: what was processed stays."""
    c = releases.c
    query = select(c.processed_at, c.created_at).where(c.project_id == project_id, c.version == version)
    said = read_commits(stores, version)
    with stores.state.write() as connection:
        stores.state.serialise(connection, "group_hashes")  # before any row, as whoever decides about groups
        row = connection.execute(query.with_for_update()).first()
        if row is None or row.processed_at is not None:
            return Shipped()
        shipped = apply_commits(stores, connection, project_id, version, said, is_new=True)
        note_processed(connection, [Due(project_id, version, row.created_at)], datetime.now(UTC))
    return shipped


def note_without_commits(stores: Stores, due: Sequence[Due]) -> list[Due]:
    """Mark those that have no commits, for which nothing is to be done; gives the others.

    Whoever can send events can name releases by the thousand: they cost a statement for all of them.
    """
    with stores.state.write() as connection:
        having = count_commits(connection, {each.version for each in due})
        note_processed(connection, [each for each in due if each.version not in having], datetime.now(UTC))
    return [each for each in due if each.version in having]
