"""Every query finds what it asks for by an index; explanations of groups lie apart; drains can be forgotten."""

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
import zstandard
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SEEN = "times_seen > 0 AND merged_into IS NULL"
ADDED = (
    ("group_values_by_day", "group_values", ("day", "group_id"), None),
    ("groups_by_last_seen", "groups", ("last_seen", "id"), SEEN),
    ("groups_of_project_by_last_seen", "groups", ("project_id", "last_seen", "id"), SEEN),
    ("groups_of_project_by_first_seen", "groups", ("project_id", "first_seen", "id"), SEEN),
    ("groups_by_status", "groups", ("project_id", "status"), SEEN),
    ("groups_discarded", "groups", ("last_seen", "id"), "status = 'discarded'"),
    ("ix_drains_run_id", "drains", ("run_id",), None),
    ("ix_deliveries_run_id", "deliveries", ("run_id",), None),
    ("replacements_by_day", "replacements", ("day",), None),
    ("replacements_open", "replacements", ("day",), "done_at IS NULL"),
    ("regroupings_open", "regroupings", ("id",), "done_at IS NULL"),
    ("alerts_by_group", "alerts", ("group_id", "incident_id"), None),
    ("notifications_sent", "notifications", ("sent_at", "channel"), "sent_at IS NOT NULL"),
    ("groups_merged", "groups", ("merged_into",), "merged_into IS NOT NULL"),
    ("notifications_in_digests", "notifications", ("digest_id",), "digest_id IS NOT NULL"),
    (
        "notifications_for_digests",
        "notifications",
        ("status", "digest_id", "target", "project_id", "created_at"),
        "status = 'digest'",
    ),
    ("monitor_environments_in_trouble", "monitor_environments", ("incident_id",), "incident_id IS NOT NULL"),
    (
        "monitor_check_ins_at_work",
        "monitor_check_ins",
        ("environment_id", "started_at"),
        "status = 'in_progress'",
    ),
    ("ix_similar_groups_other_id", "similar_groups", ("other_id",), None),
    ("ix_incidents_group_id", "incidents", ("group_id",), None),
    ("incidents_open", "incidents", ("kind",), "closed_at IS NULL"),
)
REMOVED = (
    "groups_by_last_seen",
    "ix_alerts_group_id",
    "group_values_by_day",
    "ix_groups_merged_into",
    "ix_notifications_digest_id",
)
STEP = 200
"""Explanations in memory at once; one takes 25 KB on average."""


def upgrade() -> None:
    tables = set(sa.inspect(op.get_bind()).get_table_names())
    if "group_explanations" not in tables:
        op.create_table(
            "group_explanations",
            sa.Column("group_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
            sa.Column(
                "explanation",
                sa.LargeBinary(),
                nullable=False,
                comment="why its first event is grouped so: the contribution tree as JSON, zstd",
            ),
            sa.ForeignKeyConstraint(["group_id"], ["groups.id"]),
            sa.PrimaryKeyConstraint("group_id"),
            comment="Why groups are groups. Large, and read for one group at a time: so it lies apart from what lists read.",
        )
    if "explanation" in _columns("groups"):
        _move_explanations()
        op.drop_column("groups", "explanation")
    if "group_ids" not in _columns("replacements"):
        column = sa.Column(
            "group_ids",
            sa.JSON(none_as_null=True),
            nullable=True,
            comment="groups of its events; null: any",
        )
        op.add_column("replacements", column)
    _let_drains_go()
    for name in REMOVED:
        op.execute(sa.text(f"DROP INDEX IF EXISTS {name}"))
    for name, table, columns, where in ADDED:
        condition = None if where is None else sa.text(where)
        op.create_index(
            name, table, list(columns), sqlite_where=condition, postgresql_where=condition, if_not_exists=True
        )


def _columns(table: str) -> set[str]:
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}


def _move_explanations() -> None:
    connection = op.get_bind()
    groups = sa.table("groups", sa.column("id"), sa.column("explanation", sa.JSON))
    apart = sa.table("group_explanations", sa.column("group_id"), sa.column("explanation", sa.LargeBinary))
    compressor = zstandard.ZstdCompressor(level=3)
    for rows in _in_steps(connection, groups):
        found = [
            {"group_id": group_id, "explanation": compressor.compress(json.dumps(tree).encode())}
            for group_id, tree in rows
            if tree is not None
        ]
        if found:
            connection.execute(sa.insert(apart), found)


def _in_steps(connection: sa.Connection, groups: Any) -> Iterator[list[Any]]:
    last = 0
    while True:
        query = sa.select(groups.c.id, groups.c.explanation).where(groups.c.id > last)
        rows = list(connection.execute(query.order_by(groups.c.id).limit(STEP)))
        if not rows:
            return
        yield rows
        last = rows[-1][0]


def _let_drains_go() -> None:
    """Batches say which drain did them also when that is forgotten."""
    keys = sa.inspect(op.get_bind()).get_foreign_keys("batches")
    if not keys:
        return
    if op.get_bind().dialect.name == "sqlite":  # its foreign keys have no names
        convention = {"fk": "%(table_name)s_%(column_0_name)s_fkey"}
        with op.batch_alter_table("batches", naming_convention=convention) as batch_op:
            batch_op.drop_constraint("batches_drain_id_fkey", type_="foreignkey")
    else:
        op.drop_constraint(keys[0]["name"] or "", "batches", type_="foreignkey")
        op.alter_column(
            "batches",
            "suspect",
            comment="position at work when attempts keep dying; negative: the first of several",
            existing_type=sa.BigInteger(),
            existing_nullable=True,
        )


def downgrade() -> None:
    for name, table, _columns_of, _where in ADDED:
        op.drop_index(name, table)
    op.create_index("groups_by_last_seen", "groups", ["project_id", "last_seen"])
    op.create_index("ix_notifications_digest_id", "notifications", ["digest_id"])
    op.create_index("ix_groups_merged_into", "groups", ["merged_into"])
    op.create_index("group_values_by_day", "group_values", ["day"])
    op.create_index("ix_alerts_group_id", "alerts", ["group_id"])
    op.drop_column("replacements", "group_ids")
    op.add_column("groups", sa.Column("explanation", sa.JSON(), nullable=True))
    op.drop_table("group_explanations")
    key = "batches_drain_id_fkey"
    with op.batch_alter_table("batches") as batch_op:
        batch_op.create_foreign_key(key, "drains", ["drain_id"], ["id"])
