"""Tables of the state database: rows that change one at a time. Their history is in `migrations/`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime: timestamptz in Postgres, ISO text without zone in SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database: always UTC, naive where the database knows no zones."""
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """From the database: always aware."""
        if value is None:
            return None
        result: datetime = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return result


# SQLite gives rowids only to INTEGER PRIMARY KEY; everywhere else ids are 64 bits wide.
Id = BigInteger().with_variant(Integer, "sqlite")


def _by_bytes(length: int | None = None) -> String:
    """Text that both databases sort byte by byte, and not as some language does."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


metadata = MetaData()

SEEN = "times_seen > 0 AND merged_into IS NULL"
"""Groups that people see: some event belongs to them, and they are part of no other."""

TO_COUNT = "changed_at IS NOT NULL AND (figures_at IS NULL OR changed_at > figures_at)"
"""Releases of which something came since their figures were counted."""

SUSPECTS_DUE = "first_release IS NOT NULL AND suspects_at IS NULL AND merged_into IS NULL"
"""Groups whose suspect commits were never looked for, or not since commits of their releases came."""


VALUES_INDEXED = "kind <> 'user'"
"""The rows of group_values that have an index by value."""


def _partial(name: str, where: str, *columns: str) -> Index:
    """An index on the rows that meet a condition. A query uses it when it says the condition in the same words."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


projects = Table(
    "projects",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("slug", String(50), nullable=False),
    Column("last_short_id", BigInteger, nullable=False, server_default="0"),
    Column(
        "deleted_at",
        UtcDateTime,
        nullable=True,
        comment="since when nothing is taken for it, and its number is used up",
    ),
    _partial("projects_deleted", "deleted_at IS NOT NULL", "id"),
    comment="What the state database must remember of a project; everything else is configuration.",
)

groups = Table(
    "groups",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", BigInteger, nullable=False),
    Column("short_id", BigInteger, nullable=False, comment="number within the project, shown in base 32"),
    Column("title", Text, nullable=False),
    Column("culprit", Text, nullable=False),
    Column("level", String(16), nullable=False),
    Column("platform", String(64), nullable=False),
    Column("type", String(16), nullable=False, comment="error, default (a message), csp …"),
    Column("metadata", JSON, nullable=False, comment="type, value, filename, function of the title"),
    Column("algorithm", String(32), nullable=False, comment="grouping algorithm that created the group"),
    Column("status", String(16), nullable=False, server_default="unresolved"),
    Column("status_changed_at", UtcDateTime, nullable=True),
    Column("ignored_until", UtcDateTime, nullable=True),
    Column("ignored_until_times_seen", BigInteger, nullable=True),
    Column("ignored_until_users", BigInteger, nullable=True),
    Column(
        "resolution",
        String(16),
        nullable=True,
        comment="now, in_release, next_release or in_commit; null: not resolved",
    ),
    Column(
        "resolved_in_release",
        String(200),
        nullable=True,
        comment="fixed in this release (in_release), or in the one after it (next_release)",
    ),
    Column(
        "resolved_release_date",
        UtcDateTime,
        nullable=True,
        comment="order date of that release when it was said",
    ),
    Column("resolved_in_commit", String(64), nullable=True, comment="fixed by this commit"),
    Column(
        "first_release",
        String(200),
        nullable=True,
        comment="release of its earliest event; null: that had none",
    ),
    Column("last_release", String(200), nullable=True, comment="release of its newest event that has one"),
    Column("last_release_at", UtcDateTime, nullable=True, comment="when that event happened"),
    Column("suspects_at", UtcDateTime, nullable=True, comment="when suspect commits were last looked for"),
    Column("assignee", String(200), nullable=True, comment="a member's address or team:slug"),
    Column("merged_into", BigInteger, nullable=True, comment="the group that took this one's keys"),
    Column("times_seen", BigInteger, nullable=False, server_default="0"),
    Column("users", BigInteger, nullable=False, server_default="0"),
    Column("first_seen", UtcDateTime, nullable=True),
    Column("last_seen", UtcDateTime, nullable=True),
    Column(
        "created_at",
        UtcDateTime,
        nullable=False,
        comment="receipt of the event that made it; of a group that none made, when it was made",
    ),
    UniqueConstraint("project_id", "short_id"),
    Index("groups_by_creation", "created_at"),
    # Partial, since for `merged_into IS NULL` SQLite would rather take it than the order that a list is in.
    _partial("groups_merged", "merged_into IS NOT NULL", "merged_into"),
    _partial("groups_by_first_release", "first_release IS NOT NULL", "project_id", "first_release"),
    _partial("groups_by_commit", "resolved_in_commit IS NOT NULL", "resolved_in_commit", "project_id"),
    _partial("groups_suspects_due", SUSPECTS_DUE, "id"),
    # What people see of groups is read in these orders, backwards; `id` makes each of them complete. None by events or
    # users: those change with every batch, and for `times_seen > 0` SQLite would take such an index and sort.
    _partial("groups_by_last_seen", SEEN, "last_seen", "id"),
    _partial("groups_of_project_by_last_seen", SEEN, "project_id", "last_seen", "id"),
    _partial("groups_of_project_by_first_seen", SEEN, "project_id", "first_seen", "id"),
    _partial("groups_by_status", SEEN, "project_id", "status"),
    _partial("groups_discarded", "status = 'discarded'", "last_seen", "id"),
)

group_explanations = Table(
    "group_explanations",
    metadata,
    Column("group_id", ForeignKey("groups.id"), primary_key=True),
    Column(
        "explanation",
        LargeBinary,
        nullable=False,
        comment="why its first event is grouped so: the contribution tree as JSON, zstd",
    ),
    comment="Why groups are groups. Large, and read for one group at a time: so it lies apart from what lists read.",
)

group_texts = Table(
    "group_texts",
    metadata,
    Column("group_id", ForeignKey("groups.id"), primary_key=True),
    Column("said", Text, nullable=False, comment="types and values of its exceptions, and its message"),
    Column("stack", Text, nullable=False, comment="files, modules and functions of its frames"),
    comment="What the first event of a group says, for those who look for words in it. A line for each text, bounded.",
)

