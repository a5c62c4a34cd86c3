"""What a pass looks at on our side: links with their groups, further issues of the groups, further groups of the issues, and what is
on its way. Read for many links at once, since most of them have nothing to do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from tasks_pipeline.config import Config
from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.links.agree import CLOSED, DUPLICATE, OPEN, Decision, Ours, Theirs, decide
from tasks_pipeline.links.assignees import Accounts, Assigned, decide_assignee
from tasks_pipeline.links.intents import UNFINISHED
from tasks_pipeline.links.rows import (
    HELD,
    LINKED,
    Link,
    group_of_links,
    links_of_groups,
    links_of_issues,
    our_word,
    read_links,
)
from tasks_pipeline.links.seen import REFUSED, is_the_same, issue_of
from tasks_pipeline.links.turns import ASSIGNEE, recent
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import groups, issue_intents
from tasks_pipeline.trackers.issue import Issue

FLAPPING = "flapping"
_GROUP = ("id", "status", "resolution", "assignee", "last_seen", "merged_into", "times_seen", "last_release")


@dataclass(frozen=True, slots=True)
class View:
    """Our side of a link. `group`: the row of the group that it belongs to now. `other_groups`: further groups of the issue, in
    words of ours. `other_links`: further links of the group. `tried`: what a write whose end is not known wanted of the issue.
    `on_its_way`: kinds of intents that are not at their end."""

    link: Link
    group: Row[Any]
    other_groups: Sequence[str]
    other_links: Sequence[Link]
    tried: str
    on_its_way: frozenset[str]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a pass does about a link. `link`: linked, held or another state, as it is from now on."""

    state: Decision
    assignee: Assigned
    link: str


def views(connection: Connection, link_ids: Iterable[int]) -> dict[int, View]:
    """By link, for those that are there and whose group is."""
    links = read_links(connection, link_ids)
    owners = group_of_links(connection, links.values())
    further = links_of_groups(connection, set(owners.values()))
    shared = _shared(connection, links.values())
    other_owners = group_of_links(
        connection, (each for found in shared.values() for each in found if each.id not in owners)
    )
    everyone = owners | other_owners
    rows = _groups(connection, set(everyone.values()))
    tried, on_its_way = _intents(
        connection, {**links, **{each.id: each for of in shared.values() for each in of}}
    )
    found = {}
    for link in links.values():
        group = rows.get(owners[link.id])
        if group is None:
            continue
        others = {
            everyone[each.id]
            for each in shared.get((link.tracker, link.external_id or ""), ())
            if each.id != link.id and each.state in (LINKED, HELD)
        }
        found[link.id] = View(
            link,
            group,
            [our_word(rows[each]) for each in sorted(others) if each != group.id and each in rows],
            [each for each in further.get(group.id, ()) if each.id != link.id],
            tried.get((link.tracker, link.external_id or ""), ""),
            frozenset(on_its_way.get(link.id, ())),
        )
    return found


def judge(
    view: View,
    issue: Issue | None,
    config: Config,
    tracker: Tracker,
    accounts: Accounts,
    now: datetime,
    *,
    skew: float = 0.0,
    sending: bool = False,
) -> Judged:
    """What a pass decides. `issue`: as a look just showed it; None: as the last look did. `skew`: seconds that their clock is ahead
    of ours. `sending`: a change is about to be made there, so a link that is held is given another try."""
    link = view.link
    seen = issue if issue is not None else issue_of(link)
    state = LINKED if link.state == HELD and (sending or _may_go_on(link, issue, now)) else link.state
    word = our_word(view.group)
    quiet_since = seen.closed_at - timedelta(seconds=skew) if seen.closed_at else None
    came = quiet_since is None or (view.group.last_seen is not None and view.group.last_seen > quiet_since)
    ours = Ours(word, link.settled, view.other_groups, int(came), link.moved(view.group.id))
    theirs = Theirs(
        str(seen.state),
        seen.reason,
        seen.moved_to,
        [str(each.theirs.get("state", "")) for each in view.other_links if _is_pulled(each, config)],
        view.tried,
        _beside(view, seen),
    )
    turns = recent(link, tracker, now)
    decision = decide(ours, theirs, link.agreed_state, tracker, link=state, take=link.take, turns=turns)
    assigned = Assigned("nothing")
    if state == LINKED and word != "discarded" and decision.do not in ("follow", "hold"):
        assigned = decide_assignee(
            view.group.assignee,
            seen.assignees,
            link.agreed_assignee,
            accounts,
            way=tracker.sync.assignee,
            take=link.take,
            refused=link.theirs.get(REFUSED),
        )
    if assigned.do != "nothing" and recent(link, tracker, now, ASSIGNEE) > tracker.flap_limit:
        return Judged(Decision("hold", "assignee", why=FLAPPING), Assigned("nothing"), state)
    return Judged(decision, assigned, state)


