"""Paging: what changed since a cursor, for providers that list by the time of the last change. What moves meanwhile is not lost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from tasks_pipeline.trackers.answers import TrackerError
from tasks_pipeline.trackers.issue import Changes, Cursor, Issue

T = TypeVar("T")
AHEAD = timedelta(days=1)
"""What is dated later than that moves no cursor: one row, or one moment of a wrong clock, would hide all that follows."""
LESS_LONG = 20
"""So many answers that are too long are taken in one go."""
Page = Callable[[datetime, int], Sequence[Issue]]
"""(since, offset) to issues that changed since then, that time included, oldest change first; `PAGE` of them at most."""

PAGE = 100
PAGES = 10
"""So many pages are read in a step, and more while one second has more issues than those."""
MOST_PAGES = 200


def beginning(said: datetime) -> datetime:
    """Where the first poll begins: by their clock or ours, whichever is behind. What a gateway writes into an answer may be ahead of the
    times of the rows, and all that changes until these have come so far would never be seen."""
    return min(said, datetime.now(UTC))


def changed_since(
    cursor: Cursor, page: Page, their_clock: Callable[[], datetime], overlap: timedelta
) -> Changes:
    """What changed since the cursor, each issue once, and the cursor to go on from. The first poll only says from when on.
    A poll begins `overlap` before the newest change that was seen: lists lag, and their times have whole seconds.

    The next page begins at the time of the last row, not behind a number of rows: an issue that changes meanwhile moves to the end,
    and would pull a row that was not read yet before the offset. Within one second there is no other way than the offset: such a second is
    read until it shows nothing new.
    """
    latest = datetime.now(UTC) + AHEAD
    if cursor.since is None:
        return Changes((), None, Cursor(beginning(their_clock()) - overlap))
    at, offset, is_new = cursor.since, 0, False
    found: dict[str, Issue] = {}
    more = False
    for number in range(1, MOST_PAGES + 1):
        rows = page(at, offset)
        is_new = is_new or any(found.get(issue.external_id) != issue for issue in rows)
        found |= {issue.external_id: issue for issue in rows}
        last = rows[-1].updated_at if rows else None
        is_last = len(rows) < PAGE or last is None
        if last == at and not is_last:
            offset += PAGE
        elif offset and is_new:  # what left this second meanwhile pulled others before the offset
            offset, is_new = 0, False
        elif is_last or last is None:
            break
        else:
            at, offset, is_new = last, 0, False
            if number >= PAGES:
                more = at <= latest
                break
    times = [
        changed for issue in found.values() if (changed := issue.updated_at) is not None and changed <= latest
    ]
    newest = max(times, default=cursor.since)
    since = at if more else max(cursor.since, newest - overlap)
    prints = {issue.external_id: fingerprint(issue) for issue in found.values()}
    seen = {
        issue.external_id: prints[issue.external_id]
        for issue in found.values()
        if issue.updated_at is not None and issue.updated_at >= since
    }
    news = [issue for key, issue in found.items() if cursor.seen.get(key) != prints[key]]
    return Changes(news, None, Cursor(since, seen), more)


def fingerprint(issue: Issue) -> str:
    """Short, and another one when something changed that a list shows."""
    people = sorted(person.login for person in issue.assignees)
    shown = (issue.updated_at, issue.title, issue.state, issue.status, issue.reason, people, issue.body)
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


def in_parts(rows: Callable[[int, int], Sequence[T]], offset: int, many: int) -> list[T]:
    """Rows by (offset, how many), in as many parts as it takes where they are too long for one answer; one that is so by itself is left
    out. Raises TrackerError when that is so again and again."""
    left = LESS_LONG

    def read(offset: int, many: int) -> list[T]:
        nonlocal left
        try:
            return list(rows(offset, many))
        except TrackerError as error:
            left -= 1
            if not error.is_too_long or left <= 0:
                raise
        size = max(1, many // 5)
        parts = range(offset, offset + many, size) if many > 1 else ()
        return [row for at in parts for row in read(at, min(size, offset + many - at))]

    return read(offset, many)
