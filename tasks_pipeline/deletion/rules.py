"""The rules: what becomes of each table and folder when groups, a release or a project are deleted. Every table and folder stands here
once for each of them, with what goes or with why it stays; a test holds it. Only `STATE` and `LAKE` are read when something goes: how the rest
goes is in the other modules of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, and_, func, or_, select

from tasks_pipeline.deletion.chosen import Chosen, Kind
from tasks_pipeline.storage.state import tables as t

Where = Callable[[Chosen], ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class Goes:
    """Rows of a table that go: those that meet a condition. `walk`: no index helps to find them."""

    table: Table
    where: Where
    walk: bool = False


def _of_group(table: Table) -> Goes:
    return Goes(table, lambda chosen: chosen.among(table.c.group_id))


def _of_project(table: Table, *, walk: bool = False) -> Goes:
    return Goes(table, lambda chosen: table.c.project_id.in_(chosen.projects), walk)


def _pairs(chosen: Chosen) -> ColumnElement[bool]:
    pair = t.similar_groups.c
    return or_(chosen.among(pair.group_id), chosen.among(pair.other_id))


def _in_project(table: Table, column: ColumnElement[int]) -> Where:
    """Rows that refer to a row of a table that has the number of the project."""
    return lambda chosen: column.in_(select(table.c.id).where(table.c.project_id.in_(chosen.projects)))


def _check_ins(chosen: Chosen) -> ColumnElement[bool]:
    environment = t.monitor_environments.c
    of_project = select(t.monitors.c.id).where(t.monitors.c.project_id.in_(chosen.projects))
    return t.monitor_check_ins.c.environment_id.in_(
        select(environment.id).where(environment.monitor_id.in_(of_project))
    )


def _threads(chosen: Chosen) -> ColumnElement[bool]:
    return and_(
        t.rule_states.c.project_id.in_(chosen.projects),
        t.rule_states.c.thread.in_([f"group:{group_id}" for group_id in chosen.groups]),
    )


def _closed_incidents(chosen: Chosen) -> ColumnElement[bool]:
    return and_(chosen.among(t.incidents.c.group_id), t.incidents.c.closed_at.is_not(None))


def _bundles(chosen: Chosen) -> ColumnElement[bool]:
    bundle = t.artifact_bundles.c
    named = bundle.project_id.in_(chosen.projects)
    return named if chosen.kind == "project" else and_(named, bundle.release == chosen.version)


def _artifacts(chosen: Chosen) -> ColumnElement[bool]:
    return t.artifacts.c.bundle_id.in_(select(t.artifact_bundles.c.id).where(_bundles(chosen)))


def _arrivals(chosen: Chosen) -> ColumnElement[bool]:
    """All but the newest, whose number must not come again."""
    arrival = t.symbol_arrivals.c
    return and_(
        arrival.project_id.in_(chosen.projects), arrival.id < select(func.max(arrival.id)).scalar_subquery()
    )


def _links(chosen: Chosen) -> ColumnElement[bool]:
    return chosen.among(t.issue_links.c.group_id)


def _comments(chosen: Chosen) -> ColumnElement[bool]:
    """Comments on the groups, and those that came from issues of theirs."""
    comment = t.issue_comments.c
    return or_(
        chosen.among(comment.group_id), comment.link_id.in_(select(t.issue_links.c.id).where(_links(chosen)))
    )


def _copies(chosen: Chosen) -> ColumnElement[bool]:
    copy = t.issue_comment_copies.c
    return or_(
        copy.link_id.in_(select(t.issue_links.c.id).where(_links(chosen))),
        copy.comment_id.in_(select(t.issue_comments.c.id).where(_comments(chosen))),
    )


def _intents(chosen: Chosen) -> ColumnElement[bool]:
    return t.issue_intents.c.link_id.in_(select(t.issue_links.c.id).where(_links(chosen)))


def _reports(chosen: Chosen) -> ColumnElement[bool]:
    return t.reports.c.scope.in_([f"project:{project_id}" for project_id in chosen.projects])


def _revisions(chosen: Chosen) -> ColumnElement[bool]:
    return t.report_revisions.c.report_id.in_(select(t.reports.c.id).where(_reports(chosen)))


_OF_GROUPS = (
    Goes(t.similar_groups, _pairs),
    Goes(t.issue_comment_copies, _copies, walk=True),
    Goes(t.issue_intents, _intents),
    Goes(t.issue_comments, _comments),
    Goes(t.issue_links, _links),
    *map(_of_group, (
        t.group_days, t.group_hours, t.group_values, t.group_explanations, t.group_texts, t.group_signatures, t.suspect_commits, t.group_commits, t.group_actions,
    )),
)  # fmt: skip

STATE: Mapping[Kind, tuple[Goes, ...]] = {
    "groups": (
        Goes(t.rule_states, _threads),
        Goes(t.incidents, _closed_incidents),
        *_OF_GROUPS,
        Goes(t.groups, lambda chosen: chosen.among(t.groups.c.id)),
    ),
    "release": (
        Goes(t.artifacts, _artifacts),
        Goes(t.artifact_bundles, _bundles),
    ),
    "project": (
        Goes(t.deliveries, _in_project(t.notifications, t.deliveries.c.notification_id)),
        _of_project(t.notifications, walk=True),
        _of_project(t.alerts),
        _of_project(t.rule_states),
        Goes(t.monitor_check_ins, _check_ins),
        _of_project(t.incidents, walk=True),
        Goes(t.monitor_environments, _in_project(t.monitors, t.monitor_environments.c.monitor_id)),
        _of_project(t.monitors),
        _of_project(t.group_hashes),
        *_OF_GROUPS,
        _of_project(t.groups),
        _of_project(t.project_algorithms),
        _of_project(t.event_ids),
        _of_project(t.restored_days, walk=True),
        Goes(t.artifacts, _artifacts),
        Goes(t.artifact_bundles, _bundles),
        _of_project(t.debug_files),
        Goes(t.symbol_arrivals, _arrivals),
        Goes(t.report_revisions, _revisions),
        Goes(t.reports, _reports),
        _of_project(t.analytics_outbox, walk=True),
    ),
}  # fmt: skip
"""In the order in which rows go: what refers to others before them."""

_ELSEWHERE = "rows of other tables lead to it"
_NUMBERS = "days, places and counts of the installation: nothing of what was sent"
_INSTALLATION = "of the installation, not of a project"
_COUNTS = "counts without texts: figures stay what they were"

APART: Mapping[Kind, Mapping[str, str]] = {
    "groups": {
        "group_hashes": "go first, so that the next event makes a new group",
        "alerts": "emptied: who was told when stays counted",
        "notifications": "emptied; those that wait are withdrawn",
        "deliveries": "emptied with their message",
        "report_revisions": "their files are written again without its title",
        "tail_segments": "flushed before", "tail_rows": "flushed before", "tail_payloads": "flushed before",
    },
    "release": {
        "releases": "goes with its commits as `releases delete` forgets it",
        "release_environments": "goes with the release", "release_stages": "goes with the release", "deploys": "goes with the release",
        "release_commits": "goes with the last project that has the release",
        "release_heads": "goes with the last project that has the release",
        "commits": "those that no other release holds", "commit_files": "with their commit", "commit_authors": "with their last commit",
        "groups": "those that have no other events go with everything; of others title and metadata follow what is left",
        "group_values": "follow what is left of the events", "group_explanations": "go where they are of an event that goes", "group_texts": "go where they are of an event that goes",
        "group_hashes": "of groups that go", "group_days": "of groups that go", "group_hours": "of groups that go", "group_signatures": "of groups that go",
        "group_actions": "of groups that go", "group_commits": "of groups that go", "similar_groups": "of groups that go",
        "suspect_commits": "of groups that go", "issue_links": "of groups that go; issues stay where they are",
        "issue_intents": "of groups that go", "issue_comments": "of groups that go", "issue_comment_copies": "of groups that go",
        "alerts": "about its events: emptied", "notifications": "about its events and deploys: emptied", "deliveries": "emptied with their message",
        "incidents": "of groups that go", "rule_states": "of groups that go",
        "report_revisions": "titles of groups that go; its name stays, as in all figures",
        "tail_segments": "flushed before", "tail_rows": "flushed before", "tail_payloads": "flushed before",
    },
    "project": {
        "projects": "stays as a stone: its number is never used again",
        "releases": "each as `releases delete` forgets it", "release_environments": "with the release", "release_stages": "with the release",
        "deploys": "with the release",
        "release_commits": "with the last project that has the release", "release_heads": "with the last project that has the release",
        "commits": "those that no other release holds", "commit_files": "with their commit", "commit_authors": "with their last commit",
        "analytics_dead": "facts about it",
        "probes": "what is noted of it; the monitors that are known are noted anew",
        "tail_segments": "flushed before", "tail_rows": "flushed before", "tail_payloads": "flushed before",
    },
}  # fmt: skip
"""Tables of which something goes in a way of its own, and how."""

_STAYS_ALWAYS = {
    "drains": _NUMBERS, "workers": _INSTALLATION, "run_beats": _INSTALLATION, "spool_cursors": _NUMBERS, "batches": _NUMBERS, "condemned_envelopes": _NUMBERS, "replacements": _NUMBERS,
    "regroupings": "numbers of groups, for a day", "day_changes": _NUMBERS, "statistics_days": _NUMBERS, "health_days": _NUMBERS,
    "stage_days": _NUMBERS, "retention_removals": "says why rows are missing", "symbol_debts": _NUMBERS, "erasures": "the request itself; says nothing of it from its end on",
    "repositories": _INSTALLATION, "installation_keys": _INSTALLATION, "tokens": _INSTALLATION, "member_passwords": _INSTALLATION, "invitations": _INSTALLATION, "web_sessions": _INSTALLATION, "login_failures": _INSTALLATION, "subscriptions": _INSTALLATION,
    "channel_states": _INSTALLATION, "send_limits": _INSTALLATION, "tracker_cursors": _INSTALLATION, "integration_states": _INSTALLATION,
    "integration_requests": _INSTALLATION, "report_deliveries": "who got which report, without what it said",
    "upload_chunks": "pieces without a project, gone within uploads.chunk_hours",
}  # fmt: skip
_ONCE = "an event that is sent again is a duplicate, and does not come back"
_OF_FACTS = "facts hold no text of events"
_OF_OTHERS = "of the project, not of one group or release"
_STAYS_BELOW = {
    "projects": "the next short id", "project_algorithms": _OF_OTHERS, "monitors": _OF_OTHERS, "monitor_environments": _OF_OTHERS,
    "monitor_check_ins": _OF_OTHERS, "debug_files": "found by ids of programs, not by releases", "symbol_arrivals": "names of files, not of what was sent",
    "analytics_outbox": _OF_FACTS, "analytics_dead": _OF_FACTS, "probes": _INSTALLATION, "reports": _COUNTS, "event_ids": _ONCE,
    "restored_days": _NUMBERS,
}  # fmt: skip
STAYS: Mapping[Kind, Mapping[str, str]] = {
    "groups": {
        **_STAYS_ALWAYS, **_STAYS_BELOW, "releases": _ELSEWHERE, "release_environments": _ELSEWHERE, "release_stages": _ELSEWHERE,
        "deploys": _ELSEWHERE, "release_commits": _ELSEWHERE, "release_heads": _ELSEWHERE, "commits": _ELSEWHERE, "commit_files": _ELSEWHERE,
        "commit_authors": _ELSEWHERE, "artifact_bundles": _OF_OTHERS, "artifacts": _OF_OTHERS,
    },
    "release": {**_STAYS_ALWAYS, **_STAYS_BELOW},
    "project": _STAYS_ALWAYS,
}  # fmt: skip
"""Tables of which nothing goes, and why."""

_EVENTS = ("events", "event_payloads", "attachments", "user_reports")
_FIGURES = (
    "event_stats", "event_users", "group_stats", "group_levels", "transaction_stats", "outcome_stats", "monitor_stats",
    "notification_stats", "release_moves", "usage_stats", "pipeline_stats", "group_moves", "analytics_events",
)  # fmt: skip
LAKE: Mapping[Kind, tuple[str, ...]] = {
    "groups": _EVENTS,
    "release": (*_EVENTS, "transactions", "sessions", "check_ins", "release_health", "session_users"),
    "project": (
        *_EVENTS, "transactions", "sessions", "check_ins", "outcomes", "dead_letters", "release_health", "session_users",
        *(name for name in _FIGURES if name != "pipeline_stats"),
    ),
}  # fmt: skip
"""Tables of the lake of which rows go."""
LAKE_STAYS: Mapping[Kind, Mapping[str, str]] = {
    "groups": {
        **dict.fromkeys(_FIGURES, _COUNTS), "outcomes": "the books", "dead_letters": "have no group", "transactions": "have no group",
        "sessions": "have no group", "check_ins": "have no group", "release_health": _COUNTS, "session_users": _COUNTS,
    },
    "release": {
        **dict.fromkeys(_FIGURES, "counts with its name as a label, no texts"), "outcomes": "the books", "dead_letters": "say nothing of releases",
    },
    "project": {"pipeline_stats": _COUNTS},
}  # fmt: skip

FOLDERS: Mapping[str, str] = {
    "spool": "the raw envelopes of what goes are erased",
    "raw": "as in the spool, of which it is a part: files that hold some are replaced",
    "lake": "files are written again, snapshots that hold the old ones forgotten, the catalog is written anew",
    "blobs": "those that nothing else refers to",
    "cache": "what was made of files of symbols goes when they do",
    "dagster": "what its events say that no other says is overwritten",
    "upload-chunks": "pieces without a project, gone within uploads.chunk_hours",
    "state.sqlite": "its rows, see above; what is deleted is overwritten",
    "run": "locks and ports",
    "logs": "what its events say that no other says is overwritten",
    "tasks_pipeline.yaml": "a person's; a project has to be taken out before it is deleted",
    "config-in-force.yaml": "follows the configuration",
    "default-key": _INSTALLATION,
    "deleted-projects": "numbers of projects that are used up",
    "archives": "where something was archived; rows there go as those of the lake do",
    "certificates": "say what was done, and nothing of what it was",
}
