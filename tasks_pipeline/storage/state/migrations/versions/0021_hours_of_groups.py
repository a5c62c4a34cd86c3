"""Groups say in which hours their events happened, so that a list with bars asks no file of the lake."""

import sqlalchemy as sa
from alembic import op

from tasks_pipeline.storage.state.tables import UtcDateTime

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# Older programs count no hours. What they leave out, and the days of before this, are counted from the lake every hour
# (processing/catch_up.py).
compatible_from = "0019"


def upgrade() -> None:
    op.create_table(
        "group_hours",
        sa.Column("group_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("hour", UtcDateTime(), nullable=False, comment="UTC, in which the events happened"),
        sa.Column("day", sa.Date(), nullable=False, comment="of their receipt"),
        sa.Column("times_seen", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"]),
        sa.PrimaryKeyConstraint("group_id", "hour", "day"),
        sqlite_with_rowid=False,
        comment="In which hours the events of a group happened, of the last thirty days of receipt.",
    )
    op.create_index("group_hours_by_day", "group_hours", ["day", "group_id"])


def downgrade() -> None:
    op.drop_table("group_hours")
