"""Groups have issues in trackers, and comments."""

import sqlalchemy as sa
from alembic import op

from tasks_pipeline.storage.state.tables import UtcDateTime

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLES = (
    "issue_comment_copies",
    "issue_intents",
    "issue_comments",
    "issue_links",
    "tracker_cursors",
    "integration_states",
    "integration_requests",
)


def upgrade() -> None:
    op.create_table(
        "integration_requests",
        sa.Column("integration", sa.String(length=50), nullable=False),
        sa.Column("hour", UtcDateTime(), nullable=False),
        sa.Column("requests", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("not_modified", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("integration", "hour"),
        comment="How many requests each integration was asked, by hour.",
    )
    op.create_table(
        "integration_states",
        sa.Column("integration", sa.String(length=50), nullable=False),
        sa.Column(
            "tracker", sa.String(length=50), nullable=False, comment="empty: the integration as a whole"
        ),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("cause", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "pending",
            sa.String(length=16),
            server_default="",
            nullable=False,
            comment="a state that one check saw",
        ),
        sa.Column("pending_checks", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False, comment="in a row"),
        sa.Column("open_until", UtcDateTime(), nullable=True, comment="nothing is asked before"),
        sa.Column("checked_at", UtcDateTime(), nullable=True),
        sa.Column("limit_total", sa.Integer(), nullable=True),
        sa.Column("limit_remaining", sa.Integer(), nullable=True),
        sa.Column("limit_resets_at", UtcDateTime(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=True, comment="when its credential ends"),
        sa.Column(
            "identity", sa.String(length=200), server_default="", nullable=False, comment="whom we are there"
        ),
        sa.Column("clock_skew_seconds", sa.Float(), nullable=True, comment="theirs minus ours"),
        sa.Column("config_stamp", sa.String(length=64), server_default="", nullable=False),
        sa.Column("disabled_at", UtcDateTime(), nullable=True, comment="by command"),
        sa.Column(
            "refused",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="times in a row that it let us not in",
        ),
        sa.Column(
            "pace",
            sa.JSON(),
            nullable=False,
            comment="token buckets, waits it asked for, calls of the last minutes",
        ),
        sa.Column(
            "noted",
            sa.JSON(),
            nullable=False,
            comment="what checks saw: since when sides differ, what was warned of",
        ),
        sa.PrimaryKeyConstraint("integration", "tracker"),
        comment="How each integration, and each of its trackers, is doing.",
    )
    op.create_table(
        "tracker_cursors",
        sa.Column("tracker", sa.String(length=50), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=True, comment="by their clock"),
        sa.Column("seen", sa.JSON(), nullable=False, comment="what was seen within the overlap, by its id"),
        sa.Column("etag", sa.String(length=200), server_default="", nullable=False),
        sa.Column("polled_at", UtcDateTime(), nullable=True),
        sa.Column("full_pass_at", UtcDateTime(), nullable=True),
        sa.Column(
            "full_pass_after", sa.BigInteger(), nullable=True, comment="the link up to which a full pass came"
        ),
        sa.PrimaryKeyConstraint("tracker"),
        comment="How far changes of each tracker were read.",
    )
    op.create_table(
        "issue_links",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "group_id",
            ID,
            nullable=False,
            comment="the group it was made for; whoever reads it goes on to what that is merged into",
        ),
        sa.Column("integration", sa.String(length=50), nullable=False),
        sa.Column("tracker", sa.String(length=50), nullable=False),
        sa.Column(
            "external_id", sa.String(length=200), nullable=True, comment="survives moves; null: not made yet"
        ),
        sa.Column(
            "shown_key", sa.String(length=300), server_default="", nullable=False, comment="acme/shop#12"
        ),
        sa.Column("url", sa.Text(), server_default="", nullable=False),
        sa.Column("title", sa.Text(), server_default="", nullable=False, comment="theirs, as last seen"),
        sa.Column(
            "state", sa.String(length=16), nullable=False, comment="creating, linked, held, gone or unlinked"
        ),
        sa.Column("origin", sa.String(length=16), nullable=False, comment="created or linked"),
        sa.Column(
            "rule",
            sa.String(length=100),
            server_default="",
            nullable=False,
            comment="the alert rule that made it",
        ),
        sa.Column(
            "actor", sa.String(length=200), server_default="", nullable=False, comment="who made the link"
        ),
        sa.Column("marker", sa.String(length=64), nullable=False),
        sa.Column(
            "with_link",
            sa.BigInteger(),
            nullable=True,
            comment="the link whose issue is to be this one's too: a storm makes one issue for all its groups",
        ),
        sa.Column(
            "take",
            sa.String(length=8),
            nullable=True,
            comment="ours or theirs: who is right at the first agreement",
        ),
        sa.Column(
            "agreed_state", sa.String(length=8), nullable=True, comment="open or closed; null: never agreed"
        ),
        sa.Column(
            "agreed_assignee",
            sa.String(length=200),
            nullable=True,
            comment="as mapped to ours; empty for nobody",
        ),
        sa.Column(
            "settled",
            sa.String(length=32),
            server_default="",
            nullable=False,
            comment="what our side was when a difference was left as it is; empty: none is left",
        ),
        sa.Column(
            "agreed_group",
            sa.BigInteger(),
            nullable=True,
            comment="the group it belonged to at the last pass; null: its own",
        ),
        sa.Column("agreed_at", UtcDateTime(), nullable=True),
        sa.Column(
            "theirs",
            sa.JSON(),
            nullable=False,
            comment="what the last look showed: state, reason, assignees …",
        ),
        sa.Column("their_updated_at", UtcDateTime(), nullable=True, comment="by their clock"),
        sa.Column("etag", sa.String(length=200), server_default="", nullable=False),
        sa.Column("last_looked_at", UtcDateTime(), nullable=True),
        sa.Column(
            "look_at",
            UtcDateTime(),
            nullable=True,
            comment="a pass is to look at it from then on; null: nothing asks for it",
        ),
        sa.Column(
            "turns", sa.JSON(), nullable=False, comment="when it changed direction, within the flap window"
        ),
        sa.Column("missing_since", UtcDateTime(), nullable=True, comment="when it was first not found there"),
        sa.Column("held", sa.Text(), server_default="", nullable=False, comment="why it is held"),
        sa.Column(
            "note", sa.Text(), server_default="", nullable=False, comment="what differs and is not carried"
        ),
        sa.Column("error", sa.Text(), server_default="", nullable=False, comment="of the last look or call"),
        sa.Column(
            "verdict", sa.String(length=32), server_default="", nullable=False, comment="of the last pass"
        ),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("unlinked_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("marker"),
        sa.UniqueConstraint("tracker", "external_id", "group_id"),
        comment="Which groups belong to which issues, and what both sides last agreed on.",
    )
    op.create_index(
        "issue_links_by_state", "issue_links", ["tracker", "state", "last_looked_at"], unique=False
    )
    op.create_index(
        "issue_links_creating",
        "issue_links",
        ["group_id", "tracker"],
        unique=True,
        sqlite_where=sa.text("state = 'creating'"),
        postgresql_where=sa.text("state = 'creating'"),
    )
    op.create_index(
        "issue_links_to_look_at",
        "issue_links",
        ["tracker", "look_at", "id"],
        unique=False,
        sqlite_where=sa.text("look_at IS NOT NULL"),
        postgresql_where=sa.text("look_at IS NOT NULL"),
    )
    op.create_index(
        "issue_links_with_link",
        "issue_links",
        ["with_link"],
        unique=False,
        sqlite_where=sa.text("with_link IS NOT NULL"),
        postgresql_where=sa.text("with_link IS NOT NULL"),
    )
    op.create_index("ix_issue_links_group_id", "issue_links", ["group_id"], unique=False)
    op.create_table(
        "issue_comments",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("group_id", ID, nullable=False),
        sa.Column(
            "side", sa.String(length=8), nullable=False, comment="ours or theirs: where it was written"
        ),
        sa.Column("link_id", ID, nullable=True, comment="of theirs: where it came from"),
        sa.Column("external_id", sa.String(length=200), nullable=True, comment="of theirs: its id there"),
        sa.Column("author", sa.String(length=200), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column(
            "body_hash",
            sa.String(length=64),
            nullable=False,
            comment="of the text as both sides would write it",
        ),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("edited_at", UtcDateTime(), nullable=True),
        sa.Column("deleted_at", UtcDateTime(), nullable=True, comment="its text is dropped then"),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["groups.id"],
        ),
        sa.ForeignKeyConstraint(
            ["link_id"],
            ["issue_links.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("link_id", "external_id"),
        comment="Comments on groups: written here, or there.",
    )
    op.create_index("ix_issue_comments_group_id", "issue_comments", ["group_id"], unique=False)
    op.create_table(
        "issue_intents",
        sa.Column("id", ID, nullable=False),
        sa.Column(
            "key", sa.String(length=200), nullable=False, comment="create:LINK, state:LINK:N, comment:…"
        ),
        sa.Column("link_id", ID, nullable=False),
        sa.Column("integration", sa.String(length=50), nullable=False),
        sa.Column("tracker", sa.String(length=50), nullable=False),
        sa.Column(
            "kind",
            sa.String(length=16),
            nullable=False,
            comment="create, state, assignee, comment, edit or delete",
        ),
        sa.Column(
            "data", sa.JSON(), nullable=False, comment="what it is about, never the value that is to be"
        ),
        sa.Column(
            "status",
            sa.String(length=16),
            nullable=False,
            comment="waiting, sending, unknown, done, dead or dropped",
        ),
        sa.Column("priority", sa.Integer(), nullable=False, comment="0 state, 1 creation, 2 comment"),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "looks",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="for the marker, since it is unknown",
        ),
        sa.Column("not_before", UtcDateTime(), nullable=False),
        sa.Column("claimed_by", sa.String(length=64), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("marker", sa.String(length=64), server_default="", nullable=False),
        sa.Column("sent_at", UtcDateTime(), nullable=True, comment="just before the call, by their clock"),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["link_id"],
            ["issue_links.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key"),
        comment="Changes decided here that have to be made there. One holds no value: what is to be is looked up right before.",
    )
    op.create_index(
        "issue_intents_due",
        "issue_intents",
        ["status", "integration", "priority", "not_before"],
        unique=False,
    )
    op.create_index("ix_issue_intents_ended_at", "issue_intents", ["ended_at"], unique=False)
    op.create_index("ix_issue_intents_link_id", "issue_intents", ["link_id"], unique=False)
    op.create_table(
        "issue_comment_copies",
        sa.Column("comment_id", ID, nullable=False),
        sa.Column("link_id", ID, nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=True, comment="null: on its way"),
        sa.Column("agreed_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "agreed_hash",
            sa.String(length=64),
            server_default="",
            nullable=False,
            comment="of the copy as it was written",
        ),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["comment_id"],
            ["issue_comments.id"],
        ),
        sa.ForeignKeyConstraint(
            ["link_id"],
            ["issue_links.id"],
        ),
        sa.PrimaryKeyConstraint("comment_id", "link_id"),
        comment="What became of comments of ours in each issue that the group is linked to.",
    )
    op.create_index(
        "issue_comment_copies_by_id", "issue_comment_copies", ["link_id", "external_id"], unique=False
    )


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
