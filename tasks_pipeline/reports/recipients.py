"""Who gets which report: members and teams by the configuration and by what members decided; of what, where to, and when.

What becomes of it is written by `deliveries`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tasks_pipeline.config import Config
from tasks_pipeline.config.channels import AnyChannel
from tasks_pipeline.config.people import WEEK, Member, Team, Weekday
from tasks_pipeline.notifications.preferences import channel_of
from tasks_pipeline.notifications.quiet import moment, quiet_until
from tasks_pipeline.notifications.subscriptions import ADVERBS, Decision, Kind, subscription_of
from tasks_pipeline.reports.periods import Period
from tasks_pipeline.reports.scopes import ORGANISATION, Scope, scopes_of

TEAM_AT, TEAM_WEEKDAY = time(8), WEEK[0]
"""When the report of a team is sent, in its zone: teams have no wishes of their own."""
UNSUBSCRIBED = "unsubscribed"
NO_PROJECTS, NO_CHANNEL, NO_ADDRESS = "no projects", "no channel", "no address"


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody who wants a kind of report.

    `target`: `member:EMAIL` or `team:SLUG`. `scope`: of which report, and `stored` what the state database calls it; with
    `projects` (numbers) of that part of the organisation's. `zone` is that of the report's periods, `at`, `weekday` and `clock` (a zone) say when it is sent. `reason`
    says why none can be.
    """

    target: str
    kind: Kind
    scope: str
    stored: str
    zone: str
    clock: str
    at: time
    weekday: Weekday
    channel: str = ""
    address: str = ""
    projects: frozenset[int] | None = None
    reason: str = ""

    @property
    def email(self) -> str | None:
        """The member's address; None of a team."""
        kind, _, name = self.target.partition(":")
        return name if kind == "member" else None


def recipients(config: Config, decided: Mapping[tuple[str, str], Decision]) -> list[Recipient]:
    """Everybody who wants reports, by kind and in the order of the file; whoever unsubscribed from what the file says is there
    with that as a reason. `decided`: what members decided themselves."""
    scopes = _by_name(config)
    return [
        recipient
        for kind in ADVERBS
        for recipient in (*_members(config, kind, decided, scopes), *_teams(config, kind, scopes))
    ]


def unreached(config: Config) -> list[str]:
    """Who is subscribed to reports by the configuration and cannot be sent any, a line for each, with the reason that their
    deliveries would have."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for each in recipients(config, {}):
        if each.reason:
            kinds.setdefault((each.email or each.target, each.reason), []).append(ADVERBS[each.kind])
    return [
        f"{who} is subscribed to {' and '.join(adverbs)} reports and gets none: {reason}"
        for (who, reason), adverbs in kinds.items()
    ]


def recipient_of_member(
    config: Config, member: Member, kind: Kind, scopes: Mapping[str, Scope] | None = None
) -> Recipient:
    """A member as a recipient, whether or not they want this kind. `scopes` by name, for who asks for many."""
    wanted = member.reports
    scope, projects = _scope_of(config, member)
    channel = channel_of(
        config,
        member.notifications.model_copy(update={"channel": wanted.channel or member.notifications.channel}),
    )
    address, reason = _where_to(member, channel)
    if projects is not None and not projects:
        reason = NO_PROJECTS
    known = (scopes or _by_name(config))[scope]
    return Recipient(
        target=f"member:{member.email}", kind=kind, scope=scope, stored=known.stored, zone=known.zone,
        clock=member.timezone, at=wanted.at, weekday=wanted.weekday, channel=channel.name if channel else "", address=address,
        projects=projects, reason=reason,
    )  # fmt: skip


def recipient_of_team(
    config: Config, team: Team, kind: Kind, scopes: Mapping[str, Scope] | None = None
) -> Recipient:
    """A team's channel as a recipient."""
    scope = f"team:{team.slug}"
    known = (scopes or _by_name(config))[scope]
    reason = NO_CHANNEL if team.channel is None else ""
    channel = config.channel(team.channel) if team.channel else None
    if channel is not None and channel.type == "mail" and not channel.to:
        reason = NO_ADDRESS
    return Recipient(
        scope,
        kind,
        scope,
        known.stored,
        known.zone,
        known.zone,
        TEAM_AT,
        TEAM_WEEKDAY,
        channel=team.channel or "",
        reason=reason,
    )


