"""Types of facts, all of them: what each is about, its attributes, and what makes it the same fact again. Recording is in record.py.

An attribute is a text of at most 200 characters, a number, a boolean or null. None holds a text of an event (title, message),
an address of a person or a user's id: facts are kept for years. A new attribute has a default, or the type a new `VERSION`;
readers take all versions. `docs/analytics.md` is written from here: `python -m tasks_pipeline.facts.documenting --write`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

LONGEST = 200
CUSTOM = "custom."
"""What names of facts begin with that people record themselves."""
AT = "at"
"""Stands in a `KEY` for the moment of the fact."""

Name = Annotated[str, Meta(max_length=LONGEST)]
"""A name that somebody chose: of a release, an environment, a rule."""
Word = Annotated[str, Meta(max_length=LONGEST, pattern=r"^[\w.:-]*$")]
"""A word of ours, or an id."""
Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Seconds = Annotated[float, Meta(ge=0)]
Value = str | int | float | bool | None

Version = Annotated[Name, Meta(description="name of the release")]
Environment = Annotated[Name, Meta(description="environment; empty: none was named")]
Group = Annotated[Number, Meta(description="number of the group")]
Action = Annotated[Number, Meta(description="number of the entry in the group's log")]
By = Annotated[
    Literal["person", "rule", "similarity", "commit", "monitor", "automatic"],
    Meta(description="what decided it"),
]
Kind = Annotated[Literal["day", "week", "month"], Meta(description="kind of period")]
Day = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$", description="UTC day")]
Firsts = Literal[
    "event", "transaction", "session", "check_in", "release", "source_map", "debug_file", "user", "feedback"
]


class Fact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that was so, once. `KEY` names the attributes that, with type and project, make it the same fact again."""

    VERSION: ClassVar[int] = 1
    KEY: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """The name of its type, such as group.created."""
        return type_name(type(self))

    @property
    def values(self) -> dict[str, Value]:
        """Its attributes."""
        return {field: getattr(self, field) for field in self.__struct_fields__}

    @property
    def identity(self) -> tuple[Value, ...]:
        """What makes it this fact and no other, apart from type, project and perhaps moment."""
        return tuple(getattr(self, field) for field in self.KEY if field != AT)

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Fact:
        """A fact of this type with these attributes. Raises msgspec.ValidationError."""
        return msgspec.convert(values, cls)


class ProjectFirst(Fact, tag="project.first", frozen=True, kw_only=True):
    """The first of its kind was stored of a project."""

    KEY: ClassVar[tuple[str, ...]] = ("what",)
    what: Annotated[Firsts, Meta(description="of what it was the first")]
    sdk: Annotated[Name, Meta(description="SDK that sent it; empty where none says so")] = ""


# ── groups


class GroupCreated(Fact, tag="group.created", frozen=True, kw_only=True):
    """A group has its first event, or the first incident of a monitor."""

    KEY: ClassVar[tuple[str, ...]] = ("group",)
    group: Group
    level: Annotated[Name, Meta(description="level of that event")] = ""
    platform: Annotated[Name, Meta(description="platform of that event")] = ""
    release: Annotated[Name | None, Meta(description="release of that event")] = None
    environment: Annotated[Name | None, Meta(description="environment of that event")] = None
    handled: Annotated[bool | None, Meta(description="whether the program caught it; null: not known")] = None


class GroupAction(Fact, frozen=True, kw_only=True):
    """What all entries of a group's log say."""

    KEY: ClassVar[tuple[str, ...]] = ("action",)
    group: Group
    action: Action
    by: By = "automatic"


class GroupResolved(GroupAction, tag="group.resolved", frozen=True, kw_only=True):
    """A group was resolved."""

    how: Annotated[
        Literal["now", "release", "next_release", "commit", "recovery", "unwatched"],
        Meta(description="when it counts as fixed; recovery, unwatched: its monitor works again, or is gone"),
    ] = "now"
    release: Annotated[Name | None, Meta(description="release that it is resolved in, or after")] = None
    open_seconds: Annotated[
        Seconds | None, Meta(description="since it last became open; null: it was not open")
    ] = None
    events: Annotated[Number, Meta(description="events of the group until then")] = 0
    users: Annotated[Number, Meta(description="users of the group until then")] = 0


