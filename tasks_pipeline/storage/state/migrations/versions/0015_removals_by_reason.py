"""Rows that went are counted for each reason, and once, also when whoever noted them died before they went."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TABLE = "retention_removals"


def upgrade() -> None:
    op.add_column(
        TABLE,
        sa.Column(
            "last_rows",
            sa.BigInteger(),
            nullable=False,
            server_default="0",
            comment="of them, those that were noted last",
        ),
    )
    op.add_column(
        TABLE,
        sa.Column(
            "witness", sa.String(100), nullable=False, server_default="",
            comment="one of these: they went if it is not in the lake any more; empty: they did",
        ),
    )  # fmt: skip
    _keyed_by("day", "name", "project_id", "reason")


def downgrade() -> None:
    # Of a day, table and project one row stays: its number of rows is theirs together, and it says why some went.
    same = "r.day = retention_removals.day AND r.name = retention_removals.name AND r.project_id = retention_removals.project_id"
    op.execute(f"UPDATE {TABLE} SET rows = (SELECT sum(r.rows) FROM {TABLE} r WHERE {same})")
    op.execute(
        f"DELETE FROM {TABLE} WHERE EXISTS (SELECT 1 FROM {TABLE} r WHERE {same} AND r.reason > retention_removals.reason)"
    )
    _keyed_by("day", "name", "project_id")
    op.drop_column(TABLE, "witness")
    op.drop_column(TABLE, "last_rows")


def _keyed_by(*columns: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(f"{TABLE}_pkey", TABLE, type_="primary")
        op.create_primary_key(f"{TABLE}_pkey", TABLE, list(columns))
        return
    named = {"pk": "pk_%(table_name)s"}
    with op.batch_alter_table(TABLE, recreate="always", naming_convention=named) as batch:
        batch.drop_constraint(f"pk_{TABLE}", type_="primary")
        batch.create_primary_key(f"pk_{TABLE}", list(columns))