group_hashes = Table(
    "group_hashes",
    metadata,
    Column("project_id", BigInteger, primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("group_id", ForeignKey("groups.id"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    comment="Which group a key belongs to; the primary key makes two first events at once one group.",
)

group_days = Table(
    "group_days",
    metadata,
    Column("group_id", ForeignKey("groups.id"), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("times_seen", BigInteger, nullable=False),
    Column("first_seen", UtcDateTime, nullable=False),
    Column("last_seen", UtcDateTime, nullable=False),
    Column("first_release", String(200), nullable=True, comment="release of the earliest event of the day"),
    Column(
        "first_place",
        _by_bytes(64),
        nullable=True,
        comment="place of that event in the day, as text that sorts; null: its releases are not known yet",
    ),
    Column(
        "last_release",
        String(200),
        nullable=True,
        comment="release of the newest event of the day that has one",
    ),
    Column("last_release_at", UtcDateTime, nullable=True, comment="when that event happened"),
    Column("last_release_place", _by_bytes(64), nullable=True, comment="its place in the day"),
    Index("group_days_by_day", "day"),
    _partial("group_days_without_place", "first_place IS NULL", "day", "group_id"),
    comment="What each day of receipt contributes to a group, so that a day can be recomputed.",
)

group_hours = Table(
    "group_hours",
    metadata,
    Column("group_id", ForeignKey("groups.id"), primary_key=True),
    Column("hour", UtcDateTime, primary_key=True, comment="UTC, in which the events happened"),
    Column("day", Date, primary_key=True, comment="of their receipt"),
    Column("times_seen", BigInteger, nullable=False),
    Index("group_hours_by_day", "day", "group_id"),
    sqlite_with_rowid=False,
    comment="In which hours the events of a group happened, of the last thirty days of receipt.",
)

group_values = Table(
    "group_values",
    metadata,
    Column("group_id", ForeignKey("groups.id"), primary_key=True),
    Column("kind", String(16), primary_key=True, comment="user, release or environment"),
    Column("value", String(200), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("times_seen", BigInteger, nullable=False),
    Index("group_values_by_day", "day", "group_id"),
    # Who looks for a release or an environment; users are as many as events, and are looked for by group.
    _partial("group_values_by_value", VALUES_INDEXED, "kind", "value", "group_id"),
)

event_ids = Table(
    "event_ids",
    metadata,
    Column("project_id", BigInteger, primary_key=True),
    Column("event_id", LargeBinary(16), primary_key=True),
    Column("day", Date, nullable=False),
    Column("part", String(16), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("item", Integer, nullable=False),
    sqlite_with_rowid=False,
    comment="The place in the spool that owns an event id; every other place with it is a duplicate.",
)

drains = Table(
    "drains",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("day", Date, nullable=False),
    Column("run_id", String(64), nullable=True, index=True, comment="the Dagster run at work"),
    Column("host", String(255), nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("heartbeat_at", UtcDateTime, nullable=False, index=True),
    Column("stored_at", UtcDateTime, nullable=True, comment="when it last finished a batch"),
    Column("ended_at", UtcDateTime, nullable=True),
    Column("error", Text, nullable=True, comment="why it failed; null for one that ended well or is at work"),
)

workers = Table(
    "workers",
    metadata,
    Column("host", String(255), primary_key=True),
    Column("pid", BigInteger, primary_key=True, autoincrement=False),
    Column("lanes", String(255), nullable=False, comment="that it serves, with commas between"),
    Column("concurrency", Integer, nullable=False, comment="runs at once"),
    Column("started_at", UtcDateTime, nullable=False),
    Column("beat_at", UtcDateTime, nullable=False, index=True),
    comment="Processes that take runs from the queues of lanes, and their last sign of life.",
)

run_beats = Table(
    "run_beats",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("lane", String(32), nullable=False),
    Column("started_at", UtcDateTime, nullable=False, comment="when this process began with the run"),
    Column("beat_at", UtcDateTime, nullable=False, index=True),
    Column("lost", Text, nullable=True, comment="how the process died, when its worker saw it"),
    comment="The process of each Dagster run, and its last sign of life.",
)

spool_cursors = Table(
    "spool_cursors",
    metadata,
    Column("day", Date, primary_key=True),
    Column("part", String(16), primary_key=True),
    Column("position", BigInteger, nullable=False, comment="last position that a batch has claimed"),
    Column(
        "base",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="added to a position in the spool; above 0 when the spool counts this part from 1 again",
    ),
    Column(
        "gone",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="batches that begin at or before this position have no raw envelopes any more",
    ),
    Column(
        "first_received_at",
        UtcDateTime,
        nullable=True,
        comment="receipt of the first envelope in the spool, by which a part that was made anew is known",
    ),
    Column(
        "last_received_at", UtcDateTime, nullable=True, comment="receipt of the last one that was claimed"
    ),
    Column(
        "lost",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="envelopes that were claimed and then were missing, though nobody had dropped them",
    ),
)

batches = Table(
    "batches",
    metadata,
    Column("id", Id, primary_key=True),
    Column("day", Date, nullable=False),
    Column("part", String(16), nullable=False),
    Column("first_position", BigInteger, nullable=False),
    Column("last_position", BigInteger, nullable=False),
    Column("status", String(8), nullable=False, comment="open or done"),
    Column("attempt", Integer, nullable=False),
    Column(
        "deaths",
        Integer,
        nullable=False,
        server_default="0",
        comment="claims whose process ended without a word, the one at work included",
    ),
    Column("base", BigInteger, nullable=False, server_default="0", comment="that of the cursor when claimed"),
    Column("not_before", UtcDateTime, nullable=True, comment="when another attempt is worth making"),
    Column("error", Text, nullable=True, comment="why the last attempt failed, as far as it could say"),
    Column("drain_id", String(32), nullable=False),  # no foreign key: drains are forgotten sooner
    Column(
        "suspect",
        BigInteger,
        nullable=True,
        comment="position at work when attempts keep dying; negative: the first of several",
    ),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("received_at", UtcDateTime, nullable=True, comment="receipt of the first of what it stored"),
    Column("done_at", UtcDateTime, nullable=True),
    Column("items", BigInteger, nullable=False, server_default="0"),
    Column("stored", BigInteger, nullable=False, server_default="0"),
    Column("duplicate", BigInteger, nullable=False, server_default="0"),
    Column("filtered", BigInteger, nullable=False, server_default="0"),
    Column("discarded", BigInteger, nullable=False, server_default="0"),
    Column("invalid", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("day", "part", "first_position"),
    Index("batches_by_status", "status", "day"),
    comment="Ranges of spool positions, each processed exactly once.",
)

tail_segments = Table(
    "tail_segments",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column(
        "rows", Integer, nullable=False, server_default="0", comment="of all tables of the lake but payloads"
    ),
    Column(
        "bytes", BigInteger, nullable=False, server_default="0", comment="of texts and payloads as stored"
    ),
    Column(
        "first_at", UtcDateTime, nullable=True, comment="when its first rows came; null while it is empty"
    ),
    Column("sealed_at", UtcDateTime, nullable=True, comment="since when it takes no rows"),
    comment="Pieces of the tail. The highest is open; numbers grow and never come again. What is in the lake is gone here.",
)

tail_rows = Table(
    "tail_rows",
    metadata,
    Column("seq", Id, primary_key=True, comment="grows in the order of commits"),
    Column("segment", BigInteger, nullable=False, index=True),
    Column("day", Date, nullable=False),
    Column("part", String(16), nullable=False),
    Column("first_position", BigInteger, nullable=False, comment="of the batch"),
    Column("last_position", BigInteger, nullable=False),
    Column("name", String(32), nullable=False, comment="table of the lake"),
    Column("quantity", Integer, nullable=False),
    Column("rows", Text, nullable=False, comment="JSON list of objects; times are microseconds since 1970"),
    Index("tail_rows_place", "day", "part", "first_position"),
    sqlite_autoincrement=True,
    comment="Rows of small batches that are not in files of the lake yet: one per batch and table of the lake.",
)

tail_payloads = Table(
    "tail_payloads",
    metadata,
    Column("day", Date, primary_key=True),
    Column("part", String(16), primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("item", Integer, primary_key=True),
    Column("segment", BigInteger, nullable=False, index=True),
    Column("project_id", BigInteger, nullable=False),
    Column("event_id", String(32), nullable=False),
    Column("payload", LargeBinary, nullable=False, comment="zstd of the event's JSON"),
    comment="Payloads of the events in the tail.",
)

condemned_envelopes = Table(
    "condemned_envelopes",
    metadata,
    Column("day", Date, primary_key=True),
    Column("part", String(16), primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("reason", Text, nullable=False),
    comment="Envelopes that killed the process each time they were read; they become dead letters unread.",
)

replacements = Table(
    "replacements",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("day", Date, nullable=False),
    Column(
        "arrival", BigInteger, nullable=True, comment="newest symbol_arrivals when its events were processed"
    ),
    Column("group_ids", JSON(none_as_null=True), nullable=True, comment="groups of its events; null: any"),
    Column("fact", JSON(none_as_null=True), nullable=True, comment="what is recorded of it when it is done"),
    Column(
        "reason",
        String(16),
        nullable=True,
        comment="recomputed or reprocessed; null: what is stored stayed the same",
    ),
    Column("started_at", UtcDateTime, nullable=False),
    Column("done_at", UtcDateTime, nullable=True),
    Index("replacements_by_day", "day"),
    _partial("replacements_open", "done_at IS NULL", "day"),
    comment="Replacements of a day in the lake, opened under the writer lock; whoever holds the lock and finds an "
    "open one knows that its process died, and derives the day's counters again.",
)

group_actions = Table(
    "group_actions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", BigInteger, nullable=False),
    Column("group_id", ForeignKey("groups.id"), nullable=False, index=True),
    Column("action", String(32), nullable=False, comment="resolve, ignore, assign, merge, regress …"),
    Column("data", JSON, nullable=False, comment="what the action was given"),
    Column("actor", String(200), nullable=False, comment="who did it"),
    Column("at", UtcDateTime, nullable=False),
    Column("release", String(200), nullable=True, comment="that in which it was resolved, or came back"),
    Column(
        "status",
        String(16),
        nullable=True,
        comment="status of the group since then, merged where it is part of another; null: that stays",
    ),
    Column(
        "assignee",
        String(200),
        nullable=True,
        comment="who has it since then, empty for nobody; null: that stays",
    ),
    _partial("group_actions_by_release", "release IS NOT NULL", "project_id", "release", "action"),
    _partial("group_actions_by_status", "status IS NOT NULL", "group_id", "at", "id"),
    _partial("group_actions_by_assignee", "assignee IS NOT NULL", "group_id", "at", "id"),
    Index("group_actions_by_time", "at"),
    comment="What people and rules decided about groups; only ever appended to.",
)

group_signatures = Table(
    "group_signatures",
    metadata,
    Column("group_id", ForeignKey("groups.id"), primary_key=True),
    Column("project_id", BigInteger, nullable=False, index=True),
    Column("signature", LargeBinary, nullable=False, comment="MinHash of type, frames in app and message"),
    Column("features", Integer, nullable=False),
    comment="What similar groups are found by.",
)

similar_groups = Table(
    "similar_groups",
    metadata,
    Column("group_id", ForeignKey("groups.id"), primary_key=True, comment="the older of the two"),
    Column("other_id", ForeignKey("groups.id"), primary_key=True, index=True),
    Column("project_id", BigInteger, nullable=False),
    Column("score", Float, nullable=False, comment="estimated Jaccard similarity, 0 to 1"),
    Column("status", String(16), nullable=False, comment="proposed, merged or rejected"),
    Column("found_at", UtcDateTime, nullable=False),
    Index("similar_groups_by_project", "project_id", "status"),
)

regroupings = Table(
    "regroupings",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", BigInteger, nullable=False),
    Column("group_ids", JSON, nullable=False, comment="groups whose events have to be looked at"),
    Column("reason", String(32), nullable=False, comment="merge, unmerge, discard, race"),
    Column(
        "days", JSON(none_as_null=True), nullable=True, comment="days of receipt of events that moved or went"
    ),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("done_at", UtcDateTime, nullable=True),
    _partial("regroupings_open", "done_at IS NULL", "id"),
    comment="Changes of group_hashes that stored events have to follow; whoever holds the lake's lock finishes open ones.",
)

project_algorithms = Table(
    "project_algorithms",
    metadata,
    Column("project_id", BigInteger, primary_key=True),
    Column("algorithm", String(32), primary_key=True),
    Column("first_used_at", UtcDateTime, nullable=False),
    comment="Grouping algorithms a project has used; for a while after a change the former one is asked too.",
)

releases = Table(
    "releases",
    metadata,
    Column("project_id", BigInteger, primary_key=True),
    Column("version", _by_bytes(200), primary_key=True),
    Column(
        "created_at",
        UtcDateTime,
        nullable=False,
        comment="first heard of: by an event or through the API",
    ),
    Column("started_at", UtcDateTime, nullable=True),
    Column("released_at", UtcDateTime, nullable=True),
    Column("url", Text, nullable=True),
    Column("first_event_at", UtcDateTime, nullable=True),
    Column("last_event_at", UtcDateTime, nullable=True),
    Column("status", String(16), nullable=False, server_default="open", comment="open or archived"),
    Column("order_date", UtcDateTime, nullable=False, comment="released_at, else created_at"),
    Column("package", String(200), nullable=True, comment="what stands before the @ of the version"),
    Column(
        "version_key", _by_bytes(), nullable=True, comment="sorts the versions of a package; null for others"
    ),
    Column("ref", String(200), nullable=True, comment="free text that came with it, such as a branch"),
    Column("commit_count", Integer, nullable=False, server_default="0"),
    Column("first_session_at", UtcDateTime, nullable=True, comment="when the first of its sessions began"),
    Column("last_session_at", UtcDateTime, nullable=True, comment="when the last of its sessions began"),
    Column("events", BigInteger, nullable=False, server_default="0", comment="as of figures_at"),
    Column(
        "users",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="distinct user keys of its events, as of figures_at",
    ),
    Column("processed_at", UtcDateTime, nullable=True, comment="when process_new_release was done with it"),
    Column(
        "update_due_at",
        UtcDateTime,
        nullable=True,
        comment="since when commits or deploys wait for update_release_data",
    ),
    Column("changed_at", UtcDateTime, nullable=True, comment="when something was last stored of it"),
    Column("figures_at", UtcDateTime, nullable=True, comment="when its figures were last counted"),
    Index("releases_by_date", "project_id", "status", "order_date", "version"),
    Index("releases_by_version", "project_id", "status", "package", "version_key", "order_date", "version"),
    Index("releases_by_name", "version"),
    Index("releases_by_creation", "project_id", "created_at"),
    Index("releases_by_time", "created_at"),
    _partial("releases_by_finalising", "released_at IS NOT NULL", "released_at"),
    _partial("releases_unprocessed", "processed_at IS NULL", "created_at"),
    _partial("releases_to_update", "update_due_at IS NOT NULL", "update_due_at"),
    _partial("releases_to_count", TO_COUNT, "figures_at"),
    _partial("releases_with_commits", "commit_count > 0", "project_id", "order_date", "version"),
)

commits = Table(
    "commits",
    metadata,
    Column("sha", _by_bytes(64), primary_key=True, comment="id as sent"),
    Column("repository", String(200), nullable=True, comment="its name in `repositories`"),
    Column("message", Text, nullable=True),
    Column("author_key", String(200), nullable=True, comment="key in `commit_authors`"),
    Column("committed_at", UtcDateTime, nullable=True, comment="timestamp as sent"),
    Column("files", Integer, nullable=False, server_default="0", comment="how many files it changed"),
    Column("created_at", UtcDateTime, nullable=False),
    Index("commits_by_author", "author_key"),
    comment="Commits of the organisation; one that is sent again is updated.",
)

commit_authors = Table(
    "commit_authors",
    metadata,
    Column("author_key", String(200), primary_key=True, comment="mail address in lower case, else the name"),
    Column("name", String(128), nullable=True),
    Column("email", String(200), nullable=True),
)

commit_files = Table(
    "commit_files",
    metadata,
    Column("sha", _by_bytes(64), primary_key=True),
    Column("path", _by_bytes(510), primary_key=True),
    Column("type", String(1), nullable=False, comment="A added, M modified, D deleted, T of another type"),
    sqlite_with_rowid=False,
)

release_commits = Table(
    "release_commits",
    metadata,
    Column("version", _by_bytes(200), primary_key=True),
    Column("position", Integer, primary_key=True, comment="0 is the newest"),
    Column("sha", _by_bytes(64), nullable=False),
    Index("release_commits_by_sha", "sha"),
    sqlite_with_rowid=False,
)

release_heads = Table(
    "release_heads",
    metadata,
    Column("version", _by_bytes(200), primary_key=True),
    Column("repository", String(200), primary_key=True),
    Column(
        "sha",
        String(64),
        nullable=False,
        comment="newest commit of the release there, or a word such as HEAD",
    ),
    Column("previous_sha", String(64), nullable=True, comment="where its commits begin, as sent"),
)

repositories = Table(
    "repositories",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("url", Text, nullable=True),
    Column("provider", String(64), nullable=False, comment="unknown where nothing follows it"),
    Column("created_at", UtcDateTime, nullable=False),
)

group_commits = Table(
    "group_commits",
    metadata,
    Column("group_id", ForeignKey("groups.id"), primary_key=True),
    Column("sha", _by_bytes(64), primary_key=True),
    Column("version", _by_bytes(200), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("resolved", Boolean, nullable=False, comment="whether it resolved the group"),
    Index("group_commits_by_sha", "sha"),
    Index("group_commits_by_release", "version"),
    comment="Commits whose message says that they fix a group, by the release that brought them.",
)

suspect_commits = Table(
    "suspect_commits",
    metadata,
    Column("group_id", ForeignKey("groups.id"), primary_key=True),
    Column("rank", Integer, primary_key=True, comment="0 is the likeliest"),
    Column("sha", _by_bytes(64), nullable=False),
    Column("version", String(200), nullable=False, comment="release that holds it"),
    Column("path", String(510), nullable=False, comment="the file it changed"),
    Column("frame", Integer, nullable=False, comment="number of the frame, 0 is the nearest to the crash"),
    Column("score", Integer, nullable=False, comment="parts of the path that are the same"),
    Index("suspect_commits_by_sha", "sha"),
)

release_environments = Table(
    "release_environments",
    metadata,
    Column("project_id", BigInteger, primary_key=True),
    Column("version", _by_bytes(200), primary_key=True),
    Column("environment", _by_bytes(64), primary_key=True, comment="as sent; empty: none was named"),
    Column("first_at", UtcDateTime, nullable=False, comment="receipt of what named it first"),
    comment="Environments of the events, transactions and sessions of a release, 100 at most.",
    sqlite_with_rowid=False,
)

release_stages = Table(
    "release_stages",
    metadata,
    Column("project_id", BigInteger, primary_key=True),
    Column("environment", String(64), primary_key=True),
    Column("version", _by_bytes(200), primary_key=True),
    Column("since", UtcDateTime, primary_key=True, comment="a full hour"),
    Column(
        "until", UtcDateTime, nullable=True, comment="when its next stage began; null: it is the one of now"
    ),
    Column("stage", String(16), nullable=False, comment="low_adoption, adopted or replaced"),
    Column("adopted_at", UtcDateTime, nullable=True, comment="when it was adopted for the first time ever"),
    Index("release_stages_by_time", "since"),
    _partial("release_stages_by_end", "until IS NOT NULL", "until"),
    Index("release_stages_by_release", "project_id", "version", "until"),
    _partial("release_stages_adopted", "until IS NULL AND stage = 'adopted'", "project_id", "environment"),
    comment="Changes of the stage of a release in an environment.",
)

stage_days = Table(
    "stage_days",
    metadata,
    Column("day", Date, primary_key=True, comment="UTC day on which sessions began"),
    Column(
        "computed_at",
        UtcDateTime,
        nullable=False,
        comment="`computed_at` of the day in `health_days` when stages were last told from it",
    ),
    Column(
        "through", UtcDateTime, nullable=False, comment="the last full hour for which stages were told then"
    ),
    comment="Days of health that the stages of releases were told from.",
)

health_days = Table(
    "health_days",
    metadata,
    Column("day", Date, primary_key=True, comment="UTC day on which sessions began"),
    Column("changed_at", UtcDateTime, nullable=False, comment="when rows of such sessions last came or went"),
    Column("changes", BigInteger, nullable=False, comment="how often some did"),
    Column(
        "computed",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="how many of these changes are in release_health; fewer than all: the day is due",
    ),
    Column(
        "computed_at", UtcDateTime, nullable=True, comment="when release_health of the day was last computed"
    ),
    Column(
        "rows_read",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="rows of sessions that were read then",
    ),
    _partial("health_days_due", "changes > computed", "day"),
)

installation_keys = Table(
    "installation_keys",
    metadata,
    Column("name", String(32), primary_key=True, comment="what it is for: users, unsubscribe"),
    Column("key", String(128), nullable=False, comment="random bytes, hex digits; to be kept secret"),
    comment="Keys that were made once for this installation. Another one would make new users of all that are known, and void "
    "the links in mails.",
)

deploys = Table(
    "deploys",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", BigInteger, nullable=False),
    Column("version", String(200), nullable=False),
    Column("environment", String(64), nullable=False),
    Column("name", String(64), nullable=True),
    Column("url", Text, nullable=True),
    Column("started_at", UtcDateTime, nullable=True),
    Column("finished_at", UtcDateTime, nullable=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column(
        "digest",
        String(64),
        nullable=True,
        comment="of what was said of it: the same again is no other deploy",
    ),
    Column(
        "told_at", UtcDateTime, nullable=True, comment="when its authors were told, or it was decided not to"
    ),
    Index("deploys_by_release", "project_id", "version"),
    Index("deploys_by_time", "created_at"),
    _partial("deploys_by_end", "finished_at IS NOT NULL", "finished_at"),
    Index("deploys_once", "project_id", "version", "digest", unique=True),
    _partial("deploys_to_tell", "told_at IS NULL", "created_at"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(100), nullable=False),
    Column("digest", String(64), nullable=False, unique=True, comment="sha256 of the token"),
    Column("hint", String(16), nullable=False, comment="its last characters, to tell tokens apart"),
    Column("scopes", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_used_at", UtcDateTime, nullable=True),
    Column("revoked_at", UtcDateTime, nullable=True),
    Column("member", String(200), nullable=True, comment="in whose name it acts; null: the installation's"),
)

member_passwords = Table(
    "member_passwords",
    metadata,
    Column("member", String(200), primary_key=True),
    Column("hash", String(200), nullable=False, comment="scrypt, with its parameters and salt"),
    Column("changed_at", UtcDateTime, nullable=False),
    comment="Passwords of members, as hashes.",
)

invitations = Table(
    "invitations",
    metadata,
    Column("digest", String(64), primary_key=True, comment="sha256 of what is in the link"),
    Column("member", String(200), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Index("invitations_of_member", "member"),
    comment="Links with which members choose a password, once. A used one is gone.",
)

web_sessions = Table(
    "web_sessions",
    metadata,
    Column("digest", String(64), primary_key=True, comment="sha256 of the cookie"),
    Column("member", String(200), nullable=False),
    Column("way", String(16), nullable=False, comment="of logging in: password or oidc"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False, comment="exact to five minutes"),
    Index("web_sessions_of_member", "member", "seen_at"),
    Index("web_sessions_seen", "seen_at"),
    comment="Who is logged in to the pages.",
)

login_failures = Table(
    "login_failures",
    metadata,
    Column("id", Id, primary_key=True),
    Column("address", String(64), nullable=False, comment="of the client; of IPv6 its network"),
    Column("name", String(64), nullable=False, comment="sha256 of the name that was tried"),
    Column("at", UtcDateTime, nullable=False),
    Index("login_failures_at", "at"),
    comment="Logins that failed in the last quarter of an hour.",
)

upload_chunks = Table(
    "upload_chunks",
    metadata,
    Column("sha1", String(40), primary_key=True),
    Column("digest", String(64), nullable=False, comment="the blob that holds it"),
    Column("size", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False, index=True),
    comment="Pieces of files on their way; gone a while after they were last named.",
)

debug_files = Table(
    "debug_files",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", BigInteger, nullable=False),
    Column("sha1", String(40), nullable=False),
    Column("debug_id", String(64), nullable=False, comment="normalised: lower-case, hyphens, age when not 0"),
    Column("code_id", String(64), nullable=True),
    Column(
        "kind",
        String(16),
        nullable=False,
        comment="elf, macho, pe, pdb, breakpad, wasm, sourcebundle, proguard …",
    ),
    Column("object_kind", String(16), nullable=False, comment="dbg, exe, lib, src, proguard …"),
    Column("arch", String(32), nullable=False),
    Column("features", JSON, nullable=False, comment="symtab, debug, unwind, sources, mapping"),
    Column("name", Text, nullable=False),
    Column("digest", String(64), nullable=False, comment="the blob that holds it"),
    Column("size", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime, nullable=True, comment="the day on which a lookup last found it"),
    UniqueConstraint("project_id", "sha1", "debug_id"),
    Index("debug_files_by_debug_id", "project_id", "debug_id"),
)

artifact_bundles = Table(
    "artifact_bundles",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", BigInteger, nullable=False),
    Column("sha1", String(40), nullable=False),
    Column("digest", String(64), nullable=False, comment="the blob that holds it"),
    Column("size", BigInteger, nullable=False),
    Column("release", String(200), nullable=True),
    Column("dist", String(64), nullable=True),
    Column("files", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime, nullable=True, comment="the day on which a lookup last found it"),
    Index("artifact_bundles_by_sha1", "project_id", "sha1"),
    comment="Uploaded bundles of sources and source maps, a row per project.",
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("bundle_id", ForeignKey("artifact_bundles.id"), primary_key=True),
    Column("path", Text, primary_key=True, comment="name of the file in the bundle"),
    Column("project_id", BigInteger, nullable=False),
    Column("type", String(32), nullable=False, comment="minified_source, source_map, source …"),
    Column("url", Text, nullable=True, comment="~/assets/app.min.js; ~ stands for scheme and host"),
    Column("debug_id", String(64), nullable=True),
    Column("source_map", Text, nullable=True, comment="reference to its source map, as the bundle says"),
    Column("release", String(200), nullable=True),
    Column("dist", String(64), nullable=True),
    Index("artifacts_by_debug_id", "project_id", "debug_id"),
    Index("artifacts_by_release", "project_id", "release"),
    comment="Files in artifact bundles: what a lookup by debug id, or by release, dist and URL finds.",
)

symbol_arrivals = Table(
    "symbol_arrivals",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", BigInteger, nullable=False),
    Column("key", String(300), nullable=False, comment="see symbolication/keys.py"),
    Column("at", UtcDateTime, nullable=False),
    Column(
        "matched_at",
        UtcDateTime,
        nullable=True,
        comment="when the days whose events missed it were noted in symbol_debts",
    ),
    Index("symbol_arrivals_by_project", "project_id", "key"),
    Index(
        "symbol_arrivals_unmatched",
        "id",
        sqlite_where=text("matched_at IS NULL"),
        postgresql_where=text("matched_at IS NULL"),
    ),
    comment="What became available for symbolication, in order; stored events that missed it are processed again.",
)

symbol_debts = Table(
    "symbol_debts",
    metadata,
    Column("day", Date, primary_key=True),
    Column("after", BigInteger, nullable=False, comment="symbol_arrivals behind this number are owed"),
    Column("through", BigInteger, nullable=False, comment="the last of them that the day's events missed"),
    Column("attempts", Integer, nullable=False, server_default="0", comment="made without success"),
    Column("not_before", UtcDateTime, nullable=True, comment="when another attempt is worth making"),
    comment="Days with stored events that symbols reached too late; a row goes when they were processed again.",
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("key", String(300), nullable=False, unique=True, comment="one firing: the same key fires once"),
    Column("project_id", BigInteger, nullable=False, comment="0: the pipeline itself"),
    Column("rule", String(100), nullable=False),
    Column("kind", String(32), nullable=False, comment="new_group, regression, events, metric, monitor …"),
    Column("status", String(16), nullable=False, comment="firing or recovered"),
    Column("severity", String(16), nullable=False, comment="info, warning or critical"),
    Column("group_id", ForeignKey("groups.id"), nullable=True),
    Column("incident_id", BigInteger, nullable=True),
    Column("thread", String(200), nullable=False, comment="what messages about one thing share: group:17 …"),
    Column("data", JSON, nullable=False, comment="the facts at that moment: the event, counts, thresholds"),
    Column("at", UtcDateTime, nullable=False, index=True),
    Index("alerts_by_rule", "project_id", "rule", "at"),
    Index("alerts_by_group", "group_id", "incident_id"),
    comment="Firings of alert rules.",
)

rule_states = Table(
    "rule_states",
    metadata,
    Column("project_id", BigInteger, primary_key=True),
    Column("rule", String(100), primary_key=True),
    Column(
        "thread",
        String(200),
        primary_key=True,
        comment="the group or metric that fired; empty: the rule as a whole",
    ),
    Column(
        "status", String(16), nullable=False, comment="ok, warning, critical; storm while alerts collapse"
    ),
    Column("fired_at", UtcDateTime, nullable=True, comment="when an alert of it was last sent"),
    Column("changed_at", UtcDateTime, nullable=False),
    Column("data", JSON, nullable=False, comment="what the rule has to remember"),
    comment="What alert rules remember between evaluations: action intervals, metric states, storms.",
)

notifications = Table(
    "notifications",
    metadata,
    Column("id", Id, primary_key=True),
    Column("key", String(400), nullable=False, unique=True, comment="one message to one target"),
    Column("type", String(16), nullable=False, comment="alert, storm, digest, deploy, report or test"),
    Column("alert_id", ForeignKey("alerts.id"), nullable=True, index=True),
    Column(
        "digest_id",
        BigInteger,
        nullable=True,
        comment="the notification of the digest it went into",
    ),
    Column("project_id", BigInteger, nullable=False),
    Column("rule", String(100), nullable=False, server_default=""),
    Column("target", String(250), nullable=False, comment="member:…, team:… or channel:…"),
    Column("channel", String(100), nullable=False, comment="name of the configured channel"),
    Column("address", String(250), nullable=False, server_default="", comment="where on that channel"),
    Column("thread", String(200), nullable=False),
    Column("data", JSON, nullable=False, comment="what the message needs beside its alert"),
    Column(
        "status",
        String(16),
        nullable=False,
        comment="waiting, sending, sent, dead, digest, collapsed or skipped",
    ),
    Column("reason", Text, nullable=False, server_default="", comment="why it was not sent, or not yet"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("ambiguous", Integer, nullable=False, server_default="0", comment="attempts of unknown end"),
    Column("priority", Integer, nullable=False, server_default="1", comment="0 goes before 1"),
    Column("created_at", UtcDateTime, nullable=False, index=True),
    Column("not_before", UtcDateTime, nullable=False),
    Column("claimed_by", String(64), nullable=True, comment="the sender at work on it"),
    Column("lease_until", UtcDateTime, nullable=True),
    Column("sent_at", UtcDateTime, nullable=True),
    Index("notifications_due", "status", "channel", "priority", "not_before"),
    Index("notifications_by_target", "target", "created_at"),
    _partial("notifications_sent", "sent_at IS NOT NULL", "sent_at", "channel"),
    _partial("notifications_in_digests", "digest_id IS NOT NULL", "digest_id"),
    # With what its condition says in front: else SQLite would take `notifications_due` and read what was ever collected.
    _partial(
        "notifications_for_digests",
        "status = 'digest'",
        "status",
        "digest_id",
        "target",
        "project_id",
        "created_at",
    ),
    comment="The outbox: every message that was decided on, also those that were held back, and why.",
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Id, primary_key=True),
    Column("notification_id", ForeignKey("notifications.id"), nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False, index=True),
    Column("ended_at", UtcDateTime, nullable=True),
    Column("outcome", String(16), nullable=False, comment="started, sent, retry, dead, unknown"),
    Column("detail", Text, nullable=False, server_default="", comment="what the far side said"),
    Column("run_id", String(64), nullable=True, index=True),
    comment="Attempts to send a notification.",
)

channel_states = Table(
    "channel_states",
    metadata,
    Column("channel", String(100), primary_key=True),
    Column("failures", Integer, nullable=False, server_default="0", comment="in a row"),
    Column("open_until", UtcDateTime, nullable=True, comment="circuit breaker: nothing is tried before"),
    Column("last_error", Text, nullable=False, server_default=""),
    Column("last_sent_at", UtcDateTime, nullable=True),
    Column("changed_at", UtcDateTime, nullable=False),
)

send_limits = Table(
    "send_limits",
    metadata,
    Column("channel", String(100), primary_key=True),
    Column("target", String(250), primary_key=True, comment="empty: the channel as a whole"),
    Column("tokens", Float, nullable=False),
    Column("at", UtcDateTime, nullable=False, comment="when it held so many tokens"),
    comment="Token buckets of channels and of their targets.",
)

monitors = Table(
    "monitors",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", BigInteger, nullable=False),
    Column("slug", String(50), nullable=False),
    Column("type", String(8), nullable=False, comment="cron or uptime"),
    Column("name", String(200), nullable=False),
    Column("config", JSON, nullable=False, comment="schedule, margin, thresholds …; of uptime: the request"),
    Column("source", String(16), nullable=False, comment="file, or check_in when a client described it"),
    Column(
        "status", String(16), nullable=False, server_default="active", comment="active, muted or disabled"
    ),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("project_id", "slug"),
)

monitor_environments = Table(
    "monitor_environments",
    metadata,
    Column("id", Id, primary_key=True),
    Column("monitor_id", ForeignKey("monitors.id"), nullable=False),
    Column("environment", String(64), nullable=False),
    Column("status", String(16), nullable=False, comment="waiting, ok, missed, timed_out or error"),
    Column("muted", Integer, nullable=False, server_default="0"),
    Column("last_check_in_at", UtcDateTime, nullable=True),
    Column("next_at", UtcDateTime, nullable=True, comment="when the next check-in, or check, is due"),
    Column("late_at", UtcDateTime, nullable=True, index=True, comment="when it counts as missed"),
    Column("failures", Integer, nullable=False, server_default="0", comment="in a row"),
    Column("successes", Integer, nullable=False, server_default="0", comment="in a row"),
    Column("incident_id", BigInteger, nullable=True, comment="the open one"),
    Column("data", JSON, nullable=False, comment="of uptime: the last answer"),
    UniqueConstraint("monitor_id", "environment"),
    Index("monitor_environments_next", "next_at"),
    _partial("monitor_environments_in_trouble", "incident_id IS NOT NULL", "incident_id"),
)

monitor_check_ins = Table(
    "monitor_check_ins",
    metadata,
    Column("id", Id, primary_key=True),
    Column("environment_id", ForeignKey("monitor_environments.id"), nullable=False),
    Column("check_in_id", String(32), nullable=True, comment="32 hex digits; none for a missed one"),
    Column(
        "status", String(16), nullable=False, comment="in_progress, ok, error, missed, timed_out or unknown"
    ),
    Column("expected_at", UtcDateTime, nullable=True),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, nullable=True),
    Column(
        "timeout_at", UtcDateTime, nullable=True, index=True, comment="while in progress: when it times out"
    ),
    Column("duration_s", Float, nullable=True),
    Column("release", String(200), nullable=True),
    Column("trace_id", String(32), nullable=True),
    Column("detail", Text, nullable=False, server_default=""),
    UniqueConstraint("environment_id", "check_in_id"),
    Index("monitor_check_ins_by_time", "environment_id", "started_at"),
    _partial("monitor_check_ins_at_work", "status = 'in_progress'", "environment_id", "started_at"),
    comment="Runs of monitors as they are understood: what check-ins said, and what was missing.",
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", BigInteger, nullable=False, comment="0: the pipeline itself"),
    Column("kind", String(16), nullable=False, comment="cron, uptime or pipeline"),
    Column("environment_id", ForeignKey("monitor_environments.id"), nullable=True, index=True),
    Column("probe", String(100), nullable=True, comment="what the pipeline watches of itself"),
    Column("group_id", ForeignKey("groups.id"), nullable=True, index=True),
    Column("reason", String(32), nullable=False, comment="missed, timed_out, error, down, expiring …"),
    Column("detail", Text, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False, index=True),
    Column("closed_at", UtcDateTime, nullable=True),
    _partial("incidents_open", "closed_at IS NULL", "kind"),
)

probes = Table(
    "probes",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("status", String(16), nullable=False, comment="ok, warning, critical or unknown"),
    Column("value", Float, nullable=True),
    Column("detail", Text, nullable=False, server_default=""),
    Column("failures", Integer, nullable=False, server_default="0", comment="bad readings in a row"),
    Column("since", UtcDateTime, nullable=False, comment="since when it has this status"),
    Column("measured_at", UtcDateTime, nullable=False),
    comment="What the pipeline watches of itself: the last reading of each probe.",
)

analytics_outbox = Table(
    "analytics_outbox",
    metadata,
    Column("id", Id, primary_key=True),
    Column(
        "fact",
        LargeBinary(16),
        nullable=False,
        unique=True,
        comment="made of type and key: a fact is recorded once",
    ),
    Column("type", String(64), nullable=False, comment="group.created, release.deployed …"),
    Column("version", Integer, nullable=False, comment="version of the type's attributes"),
    Column("at", UtcDateTime, nullable=False, comment="when it was so"),
    Column("project_id", BigInteger, nullable=False, comment="0: the installation"),
    Column("actor_kind", String(16), nullable=False),
    Column(
        "actor",
        String(200),
        nullable=False,
        server_default="",
        comment="a member as keyed hash; others by name",
    ),
    Column("source", String(16), nullable=False),
    Column("run_id", String(64), nullable=True),
    Column(
        "data",
        JSON(none_as_null=True),
        nullable=True,
        comment="its other attributes; null once it is stored in the lake",
    ),
    Column(
        "stored_in",
        BigInteger,
        nullable=True,
        comment="batch in the lake; null: none took it yet; 0: it is in `analytics_dead`",
    ),
    _partial("analytics_waiting", "data IS NOT NULL", "stored_in", "id"),
    Index("analytics_by_time", "at"),
    comment="Facts on their way to the lake, and what is needed to record none of them twice.",
)
analytics_dead = Table(
    "analytics_dead",
    metadata,
    Column("id", Id, primary_key=True),
    Column("type", String(64), nullable=False),
    Column("data", JSON, nullable=False, comment="what was to be recorded"),
    Column("error", Text, nullable=False, comment="why it could not be"),
    Column("at", UtcDateTime, nullable=False, index=True),
    comment="Facts that could not be recorded.",
)
day_changes = Table(
    "day_changes",
    metadata,
    Column("day", Date, primary_key=True, comment="UTC day whose figures changed"),
    Column(
        "reason",
        String(16),
        primary_key=True,
        comment="batch, recomputed, reprocessed, regrouped, sessions, facts, retention, privacy or deleted",
    ),
    Column("changes", BigInteger, nullable=False, comment="how often"),
    Column(
        "computed",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="how many of them the figures have",
    ),
    Column("changed_at", UtcDateTime, nullable=False, comment="when it last happened"),
    _partial("day_changes_due", "changes > computed", "day"),
    comment="What happened to the rows that figures of a day are computed from.",
)
retention_removals = Table(
    "retention_removals",
    metadata,
    Column("day", Date, primary_key=True),
    Column("name", String(32), primary_key=True, comment="table of the lake"),
    Column("project_id", BigInteger, primary_key=True, autoincrement=False, comment="0: all projects"),
    Column("rows", BigInteger, nullable=False, comment="that went, in all"),
    Column(
        "reason",
        String(16),
        primary_key=True,
        comment="age, before, max_disk, max_events, privacy or deleted",
    ),
    Column("removed_at", UtcDateTime, nullable=False, comment="when some last went"),
    Column(
        "last_rows",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="of them, those that were noted last",
    ),
    Column(
        "witness",
        String(100),
        nullable=False,
        server_default="",
        comment="one of these: they went if it is not in the lake any more; empty: they did",
    ),
    comment="Days of which retention took rows: what was counted of them is not counted again. Noted before the rows go.",
)
restored_days = Table(
    "restored_days",
    metadata,
    Column("day", Date, primary_key=True),
    Column("project_id", BigInteger, primary_key=True, autoincrement=False),
    Column(
        "until", Date, nullable=False, comment="the last day on which it stays although its retention is over"
    ),
    Column("restored_at", UtcDateTime, nullable=True, comment="null: it is on its way"),
    comment="Days that are back from an archive. Noted before their rows are, so that no cleanup takes these at once.",
)
erasures = Table(
    "erasures",
    metadata,
    Column("id", String(32), primary_key=True, comment="that of its certificate"),
    Column("kind", String(16), nullable=False, comment="privacy, group, project or release"),
    Column(
        "data",
        JSON(none_as_null=True),
        nullable=True,
        comment="whose, and what must be remembered until it ended; from then on null, or which archived manifests are over",
    ),
    Column("requested_by", String(200), nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, nullable=True),
    _partial("erasures_open", "ended_at IS NULL", "requested_at"),
    comment="Deletions that were asked for. Stored before anything goes; open ones are finished by whoever comes next.",
)
statistics_days = Table(
    "statistics_days",
    metadata,
    Column("day", Date, primary_key=True),
    Column(
        "version",
        BigInteger,
        primary_key=True,
        comment="1, and one more each time that the figures came out otherwise",
    ),
    Column("digest", String(64), nullable=False, comment="of all tables, hex digits"),
    Column("tables", JSON, nullable=False, comment="rows and digest of each table, by name"),
    Column("causes", JSON, nullable=False, comment="reasons of the changes since the version before"),
    Column("seen", JSON, nullable=False, comment="how far logs that only grow were read, by name"),
    Column("computed_at", UtcDateTime, nullable=False, comment="when these figures were first computed"),
    Column(
        "checked_at",
        UtcDateTime,
        nullable=False,
        comment="when they were last computed, and came out the same",
    ),
    Column(
        "closed", Boolean, nullable=False, comment="whether nothing of the day waited then, and it was over"
    ),
    Index("statistics_days_by_time", "computed_at"),
    comment="Versions of the figures of days.",
)
reports = Table(
    "reports",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", String(8), nullable=False, comment="day, week or month"),
    Column("key", Date, nullable=False, comment="first local day of the period"),
    Column("scope", String(64), nullable=False, comment="organisation, team:… or project:<id>"),
    Column("zone", String(64), nullable=False),
    Column("label", String(16), nullable=False),
    Column("start", UtcDateTime, nullable=False),
    Column("end", UtcDateTime, nullable=False),
    Column("revision", Integer, nullable=False, comment="the newest"),
    Column(
        "checked_at", UtcDateTime, nullable=False, comment="when it was last computed, with or without change"
    ),
    UniqueConstraint("kind", "key", "zone", "scope"),
    Index("reports_by_end", "end"),
    comment="Reports of closed periods.",
)
report_revisions = Table(
    "report_revisions",
    metadata,
    Column("report_id", ForeignKey("reports.id"), primary_key=True),
    Column(
        "revision", Integer, primary_key=True, comment="1, and one more each time that it came out otherwise"
    ),
    Column("digest", String(64), nullable=False, comment="of the content, hex digits"),
    Column("computed_at", UtcDateTime, nullable=False),
    Column(
        "final",
        Boolean,
        nullable=False,
        comment="whether none of its days can change by what may still be received",
    ),
    Column("code_version", String(32), nullable=False),
    Column("zones_version", String(16), nullable=False, comment="edition of the zone data"),
    Column(
        "inputs",
        JSON,
        nullable=False,
        comment="by day that it read: version and digest of its figures, changes of its health",
    ),
    Column(
        "changes", JSON, nullable=False, comment="figures that changed since the revision before, and why"
    ),
    Column("files", JSON, nullable=False, comment="digests of its files (blobs), by name"),
    Index("report_revisions_by_time", "computed_at"),
    comment="What reports said, revision by revision.",
)
subscriptions = Table(
    "subscriptions",
    metadata,
    Column("member", String(250), primary_key=True, comment="address"),
    Column("kind", String(8), primary_key=True, comment="day, week or month"),
    Column("wanted", Boolean, nullable=False),
    Column("by", String(16), nullable=False, comment="link: the one in a mail; command"),
    Column("at", UtcDateTime, nullable=False),
    comment="What members decided about reports themselves; wins over the configuration.",
)
report_deliveries = Table(
    "report_deliveries",
    metadata,
    Column("kind", String(8), primary_key=True),
    Column("key", Date, primary_key=True),
    Column("target", String(250), primary_key=True, comment="member:…, team:… or channel:…"),
    Column("due_at", UtcDateTime, nullable=False),
    Column("decided_at", UtcDateTime, nullable=True, comment="null: not yet"),
    Column("notification_id", BigInteger, nullable=True, comment="the message; null: none was sent"),
    Column("revision", Integer, nullable=True, comment="that it told of"),
    Column("reason", String(100), nullable=False, server_default="", comment="why none was sent"),
    _partial("report_deliveries_due", "decided_at IS NULL", "due_at"),
    comment="Who gets which report, and what became of it.",
)

issue_links = Table(
    "issue_links",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", BigInteger, nullable=False),
    Column(
        "group_id",
        ForeignKey("groups.id"),
        nullable=False,
        index=True,
        comment="the group it was made for; whoever reads it goes on to what that is merged into",
    ),
    Column("integration", String(50), nullable=False),
    Column("tracker", String(50), nullable=False),
    Column("external_id", String(200), nullable=True, comment="survives moves; null: not made yet"),
    Column("shown_key", String(300), nullable=False, server_default="", comment="acme/shop#12"),
    Column("url", Text, nullable=False, server_default=""),
    Column("title", Text, nullable=False, server_default="", comment="theirs, as last seen"),
    Column("state", String(16), nullable=False, comment="creating, linked, held, gone or unlinked"),
    Column("origin", String(16), nullable=False, comment="created or linked"),
    Column("rule", String(100), nullable=False, server_default="", comment="the alert rule that made it"),
    Column("actor", String(200), nullable=False, server_default="", comment="who made the link"),
    Column("marker", String(64), nullable=False, unique=True),
    Column(
        "with_link",
        BigInteger,
        nullable=True,
        comment="the link whose issue is to be this one's too: a storm makes one issue for all its groups",
    ),
    Column("take", String(8), nullable=True, comment="ours or theirs: who is right at the first agreement"),
    Column("agreed_state", String(8), nullable=True, comment="open or closed; null: never agreed"),
    Column("agreed_assignee", String(200), nullable=True, comment="as mapped to ours; empty for nobody"),
    Column(
        "settled",
        String(32),
        nullable=False,
        server_default="",
        comment="what our side was when a difference was left as it is; empty: none is left",
    ),
    Column(
        "agreed_group",
        BigInteger,
        nullable=True,
        comment="the group it belonged to at the last pass; null: its own",
    ),
    Column("agreed_at", UtcDateTime, nullable=True),
    Column("theirs", JSON, nullable=False, comment="what the last look showed: state, reason, assignees …"),
    Column("their_updated_at", UtcDateTime, nullable=True, comment="by their clock"),
    Column("etag", String(200), nullable=False, server_default=""),
    Column("last_looked_at", UtcDateTime, nullable=True),
    Column(
        "look_at",
        UtcDateTime,
        nullable=True,
        comment="a pass is to look at it from then on; null: nothing asks for it",
    ),
    Column("turns", JSON, nullable=False, comment="when it changed direction, within the flap window"),
    Column("missing_since", UtcDateTime, nullable=True, comment="when it was first not found there"),
    Column("held", Text, nullable=False, server_default="", comment="why it is held"),
    Column("note", Text, nullable=False, server_default="", comment="what differs and is not carried"),
    Column("error", Text, nullable=False, server_default="", comment="of the last look or call"),
    Column("verdict", String(32), nullable=False, server_default="", comment="of the last pass"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("unlinked_at", UtcDateTime, nullable=True),
    UniqueConstraint("tracker", "external_id", "group_id"),
    Index(
        "issue_links_creating",
        "group_id",
        "tracker",
        unique=True,
        sqlite_where=text("state = 'creating'"),
        postgresql_where=text("state = 'creating'"),
    ),
    Index("issue_links_by_state", "tracker", "state", "last_looked_at"),
    _partial("issue_links_with_link", "with_link IS NOT NULL", "with_link"),
    _partial("issue_links_to_look_at", "look_at IS NOT NULL", "tracker", "look_at", "id"),
    comment="Which groups belong to which issues, and what both sides last agreed on.",
)

issue_intents = Table(
    "issue_intents",
    metadata,
    Column("id", Id, primary_key=True),
    Column("key", String(200), nullable=False, unique=True, comment="create:LINK, state:LINK:N, comment:…"),
    Column("link_id", ForeignKey("issue_links.id"), nullable=False, index=True),
    Column("integration", String(50), nullable=False),
    Column("tracker", String(50), nullable=False),
    Column("kind", String(16), nullable=False, comment="create, state, assignee, comment, edit or delete"),
    Column("data", JSON, nullable=False, comment="what it is about, never the value that is to be"),
    Column("status", String(16), nullable=False, comment="waiting, sending, unknown, done, dead or dropped"),
    Column("priority", Integer, nullable=False, comment="0 state, 1 creation, 2 comment"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column(
        "looks", Integer, nullable=False, server_default="0", comment="for the marker, since it is unknown"
    ),
    Column("not_before", UtcDateTime, nullable=False),
    Column("claimed_by", String(64), nullable=True),
    Column("lease_until", UtcDateTime, nullable=True),
    Column("marker", String(64), nullable=False, server_default=""),
    Column("sent_at", UtcDateTime, nullable=True, comment="just before the call, by their clock"),
    Column("reason", Text, nullable=False, server_default=""),
    Column("created_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, nullable=True, index=True),
    Index("issue_intents_due", "status", "integration", "priority", "not_before"),
    comment="Changes decided here that have to be made there. One holds no value: what is to be is looked up right before.",
)

issue_comments = Table(
    "issue_comments",
    metadata,
    Column("id", Id, primary_key=True),
    Column("project_id", BigInteger, nullable=False),
    Column("group_id", ForeignKey("groups.id"), nullable=False, index=True),
    Column("side", String(8), nullable=False, comment="ours or theirs: where it was written"),
    Column("link_id", ForeignKey("issue_links.id"), nullable=True, comment="of theirs: where it came from"),
    Column("external_id", String(200), nullable=True, comment="of theirs: its id there"),
    Column("author", String(200), nullable=False),
    Column("body", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("body_hash", String(64), nullable=False, comment="of the text as both sides would write it"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("edited_at", UtcDateTime, nullable=True),
    Column("deleted_at", UtcDateTime, nullable=True, comment="its text is dropped then"),
    UniqueConstraint("link_id", "external_id"),
    comment="Comments on groups: written here, or there.",
)

issue_comment_copies = Table(
    "issue_comment_copies",
    metadata,
    Column("comment_id", ForeignKey("issue_comments.id"), primary_key=True),
    Column("link_id", ForeignKey("issue_links.id"), primary_key=True),
    Column("external_id", String(200), nullable=True, comment="null: on its way"),
    Column("agreed_version", Integer, nullable=False, server_default="0"),
    Column(
        "agreed_hash", String(64), nullable=False, server_default="", comment="of the copy as it was written"
    ),
    Column("deleted_at", UtcDateTime, nullable=True),
    Index("issue_comment_copies_by_id", "link_id", "external_id"),
    comment="What became of comments of ours in each issue that the group is linked to.",
)

tracker_cursors = Table(
    "tracker_cursors",
    metadata,
    Column("tracker", String(50), primary_key=True),
    Column("since", UtcDateTime, nullable=True, comment="by their clock"),
    Column("seen", JSON, nullable=False, comment="what was seen within the overlap, by its id"),
    Column("etag", String(200), nullable=False, server_default=""),
    Column("polled_at", UtcDateTime, nullable=True),
    Column("full_pass_at", UtcDateTime, nullable=True),
    Column("full_pass_after", BigInteger, nullable=True, comment="the link up to which a full pass came"),
    comment="How far changes of each tracker were read.",
)

integration_states = Table(
    "integration_states",
    metadata,
    Column("integration", String(50), primary_key=True),
    Column("tracker", String(50), primary_key=True, comment="empty: the integration as a whole"),
    Column("status", String(16), nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("cause", Text, nullable=False, server_default=""),
    Column("pending", String(16), nullable=False, server_default="", comment="a state that one check saw"),
    Column("pending_checks", Integer, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0", comment="in a row"),
    Column("open_until", UtcDateTime, nullable=True, comment="nothing is asked before"),
    Column("checked_at", UtcDateTime, nullable=True),
    Column("limit_total", Integer, nullable=True),
    Column("limit_remaining", Integer, nullable=True),
    Column("limit_resets_at", UtcDateTime, nullable=True),
    Column("expires_at", UtcDateTime, nullable=True, comment="when its credential ends"),
    Column("identity", String(200), nullable=False, server_default="", comment="whom we are there"),
    Column("clock_skew_seconds", Float, nullable=True, comment="theirs minus ours"),
    Column("config_stamp", String(64), nullable=False, server_default=""),
    Column("disabled_at", UtcDateTime, nullable=True, comment="by command"),
    Column(
        "refused", Integer, nullable=False, server_default="0", comment="times in a row that it let us not in"
    ),
    Column(
        "pace", JSON, nullable=False, comment="token buckets, waits it asked for, calls of the last minutes"
    ),
    Column(
        "noted", JSON, nullable=False, comment="what checks saw: since when sides differ, what was warned of"
    ),
    comment="How each integration, and each of its trackers, is doing.",
)

integration_requests = Table(
    "integration_requests",
    metadata,
    Column("integration", String(50), primary_key=True),
    Column("hour", UtcDateTime, primary_key=True),
    Column("requests", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("not_modified", Integer, nullable=False, server_default="0"),
    comment="How many requests each integration was asked, by hour.",
)
