"""Sections `members` and `teams`: who is told, how, and when they do not want to be."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from tasks_pipeline.config.model import About, Model, Slug
from tasks_pipeline.zones import zone_named


def folded(address: str) -> str:
    """An address in one case of letters: who writes it in another means the same person."""
    return address.strip().lower()


Email = Annotated[
    str,
    Field(pattern=r"^[^\s@<>,;:\"]{1,64}@[^\s@<>,;:\"]{1,130}$"),
    AfterValidator(folded),
    About("an e-mail address, as ann@acme.example"),
]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEK: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _known_zone(name: str) -> str:
    try:
        return zone_named(name).key
    except ValueError:
        raise ValueError("not a time zone; allowed are names such as Europe/Berlin or UTC") from None


TimeZone = Annotated[str, AfterValidator(_known_zone)]


Accounts = dict[Slug, Annotated[str, Field(min_length=1, max_length=200)]]
"""Names there, by the name of the integration."""


class QuietHours(Model):
    """When a member is not to be disturbed, in the member's time zone; what comes then is sent when they end."""

    start: time = Field(description="Begin, as 22:00.")
    end: time = Field(description="End, as 07:00; before `start` it is that of the next day.")
    days: tuple[Weekday, ...] = Field(WEEK, min_length=1, description="Days on which they begin.")
    except_critical: bool = Field(True, description="Critical alerts come through.")

    @model_validator(mode="after")
    def _length(self) -> QuietHours:
        if self.start == self.end:
            raise ValueError("start and end are the same; allowed are two different times")
        return self


class DigestSchedule(Model):
    """When a digest is sent: at fixed times, or a while after the first entry."""

    at: tuple[time, ...] = Field((), description="Fixed times in the member's time zone, as [09:00, 17:00].")
    days: tuple[Weekday, ...] = Field(WEEK, min_length=1, description="Days of the fixed times.")
    min_delay_minutes: float = Field(
        5, ge=0, le=10_080, description="Without fixed times: sent when nothing new came for so long …"
    )
    max_delay_minutes: float = Field(
        30, gt=0, le=10_080, description="… but at the latest so long after the first."
    )

    @model_validator(mode="after")
    def _order(self) -> DigestSchedule:
        if self.min_delay_minutes > self.max_delay_minutes:
            raise ValueError("min_delay_minutes is larger than max_delay_minutes")
        return self


class Preferences(Model):
    """What a member wants to hear of. What a project's preferences leave out is as in the member's own."""

    channel: Slug | None = Field(None, description="Name of the channel; the first mail channel when absent.")
    delivery: Literal["immediate", "digest", "none"] = Field(
        "immediate", description="At once, collected, or not at all."
    )
    rules: tuple[str, ...] = Field(("*",), description="Globs of names of alert rules; others are not sent.")
    only_assigned: bool = Field(
        False, description="Only groups assigned to the member or one of their teams."
    )
    deploys: Literal["always", "committed_only", "never"] = Field(
        "committed_only", description="Deploys: all, those with commits of the member, or none."
    )
    quiet_hours: QuietHours | None = Field(None, description="When not to disturb.")
    digest: DigestSchedule = Field(DigestSchedule(), description="When digests are sent.")


class ReportPreferences(Model):
    """Which reports a member gets, and when."""

    daily: bool = Field(False, description="A report of each day.")
    weekly: bool = Field(True, description="A report of each week.")
    monthly: bool = Field(False, description="A report of each month.")
    at: time = Field(time(8), description="When, in the member's time zone.")
    weekday: Weekday = Field("mon", description="The day on which weekly reports are sent.")
    projects: Literal["all", "mine"] | Annotated[tuple[Slug, ...], About("slugs of projects")] = Field(
        "all", description="Which projects are told of: all, those of the member's teams, or these slugs."
    )
    channel: Slug | None = Field(
        None, description="Name of the channel; that of the member's alerts when absent."
    )


class Member(Model):
    """A person."""

    email: Email = Field(
        description="Address, in any case of letters; also what assignments and targets call the member."
    )
    name: str = Field("", max_length=100, description="Shown to people; the address when empty.")
    timezone: TimeZone = Field("UTC", description="Time zone of quiet hours, digests and times in messages.")
    address: Annotated[str, About(private=True)] | None = Field(
        None, max_length=250, description="Where to on a channel that is not mail; rarely needed."
    )
    accounts: Accounts = Field(
        {},
        description="What trackers call the member, by integration: a login, or the number where they have numbers.",
    )
    notifications: Preferences = Field(Preferences(), description="Preferences for all projects.")
    projects: dict[Slug, Preferences] = Field({}, description="Preferences for single projects, by slug.")
    role: Literal["viewer", "member", "admin"] = Field(
        "member",
        description="What the member may do in pages and Web API: look, decide about groups, too, or everything.",
    )
    sees: Literal["all", "mine"] | Annotated[tuple[Slug, ...], About("slugs of projects")] = Field(
        "all",
        description="Whose groups the member may see there: of all projects, those of the member's teams, or these slugs.",
    )
    reports: ReportPreferences = Field(
        ReportPreferences(), description="Which reports the member gets, and when."
    )


class Team(Model):
    """Members who take care of something together."""

    slug: Slug = Field(description="What assignments (team:SLUG) and targets call it.")
    name: str = Field("", max_length=100, description="Shown to people; the slug when empty.")
    members: tuple[Email, ...] = Field((), description="Addresses of its members.")
    channel: Slug | None = Field(
        None, description="Messages to the team go to this channel instead of to each member."
    )
    accounts: Accounts = Field({}, description="Whom trackers assign what is the team's, by integration.")
    projects: tuple[Slug, ...] = Field(
        (), description="Projects it takes care of, by slug: those of its reports."
    )
    timezone: TimeZone | None = Field(None, description="Zone of its reports; that of `reports` when absent.")
    reports: tuple[Literal["daily", "weekly", "monthly"], ...] = Field(
        (), description="Reports that go to its channel, beside those that its members get."
    )
