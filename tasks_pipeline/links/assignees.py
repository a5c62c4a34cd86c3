"""Who has a group and who has its issue: the same person on both sides, and what a pass does when they differ. Asks nothing, writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks_pipeline.config import Config
from tasks_pipeline.config.integrations import Way
from tasks_pipeline.config.people import folded
from tasks_pipeline.texts import clean
from tasks_pipeline.trackers.issue import Person

NOBODY = ""


@dataclass(frozen=True, slots=True)
class Accounts:
    """Who is who in an integration. `logins`: by address or team:SLUG. `people`: the same by login, in one case of letters, a member
    before a team. `members`: all addresses, of which some may be seen there."""

    logins: Mapping[str, str]
    people: Mapping[str, str]
    members: Collection[str]

    def login(self, assignee: str) -> str | None:
        """What an assignee of ours is called there; None when nobody said so."""
        return self.logins.get(assignee if assignee.startswith("team:") else folded(assignee))

    def assignee(self, person: Person) -> str | None:
        """Who of ours somebody there is: by account first, then by address; None when nobody knows."""
        if found := self.people.get(person.login.casefold()):
            return found
        address = folded(person.email)
        return address if address in self.members else None


def accounts_of(config: Config, integration: str) -> Accounts:
    """The accounts that members and teams have in an integration."""
    logins = {member.email: member.accounts.get(integration) for member in config.members}
    logins |= {f"team:{team.slug}": team.accounts.get(integration) for team in config.teams}
    known = {ours: login for ours, login in logins.items() if login}
    people: dict[str, str] = {}
    for ours, login in known.items():  # members come first
        people.setdefault(login.casefold(), ours)
    return Accounts(known, people, frozenset(member.email for member in config.members))


@dataclass(frozen=True, slots=True)
class Assigned:
    """What to do. `to`: a login to push, an address or team:SLUG to pull, each empty for nobody. `agreed`: what the link holds once
    it is done; None: as before. `note`: what differs and is not carried. `otherwise`: what to do instead when both sides changed and theirs
    came later."""

    do: Literal["nothing", "push", "pull"]
    to: str = NOBODY
    agreed: str | None = None
    note: str = ""
    otherwise: Assigned | None = None


def decide_assignee(
    ours: str | None,
    theirs: Sequence[Person],
    agreed: str | None,
    accounts: Accounts,
    *,
    way: Way,
    take: str | None = None,
    refused: str | None = None,
) -> Assigned:
    """What a pass does about the assignee. `agreed` is ours as both sides had it last, empty for nobody, None: never.

    Whoever cannot be told on the other side changes nothing there, and nobody is unassigned for it. Of several there one is ours,
    or the first that is known. Where both sides changed ours stays, unless theirs came later, which others know. `refused`: an assignee of ours that
    was not taken there; it is not pushed again while both sides stay as they are.
    """
    mine = ours or NOBODY
    if way == "off":
        return Assigned("nothing")
    if _has(theirs, mine, accounts):
        return Assigned("nothing", agreed=mine)
    known = [name for name in map(accounts.assignee, theirs) if name is not None]
    changed_here = mine != agreed
    changed_there = agreed is None or not _has(theirs, agreed, accounts)
    if agreed is None:  # who has nobody has nothing to say yet
        changed_here, changed_there = bool(mine), bool(theirs) and (not mine or take == "theirs")
        changed_here = changed_here and not changed_there
    pushes, pulls = way in ("both", "push"), way in ("both", "pull")
    login = accounts.login(mine) if mine else NOBODY
    stranger = bool(theirs) and not known
    if changed_here and pushes and login is not None:
        if mine == refused and not changed_there:
            return Assigned("nothing", note=f"assignee: not taken there ({login})")
        both = changed_there and pulls and not stranger and agreed is not None
        return Assigned("push", login, agreed=mine, otherwise=_pulled(known) if both else None)
    if changed_there and pulls and not stranger:
        return _pulled(known)
    return Assigned(
        "nothing",
        note=_note(theirs if changed_there and pulls else (), mine if changed_here and pushes else NOBODY),
    )


def _pulled(known: Sequence[str]) -> Assigned:
    to = known[0] if known else NOBODY
    return Assigned("pull", to, agreed=to)


def _has(theirs: Sequence[Person], name: str, accounts: Accounts) -> bool:
    """Whether an issue is assigned to somebody of ours, or for nobody, to nobody."""
    if not name:
        return not theirs
    login = (accounts.login(name) or "").casefold()
    return any(
        (login and person.login.casefold() == login) or accounts.assignee(person) == name for person in theirs
    )


def _note(theirs: Sequence[Person], mine: str) -> str:
    names = [*(person.login or person.name for person in theirs[:3]), *([mine] if mine else [])]
    return clean(f"assignee: not mapped ({', '.join(names)})", 300) if names else ""