def told_of(config: Config) -> dict[str, str]:
    """By target of everybody who can get reports, whether or not they want any: the scope of theirs, as it is stored."""
    scopes = _by_name(config)
    members = {f"member:{member.email}": _scope_of(config, member)[0] for member in config.members}
    teams = {f"team:{team.slug}": f"team:{team.slug}" for team in config.teams}
    return {target: scopes[name].stored for target, name in (members | teams).items()}


def due_at(recipient: Recipient, period: Period) -> datetime:
    """When a report is to be sent (UTC): at the hour of their wish, on the first day that suits, once the period is over.

    East of the report's zone that hour can come before the end of the period: then it is sent at the end, and not a day, a week
    or a month later.
    """
    clock = ZoneInfo(recipient.clock)
    day = period.end.astimezone(clock).date()
    if recipient.kind == "day":
        day = period.next().key
    elif recipient.kind == "week":
        day += timedelta(days=(WEEK.index(recipient.weekday) - day.weekday()) % 7)
    else:
        day = _first_of_month(day)
    return max(moment(day, recipient.at, clock), period.end)


def held_until(config: Config, recipient: Recipient, now: datetime) -> datetime:
    """When a message may leave: now, or when the member's quiet hours end."""
    member = config.member(recipient.email) if recipient.email else None
    quiet = member.notifications.quiet_hours if member else None
    return quiet_until(quiet, recipient.clock, now) or now


def _first_of_month(day: date) -> date:
    """The first day of the month that a local day is near: a period that ends at the end of a month ends on its last day, or
    on the first of the next, by the clock of whoever reads."""
    return day if day.day == 1 else (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def _by_name(config: Config) -> dict[str, Scope]:
    return {scope.name: scope for scope in scopes_of(config)}


def _members(
    config: Config, kind: Kind, decided: Mapping[tuple[str, str], Decision], scopes: Mapping[str, Scope]
) -> Iterator[Recipient]:
    """Who unsubscribed from what the file says is not forgotten: there is a row that says so."""
    for member in config.members:
        wanted = subscription_of(member, kind, decided).wanted
        if wanted or subscription_of(member, kind, {}).wanted:
            found = recipient_of_member(config, member, kind, scopes)
            yield found if wanted else replace(found, reason=UNSUBSCRIBED)


def _teams(config: Config, kind: Kind, scopes: Mapping[str, Scope]) -> Iterator[Recipient]:
    for team in config.teams:
        if ADVERBS[kind] in team.reports:
            yield recipient_of_team(config, team, kind, scopes)


def _scope_of(config: Config, member: Member) -> tuple[str, frozenset[int] | None]:
    """Which report a member gets. One project, or one team's, has a report of its own, whose numbers all of its people see;
    several projects are told of together, as part of the organisation's.
    """
    wanted = member.reports.projects
    if wanted == "all":
        return ORGANISATION, None
    slugs = set(wanted)
    if wanted == "mine":
        teams = [team for team in config.teams if member.email in team.members and team.projects]
        if len(teams) == 1:
            return f"team:{teams[0].slug}", None
        slugs = {slug for team in teams for slug in team.projects}
    if len(slugs) == 1:
        return f"project:{slugs.pop()}", None
    return ORGANISATION, frozenset(project.id for project in config.projects if project.slug in slugs)


def _where_to(member: Member, channel: AnyChannel | None) -> tuple[str, str]:
    """The address of a member on their channel, and why there is none that reaches them."""
    if channel is None:
        return "", NO_CHANNEL
    address = member.address or (member.email if channel.type == "mail" else "")
    return address, NO_ADDRESS if channel.type == "mail" and "@" not in address else ""