class GroupRegressed(GroupAction, tag="group.regressed", frozen=True, kw_only=True):
    """A resolved group is back."""

    release: Annotated[Name | None, Meta(description="release that it is back in")] = None
    compared_by: Annotated[
        Word | None, Meta(description="how the releases were compared; null: the time of the event decided")
    ] = None
    closed_seconds: Annotated[Seconds | None, Meta(description="since it was resolved")] = None


class GroupUnignored(GroupAction, tag="group.unignored", frozen=True, kw_only=True):
    """An ignored group is to be seen again, since its time is over or its number is reached."""


class GroupEscalated(Fact, tag="group.escalated", frozen=True, kw_only=True):
    """A group has far more events than before."""

    KEY: ClassVar[tuple[str, ...]] = ("group", "change")
    group: Group
    change: Annotated[Name, Meta(description="which of its escalations")]


class GroupIgnored(GroupAction, tag="group.ignored", frozen=True, kw_only=True):
    """A group is not to be seen."""

    until: Annotated[
        Literal["good", "time", "events", "users"], Meta(description="what ends it; good: nothing does")
    ] = "good"


class GroupUnresolved(GroupAction, tag="group.unresolved", frozen=True, kw_only=True):
    """A group is open again, since somebody says so."""


class GroupAssigned(GroupAction, tag="group.assigned", frozen=True, kw_only=True):
    """A group was given to somebody."""

    to: Annotated[
        Word, Meta(description="keyed hash of the member, or team:slug; empty: nobody any more")
    ] = ""


class GroupMerged(GroupAction, tag="group.merged", frozen=True, kw_only=True):
    """A group became part of another."""

    into: Annotated[Number, Meta(description="number of that group")]


class GroupUnmerged(GroupAction, tag="group.unmerged", frozen=True, kw_only=True):
    """A group, or some keys of it, is one of its own again."""

    of: Annotated[Number, Meta(description="number of the group that it was part of")]


class GroupDiscarded(GroupAction, tag="group.discarded", frozen=True, kw_only=True):
    """Events of a group were removed, and are dropped from then on."""

    events: Annotated[Number, Meta(description="how many were removed")] = 0


class GroupLinked(GroupAction, tag="group.linked", frozen=True, kw_only=True):
    """A group has an issue in a tracker from now on."""

    tracker: Annotated[Name, Meta(description="name of the tracker")]
    made: Annotated[bool, Meta(description="whether the issue was made for it; else it was there")] = False


class GroupUnlinked(GroupAction, tag="group.unlinked", frozen=True, kw_only=True):
    """An issue is not kept in step with a group any more."""

    tracker: Annotated[Name, Meta(description="name of the tracker")]


class GroupCommented(GroupAction, tag="group.commented", frozen=True, kw_only=True):
    """Somebody commented on a group."""

    side: Annotated[
        Literal["ours", "theirs"], Meta(description="where; theirs: in an issue of the group")
    ] = "ours"


# ── alerts and notifications


class _Alert(Fact, frozen=True, kw_only=True):
    KEY: ClassVar[tuple[str, ...]] = ("alert",)
    alert: Annotated[Number, Meta(description="number of the alert")]
    rule: Annotated[Name, Meta(description="name of the rule")]
    kind: Annotated[Word, Meta(description="new_group, regression, events, metric, monitor …")]
    severity: Annotated[Word, Meta(description="info, warning or critical")]


class AlertFired(_Alert, tag="alert.fired", frozen=True, kw_only=True):
    """A rule fired."""


class AlertRecovered(_Alert, tag="alert.recovered", frozen=True, kw_only=True):
    """What a rule fired for is over."""


