"""What people do on pages: a form, what it asks to be done to which groups, whether that has to be confirmed, and what is told then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.datastructures import QueryParams
from starlette.responses import Response

from tasks_pipeline.acting.together import NEEDS, Act, Done, Kind, act
from tasks_pipeline.acting.undo import undo
from tasks_pipeline.groups.decisions import DecisionError
from tasks_pipeline.pages.answers import Refused, go, own_address
from tasks_pipeline.pages.search import assignees_of, search_of
from tasks_pipeline.pages.view import View
from tasks_pipeline.reading.group_list import groups_by_id, matching_groups
from tasks_pipeline.reading.parse import QueryError
from tasks_pipeline.words import counted

SHOWN = 20
"""Titles on the page that asks whether it is meant."""
TYPED_ABOVE = 20
"""Groups above which merging asks for their number."""
_DID = {
    "resolve": "resolved", "unresolve": "unresolved", "ignore": "ignored", "assign": "assigned", "merge": "merged", "discard": "discarded",
    "keep": "kept again", "unmerge": "taken out", "apart": "kept apart", "undo": "as before again", "comment": "commented",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """What was just done, in words, what was left out, and what undoes it."""

    text: str
    left: str
    undo: str


def told_of(view: View) -> Told | None:
    """What the address says of what was just done; in words of ours only."""
    did, number, left = view.arg("did"), view.arg("n"), view.arg("left")
    if did not in _DID or not number.isdecimal() or len(number) > 12:
        return None
    what = "the comment was added" if did == "comment" else f"{counted(int(number), 'group')} {_DID[did]}"
    others = (
        f"{counted(int(left), 'group')} stay as they are"
        if left.isdecimal() and len(left) < 12 and left != "0"
        else ""
    )
    undo_token = view.arg("done") if did != "undo" else ""
    return Told(what, others, undo_token if view.viewer.may("member") else "")


def act_on(view: View) -> Response:
    """Do what a form asks; ask whether it is meant first, where that is many or for good."""
    wanted = _wanted(view)
    ids = _chosen(view)
    if not ids:
        raise Refused(400, "No group was chosen.")
    meant = view.posted("confirmed") == str(len(ids))
    if view.posted("all") or wanted.kind in ("merge", "discard"):
        typed = (
            wanted.kind != "merge"
            or len(ids) <= TYPED_ABOVE
            or view.posted("typed").replace(",", "") == str(len(ids))
        )
        if not meant or not typed:
            return _ask(view, wanted.kind, ids)
    return _back(view, act(view.reading.state, view.viewer, ids, wanted))


def undo_it(view: View) -> Response:
    """Make groups again what they were before the last action."""
    done = undo(view.reading.state, view.viewer, view.posted("token"))
    return _back(view, Done("keep", done.groups, dict.fromkeys(range(done.changed_since), "")), "undo")


def _back(view: View, done: Done, did: str = "") -> Response:
    """To the page where it was asked for, which tells what was done. Raises DecisionError where nothing was."""
    if not done.groups and done.refused and not did:
        raise DecisionError(next(iter(done.refused.values())))
    path, _, query = own_address(view.posted("return")).partition("?")
    kept = QueryParams(query).multi_items()
    told = {"did": did or done.kind, "n": str(done.groups), "left": str(len(done.refused)), "done": done.undo}
    arguments = {k: v for k, v in told.items() if v not in ("", "0") or k == "n"}
    return go(
        str(
            view.request.url.replace(
                scheme="", netloc="", path=path, query=str(QueryParams([*kept, *arguments.items()]))
            )
        )
    )


def _chosen(view: View) -> list[int]:
    """The groups that were chosen, or all that the search finds now."""
    if view.posted("all"):
        search = search_of(view, QueryParams(view.posted("search").partition("?")[2]))
        if search.mistake is not None:
            raise Refused(400, f"What was searched for has a mistake: {search.mistake}.")
        try:
            return matching_groups(view.asked, view.reading.lake, search.tree, search.period)
        except QueryError as error:
            raise Refused(400, f"What was searched for has a mistake: {error}.") from error
    ids = [value for value in view.form.get("id", ()) if value.isdecimal() and len(value) < 19]
    return sorted(set(map(int, ids)))


def _ask(view: View, kind: Kind, ids: Sequence[int]) -> Response:
    if not view.viewer.may(NEEDS.get(kind, "member")):
        raise Refused(403, f"This takes the role {NEEDS.get(kind, 'member')}.")
    shown = groups_by_id(view.asked, ids[:SHOWN])
    events = (
        sum(group["times_seen"] for group in groups_by_id(view.asked, ids).values())
        if kind == "discard"
        else 0
    )
    kept = [
        (name, value)
        for name, values in view.form.items()
        for value in values
        if name not in ("confirmed", "typed", "csrf")
    ]
    return view.page(
        "confirm.html", kind=kind, count=len(ids), groups=list(shown.values()), events=events, kept=kept,
        typed=kind == "merge" and len(ids) > TYPED_ABOVE, back=own_address(view.posted("return")),
        again=bool(view.posted("confirmed")),
    )  # fmt: skip


def _wanted(view: View) -> Act:
    """What the pressed button means. Raises Refused."""
    match view.posted("do"):
        case "resolve" | "unresolve" | "ignore" | "discard" | "keep" | "unmerge" as kind:
            return Act(kind)
        case "resolve-next":
            return Act("resolve", in_next_release=True)
        case "resolve-in":
            return Act("resolve", in_release=_given(view, "release", "a release"))
        case "ignore-until":
            return Act("ignore", until=_moment(view))
        case "ignore-events":
            return Act("ignore", more_events=_count(view, "events"))
        case "ignore-users":
            return Act("ignore", more_users=_count(view, "users"))
        case "assign":
            return Act("assign", assignee=_assignee(view))
        case "merge" | "apart" as kind:
            into = view.posted("into")
            return Act(kind, into=int(into) if into.isdecimal() and len(into) < 19 else None)
    raise Refused(400, "This is nothing that can be done to groups.")


def _assignee(view: View) -> str | None:
    """Somebody of the configuration, or nobody. Raises Refused."""
    given = view.posted("assignee").strip()
    if given and given not in (name for name, _ in assignees_of(view)):
        raise Refused(400, "This is nobody who is configured as a member or a team.")
    return given or None


def _given(view: View, name: str, what: str) -> str:
    value = view.posted(name).strip()[:200]
    if not value:
        raise Refused(400, f"{what} is missing.")
    return value


def _count(view: View, name: str) -> int:
    value = view.posted(name).strip()
    if not value.isdecimal() or len(value) > 9 or int(value) < 1:
        raise Refused(400, f"How many {name} more is missing: a number from 1 on.")
    return int(value)


def _moment(view: View) -> datetime:
    try:
        until = datetime.fromisoformat(_given(view, "until", "A time"))
        until = until.replace(tzinfo=UTC) if until.tzinfo is None else until.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused(400, "Until when is missing: a time as 2027-01-31T09:00, in UTC.") from None
    if until <= view.now:
        raise Refused(400, "Until when has to lie ahead.")
    return until
