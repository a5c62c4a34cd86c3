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


class Resolution(StrEnum):
    """When a resolved group is fixed."""

    NOW = "now"
    IN_RELEASE = "in_release"
    NEXT_RELEASE = "next_release"
    IN_COMMIT = "in_commit"


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """A group's status, since when, and what ends it.

    `resolution` says when a resolved group is fixed: now (also where it says nothing); in `resolved_in_release`; in the
    release after that one; or in the first release that holds `resolved_in_commit`. `resolved_release_date` is the order
    date of that release when it was said, None of one that was not known. `ignored_until…`: a time, a number of events, a
    number of users, counted over the whole life of the group; all None means for good.
    """

    status: Status
    changed_at: datetime | None = None
    ignored_until: datetime | None = None
    ignored_until_times_seen: int | None = None
    ignored_until_users: int | None = None
    resolution: Resolution | None = None
    resolved_in_release: str | None = None
    resolved_release_date: datetime | None = None
    resolved_in_commit: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a group's events when new ones have been counted.

    `newest` is the newest timestamp of the new ones, `times_seen` and `users` count all events of the group with them.
    `in_fixed_release`: one of the new ones is of a release in which it should be fixed (groups/regressions.py).
    """

    newest: datetime
    times_seen: int
    users: int = 0
    in_fixed_release: bool = False


def after_events(life: Lifecycle, seen: Seen) -> Lifecycle:
    """The lifecycle after events arrived.

    An event that happened after a group was resolved makes it regressed; one that happened before (it came late) does
    not. Where it is resolved in a release or a commit, only an event of a release that should have the fix does, whenever
    it happened: what is still in use of the old ones goes on failing. An ignored group comes back once its time is over
    or its number of events or users is reached.
    """
    match life.status:
        case Status.RESOLVED if _is_back(life, seen):
            return Lifecycle(Status.REGRESSED, seen.newest)
        case Status.IGNORED if _ignored_enough(life, seen):
            return Lifecycle(Status.UNRESOLVED, seen.newest)
    return life


def is_about_time(life: Lifecycle) -> bool:
    """Whether the time of an event decides if a resolved group is back, and not its release."""
    return life.resolution in (None, Resolution.NOW)


def _is_back(life: Lifecycle, seen: Seen) -> bool:
    if not is_about_time(life):
        return seen.in_fixed_release
    return life.changed_at is None or seen.newest > life.changed_at


def _ignored_enough(life: Lifecycle, seen: Seen) -> bool:
    over = life.ignored_until is not None and seen.newest >= life.ignored_until
    often = life.ignored_until_times_seen is not None and seen.times_seen >= life.ignored_until_times_seen
    widely = life.ignored_until_users is not None and seen.users >= life.ignored_until_users
    return over or often or widely


def resolve(at: datetime) -> Lifecycle:
    """Somebody says it is fixed."""
    return Lifecycle(Status.RESOLVED, at, resolution=Resolution.NOW)


def fixed_in_release(at: datetime, release: str, release_date: datetime | None) -> Lifecycle:
    """Somebody says it is fixed in a release, whose order date is that, or None while it is not known."""
    return _resolved(at, Resolution.IN_RELEASE, release, release_date)


def fixed_in_next_release(at: datetime, after: str, after_date: datetime | None) -> Lifecycle:
    """Somebody says it will be fixed in the release after the given one, whose order date is that."""
    return _resolved(at, Resolution.NEXT_RELEASE, after, after_date)


def fixed_in_commit(at: datetime, commit: str) -> Lifecycle:
    """Somebody says it is fixed by a commit, and so in the first release that holds it."""
    return Lifecycle(Status.RESOLVED, at, resolution=Resolution.IN_COMMIT, resolved_in_commit=commit)


def _resolved(at: datetime, resolution: Resolution, release: str, date: datetime | None) -> Lifecycle:
    return Lifecycle(
        Status.RESOLVED,
        at,
        resolution=resolution,
        resolved_in_release=release,
        resolved_release_date=date,
    )


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