class _Notification(Fact, frozen=True, kw_only=True):
    KEY: ClassVar[tuple[str, ...]] = ("notification",)
    notification: Annotated[Number, Meta(description="number of the message")]
    kind: Annotated[Word, Meta(description="alert, storm, digest, report or test")]
    channel: Annotated[Name, Meta(description="name of the channel")]
    channel_type: Annotated[Word, Meta(description="email, slack …; empty: it is not configured")] = ""


class NotificationSent(_Notification, tag="notification.sent", frozen=True, kw_only=True):
    """A message was handed over."""

    attempts: Annotated[Number, Meta(description="how often it was tried")] = 1
    seconds: Annotated[Seconds | None, Meta(description="since it was decided on")] = None


class NotificationFailed(_Notification, tag="notification.failed", frozen=True, kw_only=True):
    """A message was given up."""

    reason: Annotated[Word, Meta(description="kind of failure, never what the far side said")]
    attempts: Annotated[Number, Meta(description="how often it was tried")] = 0


class NotificationSkipped(_Notification, tag="notification.skipped", frozen=True, kw_only=True):
    """A message was decided against, since nobody wants it."""

    reason: Annotated[Name, Meta(description="why")] = ""


# ── monitors


class MonitorIncidentOpened(Fact, tag="monitor.incident_opened", frozen=True, kw_only=True):
    """A monitor failed often enough."""

    KEY: ClassVar[tuple[str, ...]] = ("incident",)
    incident: Annotated[Number, Meta(description="number of the incident")]
    kind: Annotated[Word, Meta(description="cron or uptime")]
    reason: Annotated[Word, Meta(description="missed, timed_out, error, down or expiring")]


class MonitorIncidentClosed(Fact, tag="monitor.incident_closed", frozen=True, kw_only=True):
    """A monitor works again, or is not watched any more."""

    KEY: ClassVar[tuple[str, ...]] = ("incident",)
    incident: Annotated[Number, Meta(description="number of the incident")]
    kind: Annotated[Word, Meta(description="cron or uptime")]
    reason: Annotated[Word, Meta(description="what it was about: missed, timed_out, error, down or expiring")]
    open_seconds: Annotated[Seconds, Meta(description="how long it took")]


class MonitorMissed(Fact, tag="monitor.missed", frozen=True, kw_only=True):
    """A check-in did not come; the moment is the one at which it was expected."""

    KEY: ClassVar[tuple[str, ...]] = ("environment", AT)
    environment: Annotated[Number, Meta(description="number of the monitor's environment")]


# ── releases


class _Release(Fact, frozen=True, kw_only=True):
    KEY: ClassVar[tuple[str, ...]] = ("version",)
    version: Version


class ReleaseCreated(_Release, tag="release.created", frozen=True, kw_only=True):
    """A release was first heard of in a project."""

    by: Annotated[Literal["api", "event"], Meta(description="what named it first")]


class ReleaseFinalised(_Release, tag="release.finalised", frozen=True, kw_only=True):
    """A release was said to be out."""


class ReleaseCommitsSet(_Release, tag="release.commits_set", frozen=True, kw_only=True):
    """The commits of a release were said, or others than before."""

    KEY: ClassVar[tuple[str, ...]] = ("version", AT)
    commits: Annotated[Number, Meta(description="how many it has")]
    authors: Annotated[Number, Meta(description="how many wrote them")] = 0


class ReleaseDeployed(_Release, tag="release.deployed", frozen=True, kw_only=True):
    """A release was deployed; the moment is the one at which that was said."""

    KEY: ClassVar[tuple[str, ...]] = ("version", "deploy", AT)  # SQLite gives numbers again
    deploy: Annotated[Number, Meta(description="number of the deploy")]
    environment: Environment
    seconds: Annotated[Seconds | None, Meta(description="how long it took, where that was said")] = None


class ReleaseAdopted(_Release, tag="release.adopted", frozen=True, kw_only=True):
    """A release has a tenth of the sessions of an environment."""

    KEY: ClassVar[tuple[str, ...]] = ("version", "environment", AT)
    environment: Environment


