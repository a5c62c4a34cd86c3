"""update_release_data: what happens whenever commits of a release arrive."""

from __future__ import annotations

from sqlalchemy import select

from tasks_pipeline.groups.fixing import SaidFixes
from tasks_pipeline.releases.due import Due, note_updated
from tasks_pipeline.shipping.commits import Shipped, apply_commits, read_commits
from tasks_pipeline.storage.state.tables import releases
from tasks_pipeline.stores import Stores


def update_release_data(
    stores: Stores, project_id: int, version: str, said: SaidFixes | None = None
) -> Shipped:
    """Apply the commits that a release has now. What arrives meanwhile makes it due again. `said`: what `read_commits` gave of
    the version since it was due, as for another project."""
    c = releases.c
    query = select(c.update_due_at).where(c.project_id == project_id, c.version == version)
    said = said or read_commits(stores, version)
    with stores.state.write() as connection:
        stores.state.serialise(connection, "group_hashes")  # before any row, as whoever decides about groups
        due_at = connection.execute(query.with_for_update()).scalar()
        if due_at is None:
            return Shipped()
        shipped = apply_commits(stores, connection, project_id, version, said, is_new=False)
        note_updated(connection, Due(project_id, version, due_at))
    return shipped
