"""Tables of the lake: what is appended and analysed. One description serves DDL, Parquet files, Dagster and the docs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class LakeColumn:
    """A column: its DuckDB type, and what it means."""

    name: str
    type: str
    description: str

    @property
    def quoted(self) -> str:
        """Its name in SQL: some are words of DuckDB (at, by)."""
        return f'"{self.name}"'


@dataclass(frozen=True, slots=True)
class LakeTable:
    """A table, partitioned by `day`: of receipt, or for those that are derived, the one that its rows are about.

    `sort` is the order within a file; `row_group` rows share one compressed block, so the price of reading one row.
    """

    name: str
    description: str
    columns: tuple[LakeColumn, ...]
    sort: tuple[str, ...]
    row_group: int = 4096

    @property
    def arrow(self) -> pa.Schema:
        """The schema of its Parquet files."""
        return pa.schema([pa.field(c.name, _ARROW[c.type]) for c in self.columns])

    @property
    def ddl(self) -> str:
        """CREATE TABLE, to be put behind a schema name."""
        return f"{self.name} ({', '.join(f'{c.quoted} {c.type}' for c in self.columns)})"

    @property
    def selected(self) -> str:
        """Its columns for a SELECT."""
        return ", ".join(c.quoted for c in self.columns)

    @property
    def sorted_by(self) -> str:
        """The order within a file, for an ORDER BY; empty for none."""
        return ", ".join(f'"{name}"' for name in self.sort)


_ARROW = {
    "DATE": pa.date32(),
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "BOOLEAN": pa.bool_(),
    "DOUBLE": pa.float64(),
    "VARCHAR": pa.string(),
    "VARCHAR[]": pa.list_(pa.field("element", pa.string())),
    "INTEGER[]": pa.list_(pa.field("element", pa.int32())),
    "TIMESTAMPTZ": pa.timestamp("us", "UTC"),
    "MAP(VARCHAR, VARCHAR)": pa.map_(pa.string(), pa.string()),
    "MAP(INTEGER, BIGINT)": pa.map_(pa.int32(), pa.int64()),
    "MAP(BIGINT, INTEGER[])": pa.map_(pa.int64(), pa.list_(pa.field("element", pa.int32()))),
}

_PLACE = (
    LakeColumn("day", "DATE", "UTC day of receipt; the partition"),
    LakeColumn("part", "VARCHAR", "part of the spool the envelope lies in"),
    LakeColumn("position", "BIGINT", "position in that part"),
    LakeColumn("item", "INTEGER", "index of the item in its envelope"),
)
PLACE = tuple(c.name for c in _PLACE)


def _table(
    name: str, description: str, columns: Sequence[tuple[str, str, str]], sort: str, row_group: int = 4096
) -> LakeTable:
    own = tuple(LakeColumn(*c) for c in columns)
    return LakeTable(name, description, (*_PLACE, *own), tuple(sort.split()), row_group)


_PROJECT = ("project_id", "BIGINT", "number of the project")
_EVENT_ID = ("event_id", "VARCHAR", "32 hex digits; unique in its project")
_RECEIVED = ("received_at", "TIMESTAMPTZ", "when the receiver took it")
_RELEASE = ("release", "VARCHAR", "release as sent")
_ENVIRONMENT = ("environment", "VARCHAR", "environment as sent")

EVENTS = _table(
    "events",
    "Error events: what is searched and counted. The whole event is in event_payloads.",
    [
        _PROJECT,
        ("group_id", "BIGINT", "the group it belongs to (state table groups)"),
        _EVENT_ID,
        _RECEIVED,
        ("timestamp", "TIMESTAMPTZ", "when it happened, corrected for the client's clock"),
        ("type", "VARCHAR", "error, default (a message), csp …"),
        ("level", "VARCHAR", "fatal, error, warning, info or debug"),
        ("platform", "VARCHAR", "python, javascript, native …"),
        ("title", "VARCHAR", "what people read first"),
        ("culprit", "VARCHAR", "transaction or function at fault"),
        ("logger", "VARCHAR", "logger's name"),
        ("transaction", "VARCHAR", "transaction's name"),
        ("server_name", "VARCHAR", "host"),
        _RELEASE,
        ("dist", "VARCHAR", "distribution of the release"),
        _ENVIRONMENT,
        ("user_key", "VARCHAR", "who was affected: id:…, email:…, username:… or ip:…"),
        ("user_id", "VARCHAR", "user's id"),
        ("user_email", "VARCHAR", "user's mail address"),
        ("user_ip", "VARCHAR", "user's address"),
        ("exception_type", "VARCHAR", "type of the exception that names the event"),
        ("exception_value", "VARCHAR", "its value"),
        ("handled", "BOOLEAN", "whether the program caught it; null when the SDK did not say"),
        ("sdk_name", "VARCHAR", "SDK"),
        ("sdk_version", "VARCHAR", "SDK's version"),
        ("trace_id", "VARCHAR", "trace the event belongs to"),
        ("tags", "MAP(VARCHAR, VARCHAR)", "tags"),
        ("fingerprint", "VARCHAR[]", "fingerprint the client sent; null for the default"),
        ("group_keys", "VARCHAR[]", "keys in order of priority; the first decides"),
        ("variant", "VARCHAR", "what decided the key: app, system, default, custom, fallback or checksum"),
        ("algorithm", "VARCHAR", "grouping algorithm"),
        ("payload_bytes", "BIGINT", "size of the event as sent, in bytes of JSON"),
        (
            "missing_symbols",
            "VARCHAR[]",
            "debug ids and releases whose symbols were not there; null: none missed",
        ),
    ],
    sort="project_id group_id received_at",
)
EVENT_PAYLOADS = _table(
    "event_payloads",
    "The whole processed event as JSON text.",
    [_PROJECT, _EVENT_ID, ("payload", "VARCHAR", "the event, normalised, as JSON")],
    sort="",
    row_group=256,  # 39 KB each: one payload costs the reading of a block of 10 MB
)
TRANSACTIONS = _table(
    "transactions",
    "Transactions, without their spans.",
    [
        _PROJECT,
        _EVENT_ID,
        _RECEIVED,
        ("timestamp", "TIMESTAMPTZ", "when it ended"),
        ("duration_ms", "DOUBLE", "milliseconds from start to end"),
        ("name", "VARCHAR", "transaction's name"),
        ("op", "VARCHAR", "operation"),
        ("status", "VARCHAR", "trace status"),
        ("trace_id", "VARCHAR", "trace"),
        ("spans", "BIGINT", "number of spans in it"),
        ("platform", "VARCHAR", "platform"),
        _RELEASE,
        _ENVIRONMENT,
        ("user_key", "VARCHAR", "who was served"),
        ("sdk_name", "VARCHAR", "SDK"),
        ("tags", "MAP(VARCHAR, VARCHAR)", "tags"),
    ],
    sort="project_id received_at",
)
SESSIONS = _table(
    "sessions",
    "Release health: a row per session update, and per bucket of aggregated sessions.",
    [
        _PROJECT,
        _RECEIVED,
        (
            "session_id",
            "VARCHAR",
            "session; null for aggregates, and for one told of by a single message without an id",
        ),
        ("user_hash", "BIGINT", "keyed hash of the distinct user in its project; null: nobody known"),
        ("seq", "BIGINT", "order of updates of one session"),
        ("init", "BOOLEAN", "first update of its session"),
        ("started", "TIMESTAMPTZ", "when the session began"),
        ("timestamp", "TIMESTAMPTZ", "when the update was made"),
        ("duration_s", "DOUBLE", "seconds"),
        ("status", "VARCHAR", "ok, exited, errored, crashed, abnormal, unhandled"),
        ("errors", "BIGINT", "errors so far"),
        ("quantity", "BIGINT", "sessions the row stands for"),
        ("abnormal_mechanism", "VARCHAR", "how an abnormal end was noticed: anr_foreground, anr_background"),
        _RELEASE,
        _ENVIRONMENT,
    ],
    sort="project_id release started",
)
CHECK_INS = _table(
    "check_ins",
    "Check-ins of cron monitors, as sent.",
    [
        _PROJECT,
        _RECEIVED,
        ("monitor_slug", "VARCHAR", "monitor"),
        ("check_in_id", "VARCHAR", "32 hex digits; null means the latest open one"),
        ("status", "VARCHAR", "in_progress, ok or error"),
        ("duration_s", "DOUBLE", "seconds"),
        _ENVIRONMENT,
        _RELEASE,
        ("trace_id", "VARCHAR", "trace"),
        (
            "monitor_config",
            "VARCHAR",
            "JSON of the monitor's configuration, when sent along; mistake: why it is of no use",
        ),
    ],
    sort="project_id monitor_slug received_at",
)
ATTACHMENTS = _table(
    "attachments",
    "Files sent with events; the bytes are blobs.",
    [
        _PROJECT,
        _EVENT_ID,
        _RECEIVED,
        ("name", "VARCHAR", "file name as sent"),
        ("content_type", "VARCHAR", "media type as sent"),
        ("attachment_type", "VARCHAR", "event.attachment, event.minidump …"),
        ("size", "BIGINT", "bytes"),
        ("digest", "VARCHAR", "sha256 of the bytes: the blob's name"),
    ],
    sort="project_id event_id",
)
USER_REPORTS = _table(
    "user_reports",
    "What users wrote: feedback and the older user reports.",
    [
        _PROJECT,
        _EVENT_ID,
        _RECEIVED,
        ("kind", "VARCHAR", "feedback or user_report"),
        ("associated_event_id", "VARCHAR", "event it is about"),
        ("name", "VARCHAR", "user's name"),
        ("email", "VARCHAR", "user's address"),
        ("message", "VARCHAR", "the text"),
        ("url", "VARCHAR", "page it was written on"),
        _RELEASE,
        _ENVIRONMENT,
    ],
    sort="project_id received_at",
)
OUTCOMES = _table(
    "outcomes",
    "What became of items: counts per batch, slot, category and reason. `item` is -1: a row is about many.",
    [
        _PROJECT,
        ("hour", "TIMESTAMPTZ", "hour of receipt"),
        ("slot", "TIMESTAMPTZ", "begin of the 15 minutes of receipt; null in rows of earlier versions"),
        ("public_key", "VARCHAR", "key the items came with"),
        ("category", "VARCHAR", "data category: error, session, attachment …"),
        (
            "outcome",
            "VARCHAR",
            "stored, duplicate, filtered, discarded, invalid; beside the books: rate_limited, refused, unsupported, client_discard, "
            "invalid_part (buckets dropped of an item that is stored)",
        ),
        ("reason", "VARCHAR", "why, when it was not stored"),
        ("quantity", "BIGINT", "items"),
    ],
    sort="project_id category outcome",
)
DEAD_LETTERS = _table(
    "dead_letters",
    "Items that could not be processed: why, and where their raw bytes lie in the spool.",
    [
        _PROJECT,
        _EVENT_ID,
        _RECEIVED,
        ("item_type", "VARCHAR", "type of the item; envelope when nothing of it could be read"),
        ("step", "VARCHAR", "step that refused it"),
        ("reason", "VARCHAR", "short reason, for counting"),
        ("detail", "VARCHAR", "what was wrong, for people"),
    ],
    sort="project_id received_at",
)

_OF_SESSIONS = (
    _PROJECT,
    ("release", "VARCHAR", "release of the sessions"),
    ("environment", "VARCHAR", "environment of the sessions; empty: they named none"),
)
RELEASE_HEALTH = LakeTable(
    "release_health",
    "Sessions by how they ended, in slots of 15 minutes in which they began; the five states add up to `sessions`.",
    tuple(
        LakeColumn(*column)
        for column in (
            ("day", "DATE", "UTC day on which the sessions began; the partition"),
            ("slot", "TIMESTAMPTZ", "begin of the 15 minutes in which they began"),
            *_OF_SESSIONS,
            ("sessions", "BIGINT", "all of them"),
            ("healthy", "BIGINT", "ended well, or still going, without an error"),
            ("errored", "BIGINT", "had errors that were caught"),
            ("unhandled", "BIGINT", "had an error that nobody caught, and went on"),
            ("abnormal", "BIGINT", "ended nobody knows how"),
            ("crashed", "BIGINT", "ended by a crash"),
            ("users", "BIGINT", "distinct users in the slot; never to be added up"),
            (
                "durations",
                "MAP(INTEGER, BIGINT)",
                "how many lasted ceil(ln(ms) / ln(1.02)), of those that ended well",
            ),
            ("duration_sum_s", "DOUBLE", "seconds they lasted together"),
            ("duration_max_s", "DOUBLE", "seconds the longest of them lasted"),
        )
    ),
    ("project_id", "release", "environment", "slot"),
)
SESSION_USERS = LakeTable(
    "session_users",
    "Who had sessions on a day: a row per user, release and environment, so that users of any span can be counted exactly.",
    tuple(
        LakeColumn(*column)
        for column in (
            ("day", "DATE", "UTC day on which their sessions began; the partition"),
            *_OF_SESSIONS,
            ("user_hash", "BIGINT", "keyed hash of the distinct user in its project"),
            (
                "states",
                "INTEGER[]",
                "one for each slot of 15 minutes in which a session of theirs began: number of the slot in the day × 8 + rank "
                "of the worst (1 healthy, 2 errored, 3 unhandled, 4 abnormal, 5 crashed)",
            ),
        )
    ),
    ("project_id", "release", "environment", "user_hash"),
)


def _statistics(
    name: str, description: str, columns: Sequence[tuple[str, str, str]], sort: str, *, day: str = "receipt"
) -> LakeTable:
    """A table of figures: a row per UTC day and key, replaced by the day."""
    first = LakeColumn("day", "DATE", f"UTC day of {day}; the partition")
    return LakeTable(name, description, (first, *(LakeColumn(*c) for c in columns)), tuple(sort.split()))


_SLOT = ("slot", "TIMESTAMPTZ", "begin of the 15 minutes")
_SLOTS = "numbers of slots of 15 minutes in the day, 0 to 95"
_OF_EVENTS = (
    _PROJECT,
    ("release", "VARCHAR", "release as sent; empty for none"),
    ("environment", "VARCHAR", "environment as sent; empty for none"),
)

ANALYTICS_EVENTS = LakeTable(
    "analytics_events",
    "Facts about what the product and its people did, each once: without texts of events, without addresses.",
    tuple(
        LakeColumn(*column)
        for column in (
            ("day", "DATE", "UTC day of `at`; the partition"),
            ("batch", "BIGINT", "number of the first row of the outbox that was stored together with it"),
            ("id", "VARCHAR", "32 hex digits, made of type and key: the same fact has the same id"),
            ("type", "VARCHAR", "group.created, release.deployed …; see docs/analytics.md"),
            ("version", "INTEGER", "version of the type's attributes"),
            ("at", "TIMESTAMPTZ", "when it was so"),
            ("project_id", "BIGINT", "number of the project; 0: the installation"),
            ("actor_kind", "VARCHAR", "member, rule, commit, client or system"),
            ("actor", "VARCHAR", "who: a member as keyed hash, others by name; empty for nobody"),
            ("source", "VARCHAR", "drain, sender, web_api, receiver, cli, ui, schedule or sensor"),
            ("run_id", "VARCHAR", "Dagster run that recorded it; null outside of runs"),
            ("data", "VARCHAR", "its other attributes, flat, as JSON"),
        )
    ),
    ("project_id", "type", "at"),
)
EVENT_STATS = _statistics(
    "event_stats",
    "Stored error events, by the slot in which they were received.",
    [
        _SLOT,
        *_OF_EVENTS,
        ("level", "VARCHAR", "fatal, error, warning, info or debug"),
        ("handled", "BOOLEAN", "whether the program caught it; null when the SDK did not say"),
        ("events", "BIGINT", "events"),
        ("new_groups", "BIGINT", "groups that one of them made"),
        ("payload_bytes", "BIGINT", "bytes of JSON as sent"),
    ],
    "project_id slot",
)
EVENT_USERS = _statistics(
    "event_users",
    "Whom stored error events affected: a row per user, release and environment, so that users of any span can be counted exactly.",
    [
        *_OF_EVENTS,
        ("user_hash", "BIGINT", "keyed hash of the user in its project"),
        ("slots", "INTEGER[]", f"in which events of the user were received: {_SLOTS}"),
    ],
    "user_hash project_id",
)
GROUP_STATS = _statistics(
    "group_stats",
    "Stored error events and users of each group, by the slot in which they were received.",
    [
        _PROJECT,
        ("group_id", "BIGINT", "the group (state table groups)"),
        ("events", "BIGINT", "events of the day"),
        ("user_count", "BIGINT", "distinct users of the day; never to be added up"),
        ("slots", "MAP(INTEGER, BIGINT)", f"events by slot: {_SLOTS}"),
        ("users", "MAP(BIGINT, INTEGER[])", f"by keyed hash of the user, {_SLOTS}; null above 10,000 users"),
    ],
    "group_id",
)
GROUP_MOVES = _statistics(
    "group_moves",
    "What became of groups: each change of their status, and creation, merging and assignment, at the moment it was decided.",
    [
        _PROJECT,
        ("group_id", "BIGINT", "the group"),
        ("at", "TIMESTAMPTZ", "when"),
        (
            "move",
            "VARCHAR",
            "created, resolve, regress, unresolve, ignore, unignore, assign, unassign, merge, unmerge, discard, inherit or undo",
        ),
        ("status_from", "VARCHAR", "status before; null where it was created"),
        ("status_to", "VARCHAR", "status after; merged: it is part of another"),
        ("by", "VARCHAR", "person, rule, commit or system"),
        ("opened_at", "TIMESTAMPTZ", "when it last became open before; null where it was not open"),
        ("assignee", "VARCHAR", "who it was assigned to then: keyed hash of a member, or team:slug"),
        ("action_id", "BIGINT", "number in the log (state table group_actions); null for created"),
    ],
    "project_id at",
    day="the decision",
)
GROUP_LEVELS = _statistics(
    "group_levels",
    "Groups by status at the end of the day. For charts; a level at any moment follows from group_moves.",
    [
        _PROJECT,
        ("status", "VARCHAR", "status at the end of the day, or now; merged: it is part of another"),
        ("assigned", "BOOLEAN", "whether somebody has it"),
        (
            "open_days",
            "INTEGER",
            "open for at least so many days: 0, 1, 7, 30 or 90; null where it is not open",
        ),
        ("groups", "BIGINT", "groups"),
    ],
    "project_id status",
    day="the level",
)
TRANSACTION_STATS = _statistics(
    "transaction_stats",
    "Stored transactions, by the slot in which they were received.",
    [
        _SLOT,
        _PROJECT,
        ("name", "VARCHAR", "transaction's name"),
        ("op", "VARCHAR", "operation; empty for none"),
        ("release", "VARCHAR", "release as sent; empty for none"),
        ("environment", "VARCHAR", "environment as sent; empty for none"),
        ("count", "BIGINT", "transactions"),
        ("failed", "BIGINT", "with a status other than ok, cancelled and unknown"),
        ("satisfied", "BIGINT", "not longer than the project's threshold"),
        ("tolerable", "BIGINT", "longer, but not longer than four times it"),
        ("users", "BIGINT", "distinct users in the slot; never to be added up"),
        ("sum_ms", "DOUBLE", "milliseconds together"),
        ("max_ms", "DOUBLE", "milliseconds of the longest"),
        ("durations", "MAP(INTEGER, BIGINT)", "how many took ceil(ln(ms) / ln(1.02))"),
    ],
    "project_id name slot",
)
OUTCOME_STATS = _statistics(
    "outcome_stats",
    "What became of items, by the slot in which they were received.",
    [
        _SLOT,
        _PROJECT,
        ("public_key", "VARCHAR", "key the items came with"),
        ("category", "VARCHAR", "data category: error, session, attachment …"),
        (
            "outcome",
            "VARCHAR",
            "as in outcomes: stored, duplicate, filtered, discarded, invalid; rate_limited, client_discard …",
        ),
        ("reason", "VARCHAR", "why, when it was not stored"),
        ("quantity", "BIGINT", "items"),
    ],
    "project_id slot",
)
MONITOR_STATS = _statistics(
    "monitor_stats",
    "Runs of cron monitors and looks at addresses, by the slot in which they were due.",
    [
        _SLOT,
        _PROJECT,
        ("monitor", "VARCHAR", "slug of the monitor"),
        ("kind", "VARCHAR", "cron or uptime"),
        ("environment", "VARCHAR", "environment; empty for uptime"),
        ("expected", "BIGINT", "runs or looks that were due"),
        ("ok", "BIGINT", "went well"),
        ("error", "BIGINT", "failed"),
        ("missed", "BIGINT", "did not come"),
        ("timed_out", "BIGINT", "did not end in time"),
        ("down_seconds", "DOUBLE", "seconds in which it was down"),
        (
            "observed_seconds",
            "DOUBLE",
            "seconds in which it was looked at: not paused, not muted, not unknown",
        ),
        ("durations", "MAP(INTEGER, BIGINT)", "how many took ceil(ln(ms) / ln(1.02))"),
    ],
    "project_id monitor slot",
    day="the due time",
)
NOTIFICATION_STATS = _statistics(
    "notification_stats",
    "Messages to people, by the slot in which they were decided on.",
    [
        _SLOT,
        ("project_id", "BIGINT", "number of the project; 0: the installation"),
        ("rule", "VARCHAR", "alert rule; empty for none"),
        ("channel", "VARCHAR", "name of the channel"),
        ("channel_type", "VARCHAR", "mail, webhook …; empty when it is not configured any more"),
        ("kind", "VARCHAR", "alert, storm, digest, deploy, report or test"),
        ("status", "VARCHAR", "as in notifications: sent, skipped, dead, waiting …"),
        ("count", "BIGINT", "messages"),
        (
            "seconds",
            "MAP(INTEGER, BIGINT)",
            "of those sent, how many took ceil(ln(ms) / ln(1.02)) until then",
        ),
    ],
    "project_id slot",
    day="the decision",
)
RELEASE_MOVES = _statistics(
    "release_moves",
    "What became of releases, at the moment it happened.",
    [
        _PROJECT,
        ("version", "VARCHAR", "the release"),
        ("at", "TIMESTAMPTZ", "when"),
        ("move", "VARCHAR", "created, finalised, deployed, adopted or replaced"),
        ("environment", "VARCHAR", "of a deploy and a stage; empty for others"),
        ("commits", "BIGINT", "commits of the release"),
        ("authors", "BIGINT", "their authors"),
    ],
    "project_id at",
    day="the move",
)
USAGE_STATS = _statistics(
    "usage_stats",
    "Rows of analytics_events, counted.",
    [_SLOT, ("type", "VARCHAR", "type of the fact"), _PROJECT, ("count", "BIGINT", "facts")],
    "type slot",
    day="the fact",
)
PIPELINE_STATS = _statistics(
    "pipeline_stats",
    "The pipeline's own work, by the slot in which it was received.",
    [
        _SLOT,
        ("accepted", "BIGINT", "items that the receiver took"),
        ("stored", "BIGINT", "items stored of them"),
        (
            "lag",
            "MAP(INTEGER, BIGINT)",
            "batches by how long their first envelope waited: ceil(ln(ms) / ln(1.02))",
        ),
        ("batches", "BIGINT", "batches"),
        ("drains", "BIGINT", "drains that began"),
        ("bytes", "BIGINT", "bytes of events as sent"),
    ],
    "slot",
)
STATISTICS_TABLES: dict[str, LakeTable] = {
    t.name: t
    for t in (
        EVENT_STATS,
        EVENT_USERS,
        GROUP_STATS,
        GROUP_MOVES,
        GROUP_LEVELS,
        TRANSACTION_STATS,
        OUTCOME_STATS,
        MONITOR_STATS,
        NOTIFICATION_STATS,
        RELEASE_MOVES,
        USAGE_STATS,
        PIPELINE_STATS,
    )
}
"""Figures of a day, that reports, frames and people read."""

RECEIVED_TABLES: dict[str, LakeTable] = {
    t.name: t
    for t in (
        EVENTS,
        EVENT_PAYLOADS,
        TRANSACTIONS,
        SESSIONS,
        CHECK_INS,
        ATTACHMENTS,
        USER_REPORTS,
        OUTCOMES,
        DEAD_LETTERS,
    )
}
"""What process_event stores, by day of receipt; its newest rows may lie in the tail."""
RECORDED_TABLES: dict[str, LakeTable] = {t.name: t for t in (ANALYTICS_EVENTS,)}
"""What is recorded as it happens, and only ever appended."""
DERIVED_TABLES: dict[str, LakeTable] = {
    t.name: t for t in (RELEASE_HEALTH, SESSION_USERS)
} | STATISTICS_TABLES
"""What is computed from other tables, a whole day at a time."""
LAKE_TABLES = RECEIVED_TABLES | RECORDED_TABLES | DERIVED_TABLES

RETIRED_COLUMNS: dict[str, frozenset[str]] = {"sessions": frozenset({"did"})}
"""Columns of earlier versions by table, which are dropped where they are found."""