class ReleaseReplaced(_Release, tag="release.replaced", frozen=True, kw_only=True):
    """A release that was adopted has less than that again."""

    KEY: ClassVar[tuple[str, ...]] = ("version", "environment", AT)
    environment: Environment
    seconds: Annotated[Seconds | None, Meta(description="since it was first adopted")] = None


class ReleaseArchived(_Release, tag="release.archived", frozen=True, kw_only=True):
    """A release was archived."""

    KEY: ClassVar[tuple[str, ...]] = ("version", AT)


# ── reports


class _Report(Fact, frozen=True, kw_only=True):
    kind: Kind
    key: Annotated[Day, Meta(description="first day of the period")]


class ReportComputed(_Report, tag="report.computed", frozen=True, kw_only=True):
    """A revision of a report was stored."""

    KEY: ClassVar[tuple[str, ...]] = ("kind", "key", "scope", "zone", "revision")
    scope: Annotated[Name, Meta(description="organisation, team:slug or project:number")]
    zone: Annotated[Name, Meta(description="time zone of the period")] = "UTC"
    revision: Annotated[Number, Meta(description="1, and one more each time that it came out otherwise")]
    changed: Annotated[Number, Meta(description="figures that are others than in the revision before")] = 0


class ReportDelivered(_Report, tag="report.delivered", frozen=True, kw_only=True):
    """A report was handed over to somebody."""

    KEY: ClassVar[tuple[str, ...]] = ("kind", "key", "to")
    to: Annotated[Word, Meta(description="keyed hash of the member, team:slug or channel:name")]
    revision: Annotated[Number, Meta(description="that it told of")] = 1


class ReportUnsubscribed(Fact, tag="report.unsubscribed", frozen=True, kw_only=True):
    """A member wants no more reports of a kind."""

    KEY: ClassVar[tuple[str, ...]] = ("kind", "member", AT)
    kind: Kind
    member: Annotated[Word, Meta(description="keyed hash of the member")]
    by: Annotated[Literal["link", "command"], Meta(description="how they said so")] = "link"


# ── symbols, the past, and what is kept


class SymbolsUploaded(Fact, tag="symbols.uploaded", frozen=True, kw_only=True):
    """A debug file or a bundle of artifacts became known."""

    KEY: ClassVar[tuple[str, ...]] = ("file", "release", "dist")
    file: Annotated[Word, Meta(description="SHA-1 of the file")]
    kind: Annotated[Word, Meta(description="elf, macho, pe, pdb, breakpad, proguard …, or artifact_bundle")]
    release: Annotated[Name | None, Meta(description="release that a bundle is for")] = None
    dist: Annotated[Name | None, Meta(description="distribution that a bundle is for")] = None
    files: Annotated[Number, Meta(description="files in it")] = 1


class SymbolsHealed(Fact, tag="symbols.healed", frozen=True, kw_only=True):
    """Stored events of a day were symbolicated again with symbols that came late."""

    KEY: ClassVar[tuple[str, ...]] = ("day", "through")
    day: Day
    through: Annotated[Number, Meta(description="number of the newest arrival of symbols")]
    events: Annotated[Number, Meta(description="events that were processed again")]
    moved: Annotated[Number, Meta(description="of them in another group now")] = 0


class DayRecomputed(Fact, tag="day.recomputed", frozen=True, kw_only=True):
    """A day was stored again from its raw envelopes."""

    KEY: ClassVar[tuple[str, ...]] = ("replacement",)
    replacement: Annotated[Word, Meta(description="id of the replacement")] = ""
    day: Day
    envelopes: Annotated[Number, Meta(description="envelopes that were processed again")] = 0
    stored: Annotated[Number, Meta(description="items that are stored of them")] = 0


class DayReprocessed(Fact, tag="day.reprocessed", frozen=True, kw_only=True):
    """Stored events of a day were symbolicated and grouped again."""

    KEY: ClassVar[tuple[str, ...]] = ("replacement",)
    replacement: Annotated[Word, Meta(description="id of the replacement")] = ""
    day: Day
    events: Annotated[Number, Meta(description="events that were processed again")] = 0
    moved: Annotated[Number, Meta(description="of them in another group now")] = 0


