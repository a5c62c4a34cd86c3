"""The policy: everything that is kept, for how long, by which clock, and who removes it. One table, from which docs/retention.md is
made; how each goes is in the other modules of this package."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from tasks_pipeline.config import Config

NEVER = ""
"""Setting of what is kept for as long as the installation is."""
MONTHLY_REPORTS = timedelta(days=5)
"""So long after the end of a month its reports are made, whatever the time zone, at the latest."""

EVENTS = "cleanup_old_events"
ATTACHMENTS = "delete_old_file_attachments"
NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Category:
    """Things that go together. `setting` is a name in `retention` of the configuration, in full where it lies elsewhere, or NEVER;
    `clock` is what its days are counted from, and `by` who removes it. `lake` and `state` name tables, `folders` what lies in
    the home. Days of the tables of the lake go whole, or by project where `retention` of a project has the setting."""

    name: str
    about: str
    setting: str
    clock: str
    by: str
    lake: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


POLICY: tuple[Category, ...] = (
    Category(
        "envelopes", "What was received, as it was sent", "raw_days", "day of receipt", "expired_envelopes",
        folders=("spool", "raw"),
    ),
    Category(
        "events", "Error events with their payloads, the places that own their ids, and what groups count of users, releases and environments by day",
        "event_days", "day of receipt", EVENTS,
        lake=("events", "event_payloads"), state=("event_ids", "group_values", "symbol_debts"),
    ),
    Category(
        "transactions", "Transactions", "transaction_days", "day of receipt, and until the reports of its month are made", EVENTS,
        lake=("transactions",),
    ),
    Category("sessions", "Updates of sessions", "session_days", "day of receipt", EVENTS, lake=("sessions",)),
    Category(
        "health", "What sessions were counted to", "health_days", "day on which the sessions began", EVENTS,
        lake=("release_health", "session_users"), state=("health_days", "stage_days"),
    ),
    Category("check_ins", "Check-ins as they were received", "check_in_days", "day of receipt", EVENTS, lake=("check_ins",)),
    Category("outcomes", "What became of items", "outcome_days", "day of receipt", EVENTS, lake=("outcomes",)),
    Category(
        "dead_letters", "Why items could not be processed", "dead_letter_days", "day of receipt", EVENTS,
        lake=("dead_letters",), state=("condemned_envelopes",),
    ),
    Category(
        "attachments", "Attachments and minidumps, and every blob that nothing refers to any more", "attachment_days",
        "day of receipt; of blobs a day after they were last stored", ATTACHMENTS,
        lake=("attachments",), folders=("blobs",),
    ),
    Category("user_reports", "Feedback and user reports", "user_report_days", "day of receipt", EVENTS, lake=("user_reports",)),
    Category(
        "figures", "Facts, figures of days, and the books of batches", "analytics_days",
        "the moment of a fact, the day of a figure; `project.first` stays", EVENTS,
        lake=(
            "analytics_events", "event_stats", "event_users", "group_stats", "group_levels", "transaction_stats", "outcome_stats",
            "monitor_stats", "notification_stats", "release_moves", "usage_stats", "pipeline_stats",
        ),
        state=("analytics_outbox", "analytics_dead", "day_changes", "statistics_days", "batches", "spool_cursors"),
    ),
    Category(
        "groups", "Groups without events, with their issues and comments, unless somebody decided about them (to link one is to decide) or they are linked with a commit, another group or an incident",
        "empty_group_days", "last event", EVENTS,
        state=(
            "issue_links", "issue_comments", "issue_comment_copies", "groups", "group_hashes", "group_days", "group_explanations", "group_texts", "group_signatures", "similar_groups", "suspect_commits",
        ),
    ),
    Category(
        "releases", "Releases without events, sessions, deploys, commits and groups", "empty_release_days",
        "what was last heard of it", EVENTS, state=("releases", "release_environments"),
    ),
    Category(
        "debug_files", "Debug files and artifact bundles", "debug_file_days", "last use, else upload", ATTACHMENTS,
        state=("debug_files", "artifact_bundles", "artifacts"),
    ),
    Category("alerts", "Alerts that no message and no incident refers to", "alert_days", "when it fired", EVENTS, state=("alerts",)),
    Category(
        "notifications", "Messages that do not wait, with their attempts; changes that were made in issue trackers, or given up",
        "notification_days", "when it was decided on; of a change, when it ended", EVENTS,
        state=("notifications", "deliveries", "issue_intents"),
    ),
    Category(
        "monitors", "Runs of monitors that ended, and incidents that are over", "monitor_days", "begin of a run, end of an incident", EVENTS,
        state=("monitor_check_ins", "incidents"),
    ),
    Category(
        "reports", "Reports with their revisions and files", "report_days", "end of the period", EVENTS,
        state=("reports", "report_revisions", "report_deliveries"),
    ),
    Category(
        "report_files", "Files of revisions that are not the newest", "report_revision_days", "when it was computed", EVENTS,
    ),
    Category(
        "chunks", "Pieces of uploads on their way", "uploads.chunk_hours", "when it was last named", "stale_chunks",
        state=("upload_chunks",), folders=("upload-chunks",),
    ),
    Category(
        "dagster", "Runs of Dagster with their events and captured output", "dagster_days", "end of the run", "old_runs",
        folders=("dagster",),
    ),
    Category(
        "work", "What is needed only while something is at work", NEVER, "a day after it ended", "finished_work",
        state=("drains", "workers", "run_beats", "replacements", "regroupings"),
    ),
    Category(
        "restored", "Which days are back from an archive", NEVER, "until the last day on which they stay", "finished_work",
        state=("restored_days",),
    ),
    Category(
        "logins", "Who is logged in, links that invite, and logins that failed", NEVER,
        "fourteen days after a session was last used; when a link expires; a quarter of an hour after a failure", "finished_work",
        state=("web_sessions", "invitations", "login_failures"),
    ),
    Category(
        "hours", "In which hours events of groups happened", NEVER, "thirty days after the day of receipt", "finished_work",
        state=("group_hours",),
    ),
    Category(
        "requests", "How many requests integrations were asked, by hour", NEVER, "thirty days after the hour", "finished_work",
        state=("integration_requests",),
    ),
    Category(
        "tail", "Rows of small batches on their way to files", NEVER, "until the next flush, an hour at most", "drains",
        state=("tail_segments", "tail_rows", "tail_payloads"),
    ),
    Category(
        "files", "Parquet files and the catalog that names them", NEVER, "files go 15 minutes after the last snapshot that holds them", "optimize_database",
        folders=("lake",),
    ),
    Category(
        "decisions", "What was decided about groups, and when", NEVER, "kept: a level at any moment follows from it", NOBODY,
        lake=("group_moves",), state=("group_actions", "group_commits"),
    ),
    Category(
        "shipping", "Commits, deploys and stages of releases", NEVER, "with the last release that has them, when a person deletes it", NOBODY,
        state=(
            "commits", "commit_authors", "commit_files", "release_commits", "release_heads", "release_stages", "deploys", "repositories",
        ),
    ),
    Category(
        "certificates", "That something was deleted on purpose: when, by whom, how much; not whose", NEVER, "kept", NOBODY,
        state=("erasures",), folders=("certificates",),
    ),
    Category(
        "removals", "Of which days rows went, and why: a row for each day, table, reason and, with archives, project", NEVER,
        "kept, or until the day is back from an archive as a whole", NOBODY, state=("retention_removals",),
    ),
    Category(
        "settings", "What the installation is, and what it has to remember: bounded by its configuration", NEVER, "kept", NOBODY,
        state=(
            "projects", "project_algorithms", "installation_keys", "tokens", "member_passwords", "subscriptions", "monitors", "monitor_environments",
            "rule_states", "channel_states", "send_limits", "tracker_cursors", "integration_states", "probes", "symbol_arrivals", "alembic_version",
        ),
        folders=("state.sqlite", "tasks_pipeline.yaml", "config-in-force.yaml", "default-key", "deleted-projects", "archives"),
    ),
    Category(
        "runtime", "Locks and ports of what runs, logs of processes, and what can be made again", NEVER,
        "of each log the last three starts, 20 MiB each", "the service", folders=("run", "logs", "cache"),
    ),
)  # fmt: skip
CATEGORIES = {category.name: category for category in POLICY}


def oldest_kept(config: Config, category: Category, today: date, project_id: int | None = None) -> date:
    """The first day that stays, by the setting of the installation, or of a project."""
    first = today - timedelta(days=config.kept_days(category.setting, project_id))
    if category.name == "transactions":
        return min(first, (today - MONTHLY_REPORTS).replace(day=1))
    return first
