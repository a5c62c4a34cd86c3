"""Days that are back from an archive stay for a while."""

import sqlalchemy as sa
from alembic import op

from tasks_pipeline.storage.state.tables import UtcDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "restored_days",
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("project_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column(
            "until",
            sa.Date(),
            nullable=False,
            comment="the last day on which it stays although its retention is over",
        ),
        sa.Column("restored_at", UtcDateTime(), nullable=True, comment="null: it is on its way"),
        comment="Days that are back from an archive. Noted before their rows are, so that no cleanup takes these at once.",
    )


def downgrade() -> None:
    op.drop_table("restored_days")
