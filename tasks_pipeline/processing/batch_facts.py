"""Facts of a batch: what it is the first of, which groups it made, what users wrote, which quotas refused something.

What people and events change about groups is recorded where the log of groups is written (groups/decisions.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import Connection

from tasks_pipeline.facts.actors import CLIENT
from tasks_pipeline.facts.firsts import record_firsts
from tasks_pipeline.facts.record import Happened, record_all
from tasks_pipeline.facts.types import FeedbackReceived, GroupCreated, QuotaReached
from tasks_pipeline.groups.changes import GroupChange
from tasks_pipeline.processing.settle import Settled
from tasks_pipeline.storage.lake.events import place_of
from tasks_pipeline.storage.state.database import StateDatabase

QUOTAS = ("key_quota", "project_quota")
"""Reasons of outcomes that say that a quota was used up."""


def record_batch(
    state: StateDatabase,
    connection: Connection,
    settled: Settled,
    changes: Sequence[GroupChange],
    now: datetime,
) -> None:
    """Record what a batch makes so, in the transaction that marks it done: nothing is asked or written for events of groups that
    are known."""
    record_all(
        state, connection, [*_created(settled, changes, now), *_feedback(settled, now), *_quotas(settled)]
    )
    record_firsts(state, connection, settled.firsts, now)


def _created(settled: Settled, changes: Sequence[GroupChange], now: datetime) -> Iterator[Happened]:
    for change in changes:
        if change.kind != "new_group":
            continue
        rows = settled.candidates.get(change.group_id, ())
        first = min(rows, key=lambda row: (row["timestamp"], *place_of(row)), default=None) or {}
        fact = GroupCreated(
            group=change.group_id,
            level=change.facts.get("level") or "",
            platform=change.facts.get("platform") or "",
            release=first.get("release"),
            environment=first.get("environment"),
            handled=first.get("handled"),
        )
        yield Happened(fact, now, change.project_id, CLIENT)


def _feedback(settled: Settled, now: datetime) -> Iterator[Happened]:
    for project_id, feedback_id in sorted(settled.feedback):
        yield Happened(FeedbackReceived(feedback=feedback_id), now, project_id, CLIENT)


def _quotas(settled: Settled) -> Iterator[Happened]:
    for (project_id, hour, key, category, outcome, reason), quantity in sorted(settled.outcomes.items()):
        if outcome == "rate_limited" and reason in QUOTAS:
            fact = QuotaReached(key=key, category=category, scope=reason, refused=quantity)
            yield Happened(fact, hour, project_id, CLIENT)
