"""Releases sort by stored keys; they can be archived."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from tasks_pipeline.protocol.release import parse_release
from tasks_pipeline.storage.state.tables import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STEP = 500
BY_BYTES = sa.String().with_variant(sa.String(collation="C"), "postgresql")
INDEXES = {
    "releases_by_date": ["project_id", "status", "order_date", "version"],
    "releases_by_version": ["project_id", "status", "package", "version_key", "order_date", "version"],
}


def upgrade() -> None:
    columns: tuple[sa.Column[Any], ...] = (
        sa.Column("status", sa.String(16), nullable=False, server_default="open", comment="open or archived"),
        sa.Column("order_date", UtcDateTime(), nullable=True, comment="released_at, else created_at"),
        sa.Column(
            "package", sa.String(200), nullable=True, comment="what stands before the @ of the version"
        ),
        sa.Column(
            "version_key",
            BY_BYTES,
            nullable=True,
            comment="sorts the versions of a package; null for others",
        ),
    )
    for column in columns:
        op.add_column("releases", column)
    _fill()
    with op.batch_alter_table("releases") as batch:
        batch.alter_column("order_date", existing_type=UtcDateTime(), nullable=False)
    if op.get_bind().dialect.name == "postgresql":
        op.execute('ALTER TABLE releases ALTER COLUMN version TYPE VARCHAR(200) COLLATE "C"')
    for name, names in INDEXES.items():
        op.create_index(name, "releases", names)


def _fill() -> None:
    connection = op.get_bind()
    connection.execute(sa.text("UPDATE releases SET order_date = coalesce(released_at, created_at)"))
    releases = sa.table("releases", *map(sa.column, ("project_id", "version", "package", "version_key")))
    c = releases.c
    said = sa.update(releases).where(
        c.project_id == sa.bindparam("its_project"), c.version == sa.bindparam("its_version")
    )
    for rows in _in_steps(connection, releases):
        names = [(project_id, version, parse_release(version)) for project_id, version in rows]
        connection.execute(
            said,
            [
                {"its_project": p, "its_version": v, "package": name.package, "version_key": name.sort_key}
                for p, v, name in names
            ],
        )


def _in_steps(connection: sa.Connection, releases: Any) -> Iterator[list[Any]]:
    key = sa.tuple_(releases.c.project_id, releases.c.version)
    last: tuple[int, str] = (-1, "")
    while True:
        query = sa.select(releases.c.project_id, releases.c.version).where(key > last)
        rows = list(connection.execute(query.order_by(*key.clauses).limit(STEP)))
        if not rows:
            return
        yield rows
        last = tuple(rows[-1])


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, "releases")
    with op.batch_alter_table("releases") as batch:
        for column in ("status", "order_date", "package", "version_key"):
            batch.drop_column(column)
