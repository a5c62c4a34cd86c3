"""Beside its revision a database says which programs may go on with it: those whose newest migration is not below `compatible_from`.

Each migration from 0018 on names that in a variable `compatible_from`, its own number when older programs must stop first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
compatible_from = "0019"


def upgrade() -> None:
    op.add_column("alembic_version", sa.Column("compatible_from", sa.String(32), nullable=True))


def downgrade() -> None:
    op.drop_column("alembic_version", "compatible_from")
