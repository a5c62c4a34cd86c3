"""The states of a group and what moves it from one to another."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """What people decided about a group, or what events made of that decision."""

    UNRESOLVED = "unresolved"
    RESOLVED = "resolved"
    IGNORED = "ignored"
    REGRESSED = "regressed"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """A group's status, since when, and what ends it.

    `resolved_in_release`: it is fixed in the release after this one. `ignored_until…`: a time, a number of events, a
    number of users, counted over the whole life of the group; all None means for good.
    """

    status: Status
    changed_at: datetime | None = None
    ignored_until: datetime | None = None
    ignored_until_times_seen: int | None = None
    ignored_until_users: int | None = None
    resolved_in_release: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a group's events when new ones have been counted.

    `newest` is the newest timestamp of the new ones, `times_seen` and `users` count all events of the group with them.
    `newer_release`: one of the new ones is of a release after `Lifecycle.resolved_in_release`.
    """

    newest: datetime
    times_seen: int
    users: int = 0
    newer_release: bool = False


def after_events(life: Lifecycle, seen: Seen) -> Lifecycle:
    """The lifecycle after events arrived.

    An event that happened after a group was resolved makes it regressed; one that happened before (it came late) does
    not. Where it is resolved in the next release, only an event of a later release does, whenever it happened: what is
    still in use of the old ones goes on failing. An ignored group comes back once its time is over or its number of
    events or users is reached.
    """
    match life.status:
        case Status.RESOLVED if _is_back(life, seen):
            return Lifecycle(Status.REGRESSED, seen.newest)
        case Status.IGNORED if _ignored_enough(life, seen):
            return Lifecycle(Status.UNRESOLVED, seen.newest)
    return life


def _is_back(life: Lifecycle, seen: Seen) -> bool:
    if life.resolved_in_release is not None:
        return seen.newer_release
    return life.changed_at is None or seen.newest > life.changed_at


def _ignored_enough(life: Lifecycle, seen: Seen) -> bool:
    over = life.ignored_until is not None and seen.newest >= life.ignored_until
    often = life.ignored_until_times_seen is not None and seen.times_seen >= life.ignored_until_times_seen
    widely = life.ignored_until_users is not None and seen.users >= life.ignored_until_users
    return over or often or widely


def resolve(at: datetime, in_release_after: str | None = None) -> Lifecycle:
    """Somebody says it is fixed, or that it will be in the release after the given one."""
    return Lifecycle(Status.RESOLVED, at, resolved_in_release=in_release_after)


def reopen(at: datetime) -> Lifecycle:
    """Somebody says it is not."""
    return Lifecycle(Status.UNRESOLVED, at)


def ignore(
    at: datetime,
    until: datetime | None = None,
    until_times_seen: int | None = None,
    until_users: int | None = None,
) -> Lifecycle:
    """Somebody does not want to see it: for good, until a time, or until so many events or users were seen."""
    return Lifecycle(Status.IGNORED, at, until, until_times_seen, until_users)


def discard(at: datetime) -> Lifecycle:
    """Somebody does not want its events to be kept at all."""
    return Lifecycle(Status.DISCARDED, at)
