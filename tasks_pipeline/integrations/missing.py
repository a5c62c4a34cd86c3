"""Issues that are not found any more: when a link is gone, and when it is not but its whole repository or project is out of sight."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.groups.by_trackers import Origin, note_of_issue
from tasks_pipeline.integrations.work import Work
from tasks_pipeline.links.intents import drop_intents
from tasks_pipeline.links.rows import GONE, HELD, LINKED, group_of_links, read_link, update_link
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict

APART = timedelta(hours=1)
"""An issue is gone when it was not found twice, so far apart, while its repository or project can be read."""


def missed(work: Work, tracker: Tracker, link_id: int, verdict: Verdict) -> bool:
    """Note that an issue was not found; True when its link is gone from now on. It is never resolved for that, and never made again."""
    now = datetime.now(UTC)
    with work.state.read() as connection:
        link = read_link(connection, link_id)
    if link is None or link.state not in (LINKED, HELD):
        return False
    for_sure = verdict.do is Do.GONE
    waited = link.missing_since is not None and now - link.missing_since >= APART
    problem = _problem(work, tracker) if for_sure or waited else ""
    if problem or not (for_sure or waited):
        with work.state.write() as connection:
            since = None if problem else link.missing_since or now
            again = now + APART if since is None else since + APART
            update_link(
                connection, link_id, missing_since=since, look_at=max(again, now + timedelta(minutes=1)),
                error=problem or verdict.said or "it was not found", last_looked_at=now,
            )  # fmt: skip
        return False
    return _gone(work, link_id, verdict.said or "it was not found, twice", now)


def _gone(work: Work, link_id: int, why: str, now: datetime) -> bool:
    state = work.state
    with state.write() as connection:
        state.serialise(connection, "group_hashes")
        link = read_link(connection, link_id, lock=True)
        if link is None or link.state not in (LINKED, HELD):
            return False
        drop_intents(connection, [link_id], now, "its issue is gone")
        update_link(
            connection, link_id, state=GONE, held="", error=why[:1000], look_at=None, verdict="gone",
            last_looked_at=now,
        )  # fmt: skip
        group_id = group_of_links(connection, [link])[link_id]
        origin = Origin(link.tracker, link.shown_key, link.url)
        note_of_issue(state, connection, [group_id], f"is gone: {why}", origin)
    work.report.count(link.tracker, "gone")
    work.report.move(link.tracker, link.shown_key, f"gone: {why}", link.url)
    return True


def _problem(work: Work, tracker: Tracker) -> str:
    """Why the repository or project cannot be read; empty when it can."""
    try:
        return work.provider.place(tracker).problem
    except TrackerError as error:
        return str(error) or "its repository or project cannot be read"
