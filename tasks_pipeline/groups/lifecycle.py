"""The states of a group and what moves it from one to another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """What people decided about a group, or what events made of that decision."""

    UNRESOLVED = "unresolved"
    RESOLVED = "resolved"
    IGNORED = "ignored"
    REGRESSED = "regressed"


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """A group's status, since when, and until when or until how many events it is ignored (None: for good)."""

    status: Status
    changed_at: datetime | None = None
    ignored_until: datetime | None = None
    ignored_until_times_seen: int | None = None


def after_events(life: Lifecycle, newest: datetime, times_seen: int) -> Lifecycle:
    """The lifecycle after events arrived.

    `newest` is the newest of their timestamps, `times_seen` the count of all events of the group with them. An event
    that happened after a group was resolved makes it regressed; one that happened before (it came late) does not. An
    ignored group comes back once its time is over or its count is reached.
    """
    match life.status:
        case Status.RESOLVED if life.changed_at is None or newest > life.changed_at:
            return Lifecycle(Status.REGRESSED, newest)
        case Status.IGNORED if _ignored_enough(life, newest, times_seen):
            return Lifecycle(Status.UNRESOLVED, newest)
    return life


def _ignored_enough(life: Lifecycle, newest: datetime, times_seen: int) -> bool:
    over = life.ignored_until is not None and newest >= life.ignored_until
    reached = life.ignored_until_times_seen is not None and times_seen >= life.ignored_until_times_seen
    return over or reached


def resolve(at: datetime) -> Lifecycle:
    """Somebody says it is fixed."""
    return Lifecycle(Status.RESOLVED, at)


def reopen(at: datetime) -> Lifecycle:
    """Somebody says it is not."""
    return Lifecycle(Status.UNRESOLVED, at)


def ignore(at: datetime, until: datetime | None = None, until_times_seen: int | None = None) -> Lifecycle:
    """Somebody does not want to see it: for good, until a time, or until it was seen so many times."""
    return replace(
        Lifecycle(Status.IGNORED, at), ignored_until=until, ignored_until_times_seen=until_times_seen
    )
