"""Commits, what they fix and who is suspected; resolutions of every kind; figures, stages and health of releases."""

import secrets
from typing import Any

import sqlalchemy as sa
from alembic import op

from tasks_pipeline.storage.state.tables import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SUSPECTS_DUE = "first_release IS NOT NULL AND suspects_at IS NULL AND merged_into IS NULL"
TO_COUNT = "changed_at IS NOT NULL AND (figures_at IS NULL OR changed_at > figures_at)"
NEW_TABLES = (
    "installation_keys", "health_days", "stage_days", "release_stages", "suspect_commits", "group_commits", "repositories",
    "release_heads", "release_environments",
    "release_commits", "commit_files", "commit_authors", "commits",
)  # fmt: skip


def upgrade() -> None:
    _add(
        "groups",
        _text("resolution", 16, "now, in_release, next_release or in_commit; null: not resolved"),
        _time("resolved_release_date", "order date of that release when it was said"),
        _text("resolved_in_commit", 64, "fixed by this commit"),
        _text("first_release", 200, "release of its earliest event; null: that had none"),
        _text("last_release", 200, "release of its newest event that has one"),
        _time("last_release_at", "when that event happened"),
        _time("suspects_at", "when suspect commits were last looked for"),
    )
    _partial("groups_by_first_release", "groups", "first_release IS NOT NULL", "project_id", "first_release")
    _partial(
        "groups_by_commit", "groups", "resolved_in_commit IS NOT NULL", "resolved_in_commit", "project_id"
    )
    _partial("groups_suspects_due", "groups", SUSPECTS_DUE, "id")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "COMMENT ON COLUMN groups.resolved_in_release IS "
            "'fixed in this release (in_release), or in the one after it (next_release)'"
        )
    op.execute(
        "UPDATE groups SET resolution = CASE WHEN resolved_in_release IS NULL THEN 'now' ELSE 'next_release' END, "
        "resolved_release_date = (SELECT r.order_date FROM releases r "
        "WHERE r.project_id = groups.project_id AND r.version = groups.resolved_in_release) "
        "WHERE status = 'resolved'"
    )
    _add(
        "group_days",
        _text("first_release", 200, "release of the earliest event of the day"),
        sa.Column(
            "first_place", _by_bytes(64), nullable=True,
            comment="place of that event in the day, as text that sorts; null: its releases are not known yet",
        ),
        _text("last_release", 200, "release of the newest event of the day that has one"),
        _time("last_release_at", "when that event happened"),
        sa.Column("last_release_place", _by_bytes(64), nullable=True, comment="its place in the day"),
    )  # fmt: skip
    _partial("group_days_without_place", "group_days", "first_place IS NULL", "day", "group_id")
    _add("group_actions", _text("release", 200, "that in which it was resolved, or came back"))
    _partial(
        "group_actions_by_release", "group_actions", "release IS NOT NULL", "project_id", "release", "action"
    )
    _releases_and_deploys()
    _commits()
    _health()


def _releases_and_deploys() -> None:
    _add(
        "releases",
        _text("ref", 200, "free text that came with it, such as a branch"),
        sa.Column("commit_count", sa.Integer(), nullable=False, server_default="0"),
        _time("first_session_at", "when the first of its sessions began"),
        _time("last_session_at", "when the last of its sessions began"),
        sa.Column("events", sa.BigInteger(), nullable=False, server_default="0", comment="as of figures_at"),
        sa.Column(
            "users", sa.BigInteger(), nullable=False, server_default="0",
            comment="distinct user keys of its events, as of figures_at",
        ),
        _time("processed_at", "when process_new_release was done with it"),
        _time("update_due_at", "since when commits or deploys wait for update_release_data"),
        _time("changed_at", "when something was last stored of it"),
        _time("figures_at", "when its figures were last counted"),
    )  # fmt: skip
    op.execute("UPDATE releases SET changed_at = created_at")
    op.create_index("releases_by_name", "releases", ["version"])
    op.create_index("releases_by_creation", "releases", ["project_id", "created_at"])
    _partial("releases_unprocessed", "releases", "processed_at IS NULL", "created_at")
    _partial("releases_to_update", "releases", "update_due_at IS NOT NULL", "update_due_at")
    _partial("releases_to_count", "releases", TO_COUNT, "figures_at")
    _partial("releases_with_commits", "releases", "commit_count > 0", "project_id", "order_date", "version")
    op.create_table(
        "release_environments",
        sa.Column("project_id", sa.BigInteger(), primary_key=True),
        sa.Column("version", _by_bytes(200), primary_key=True),
        sa.Column("environment", _by_bytes(64), primary_key=True, comment="as sent; empty: none was named"),
        sa.Column("first_at", UtcDateTime(), nullable=False, comment="receipt of what named it first"),
        comment="Environments of the events, transactions and sessions of a release, 100 at most.",
        sqlite_with_rowid=False,
    )
    _add(
        "deploys",
        _text("digest", 64, "of what was said of it: the same again is no other deploy"),
        _time("told_at", "when its authors were told, or it was decided not to"),
    )
    op.execute("UPDATE deploys SET told_at = created_at")
    op.create_index("deploys_once", "deploys", ["project_id", "version", "digest"], unique=True)
    _partial("deploys_to_tell", "deploys", "told_at IS NULL", "created_at")


