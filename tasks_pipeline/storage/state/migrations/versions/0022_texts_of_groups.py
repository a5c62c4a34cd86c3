"""Groups keep what their first event says beside its title: types, values, files, modules and functions, for searching."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

compatible_from = "0019"  # groups that an older program makes are found by title and culprit only


def upgrade() -> None:
    op.create_table(
        "group_texts",
        sa.Column("group_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "said", sa.Text(), nullable=False, comment="types and values of its exceptions, and its message"
        ),
        sa.Column("stack", sa.Text(), nullable=False, comment="files, modules and functions of its frames"),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"]),
        sa.PrimaryKeyConstraint("group_id"),
        comment="What the first event of a group says, for those who look for words in it. A line for each text, bounded.",
    )


def downgrade() -> None:
    op.drop_table("group_texts")
