"""Of batches it is known how many processes died with them: errors that were raised are no reason to suspect an envelope."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
compatible_from = "0019"


def upgrade() -> None:
    comment = "claims whose process ended without a word, the one at work included"
    op.add_column(
        "batches", sa.Column("deaths", sa.Integer(), nullable=False, server_default="0", comment=comment)
    )


def downgrade() -> None:
    op.drop_column("batches", "deaths")
