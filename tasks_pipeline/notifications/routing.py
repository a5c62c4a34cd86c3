"""routes: from the targets of an alert to people and channels, with what they prefer."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from tasks_pipeline.config import Config
from tasks_pipeline.config.ownership import Ownership
from tasks_pipeline.config.people import Member
from tasks_pipeline.notifications.preferences import channel_of, preferences_of, teams_of
from tasks_pipeline.notifications.quiet import quiet_until


@dataclass(frozen=True, slots=True)
class Route:
    """A message's way to one person or channel.

    `target`: `member:EMAIL`, `team:SLUG` or `channel:NAME`. `delivery`: immediate, digest or skipped; `reason` says why it
    is skipped or late. `address` is where on the channel, for those that need one.
    """

    target: str
    channel: str
    address: str
    delivery: str
    not_before: datetime
    reason: str = ""


def routes(
    config: Config,
    *,
    project_id: int,
    targets: Sequence[str],
    rule: str,
    severity: str,
    at: datetime,
    assignee: str | None = None,
    paths: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    url: str | None = None,
    authors: Sequence[str] = (),
) -> list[Route]:
    """Who is told, and how: one route per person, team or channel, however many targets name them. `authors` are addresses of
    those whose commits are suspected, in lower case.

    Whoever does not want to be told is in the list too, as skipped, so that the log can say why.
    """
    found: dict[str, Route] = {}
    for target in _resolved(config, project_id, targets, assignee, paths, tags or {}, url, authors):
        for route in _routes_of(config, target, project_id, rule, severity, assignee, at):
            known = found.get(route.target)
            if known is None or (known.delivery == "skipped" and route.delivery != "skipped"):
                found[route.target] = route
    return list(found.values())


def _resolved(
    config: Config,
    project_id: int,
    targets: Sequence[str],
    assignee: str | None,
    paths: Sequence[str],
    tags: Mapping[str, str],
    url: str | None,
    authors: Sequence[str],
) -> Iterator[str]:
    """Targets without the words that stand for others."""
    for target in targets:
        match target:
            case "assignee":
                if assignee:
                    yield assignee if assignee.startswith("team:") else f"member:{assignee}"
            case "owners":
                yield from owners_of(config, project_id, paths, tags, url)
            case "suspects":
                yield from (f"member:{member.email}" for member in members_of(config, authors))
            case "members":
                yield from (f"member:{member.email}" for member in config.members)
            case "operators":
                yield from config.watch.operators
            case _:
                yield target


def members_of(config: Config, mails: Sequence[str]) -> list[Member]:
    """The members among the authors of commits, in their order; `mails` are in lower case, and most people are none."""
    known = {member.email: member for member in config.members}
    return [known[mail] for mail in mails if mail in known]


def owners_of(
    config: Config,
    project_id: int,
    paths: Sequence[str],
    tags: Mapping[str, str],
    url: str | None,
) -> tuple[str, ...]:
    """The owners that the last matching rule of the project's `ownership` names."""
    project = config.project(project_id)
    for rule in reversed(project.ownership if project else ()):
        if _owns(rule, paths, tags, url):
            return rule.owners
    return ()


def _owns(rule: Ownership, paths: Sequence[str], tags: Mapping[str, str], url: str | None) -> bool:
    if rule.path is not None and not any(
        _path_glob(glob).search(path[:1000]) for glob in rule.path for path in paths
    ):
        return False
    if rule.url is not None and not (url and any(fnmatch.fnmatchcase(url[:2000], glob) for glob in rule.url)):
        return False
    if rule.tag is not None:
        value = tags.get(rule.tag.name)
        return value is not None and any(fnmatch.fnmatchcase(value, glob) for glob in rule.tag.value)
    return True


@lru_cache(maxsize=1024)
def _path_glob(glob: str) -> re.Pattern[str]:
    """`*` stays in a folder, `**` spans folders; a glob may begin at any folder unless it begins with `/`."""
    pieces = re.split(r"(\*\*/?|\*|\?)", re.sub(r"\*{3,}", "**", glob.lstrip("/")))
    meant = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    body = "".join(meant.get(piece, re.escape(piece)) for piece in pieces)
    return re.compile(f"{'^/?' if glob.startswith('/') else '(?:^|/)'}{body}$")


def _routes_of(
    config: Config,
    target: str,
    project_id: int,
    rule: str,
    severity: str,
    assignee: str | None,
    at: datetime,
) -> Iterable[Route]:
    kind, _, name = target.partition(":")
    if kind == "channel":
        return (Route(target, name, "", "immediate", at),)
    if kind == "team":
        team = config.team(name)
        if team is None:
            return (Route(target, "", "", "skipped", at, f"there is no team {name}"),)
        if team.channel is not None:
            return (Route(target, team.channel, "", "immediate", at),)
        members = [member for email in team.members if (member := config.member(email))]
    else:
        one = config.member(name)
        if one is None:
            return (Route(target, "", "", "skipped", at, f"{name} is not a member"),)
        members = [one]
    return [_route_of_member(config, m, project_id, rule, severity, assignee, at) for m in members]


def _route_of_member(
    config: Config,
    member: Member,
    project_id: int,
    rule: str,
    severity: str,
    assignee: str | None,
    at: datetime,
) -> Route:
    wanted = preferences_of(config, member, project_id)
    target = f"member:{member.email}"
    channel = channel_of(config, wanted)
    reason = ""
    if channel is None:
        reason = "no channel: none is chosen, and no mail channel is configured"
    elif wanted.delivery == "none":
        reason = "wants no notifications"
    elif not any(fnmatch.fnmatchcase(rule, glob) for glob in wanted.rules):
        reason = f"does not want those of rule {rule}"
    elif wanted.only_assigned and not (
        assignee and assignee in {member.email, *teams_of(config, member.email)}
    ):
        reason = "wants only what is assigned to them"
    if channel is None or reason:
        return Route(target, channel.name if channel else "", "", "skipped", at, reason)
    address = member.address or (member.email if channel.type == "mail" else "")
    if wanted.delivery == "digest":
        return Route(target, channel.name, address, "digest", at, "waits for the digest")
    quiet = wanted.quiet_hours
    loud = quiet is not None and quiet.except_critical and severity == "critical"
    until = None if loud else quiet_until(quiet, member.timezone, at)
    return Route(
        target,
        channel.name,
        address,
        "immediate",
        until or at,
        f"quiet hours until {until:%Y-%m-%d %H:%M} UTC" if until else "",
    )
