"""Workers of lanes and processes of runs give signs of life."""

import sqlalchemy as sa
from alembic import op

from tasks_pipeline.storage.state.tables import UtcDateTime

revision = "0018"
down_revision = "0016"
branch_labels = None
depends_on = None

compatible_from = "0016"  # two tables more: nobody misses them who does not know them


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "lanes", sa.String(length=255), nullable=False, comment="that it serves, with commas between"
        ),
        sa.Column("concurrency", sa.Integer(), nullable=False, comment="runs at once"),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("beat_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("host", "pid"),
        comment="Processes that take runs from the queues of lanes, and their last sign of life.",
    )
    op.create_index("ix_workers_beat_at", "workers", ["beat_at"])
    op.create_table(
        "run_beats",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("lane", sa.String(length=32), nullable=False),
        sa.Column(
            "started_at", UtcDateTime(), nullable=False, comment="when this process began with the run"
        ),
        sa.Column("beat_at", UtcDateTime(), nullable=False),
        sa.Column("lost", sa.Text(), nullable=True, comment="how the process died, when its worker saw it"),
        sa.PrimaryKeyConstraint("run_id"),
        comment="The process of each Dagster run, and its last sign of life.",
    )
    op.create_index("ix_run_beats_beat_at", "run_beats", ["beat_at"])


def downgrade() -> None:
    op.drop_table("run_beats")
    op.drop_table("workers")