class RetentionDropped(Fact, tag="retention.dropped", frozen=True, kw_only=True):
    """What was older than its retention was removed."""

    KEY: ClassVar[tuple[str, ...]] = ("what", "day")
    what: Annotated[Word, Meta(description="envelopes …")]
    day: Day
    rows: Annotated[Number, Meta(description="how many")]


# ── the installation


class QuotaReached(Fact, tag="quota.reached", frozen=True, kw_only=True):
    """A quota refused items, for the first time in an hour; the moment is the begin of that hour."""

    KEY: ClassVar[tuple[str, ...]] = ("key", "category", "scope", AT)
    key: Annotated[Word, Meta(description="public key of the DSN")]
    category: Annotated[Word, Meta(description="category of the items")]
    scope: Annotated[Word, Meta(description="whose quota: key_quota or project_quota")]
    refused: Annotated[Number, Meta(description="items that were refused when it was first told")] = 0


class FeedbackReceived(Fact, tag="feedback.received", frozen=True, kw_only=True):
    """A user said something about a problem."""

    KEY: ClassVar[tuple[str, ...]] = ("feedback",)
    feedback: Annotated[Word, Meta(description="id of the feedback")]


class TokenCreated(Fact, tag="token.created", frozen=True, kw_only=True):
    """A token of the Web API was made."""

    KEY: ClassVar[tuple[str, ...]] = ("token",)
    token: Annotated[Number, Meta(description="number of the token")]
    scopes: Annotated[Name, Meta(description="what it may do")] = ""


class TokenRevoked(Fact, tag="token.revoked", frozen=True, kw_only=True):
    """A token of the Web API was ended."""

    KEY: ClassVar[tuple[str, ...]] = ("token",)
    token: Annotated[Number, Meta(description="number of the token")]


class ConfigChanged(Fact, tag="config.changed", frozen=True, kw_only=True):
    """Another configuration is in force."""

    KEY: ClassVar[tuple[str, ...]] = ("digest", AT)
    digest: Annotated[Word, Meta(description="keyed hash of the whole")]
    sections: Annotated[Name, Meta(description="sections that differ, never what they say")] = ""


class CommandUsed(Fact, tag="command.used", frozen=True, kw_only=True):
    """A command that changes something was used on the command line."""

    KEY: ClassVar[tuple[str, ...]] = ("command", AT)
    command: Annotated[Name, Meta(description="its name")]
    status: Annotated[int, Meta(description="its exit status")] = 0


class Custom(Fact, frozen=True, kw_only=True):
    """A fact of one's own, recorded with `analytics record`; its name begins with `custom.`."""

    type: Annotated[str, Meta(max_length=64, pattern=r"^custom\.[a-z0-9_]+(\.[a-z0-9_]+)*$")]
    once: Annotated[str, Meta(max_length=LONGEST)]
    attributes: Annotated[
        dict[Annotated[str, Meta(max_length=64, pattern=r"^[a-z][a-z0-9_]*$")], Value], Meta(max_length=20)
    ]

    @classmethod
    def made(cls, name: str, attributes: Mapping[str, Value], once: str) -> Custom:
        """One that can be recorded. Raises msgspec.ValidationError."""
        return msgspec.convert({"type": name, "once": once, "attributes": dict(attributes)}, cls)

    @property
    def name(self) -> str:
        """As it was recorded."""
        return self.type

    @property
    def values(self) -> dict[str, Value]:
        """As they were recorded."""
        return dict(self.attributes)

    @property
    def identity(self) -> tuple[Value, ...]:
        """What the recorder says makes it once."""
        return (self.once,)


def type_name(kind: type[Fact]) -> str:
    """The name of a type; empty for those that others are made of."""
    return str(kind.__struct_config__.tag or "")


def _all(kind: type[Fact]) -> Iterator[type[Fact]]:
    for each in kind.__subclasses__():
        yield each
        yield from _all(each)


TYPES: dict[str, type[Fact]] = {type_name(kind): kind for kind in _all(Fact) if type_name(kind)}
"""Every type by its name, in the order of this module; not those of people's own."""
