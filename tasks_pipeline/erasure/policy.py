"""What becomes of each table and store when rows are erased: a row for everything there is, from which docs/privacy.md is made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where something of a person may be. `columns`: texts in them are overwritten; `what` says what is done otherwise."""

    name: str
    what: str
    columns: tuple[str, ...] = ()


_COUNTED = "counts, numbers and times only: stays"
_NAMES = "names that the installation's own people gave: stays"
_HASH = "hashes, from which nothing can be read: stays"

LAKE: tuple[Place, ...] = (
    Place("events", "rows go"),
    Place("event_payloads", "go with their events"),
    Place("transactions", "rows go"),
    Place("sessions", "rows go, by the hash of their user"),
    Place("check_ins", "stays: of jobs, not of persons"),
    Place("attachments", "go with their events, and by file name and content; their blobs at once, unless another row names them"),
    Place("user_reports", "rows go, and with the event that they are about"),
    Place("outcomes", f"{_COUNTED}, for the books"),
    Place("dead_letters", "go where they tell of an envelope that goes"),
    Place("release_health", _COUNTED),
    Place("session_users", "rows of the user's hash go"),
    Place("analytics_events", "facts hold no texts of events and no addresses; those of one's own (`custom.…`) that hold a text go"),
    Place("event_stats", _COUNTED),
    Place("event_users", "rows of the user's hash go"),
    Place("group_stats", "the user's hash goes out of `users`; the count stays"),
    Place("group_moves", _COUNTED),
    Place("group_levels", _COUNTED),
    Place("transaction_stats", f"{_COUNTED} (names of transactions are of the program)"),
    Place("outcome_stats", _COUNTED),
    Place("monitor_stats", _COUNTED),
    Place("notification_stats", _COUNTED),
    Place("release_moves", _COUNTED),
    Place("usage_stats", _COUNTED),
    Place("pipeline_stats", _COUNTED),
)  # fmt: skip

STATE: tuple[Place, ...] = (
    Place("projects", _NAMES),
    Place("groups", "title, culprit and metadata are those of the newest event that stays, else `(removed)`", ("title", "culprit", "metadata")),
    Place("group_explanations", "go where they are of an event that goes, or hold a text"),
    Place("group_texts", "go where they are of an event that goes; texts are overwritten in others", ("said", "stack")),
    Place("group_hashes", _HASH),
    Place("group_days", f"{_COUNTED}; what was counted stays counted"),
    Place("group_hours", f"{_COUNTED}; what was counted stays counted"),
    Place("group_values", "the user goes, and the users of the group are one less"),
    Place("group_signatures", _HASH),
    Place("group_actions", "decisions of the team stay; texts are overwritten", ("data",)),
    Place("group_commits", _NAMES),
    Place("similar_groups", _COUNTED),
    Place("suspect_commits", _NAMES),
    Place("event_ids", "stays: an event that is sent again is a duplicate, and does not come back"),
    Place("drains", "texts are overwritten", ("error",)),
    Place("workers", _NAMES),
    Place("run_beats", _NAMES),
    Place("spool_cursors", _COUNTED),
    Place("batches", "texts are overwritten", ("error",)),
    Place("tail_segments", "flushed into the lake first"),
    Place("tail_rows", "flushed into the lake first"),
    Place("tail_payloads", "flushed into the lake first"),
    Place("condemned_envelopes", "texts are overwritten", ("reason",)),
    Place("replacements", "texts are overwritten", ("fact",)),
    Place("regroupings", _COUNTED),
    Place("project_algorithms", _NAMES),
    Place("releases", "texts are overwritten; the name of a release stays: delete the release", ("url", "ref")),
    Place("release_environments", _NAMES),
    Place("release_stages", _NAMES),
    Place("release_commits", _NAMES),
    Place("release_heads", _NAMES),
    Place("stage_days", _COUNTED),
    Place("health_days", _COUNTED),
    Place("commits", "have no author from then on; texts are overwritten", ("message",)),
    Place("commit_authors", "the row of the person's address goes"),
    Place("commit_files", _NAMES),
    Place("repositories", _NAMES),
    Place("installation_keys", "random bytes: stays"),
    Place("deploys", "texts are overwritten", ("name", "url")),
    Place("tokens", _NAMES),
    Place("member_passwords", "of members: stays until they are removed (`members forget`)"),
    Place("invitations", "of members: stays until used or expired"),
    Place("web_sessions", "of members: stays until they log out or are idle"),
    Place("login_failures", "addresses of clients: gone after a quarter of an hour"),
    Place("upload_chunks", "of uploads of the team: stays"),
    Place("debug_files", "of uploads of the team: stays"),
    Place("artifact_bundles", "of uploads of the team: stays"),
    Place("artifacts", "of uploads of the team: stays"),
    Place("symbol_arrivals", _NAMES),
    Place("symbol_debts", _COUNTED),
    Place("alerts", "of an alert about an event that goes only that it fired stays; texts are overwritten in others", ("data",)),
    Place("rule_states", "texts are overwritten", ("data",)),
    Place("notifications", "texts are overwritten, also in mails of reports that are kept beside them; what was sent cannot be called back", ("data", "reason")),
    Place("deliveries", "texts are overwritten", ("detail",)),
    Place("channel_states", "texts are overwritten", ("last_error",)),
    Place("send_limits", "targets of messages, which are members: stays"),
    Place("issue_links", "texts are overwritten; what stands in the issue there is for its tracker to remove", ("title", "theirs", "held", "note", "error")),
    Place("issue_intents", "texts are overwritten", ("data", "reason")),
    Place("issue_comments", "texts are overwritten; what stands in the issue there is for its tracker to remove", ("author", "body")),
    Place("issue_comment_copies", _HASH),
    Place("tracker_cursors", _COUNTED),
    Place("integration_states", "texts are overwritten; whom we are there stays", ("cause",)),
    Place("integration_requests", _COUNTED),
    Place("monitors", _NAMES),
    Place("monitor_environments", "texts are overwritten", ("data",)),
    Place("monitor_check_ins", "texts are overwritten", ("detail",)),
    Place("incidents", "texts are overwritten", ("detail",)),
    Place("probes", "texts are overwritten", ("detail",)),
    Place("analytics_outbox", "texts are overwritten", ("data",)),
    Place("analytics_dead", "texts are overwritten", ("data", "error")),
    Place("day_changes", _COUNTED),
    Place("retention_removals", "says of which days rows went, and why"),
    Place("restored_days", _COUNTED),
    Place("erasures", "says whose data goes while a request is at work, and nothing of it from then on"),
    Place("statistics_days", _COUNTED),
    Place("reports", _COUNTED),
    Place("report_revisions", "files that hold a text are made again without it; texts are overwritten", ("changes",)),
    Place("subscriptions", "of members: stays until the configuration names them no more"),
    Place("report_deliveries", "of members: stays", ("reason",)),
)  # fmt: skip

FOLDERS: tuple[Place, ...] = (
    Place("spool", "envelopes that rows which go came in, or that hold a text, are overwritten, those in files of finished days with the file; their places are counted"),
    Place("lake", "files are written again; the old ones go at once, with the snapshots that held them"),
    Place("archive", "rows go as those of the lake, files are written again; archived groups that no event is left of go, others show an event that stays"),
    Place("blobs", "attachments that go, unless another row names the same bytes"),
    Place("dagster", "texts are overwritten in runs, events, ticks and captured output"),
    Place("logs", "texts are overwritten"),
    Place("certificates", "says what was done, and nothing of whom"),
)  # fmt: skip
