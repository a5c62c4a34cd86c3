"""The tail: rows of small batches that wait for a file of the lake."""

import sqlalchemy as sa
from alembic import op

from tasks_pipeline.storage.state.tables import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "tail_segments",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column(
            "rows",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="of all tables of the lake but payloads",
        ),
        sa.Column(
            "bytes",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="of texts and payloads as stored",
        ),
        sa.Column(
            "first_at",
            UtcDateTime(),
            nullable=True,
            comment="when its first rows came; null while it is empty",
        ),
        sa.Column("sealed_at", UtcDateTime(), nullable=True, comment="since when it takes no rows"),
        sa.PrimaryKeyConstraint("id"),
        comment="Pieces of the tail. The highest is open; numbers grow and never come again. What is in the lake is gone here.",
    )
    op.create_table(
        "tail_rows",
        sa.Column("seq", ID, nullable=False, comment="grows in the order of commits"),
        sa.Column("segment", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("part", sa.String(length=16), nullable=False),
        sa.Column("first_position", sa.BigInteger(), nullable=False, comment="of the batch"),
        sa.Column("last_position", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False, comment="table of the lake"),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column(
            "rows",
            sa.Text(),
            nullable=False,
            comment="JSON list of objects; times are microseconds since 1970",
        ),
        sa.PrimaryKeyConstraint("seq"),
        # A number that came again would be one that mirrors have seen already.
        sqlite_autoincrement=True,
        comment="Rows of small batches that are not in files of the lake yet: one per batch and table of the lake.",
    )
    op.create_index("ix_tail_rows_segment", "tail_rows", ["segment"])
    op.create_index("tail_rows_place", "tail_rows", ["day", "part", "first_position"])
    op.create_table(
        "tail_payloads",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("part", sa.String(length=16), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("segment", sa.BigInteger(), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.String(length=32), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False, comment="zstd of the event's JSON"),
        sa.PrimaryKeyConstraint("day", "part", "position", "item"),
        comment="Payloads of the events in the tail.",
    )
    op.create_index("ix_tail_payloads_segment", "tail_payloads", ["segment"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE tail_payloads ALTER COLUMN payload SET STORAGE EXTERNAL")  # zstd already
        for table in ("tail_rows", "tail_payloads"):  # all of it is deleted every few minutes
            op.execute(
                f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)"
            )
