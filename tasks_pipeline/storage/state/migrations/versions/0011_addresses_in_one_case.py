"""Addresses of members in small letters, as the configuration has them: assignees, and whom messages and reports are for."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("groups", "group_actions"):
        _fold(table, "assignee", "%@%")
    # Of two rows that are one now, the one that was in small letters stays.
    op.execute(
        "DELETE FROM report_deliveries WHERE target LIKE 'member:%' AND target <> lower(target) AND EXISTS ("
        "SELECT 1 FROM report_deliveries AS other WHERE other.kind = report_deliveries.kind "
        "AND other.key = report_deliveries.key AND other.target = lower(report_deliveries.target))"
    )
    for table in ("notifications", "report_deliveries"):
        _fold(table, "target", "member:%")


def downgrade() -> None:
    """How they were written is not known any more."""


def _fold(table: str, column: str, like: str) -> None:
    held = sa.column(column, sa.String())
    wanted = (held.like(like), held != sa.func.lower(held))
    op.execute(sa.update(sa.table(table, held)).where(*wanted).values({column: sa.func.lower(held)}))
