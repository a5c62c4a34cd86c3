"""What is only needed while something is at work, or was not told yet: it goes some time after it is finished."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select

from tasks_pipeline.access.ends import FAILURES_FOR, IDLE_FOR
from tasks_pipeline.groups.hours import HOURS_FOR
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.pieces import delete_in_pieces
from tasks_pipeline.storage.state.proofs import forgotten
from tasks_pipeline.storage.state.restored import forget_restored
from tasks_pipeline.storage.state.tables import (
    drains,
    group_hours,
    integration_requests,
    invitations,
    login_failures,
    notifications,
    probes,
    regroupings,
    replacements,
    run_beats,
    web_sessions,
    workers,
)

FINISHED_FOR = timedelta(days=1)
"""Longer than any run takes that may still ask for it."""
DIGESTS_FOR = timedelta(days=30)
"""Entries of digests are in the log of notifications for so long."""
REQUESTS_FOR = timedelta(days=30)
"""How many requests trackers were asked is known for so long."""


def drop_finished(state: StateDatabase, now: datetime) -> dict[str, int]:
    """Remove drains, workers and processes of runs that are silent, replacements and regroupings that are done, all for FINISHED_FOR, entries of
    digests that were sent DIGESTS_FOR ago, counts of requests that are older than REQUESTS_FOR, hours of groups of days that are older than HOURS_FOR, sessions that nobody used for IDLE_FOR, invitations that expired and failed logins that count no more, checks that were put right long ago, and what is known of restored days that need not stay any
    more. Gives how many of each went."""
    before = now - FINISHED_FOR
    # The newest stays: its number is what a batch remembers, and SQLite would give it to the next one.
    newest = select(func.max(regroupings.c.id)).scalar_subquery()
    return {
        "drains": delete_in_pieces(state, drains, drains.c.heartbeat_at < before),
        "workers": delete_in_pieces(state, workers, workers.c.beat_at < before),
        "run_processes": delete_in_pieces(state, run_beats, run_beats.c.beat_at < before),
        "replacements": delete_in_pieces(state, replacements, replacements.c.done_at < before),
        "regroupings": delete_in_pieces(
            state, regroupings, regroupings.c.done_at < before, regroupings.c.id < newest
        ),
        "digest_entries": delete_in_pieces(state, notifications, *_told(now - DIGESTS_FOR)),
        "requests": delete_in_pieces(
            state, integration_requests, integration_requests.c.hour < now - REQUESTS_FOR
        ),
        "group_hours": delete_in_pieces(state, group_hours, group_hours.c.day < (now - HOURS_FOR).date()),
        "web_sessions": delete_in_pieces(state, web_sessions, web_sessions.c.seen_at < now - IDLE_FOR),
        "invitations": delete_in_pieces(state, invitations, invitations.c.expires_at < now),
        "failed_logins": delete_in_pieces(state, login_failures, login_failures.c.at < now - FAILURES_FOR),
        "checks": delete_in_pieces(state, probes, forgotten(now)),
        "restored_days": _restored(state, before),
    }


def _restored(state: StateDatabase, before: datetime) -> int:
    with state.write() as connection:
        return forget_restored(connection, before.date())


def _told(before: datetime) -> tuple[ColumnElement[bool], ...]:
    entry, digest = notifications.c, notifications.alias("digests")
    sent = select(digest.c.id).where(digest.c.id == entry.digest_id, digest.c.sent_at < before)
    return entry.status == "digest", entry.digest_id.is_not(None), sent.exists()