def _may_go_on(link: Link, issue: Issue | None, now: datetime) -> bool:
    """Whether a held link is tried again: its time has come, or the issue changed since. Two robots that fight are not asked."""
    if link.look_at is not None and link.look_at <= now:
        return True
    return link.held != FLAPPING and issue is not None and not is_the_same(issue, link)


def _beside(view: View, seen: Issue) -> str:
    """Open or closed, of issues of the group in the same tracker beside which this one may be a duplicate; empty when there is none. Of
    groups that were merged together into one without an issue, the first issue is kept."""
    link, group_id = view.link, view.group.id
    states = {
        str(each.theirs.get("state", ""))
        for each in view.other_links
        if each.tracker == link.tracker
        and each.external_id not in (None, link.external_id)
        and each.state in (LINKED, HELD)
        and each.settled != DUPLICATE
        and (str(seen.state) == CLOSED or each.moved(group_id) != "merged" or each.id < link.id)
    }
    return OPEN if OPEN in states else CLOSED if states else ""


def _is_pulled(link: Link, config: Config) -> bool:
    """Whether the state of an issue says something about its group."""
    tracker = config.tracker(link.tracker)
    return link.state in (LINKED, HELD) and tracker is not None and tracker.sync.status in ("both", "pull")


def _shared(connection: Connection, links: Iterable[Link]) -> dict[tuple[str, str], list[Link]]:
    by_tracker: dict[str, set[str]] = defaultdict(set)
    for link in links:
        if link.external_id is not None:
            by_tracker[link.tracker].add(link.external_id)
    return {
        (tracker, key): found
        for tracker, keys in by_tracker.items()
        for key, found in links_of_issues(connection, tracker, keys).items()
    }


def _groups(connection: Connection, group_ids: Iterable[int]) -> dict[int, Row[Any]]:
    rows: dict[int, Row[Any]] = {}
    for chunk in chunks(sorted(group_ids)):
        query = select(*(groups.c[name] for name in _GROUP)).where(groups.c.id.in_(chunk))
        rows.update({row.id: row for row in connection.execute(query)})
    return rows


def _intents(
    connection: Connection, links: Mapping[int, Link]
) -> tuple[dict[tuple[str, str], str], dict[int, set[str]]]:
    """By issue: what a write whose end is not known wanted of it; by link: kinds of what is on its way."""
    c = issue_intents.c
    tried: dict[tuple[str, str], str] = {}
    kinds: dict[int, set[str]] = defaultdict(set)
    for chunk in chunks(sorted(links)):
        query = select(c.link_id, c.kind, c.data).where(c.link_id.in_(chunk), c.status.in_(UNFINISHED))
        for row in connection.execute(query.order_by(c.id)):
            kinds[row.link_id].add(row.kind)
            if row.kind == "state" and row.data.get("tried"):
                link = links[row.link_id]
                tried[link.tracker, link.external_id or ""] = row.data["tried"]
    return tried, kinds
