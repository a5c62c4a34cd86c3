"""Groups are found by a release or an environment that few of them were seen with."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

compatible_from = "0019"  # an index


def upgrade() -> None:
    which = sa.text("kind <> 'user'")
    op.create_index(
        "group_values_by_value",
        "group_values",
        ["kind", "value", "group_id"],
        sqlite_where=which,
        postgresql_where=which,
    )


def downgrade() -> None:
    op.drop_index("group_values_by_value", "group_values")
