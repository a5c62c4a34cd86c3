"""What an address of the list asks for: a query, projects, environments, a period, an order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.datastructures import QueryParams

from tasks_pipeline.pages.view import MOST_CHARACTERS, View
from tasks_pipeline.reading.events_where import of_event
from tasks_pipeline.reading.filtered import Period
from tasks_pipeline.reading.group_numbers import events_of
from tasks_pipeline.reading.parse import QueryError, parse_query
from tasks_pipeline.reading.tree import EVERYTHING, Filter, Node, both, leaves

OPEN = "is:unresolved"
"""What is searched for where the address says nothing."""
PERIODS = {
    "24h": ("24 hours", 1),
    "7d": ("7 days", 7),
    "14d": ("14 days", 14),
    "30d": ("30 days", 30),
    "90d": ("90 days", 90),
}
"""Days of each period that can be chosen."""
ANY_TIME = "all"
MANY_A_DAY = 20_000
"""Events; where there are more, a search of events is one of the last day unless a period is named."""
SORTS = {"last_seen": "last seen", "first_seen": "first seen", "events": "events", "users": "users"}


@dataclass(frozen=True, slots=True)
class Search:
    """What the address asks for. `text` is what stands in the field, `tree` all of it, with project, environment and period;
    `mistake` why there is no tree."""

    text: str
    tree: Node
    period: Period | None
    sort: str
    period_name: str
    mistake: QueryError | None = None


def search_of(view: View, arguments: QueryParams | None = None) -> Search:
    """What the address asks for, or why it asks for nothing; or other arguments of such an address."""
    asks = view.request.query_params if arguments is None else arguments
    text = asks.get("query", OPEN)[:MOST_CHARACTERS].strip()
    sort = asks.get("sort", "")
    sort = sort if sort in SORTS else "last_seen"
    try:
        tree, mistake = parse_query(text), None
    except QueryError as error:
        tree, mistake = EVERYTHING, error
    narrowed = [
        _any(key, [each for each in asks.getlist(key) if each][:50]) for key in ("project", "environment")
    ]
    tree = both(tree, *narrowed)
    name = asks.get("period") or _period_of(view, tree)
    days = PERIODS[name][1] if name in PERIODS else None
    if days is None:
        return Search(text, tree, None, sort, name, mistake)
    period = Period(view.now - timedelta(days=days), view.now + timedelta(minutes=1))
    return Search(text, both(tree, parse_query(f"lastSeen:-{days}d")), period, sort, name, mistake)


def _period_of(view: View, tree: Node) -> str:
    """The period that is meant where none is named: what groups themselves tell is of any time, and costs no look at events; of what
    is asked of events people want recent ones, and of very many the newest."""
    if not any(map(of_event, leaves(tree))):
        return ANY_TIME
    yesterday = view.now.date() - timedelta(days=1)
    return "24h" if events_of(view.asked, yesterday) > MANY_A_DAY else "14d"


def _any(key: str, values: Sequence[str]) -> Node:
    return Filter(key, tuple((value,) for value in values)) if values else EVERYTHING


def narrowed(view: View) -> tuple[Node, Period | None]:
    """Which events of a group the address asks for: by a query, environments, a period or one hour. Raises QueryError."""
    tree = both(parse_query(view.arg("query").strip()), _any("environment", view.args("environment")))
    if hour := view.arg("hour"):
        try:
            since = datetime.strptime(hour, "%Y-%m-%dT%H").replace(tzinfo=UTC)
            return tree, Period(since, since + timedelta(hours=1))
        except (ValueError, OverflowError):
            raise QueryError("an hour is written as 2026-11-28T14", 0) from None
    name = view.arg("period")
    if name not in PERIODS:
        return tree, None
    return tree, Period(view.now - timedelta(days=PERIODS[name][1]), view.now + timedelta(minutes=1))


def checked_search(view: View) -> Search:
    """What the address asks for. Raises QueryError."""
    search = search_of(view)
    if search.mistake is not None:
        raise search.mistake
    return search


def assignees_of(view: View) -> list[tuple[str, str]]:
    """Who may take care of groups: what is stored, and what people call them."""
    members = [(member.email, member.name or member.email) for member in view.config.members]
    return [*((f"team:{team.slug}", f"team {team.slug}") for team in view.config.teams), *members]
