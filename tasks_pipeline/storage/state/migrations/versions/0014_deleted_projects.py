"""A project that was deleted leaves its number, which is never used again."""

import sqlalchemy as sa
from alembic import op

from tasks_pipeline.storage.state.tables import UtcDateTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

DELETED = sa.text("deleted_at IS NOT NULL")


def upgrade() -> None:
    op.add_column(
        "projects",
        sa.Column(
            "deleted_at",
            UtcDateTime(),
            nullable=True,
            comment="since when nothing is taken for it, and its number is used up",
        ),
    )
    op.create_index("projects_deleted", "projects", ["id"], sqlite_where=DELETED, postgresql_where=DELETED)


def downgrade() -> None:
    op.drop_index("projects_deleted", "projects")
    op.drop_column("projects", "deleted_at")
