"""Retention notes what it took, and debug files when they were last used."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from tasks_pipeline.storage.state.tables import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retention_removals",
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("name", sa.String(32), primary_key=True, comment="table of the lake"),
        sa.Column(
            "project_id", sa.BigInteger(), primary_key=True, autoincrement=False, comment="0: all projects"
        ),
        sa.Column("rows", sa.BigInteger(), nullable=False, comment="that went, in all"),
        sa.Column("reason", sa.String(16), nullable=False, comment="age, before, max_disk or max_events"),
        sa.Column("removed_at", UtcDateTime(), nullable=False, comment="when some last went"),
        comment="Days of which retention took rows: what was counted of them is not counted again. Noted before the rows go.",
    )
    for table in ("debug_files", "artifact_bundles"):
        used: sa.Column[Any] = sa.Column(
            "used_at", UtcDateTime(), nullable=True, comment="the day on which a lookup last found it"
        )
        op.add_column(table, used)


def downgrade() -> None:
    for table in ("debug_files", "artifact_bundles"):
        op.drop_column(table, "used_at")
    op.drop_table("retention_removals")
