"""Facts on their way to the lake, figures of days and what changed them, reports, and who wants them."""

import secrets
from typing import Any

import sqlalchemy as sa
from alembic import op

from tasks_pipeline.storage.state.tables import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

UNSUBSCRIBE = "unsubscribe"
COMMENTS = {
    "COLUMN installation_keys.name": "what it is for: users, unsubscribe",
    "TABLE installation_keys": "Keys that were made once for this installation. Another one would make new users of all that are "
    "known, and void the links in mails.",
    "COLUMN notifications.type": "alert, storm, digest, deploy, report or test",
}
TABLES = ("analytics_outbox", "analytics_dead", "day_changes", "statistics_days", "reports", "report_revisions", "subscriptions", "report_deliveries")  # fmt: skip

ADDED = {
    "group_actions": (
        sa.Column(
            "status",
            sa.String(16),
            comment="status of the group since then, merged where it is part of another; null: that stays",
        ),
        sa.Column(
            "assignee",
            sa.String(200),
            comment="who has it since then, empty for nobody; null: that stays",
        ),
    ),
    "regroupings": (sa.Column("days", sa.JSON(), comment="days of receipt of events that moved or went"),),
    "replacements": (
        sa.Column(
            "reason",
            sa.String(16),
            comment="recomputed or reprocessed; null: what is stored stayed the same",
        ),
    ),
    "batches": (sa.Column("received_at", UtcDateTime(), comment="receipt of the first of what it stored"),),
}
INDEXES = {
    "group_actions_by_status": "group_actions", "group_actions_by_assignee": "group_actions", "group_actions_by_time": "group_actions",
    "groups_by_creation": "groups", "releases_by_time": "releases", "releases_by_finalising": "releases",
    "deploys_by_time": "deploys", "deploys_by_end": "deploys",
}  # fmt: skip
STATUSES = {
    "resolve": "resolved", "unresolve": "unresolved", "keep": "unresolved", "regress": "regressed", "unignore": "unresolved",
    "ignore": "ignored", "discard": "discarded",
}  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "analytics_outbox",
        sa.Column("id", _id(), primary_key=True),
        sa.Column(
            "fact",
            sa.LargeBinary(16),
            nullable=False,
            unique=True,
            comment="made of type and key: a fact is recorded once",
        ),
        sa.Column("type", sa.String(64), nullable=False, comment="group.created, release.deployed …"),
        sa.Column("version", sa.Integer(), nullable=False, comment="version of the type's attributes"),
        sa.Column("at", UtcDateTime(), nullable=False, comment="when it was so"),
        sa.Column("project_id", sa.BigInteger(), nullable=False, comment="0: the installation"),
        sa.Column("actor_kind", sa.String(16), nullable=False),
        sa.Column(
            "actor",
            sa.String(200),
            nullable=False,
            server_default="",
            comment="a member as keyed hash; others by name",
        ),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=True),
        sa.Column(
            "data",
            sa.JSON(),
            nullable=True,
            comment="its other attributes; null once it is stored in the lake",
        ),
        sa.Column(
            "stored_in",
            sa.BigInteger(),
            nullable=True,
            comment="batch in the lake; null: none took it yet; 0: it is in `analytics_dead`",
        ),
        comment="Facts on their way to the lake, and what is needed to record none of them twice.",
    )
    _partial("analytics_waiting", "analytics_outbox", "data IS NOT NULL", "stored_in", "id")
    op.create_index("analytics_by_time", "analytics_outbox", ["at"])
    op.create_table(
        "analytics_dead",
        sa.Column("id", _id(), primary_key=True),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False, comment="what was to be recorded"),
        sa.Column("error", sa.Text(), nullable=False, comment="why it could not be"),
        sa.Column("at", UtcDateTime(), nullable=False),
        comment="Facts that could not be recorded.",
    )
    op.create_index("ix_analytics_dead_at", "analytics_dead", ["at"])
    op.create_table(
        "day_changes",
        sa.Column("day", sa.Date(), primary_key=True, comment="UTC day whose figures changed"),
        sa.Column(
            "reason",
            sa.String(16),
            primary_key=True,
            comment="batch, recomputed, reprocessed, regrouped, sessions, facts, retention or privacy",
        ),
        sa.Column("changes", sa.BigInteger(), nullable=False, comment="how often"),
        sa.Column(
            "computed",
            sa.BigInteger(),
            nullable=False,
            server_default="0",
            comment="how many of them the figures have",
        ),
        sa.Column("changed_at", UtcDateTime(), nullable=False, comment="when it last happened"),
        comment="What happened to the rows that figures of a day are computed from.",
    )
    _partial("day_changes_due", "day_changes", "changes > computed", "day")
    op.create_table(
        "statistics_days",
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column(
            "version",
            sa.BigInteger(),
            primary_key=True,
            comment="1, and one more each time that the figures came out otherwise",
        ),
        sa.Column("digest", sa.String(64), nullable=False, comment="of all tables, hex digits"),
        sa.Column("tables", sa.JSON(), nullable=False, comment="rows and digest of each table, by name"),
        sa.Column(
            "causes", sa.JSON(), nullable=False, comment="reasons of the changes since the version before"
        ),
        sa.Column(
            "seen", sa.JSON(), nullable=False, comment="how far logs that only grow were read, by name"
        ),
        sa.Column(
            "computed_at", UtcDateTime(), nullable=False, comment="when these figures were first computed"
        ),
        sa.Column(
            "checked_at",
            UtcDateTime(),
            nullable=False,
            comment="when they were last computed, and came out the same",
        ),
        sa.Column(
            "closed",
            sa.Boolean(),
            nullable=False,
            comment="whether nothing of the day waited then, and it was over",
        ),
        comment="Versions of the figures of days.",
    )
    op.create_index("statistics_days_by_time", "statistics_days", ["computed_at"])
    op.create_table(
        "reports",
        sa.Column("id", _id(), primary_key=True),
        sa.Column("kind", sa.String(8), nullable=False, comment="day, week or month"),
        sa.Column("key", sa.Date(), nullable=False, comment="first local day of the period"),
        sa.Column("scope", sa.String(64), nullable=False, comment="organisation, team:… or project:<id>"),
        sa.Column("zone", sa.String(64), nullable=False),
        sa.Column("label", sa.String(16), nullable=False),
        sa.Column("start", UtcDateTime(), nullable=False),
        sa.Column("end", UtcDateTime(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False, comment="the newest"),
        sa.Column(
            "checked_at",
            UtcDateTime(),
            nullable=False,
            comment="when it was last computed, with or without change",
        ),
        sa.UniqueConstraint("kind", "key", "zone", "scope"),
        comment="Reports of closed periods.",
    )
    op.create_index("reports_by_end", "reports", ["end"])
    op.create_table(
        "report_revisions",
        sa.Column("report_id", _id(), sa.ForeignKey("reports.id"), primary_key=True),
        sa.Column(
            "revision",
            sa.Integer(),
            primary_key=True,
            comment="1, and one more each time that it came out otherwise",
        ),
        sa.Column("digest", sa.String(64), nullable=False, comment="of the content, hex digits"),
        sa.Column("computed_at", UtcDateTime(), nullable=False),
        sa.Column(
            "final",
            sa.Boolean(),
            nullable=False,
            comment="whether none of its days can change by what may still be received",
        ),
        sa.Column("code_version", sa.String(32), nullable=False),
        sa.Column("zones_version", sa.String(16), nullable=False, comment="edition of the zone data"),
        sa.Column(
            "inputs",
            sa.JSON(),
            nullable=False,
            comment="by day that it read: version and digest of its figures, changes of its health",
        ),
        sa.Column(
            "changes",
            sa.JSON(),
            nullable=False,
            comment="figures that changed since the revision before, and why",
        ),
        sa.Column("files", sa.JSON(), nullable=False, comment="digests of its files (blobs), by name"),
        comment="What reports said, revision by revision.",
    )
    op.create_index("report_revisions_by_time", "report_revisions", ["computed_at"])
    op.create_table(
        "subscriptions",
        sa.Column("member", sa.String(250), primary_key=True, comment="address"),
        sa.Column("kind", sa.String(8), primary_key=True, comment="day, week or month"),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("by", sa.String(16), nullable=False, comment="link: the one in a mail; command"),
        sa.Column("at", UtcDateTime(), nullable=False),
        comment="What members decided about reports themselves; wins over the configuration.",
    )
    op.create_table(
        "report_deliveries",
        sa.Column("kind", sa.String(8), primary_key=True),
        sa.Column("key", sa.Date(), primary_key=True),
        sa.Column("target", sa.String(250), primary_key=True, comment="member:…, team:… or channel:…"),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("decided_at", UtcDateTime(), nullable=True, comment="null: not yet"),
        sa.Column(
            "notification_id", sa.BigInteger(), nullable=True, comment="the message; null: none was sent"
        ),
        sa.Column("revision", sa.Integer(), nullable=True, comment="that it told of"),
        sa.Column("reason", sa.String(100), nullable=False, server_default="", comment="why none was sent"),
        comment="Who gets which report, and what became of it.",
    )
    _partial("report_deliveries_due", "report_deliveries", "decided_at IS NULL", "due_at")
    fact = sa.Column("fact", sa.JSON(), nullable=True, comment="what is recorded of it when it is done")
    op.add_column("replacements", fact)
    # Here, where one process is at work, as the key of users.
    op.bulk_insert(_keys(), [{"name": UNSUBSCRIBE, "key": secrets.token_hex(32)}])
    if op.get_bind().dialect.name == "postgresql":  # SQLite keeps no comments
        for place, text in COMMENTS.items():
            op.execute(f"COMMENT ON {place} IS '{text}'")
    _what_figures_are_made_of()


def _what_figures_are_made_of() -> None:
    for table, columns in ADDED.items():
        for column in columns:
            op.add_column(table, sa.Column(column.name, column.type, nullable=True, comment=column.comment))
    _partial("group_actions_by_status", "group_actions", "status IS NOT NULL", "group_id", "at", "id")
    _partial("group_actions_by_assignee", "group_actions", "assignee IS NOT NULL", "group_id", "at", "id")
    op.create_index("group_actions_by_time", "group_actions", ["at"])
    op.create_index("groups_by_creation", "groups", ["created_at"])
    op.create_index("releases_by_time", "releases", ["created_at"])
    _partial("releases_by_finalising", "releases", "released_at IS NOT NULL", "released_at")
    op.create_index("deploys_by_time", "deploys", ["created_at"])
    _partial("deploys_by_end", "deploys", "finished_at IS NOT NULL", "finished_at")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "COMMENT ON COLUMN groups.created_at IS "
            "'receipt of the event that made it; of a group that none made, when it was made'"
        )
    _say_what_actions_came_to()


