"""Foundation: groups and their keys, batches of the spool, and what guards them against being processed twice."""

import sqlalchemy as sa
from alembic import op

from tasks_pipeline.storage.state.tables import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "condemned_envelopes",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("part", sa.String(length=16), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("day", "part", "position"),
        comment="Envelopes that killed the process each time they were read; they become dead letters unread.",
    )
    op.create_table(
        "drains",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=True, comment="the Dagster run at work"),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("heartbeat_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("drains", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_drains_heartbeat_at"), ["heartbeat_at"], unique=False)

    op.create_table(
        "event_ids",
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("part", sa.String(length=16), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "event_id"),
        comment="The place in the spool that owns an event id; every other place with it is a duplicate.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "groups",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "short_id", sa.BigInteger(), nullable=False, comment="number within the project, shown in base 32"
        ),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("culprit", sa.Text(), nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("platform", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False, comment="error, default (a message), csp …"),
        sa.Column(
            "metadata", sa.JSON(), nullable=False, comment="type, value, filename, function of the title"
        ),
        sa.Column(
            "algorithm",
            sa.String(length=32),
            nullable=False,
            comment="grouping algorithm that created the group",
        ),
        sa.Column("status", sa.String(length=16), server_default="unresolved", nullable=False),
        sa.Column("status_changed_at", UtcDateTime(), nullable=True),
        sa.Column("ignored_until", UtcDateTime(), nullable=True),
        sa.Column("ignored_until_times_seen", sa.BigInteger(), nullable=True),
        sa.Column("times_seen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("users", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("first_seen", UtcDateTime(), nullable=True),
        sa.Column("last_seen", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("project_id", "short_id"),
    )
    with op.batch_alter_table("groups", schema=None) as batch_op:
        batch_op.create_index("groups_by_last_seen", ["project_id", "last_seen"], unique=False)

    op.create_table(
        "projects",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("slug", sa.String(length=50), nullable=False),
        sa.Column("last_short_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        comment="What the state database must remember of a project; everything else is configuration.",
    )
    op.create_table(
        "replacements",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("done_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        comment="Replacements of a day in the lake, opened under the writer lock; whoever holds the lock and finds an open one knows that its process died, and derives the day's counters again.",
    )
    op.create_table(
        "spool_cursors",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("part", sa.String(length=16), nullable=False),
        sa.Column(
            "position", sa.BigInteger(), nullable=False, comment="last position that a batch has claimed"
        ),
        sa.PrimaryKeyConstraint("day", "part"),
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("part", sa.String(length=16), nullable=False),
        sa.Column("first_position", sa.BigInteger(), nullable=False),
        sa.Column("last_position", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False, comment="open or done"),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("drain_id", sa.String(length=32), nullable=False),
        sa.Column(
            "suspect", sa.BigInteger(), nullable=True, comment="position at work when attempts keep dying"
        ),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("done_at", UtcDateTime(), nullable=True),
        sa.Column("items", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("stored", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("duplicate", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("filtered", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("discarded", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("invalid", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["drain_id"],
            ["drains.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("day", "part", "first_position"),
        comment="Ranges of spool positions, each processed exactly once.",
    )
    with op.batch_alter_table("batches", schema=None) as batch_op:
        batch_op.create_index("batches_by_status", ["status", "day"], unique=False)

    op.create_table(
        "group_days",
        sa.Column("group_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("times_seen", sa.BigInteger(), nullable=False),
        sa.Column("first_seen", UtcDateTime(), nullable=False),
        sa.Column("last_seen", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.id"],
        ),
        sa.PrimaryKeyConstraint("group_id", "day"),
        comment="What each day of receipt contributes to a group, so that a day can be recomputed.",
    )
    with op.batch_alter_table("group_days", schema=None) as batch_op:
        batch_op.create_index("group_days_by_day", ["day"], unique=False)

    op.create_table(
        "group_hashes",
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("group_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.id"],
        ),
        sa.PrimaryKeyConstraint("project_id", "key"),
        comment="Which group a key belongs to; the primary key makes two first events at once one group.",
    )
    with op.batch_alter_table("group_hashes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_group_hashes_group_id"), ["group_id"], unique=False)

    op.create_table(
        "group_values",
        sa.Column("group_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="user, release or environment"),
        sa.Column("value", sa.String(length=200), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("times_seen", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.id"],
        ),
        sa.PrimaryKeyConstraint("group_id", "kind", "value", "day"),
    )
    with op.batch_alter_table("group_values", schema=None) as batch_op:
        batch_op.create_index("group_values_by_day", ["day"], unique=False)


def downgrade() -> None:

    with op.batch_alter_table("group_values", schema=None) as batch_op:
        batch_op.drop_index("group_values_by_day")

    op.drop_table("group_values")
    with op.batch_alter_table("group_hashes", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_group_hashes_group_id"))

    op.drop_table("group_hashes")
    with op.batch_alter_table("group_days", schema=None) as batch_op:
        batch_op.drop_index("group_days_by_day")

    op.drop_table("group_days")
    with op.batch_alter_table("batches", schema=None) as batch_op:
        batch_op.drop_index("batches_by_status")

    op.drop_table("batches")
    op.drop_table("spool_cursors")
    op.drop_table("replacements")
    op.drop_table("projects")
    with op.batch_alter_table("groups", schema=None) as batch_op:
        batch_op.drop_index("groups_by_last_seen")

    op.drop_table("groups")
    op.drop_table("event_ids")
    with op.batch_alter_table("drains", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_drains_heartbeat_at"))

    op.drop_table("drains")
    op.drop_table("condemned_envelopes")
