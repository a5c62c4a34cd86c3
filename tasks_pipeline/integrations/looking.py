"""Looks: a read of one issue and a pass over each of its links, for whoever asks for it; and what a page of a list means for links."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import bindparam, update

from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.groups.by_trackers import Origin, note_of_issue
from tasks_pipeline.integrations.attributing import with_who
from tasks_pipeline.integrations.commenting import comments_of_issue, put_comments, take_comments
from tasks_pipeline.integrations.missing import missed
from tasks_pipeline.integrations.passing import (
    COMMENTS,
    HELD_FOR,
    RARELY,
    hold,
    is_unread,
    settle,
    tell_held,
)
from tasks_pipeline.integrations.work import Work
from tasks_pipeline.links.rows import (
    HELD,
    LINKED,
    Link,
    ask_for_looks,
    links_of_issues,
    update_link,
)
from tasks_pipeline.links.seen import is_the_same, looked
from tasks_pipeline.links.views import View, judge, views
from tasks_pipeline.storage.state.tables import issue_links
from tasks_pipeline.texts import clean
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.issue import Comment, Issue

LATER = timedelta(seconds=60)
"""After so long a look is tried again that failed."""
FOLLOWED = 3
"""So many steps an issue is followed that goes on elsewhere."""
NOT_THERE = Verdict(Do.MAYBE_GONE, said="it was not found")


@dataclass(frozen=True, slots=True)
class Page:
    """Issues as a list shows them. `comments`: those that changed, by issue, where the provider lists those of a whole place; None
    where they have to be read issue by issue."""

    issues: Sequence[Issue]
    comments: Mapping[str, Sequence[Comment]] | None = None

    @property
    def ids(self) -> list[str]:
        """All issues that it says something of."""
        return sorted({issue.external_id for issue in self.issues} | set(self.comments or ()))

    def of(self, link: Link) -> Sequence[Comment] | None:
        """What it says of the comments of an issue: none of them changed, or (None) nothing."""
        return None if self.comments is None else self.comments.get(link.external_id or "", ())


def look(work: Work, tracker: Tracker, link: Link, *, comments: bool = False) -> None:
    """Read the issue of a link and pass over it. `comments`: also look for changes of comments that leave no trace. What goes wrong
    costs this link alone, which is looked at again later. Raises TrackerError when nothing of the integration can be asked."""
    now = datetime.now(UTC)
    comments = comments or COMMENTS in link.note
    work.report.count(tracker.name, "looks")
    assert link.external_id is not None
    try:
        issue = work.provider.read(tracker, link.external_id, "" if comments else link.etag)
        found = None
        if issue is not None:
            issue = with_who(work, tracker, link, issue)
            if comments or _may_have_changed(work, tracker, link, issue):
                issue, found = _with_comments(work, tracker, issue)
    except TrackerError as error:
        _failed(work, tracker, link, error, now)
        return
    _pass(work, tracker, link, issue, found, whole=True)


def _with_comments(work: Work, tracker: Tracker, issue: Issue) -> tuple[Issue, Sequence[Comment] | None]:
    """An issue and all of its comments; where these are too long to be read, it says so and is kept in step without them."""
    try:
        found = comments_of_issue(work, tracker, issue)
        return (issue if found is None else replace(issue, comments=tuple(found))), found
    except TrackerError as error:
        if not error.is_too_long:
            raise
        return replace(issue, unread=str(error)), None


def _may_have_changed(work: Work, tracker: Tracker, link: Link, issue: Issue) -> bool:
    """Whether comments of an issue are worth a call: not where polls bring them."""
    if issue.comments is not None:
        return True
    return not is_the_same(issue, link) and not work.lists_comments.get(tracker.name, False)


def pass_page(work: Work, tracker: Tracker, page: Page) -> None:
    """Pass over all links of the issues of a page. Most have nothing to do: they are looked at together, and only noted as seen.

    Whatever a pass of one link raises costs that link, which is looked at again later.
    """
    now = datetime.now(UTC)
    by_id = {issue.external_id: issue for issue in page.issues}
    with work.state.read() as connection:
        links = [
            link for found in links_of_issues(connection, tracker.name, page.ids).values() for link in found
        ]
        seen = views(connection, [link.id for link in links if link.state in (LINKED, HELD)])
        skew = work.skew(connection)
    at_rest, to_pass = [], []
    for view in seen.values():
        link = view.link
        issue = by_id.get(link.external_id or "")
        if issue is not None and _is_at_rest(work, tracker, view, issue, page.of(link), now, skew):
            at_rest.append((link, issue))
        else:
            to_pass.append((link, issue))
    _note_seen(work, at_rest, now)
    work.report.count(tracker.name, "issues", len(page.issues))
    for link, issue in to_pass:
        _pass_listed(work, tracker, link, issue, page.of(link), now)


def _pass_listed(
    work: Work,
    tracker: Tracker,
    link: Link,
    issue: Issue | None,
    comments: Sequence[Comment] | None,
    now: datetime,
) -> None:
    try:
        if issue is not None and not is_the_same(issue, link) and not is_unread(link, now):
            issue = with_who(work, tracker, link, issue)
            if comments is None:
                issue, comments = _with_comments(work, tracker, issue)
                _pass(work, tracker, link, issue, comments, whole=True)
                return
    except TrackerError as error:
        _failed(work, tracker, link, error, now)
        return
    _pass(work, tracker, link, issue, comments, whole=False)


def _pass(
    work: Work,
    tracker: Tracker,
    link: Link,
    issue: Issue | None,
    comments: Sequence[Comment] | None,
    *,
    whole: bool,
) -> None:
    """Pass over a link in a transaction, comments and all; then follow an issue that goes on elsewhere."""
    now, follow = datetime.now(UTC), ""
    with work.costing(tracker.name, link.shown_key):
        if comments:
            work.us()  # before the transaction: it may have to be asked
        with work.state.write() as connection:
            passed = settle(work, connection, link.id, issue, now)
            if passed.view is not None and passed.judged is not None:
                if issue is not None:
                    _renamed(work, connection, passed.view, issue)
                else:
                    update_link(connection, link.id, last_looked_at=now, missing_since=None)
                if comments or (whole and comments is not None):
                    take_comments(work, connection, passed.view, tracker, comments, whole=whole)
                put_comments(work, connection, passed.view, tracker, now)
                follow = passed.follow
        tell_held(work, passed)
        work.report.count(tracker.name, "passes")
        if follow:
            _follow(work, tracker, link, follow)
        return
    look_later(work, link, now)


def _follow(work: Work, tracker: Tracker, link: Link, to: str) -> None:
    """Go on with the issue that took the place of another, a few steps far; out of sight, the link is gone. One that leads in a circle is
    held: it would be followed for ever."""
    now, way = datetime.now(UTC), [link.external_id or ""]
    while to:
        way.append(to)
        if to in way[:-1] or len(way) > FOLLOWED + 1:
            _hold(work, link, f"it is said to go on elsewhere without an end: {' → '.join(way)}", now)
            return
        try:
            issue = work.provider.read(tracker, to)
        except TrackerError as error:
            _out_of_sight(work, tracker, link, error, now)
            return
        to = issue.moved_to if issue is not None else ""
    if issue is not None:
        with work.state.write() as connection:
            update_link(connection, link.id, **looked(issue, link, now), look_at=now)


def _out_of_sight(work: Work, tracker: Tracker, link: Link, error: TrackerError, now: datetime) -> None:
    """An issue that goes on elsewhere could not be read there: when that is so for good, the link is gone."""
    if error.verdict.do in (Do.GONE, Do.MAYBE_GONE, Do.HELD, Do.DEAD):
        missed(work, tracker, link.id, Verdict(Do.GONE, said=f"moved out of sight: {error}"))
    else:
        _failed(work, tracker, link, error, now)


def _hold(work: Work, link: Link, why: str, now: datetime) -> None:
    with work.state.write() as connection:
        work.state.serialise(connection, "group_hashes")
        view = views(connection, [link.id]).get(link.id)
        if view is not None and view.link.state in (LINKED, HELD):
            update_link(
                connection, link.id, **hold(work, connection, view, clean(why, 500), now, now + HELD_FOR)
            )


def _renamed(work: Work, connection: object, view: View, issue: Issue) -> None:
    """Tell of an issue that is shown by another name now: it moved, or its place was renamed."""
    link = view.link
    if link.shown_key and issue.key != link.shown_key and link.theirs:
        origin = Origin(link.tracker, link.shown_key, link.url)
        what = f"is {issue.key} from now on"
        note_of_issue(work.state, connection, [view.group.id], what, origin)  # type: ignore[arg-type]
        work.report.move(link.tracker, link.shown_key, what, issue.url)


def _is_at_rest(
    work: Work,
    tracker: Tracker,
    view: View,
    issue: Issue,
    comments: Sequence[Comment] | None,
    now: datetime,
    skew: float,
) -> bool:
    """Whether a pass would change nothing but what was seen of the issue."""
    link = view.link
    asked = link.look_at is not None and link.look_at <= now
    if asked or link.state == HELD or issue.key != link.shown_key or link.error or link.missing_since:
        return False
    unchanged = is_the_same(issue, link)
    if tracker.sync.comments in ("both", "pull") and (comments or (comments is None and not unchanged)):
        return False  # they have to be compared
    judged = judge(view, issue, work.stores.config, tracker, work.accounts, now, skew=skew)
    state, assigned = judged.state, judged.assignee
    return (
        state.do == "nothing"
        and state.agreed in (None, link.agreed_state)
        and state.settled in (None, link.settled)
        and link.agreed_group in (None, view.group.id)
        and assigned.do == "nothing"
        and assigned.agreed in (None, link.agreed_assignee)
        and (assigned.note in link.note if assigned.note else "assignee:" not in link.note)
    )


def _note_seen(work: Work, at_rest: Sequence[tuple[Link, Issue]], now: datetime) -> None:
    """Note together what was seen of issues that have nothing to do."""
    if not at_rest:
        return
    c = issue_links.c
    same, changed = [], []
    for link, issue in at_rest:
        if is_the_same(issue, link):
            same.append({"id_": link.id, "last_looked_at_": now})
        else:
            columns = looked(issue, link, now)
            changed.append({"id_": link.id, **{f"{name}_": value for name, value in columns.items()}})
    with work.state.write() as connection:
        for rows in filter(None, (same, changed)):
            names = [name.removesuffix("_") for name in rows[0] if name != "id_"]
            seen = update(issue_links).where(c.id == bindparam("id_"))
            connection.execute(seen.values({name: bindparam(f"{name}_") for name in names}), rows)


def _failed(work: Work, tracker: Tracker, link: Link, error: TrackerError, now: datetime) -> None:
    """A look gave nothing: the issue is missing, or it is tried again."""
    verdict = error.verdict
    if verdict.do in (Do.GONE, Do.MAYBE_GONE):
        missed(work, tracker, link.id, verdict)
        return
    work.pause(verdict)
    work.fail(tracker.name, f"{link.shown_key}: {error}")
    alone = error.is_too_long or verdict.scope == "issue"  # it will say the same in a minute
    seconds = (RARELY if alone else LATER).total_seconds()
    look_later(work, link, now, str(error), max(verdict.wait, seconds))


def look_later(
    work: Work, link: Link, now: datetime, why: str = "", seconds: float = LATER.total_seconds()
) -> None:
    with work.state.write() as connection:
        update_link(
            connection,
            link.id,
            look_at=now + timedelta(seconds=seconds),
            **({"error": why[:1000]} if why else {}),
        )


def ask_later(work: Work, tracker: Tracker, external_ids: Sequence[str], now: datetime) -> None:
    """Have the links of issues looked at one by one, since a page of them could not be passed."""
    with work.state.write() as connection:
        found = links_of_issues(connection, tracker.name, external_ids)
        ask_for_looks(
            connection,
            [link.id for links in found.values() for link in links if link.state in (LINKED, HELD)],
            now,
        )