def _say_what_actions_came_to() -> None:
    """What the log holds of the time before says what it came to in its words; what is inherited was not said."""
    action = "UPDATE group_actions SET status = :status WHERE action = :action"
    for name, status in STATUSES.items():
        op.execute(sa.text(action).bindparams(action=name, status=status))
    connection = op.get_bind()
    log = sa.table(
        "group_actions",
        *(sa.column(name, sa.JSON() if name == "data" else None) for name in ("id", "action", "data", "status", "assignee")),
    )  # fmt: skip
    told = sa.select(log.c.id, log.c.action, log.c.data)
    rows = connection.execute(told.where(log.c.action.in_(("merge", "unmerge", "assign", "unassign")))).all()
    for row in rows:
        values = {"assignee": str((row.data or {}).get("assignee") or "")}
        if row.action == "merge":
            values = {"status": "merged"} if "into" in row.data else {}
        elif row.action == "unmerge":
            values = {"status": "unresolved"} if "from" in row.data else {}
        if values:
            connection.execute(sa.update(log).where(log.c.id == row.id).values(**values))


def downgrade() -> None:
    keys = _keys()
    op.execute(keys.delete().where(keys.c.name == UNSUBSCRIBE))
    op.drop_column("replacements", "fact")
    for table in reversed(TABLES):
        op.drop_table(table)
    for name, table in INDEXES.items():
        op.drop_index(name, table)
    for table, columns in ADDED.items():
        for column in columns:
            op.drop_column(table, column.name)


def _partial(name: str, table: str, where: str, *columns: str) -> None:
    op.create_index(name, table, list(columns), sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _keys() -> sa.TableClause:
    return sa.table("installation_keys", sa.column("name"), sa.column("key"))


def _id() -> Any:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
