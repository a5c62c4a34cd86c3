"""Alerts, the outbox with its deliveries, monitors with their incidents, and probes of the pipeline itself."""

import sqlalchemy as sa
from alembic import op

from tasks_pipeline.storage.state.tables import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "channel_states",
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False, comment="in a row"),
        sa.Column(
            "open_until", UtcDateTime(), nullable=True, comment="circuit breaker: nothing is tried before"
        ),
        sa.Column("last_error", sa.Text(), server_default="", nullable=False),
        sa.Column("last_sent_at", UtcDateTime(), nullable=True),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("channel"),
    )
    op.create_table(
        "monitors",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("slug", sa.String(length=50), nullable=False),
        sa.Column("type", sa.String(length=8), nullable=False, comment="cron or uptime"),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column(
            "config",
            sa.JSON(),
            nullable=False,
            comment="schedule, margin, thresholds …; of uptime: the request",
        ),
        sa.Column(
            "source",
            sa.String(length=16),
            nullable=False,
            comment="file, or check_in when a client described it",
        ),
        sa.Column(
            "status",
            sa.String(length=16),
            server_default="active",
            nullable=False,
            comment="active, muted or disabled",
        ),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("project_id", "slug"),
    )
    op.create_table(
        "probes",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False, comment="ok, warning, critical or unknown"),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "failures", sa.Integer(), server_default="0", nullable=False, comment="bad readings in a row"
        ),
        sa.Column("since", UtcDateTime(), nullable=False, comment="since when it has this status"),
        sa.Column("measured_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        comment="What the pipeline watches of itself: the last reading of each probe.",
    )
    op.create_table(
        "rule_states",
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("rule", sa.String(length=100), nullable=False),
        sa.Column(
            "thread",
            sa.String(length=200),
            nullable=False,
            comment="the group or metric that fired; empty: the rule as a whole",
        ),
        sa.Column(
            "status",
            sa.String(length=16),
            nullable=False,
            comment="ok, warning, critical; storm while alerts collapse",
        ),
        sa.Column("fired_at", UtcDateTime(), nullable=True, comment="when an alert of it was last sent"),
        sa.Column("changed_at", UtcDateTime(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False, comment="what the rule has to remember"),
        sa.PrimaryKeyConstraint("project_id", "rule", "thread"),
        comment="What alert rules remember between evaluations: action intervals, metric states, storms.",
    )
    op.create_table(
        "send_limits",
        sa.Column("channel", sa.String(length=100), nullable=False),
        sa.Column("target", sa.String(length=250), nullable=False, comment="empty: the channel as a whole"),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False, comment="when it held so many tokens"),
        sa.PrimaryKeyConstraint("channel", "target"),
        comment="Token buckets of channels and of their targets.",
    )
    op.create_table(
        "alerts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "key", sa.String(length=300), nullable=False, comment="one firing: the same key fires once"
        ),
        sa.Column("project_id", sa.BigInteger(), nullable=False, comment="0: the pipeline itself"),
        sa.Column("rule", sa.String(length=100), nullable=False),
        sa.Column(
            "kind",
            sa.String(length=32),
            nullable=False,
            comment="new_group, regression, events, metric, monitor …",
        ),
        sa.Column("status", sa.String(length=16), nullable=False, comment="firing or recovered"),
        sa.Column("severity", sa.String(length=16), nullable=False, comment="info, warning or critical"),
        sa.Column("group_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("incident_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "thread",
            sa.String(length=200),
            nullable=False,
            comment="what messages about one thing share: group:17 …",
        ),
        sa.Column(
            "data",
            sa.JSON(),
            nullable=False,
            comment="the facts at that moment: the event, counts, thresholds",
        ),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
        comment="Firings of alert rules.",
    )
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.create_index("alerts_by_rule", ["project_id", "rule", "at"], unique=False)
        batch_op.create_index(batch_op.f("ix_alerts_at"), ["at"], unique=False)
        batch_op.create_index(batch_op.f("ix_alerts_group_id"), ["group_id"], unique=False)

    op.create_table(
        "monitor_environments",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("monitor_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("environment", sa.String(length=64), nullable=False),
        sa.Column(
            "status", sa.String(length=16), nullable=False, comment="waiting, ok, missed, timed_out or error"
        ),
        sa.Column("muted", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_check_in_at", UtcDateTime(), nullable=True),
        sa.Column(
            "next_at", UtcDateTime(), nullable=True, comment="when the next check-in, or check, is due"
        ),
        sa.Column("late_at", UtcDateTime(), nullable=True, comment="when it counts as missed"),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False, comment="in a row"),
        sa.Column("successes", sa.Integer(), server_default="0", nullable=False, comment="in a row"),
        sa.Column("incident_id", sa.BigInteger(), nullable=True, comment="the open one"),
        sa.Column("data", sa.JSON(), nullable=False, comment="of uptime: the last answer"),
        sa.ForeignKeyConstraint(
            ["monitor_id"],
            ["monitors.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("monitor_id", "environment"),
    )
    with op.batch_alter_table("monitor_environments", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_monitor_environments_late_at"), ["late_at"], unique=False)
        batch_op.create_index("monitor_environments_next", ["next_at"], unique=False)

    op.create_table(
        "incidents",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False, comment="0: the pipeline itself"),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="cron, uptime or pipeline"),
        sa.Column("environment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column(
            "probe", sa.String(length=100), nullable=True, comment="what the pipeline watches of itself"
        ),
        sa.Column("group_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column(
            "reason",
            sa.String(length=32),
            nullable=False,
            comment="missed, timed_out, error, down, expiring …",
        ),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["environment_id"],
            ["monitor_environments.id"],
        ),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("incidents", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_incidents_environment_id"), ["environment_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_incidents_opened_at"), ["opened_at"], unique=False)

    op.create_table(
        "monitor_check_ins",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("environment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "check_in_id", sa.String(length=32), nullable=True, comment="32 hex digits; none for a missed one"
        ),
        sa.Column(
            "status",
            sa.String(length=16),
            nullable=False,
            comment="in_progress, ok, error, missed, timed_out or unknown",
        ),
        sa.Column("expected_at", UtcDateTime(), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("timeout_at", UtcDateTime(), nullable=True, comment="while in progress: when it times out"),
        sa.Column("duration_s", sa.Float(), nullable=True),
        sa.Column("release", sa.String(length=200), nullable=True),
        sa.Column("trace_id", sa.String(length=32), nullable=True),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"],
            ["monitor_environments.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("environment_id", "check_in_id"),
        comment="Runs of monitors as they are understood: what check-ins said, and what was missing.",
    )
    with op.batch_alter_table("monitor_check_ins", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_monitor_check_ins_timeout_at"), ["timeout_at"], unique=False)
        batch_op.create_index("monitor_check_ins_by_time", ["environment_id", "started_at"], unique=False)

    op.create_table(
        "notifications",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(length=400), nullable=False, comment="one message to one target"),
        sa.Column("type", sa.String(length=16), nullable=False, comment="alert, storm, digest or test"),
        sa.Column("alert_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column(
            "digest_id", sa.BigInteger(), nullable=True, comment="the notification of the digest it went into"
        ),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("rule", sa.String(length=100), server_default="", nullable=False),
        sa.Column("target", sa.String(length=250), nullable=False, comment="member:…, team:… or channel:…"),
        sa.Column("channel", sa.String(length=100), nullable=False, comment="name of the configured channel"),
        sa.Column(
            "address",
            sa.String(length=250),
            server_default="",
            nullable=False,
            comment="where on that channel",
        ),
        sa.Column("thread", sa.String(length=200), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False, comment="what the message needs beside its alert"),
        sa.Column(
            "status",
            sa.String(length=16),
            nullable=False,
            comment="waiting, sending, sent, dead, digest, collapsed or skipped",
        ),
        sa.Column(
            "reason", sa.Text(), server_default="", nullable=False, comment="why it was not sent, or not yet"
        ),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "ambiguous", sa.Integer(), server_default="0", nullable=False, comment="attempts of unknown end"
        ),
        sa.Column("priority", sa.Integer(), server_default="1", nullable=False, comment="0 goes before 1"),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("not_before", UtcDateTime(), nullable=False),
        sa.Column("claimed_by", sa.String(length=64), nullable=True, comment="the sender at work on it"),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["alert_id"],
            ["alerts.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
        comment="The outbox: every message that was decided on, also those that were held back, and why.",
    )
    with op.batch_alter_table("notifications", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_notifications_alert_id"), ["alert_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_notifications_created_at"), ["created_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_notifications_digest_id"), ["digest_id"], unique=False)
        batch_op.create_index("notifications_by_target", ["target", "created_at"], unique=False)
        batch_op.create_index(
            "notifications_due", ["status", "channel", "priority", "not_before"], unique=False
        )

    op.create_table(
        "deliveries",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("notification_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column(
            "outcome", sa.String(length=16), nullable=False, comment="started, sent, retry, dead, unknown"
        ),
        sa.Column("detail", sa.Text(), server_default="", nullable=False, comment="what the far side said"),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["notification_id"],
            ["notifications.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        comment="Attempts to send a notification.",
    )
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_deliveries_notification_id"), ["notification_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_deliveries_started_at"), ["started_at"], unique=False)


def downgrade() -> None:
    for table in (
        "monitor_check_ins",
        "incidents",
        "monitor_environments",
        "deliveries",
        "notifications",
        "alerts",
        "send_limits",
        "rule_states",
        "probes",
        "monitors",
        "channel_states",
    ):
        op.drop_table(table)
