"""What fails is counted and left alone for a while; a part that begins anew; days that symbols reached too late."""

import sqlalchemy as sa
from alembic import op

from tasks_pipeline.storage.state.tables import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _add(
        "drains",
        sa.Column("stored_at", UtcDateTime(), nullable=True, comment="when it last finished a batch"),
        sa.Column(
            "error",
            sa.Text(),
            nullable=True,
            comment="why it failed; null for one that ended well or is at work",
        ),
    )
    _add(
        "spool_cursors",
        sa.Column(
            "base",
            sa.BigInteger(),
            nullable=False,
            server_default="0",
            comment="added to a position in the spool; above 0 when the spool counts this part from 1 again",
        ),
        sa.Column(
            "gone",
            sa.BigInteger(),
            nullable=False,
            server_default="0",
            comment="batches that begin at or before this position have no raw envelopes any more",
        ),
        sa.Column(
            "first_received_at",
            UtcDateTime(),
            nullable=True,
            comment="receipt of the first envelope in the spool, by which a part that was made anew is known",
        ),
        sa.Column(
            "last_received_at",
            UtcDateTime(),
            nullable=True,
            comment="receipt of the last one that was claimed",
        ),
        sa.Column(
            "lost",
            sa.BigInteger(),
            nullable=False,
            server_default="0",
            comment="envelopes that were claimed and then were missing, though nobody had dropped them",
        ),
    )
    _add(
        "batches",
        sa.Column(
            "base",
            sa.BigInteger(),
            nullable=False,
            server_default="0",
            comment="that of the cursor when claimed",
        ),
        sa.Column("not_before", UtcDateTime(), nullable=True, comment="when another attempt is worth making"),
        sa.Column(
            "error", sa.Text(), nullable=True, comment="why the last attempt failed, as far as it could say"
        ),
    )
    _add(
        "symbol_arrivals",
        sa.Column(
            "matched_at",
            UtcDateTime(),
            nullable=True,
            comment="when the days whose events missed it were noted in symbol_debts",
        ),
    )
    op.create_index(
        "symbol_arrivals_unmatched",
        "symbol_arrivals",
        ["id"],
        if_not_exists=True,
        sqlite_where=sa.text("matched_at IS NULL"),
        postgresql_where=sa.text("matched_at IS NULL"),
    )
    op.create_table(
        "symbol_debts",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column(
            "after", sa.BigInteger(), nullable=False, comment="symbol_arrivals behind this number are owed"
        ),
        sa.Column(
            "through",
            sa.BigInteger(),
            nullable=False,
            comment="the last of them that the day's events missed",
        ),
        sa.Column(
            "attempts", sa.Integer(), nullable=False, server_default="0", comment="made without success"
        ),
        sa.Column("not_before", UtcDateTime(), nullable=True, comment="when another attempt is worth making"),
        sa.PrimaryKeyConstraint("day"),
        comment="Days with stored events that symbols reached too late; a row goes when they were processed again.",
        if_not_exists=True,
    )


def _add(table: str, *columns: sa.Column) -> None:  # type: ignore[type-arg]
    """Add the columns that are not there yet."""
    known = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}
    for column in columns:
        if column.name not in known:
            op.add_column(table, column)


def downgrade() -> None:
    op.drop_table("symbol_debts")
    op.drop_index("symbol_arrivals_unmatched", "symbol_arrivals")
    for table, columns in {
        "symbol_arrivals": ("matched_at",),
        "batches": ("error", "not_before", "base"),
        "spool_cursors": ("lost", "last_received_at", "first_received_at", "gone", "base"),
        "drains": ("error", "stored_at"),
    }.items():
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.drop_column(column)