def _commits() -> None:
    op.create_table(
        "commits",
        sa.Column("sha", _by_bytes(64), primary_key=True, comment="id as sent"),
        _text("repository", 200, "its name in `repositories`"),
        sa.Column("message", sa.Text(), nullable=True),
        _text("author_key", 200, "key in `commit_authors`"),
        _time("committed_at", "timestamp as sent"),
        sa.Column("files", sa.Integer(), nullable=False, server_default="0", comment="how many files it changed"),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        comment="Commits of the organisation; one that is sent again is updated.",
    )  # fmt: skip
    op.create_index("commits_by_author", "commits", ["author_key"])
    op.create_table(
        "commit_authors",
        sa.Column("author_key", sa.String(200), primary_key=True, comment="mail address in lower case, else the name"),
        sa.Column("name", sa.String(128), nullable=True),
        sa.Column("email", sa.String(200), nullable=True),
    )  # fmt: skip
    op.create_table(
        "commit_files",
        sa.Column("sha", _by_bytes(64), primary_key=True),
        sa.Column("path", _by_bytes(510), primary_key=True),
        sa.Column("type", sa.String(1), nullable=False, comment="A added, M modified, D deleted, T of another type"),
        sqlite_with_rowid=False,
    )  # fmt: skip
    op.create_table(
        "release_commits",
        sa.Column("version", _by_bytes(200), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True, comment="0 is the newest"),
        sa.Column("sha", _by_bytes(64), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("release_commits_by_sha", "release_commits", ["sha"])
    op.create_table(
        "release_heads",
        sa.Column("version", _by_bytes(200), primary_key=True),
        sa.Column("repository", sa.String(200), primary_key=True),
        sa.Column(
            "sha", sa.String(64), nullable=False,
            comment="newest commit of the release there, or a word such as HEAD",
        ),
        _text("previous_sha", 64, "where its commits begin, as sent"),
    )  # fmt: skip
    op.create_table(
        "repositories",
        sa.Column("id", _id(), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("provider", sa.String(64), nullable=False, comment="unknown where nothing follows it"),
        sa.Column("created_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "group_commits",
        sa.Column("group_id", _id(), sa.ForeignKey("groups.id"), primary_key=True),
        sa.Column("sha", _by_bytes(64), primary_key=True),
        sa.Column("version", _by_bytes(200), primary_key=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("resolved", sa.Boolean(), nullable=False, comment="whether it resolved the group"),
        comment="Commits whose message says that they fix a group, by the release that brought them.",
    )
    op.create_index("group_commits_by_sha", "group_commits", ["sha"])
    op.create_index("group_commits_by_release", "group_commits", ["version"])
    op.create_table(
        "suspect_commits",
        sa.Column("group_id", _id(), sa.ForeignKey("groups.id"), primary_key=True),
        sa.Column("rank", sa.Integer(), primary_key=True, comment="0 is the likeliest"),
        sa.Column("sha", _by_bytes(64), nullable=False),
        sa.Column("version", sa.String(200), nullable=False, comment="release that holds it"),
        sa.Column("path", sa.String(510), nullable=False, comment="the file it changed"),
        sa.Column(
            "frame",
            sa.Integer(),
            nullable=False,
            comment="number of the frame, 0 is the nearest to the crash",
        ),
        sa.Column("score", sa.Integer(), nullable=False, comment="parts of the path that are the same"),
    )
    op.create_index("suspect_commits_by_sha", "suspect_commits", ["sha"])


def _health() -> None:
    op.create_table(
        "release_stages",
        sa.Column("project_id", sa.BigInteger(), primary_key=True),
        sa.Column("environment", sa.String(64), primary_key=True),
        sa.Column("version", _by_bytes(200), primary_key=True),
        sa.Column("since", UtcDateTime(), primary_key=True, comment="a full hour"),
        _time("until", "when its next stage began; null: it is the one of now"),
        sa.Column("stage", sa.String(16), nullable=False, comment="low_adoption, adopted or replaced"),
        _time("adopted_at", "when it was adopted for the first time ever"),
        comment="Changes of the stage of a release in an environment.",
    )
    op.create_index("release_stages_by_time", "release_stages", ["since"])
    _partial("release_stages_by_end", "release_stages", "until IS NOT NULL", "until")
    op.create_index("release_stages_by_release", "release_stages", ["project_id", "version", "until"])
    _partial(
        "release_stages_adopted",
        "release_stages",
        "until IS NULL AND stage = 'adopted'",
        "project_id",
        "environment",
    )
    op.create_table(
        "stage_days",
        sa.Column("day", sa.Date(), primary_key=True, comment="UTC day on which sessions began"),
        sa.Column(
            "computed_at", UtcDateTime(), nullable=False,
            comment="`computed_at` of the day in `health_days` when stages were last told from it",
        ),
        sa.Column(
            "through", UtcDateTime(), nullable=False, comment="the last full hour for which stages were told then"
        ),
        comment="Days of health that the stages of releases were told from.",
    )  # fmt: skip
    op.create_table(
        "health_days",
        sa.Column("day", sa.Date(), primary_key=True, comment="UTC day on which sessions began"),
        sa.Column("changed_at", UtcDateTime(), nullable=False, comment="when rows of such sessions last came or went"),
        sa.Column("changes", sa.BigInteger(), nullable=False, comment="how often some did"),
        sa.Column(
            "computed", sa.BigInteger(), nullable=False, server_default="0",
            comment="how many of these changes are in release_health; fewer than all: the day is due",
        ),
        _time("computed_at", "when release_health of the day was last computed"),
        sa.Column(
            "rows_read", sa.BigInteger(), nullable=False, server_default="0",
            comment="rows of sessions that were read then",
        ),
    )  # fmt: skip
    _partial("health_days_due", "health_days", "changes > computed", "day")
    keys = op.create_table(
        "installation_keys",
        sa.Column("name", sa.String(32), primary_key=True, comment="what it is for: users"),
        sa.Column(
            "key", sa.String(128), nullable=False, comment="random bytes, hex digits; to be kept secret"
        ),
        comment="Keys that were made once for this installation. Another one would make new users of all that are known.",
    )
    # Here, where one process is at work: of two that made it when it is first needed, one would hash with a lost key.
    op.bulk_insert(keys, [{"name": "users", "key": secrets.token_hex(32)}])


def downgrade() -> None:
    for table in NEW_TABLES:
        op.drop_table(table)
    _drop("deploys", ("deploys_once", "deploys_to_tell"), "digest", "told_at")
    _drop(
        "releases",
        (
            "releases_by_name", "releases_by_creation", "releases_unprocessed", "releases_to_update", "releases_to_count",
            "releases_with_commits",
        ),
        "ref", "commit_count", "first_session_at", "last_session_at", "events", "users", "processed_at", "update_due_at",
        "changed_at", "figures_at",
    )  # fmt: skip
    _drop("group_actions", ("group_actions_by_release",), "release")
    _drop(
        "group_days", ("group_days_without_place",),
        "first_release", "first_place", "last_release", "last_release_at", "last_release_place",
    )  # fmt: skip
    _drop(
        "groups", ("groups_by_first_release", "groups_by_commit", "groups_suspects_due"),
        "resolution", "resolved_release_date", "resolved_in_commit", "first_release", "last_release", "last_release_at",
        "suspects_at",
    )  # fmt: skip


def _add(table: str, *columns: sa.Column[Any]) -> None:
    for column in columns:
        op.add_column(table, column)


def _drop(table: str, indexes: tuple[str, ...], *columns: str) -> None:
    for index in indexes:
        op.drop_index(index, table)
    for column in columns:
        op.drop_column(table, column)


def _partial(name: str, table: str, where: str, *columns: str) -> None:
    op.create_index(name, table, list(columns), sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _text(name: str, length: int, comment: str) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length), nullable=True, comment=comment)


def _time(name: str, comment: str) -> sa.Column[Any]:
    return sa.Column(name, UtcDateTime(), nullable=True, comment=comment)


def _by_bytes(length: int) -> Any:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def _id() -> Any:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
