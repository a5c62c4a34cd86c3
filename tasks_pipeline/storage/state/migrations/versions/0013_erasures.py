"""Deletions that were asked for are kept until they are done."""

import sqlalchemy as sa
from alembic import op

from tasks_pipeline.storage.state.tables import UtcDateTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

SAID = {
    (
        "day_changes",
        "reason",
    ): "batch, recomputed, reprocessed, regrouped, sessions, facts, retention, privacy or deleted",
    ("retention_removals", "reason"): "age, before, max_disk, max_events, privacy or deleted",
}
"""Comments that say more than before; SQLite keeps none."""
OPEN = sa.text("ended_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", sa.String(32), primary_key=True, comment="that of its certificate"),
        sa.Column("kind", sa.String(16), nullable=False, comment="privacy, group, project or release"),
        sa.Column(
            "data",
            sa.JSON(),
            nullable=True,
            comment="whose, and what must be remembered until it ended; from then on null, or which archived manifests are over",
        ),
        sa.Column("requested_by", sa.String(200), nullable=False),
        sa.Column("requested_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        comment="Deletions that were asked for. Stored before anything goes; open ones are finished by whoever comes next.",
    )
    op.create_index("erasures_open", "erasures", ["requested_at"], sqlite_where=OPEN, postgresql_where=OPEN)
    for (table, column), said in SAID.items() if op.get_bind().dialect.name == "postgresql" else ():
        op.alter_column(table, column, existing_type=sa.String(16), existing_nullable=False, comment=said)


def downgrade() -> None:
    op.drop_table("erasures")
