"""What changed in a repository on GitHub, and many of its issues at once, in as few requests as its lists allow."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from tasks_pipeline.trackers.answers import Do, TrackerError
from tasks_pipeline.trackers.calls import Reply
from tasks_pipeline.trackers.issue import Changes, Comment, Cursor, Issue
from tasks_pipeline.trackers.paging import AHEAD, beginning
from tasks_pipeline.trackers.providers.github_shapes import CommentShape, IssueShape
from tasks_pipeline.trackers.shapes import rows as rows_of

OVERLAP = timedelta(seconds=60)
PER_PAGE = 100
SIZES = (PER_PAGE, 20, 4)
"""Rows of a page, where those before were too long for one answer: a text has up to 65,536 characters of up to 4 bytes, or 6 in JSON."""
AGAIN = 50
"""Rows that were seen already and are read again, at most: half a page."""
PAGES = 5
"""Requests of one list in one go; `Changes.more` says that there is more behind it."""
MOST_PAGES = 150
"""Pages of one second, in which there is no place to go on from."""
MOST_SEEN = 10_000
_COMMENT = "c:"
TRIES = 4
"""Pages that are looked at for one number."""

Ask = Callable[[str, Mapping[str, str | int], str], Reply]
"""(path or address, parameters, ETag) to the reply."""
Row = TypeVar("Row", IssueShape, CommentShape)


@dataclass(frozen=True, slots=True)
class Lists:
    """The lists of a repository. `following`: the address of the page behind a reply."""

    ask: Ask
    following: Callable[[Reply], str | None]
    repository: str
    repository_id: int
    web: str

    @property
    def issues(self) -> str:
        """Path of its issues."""
        return f"/repos/{self.repository}/issues"


# ── what changed


def changes(lists: Lists, cursor: Cursor) -> Changes:
    """Issues and comments that changed since a cursor; the first one says where to begin, by their clock.

    Both lists begin an overlap before it: what was seen there already is left out by its fingerprint.
    """
    if cursor.since is None:
        return Changes((), {}, _first(lists))
    asked = _Asked.of(cursor)
    issues = _read(lists, lists.issues, {"state": "all"}, asked.issues, asked.issues_etag, IssueShape)
    comments = _comments(lists, asked)
    marked = {f"{lists.repository_id}#{row.number}": (_mark(row), row) for row in issues.rows}
    said = {f"{_COMMENT}{row.id}": (_mark(row), row) for row in comments.rows}
    fresh = [row for key, (mark, row) in marked.items() if cursor.seen.get(key) != mark]
    spoken = [row for key, (mark, row) in said.items() if cursor.seen.get(key) != mark]
    marks = {key: mark for key, (mark, _) in (*marked.items(), *said.items())}
    return Changes(
        [row.issue(lists.repository_id, lists.web) for row in fresh],
        None if comments is _NOT_LISTED else _by_issue(lists, spoken),
        _behind(cursor, asked, issues, comments, {**cursor.seen, **marks}),
        more=issues.end is not None or comments.end is not None,
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """From which time on each list is asked for, and the ETags that belong to that; as a cursor keeps it in its `etag`."""

    issues: datetime
    comments: datetime
    issues_etag: str = ""
    comments_etag: str = ""

    @classmethod
    def of(cls, cursor: Cursor) -> _Asked:
        """What a cursor that has a time says; one without more begins an overlap before it."""
        assert cursor.since is not None
        parts = cursor.etag.split("\n")
        if len(parts) != 4:
            return cls(cursor.since - OVERLAP, cursor.since - OVERLAP)
        return cls(datetime.fromisoformat(parts[0]), datetime.fromisoformat(parts[1]), parts[2], parts[3])

    def written(self) -> str:
        """For the cursor."""
        return "\n".join(
            (_written(self.issues), _written(self.comments), self.issues_etag, self.comments_etag)
        )


@dataclass(frozen=True, slots=True)
class _Rows(Generic[Row]):
    """Rows of a list, the newest state of each. `end`: the time up to which they are whole, None when it is the end of the list."""

    rows: Sequence[Row]
    etag: str
    end: datetime | None = None


_NOT_LISTED: _Rows[CommentShape] = _Rows((), "")


def _comments(lists: Lists, asked: _Asked) -> _Rows[CommentShape]:
    path = f"{lists.issues}/comments"
    try:
        return _read(lists, path, {}, asked.comments, asked.comments_etag, CommentShape)
    except TrackerError as error:
        if error.verdict.do is not Do.HELD:
            raise
        return (
            _NOT_LISTED  # the issues were readable: a server that speaks GitHub's protocol without this list
        )


def _first(lists: Lists) -> Cursor:
    params: dict[str, str | int] = {"state": "all", "sort": "updated", "direction": "desc", "per_page": 1}
    reply = lists.ask(lists.issues, params, "")
    rows = rows_of(reply, IssueShape)
    newest = rows[0].updated_at if rows else datetime.now(UTC) - timedelta(minutes=15)
    return Cursor(since=beginning(reply.date or newest))


def _read(
    lists: Lists, path: str, more: Mapping[str, str | int], start: datetime, etag: str, shape: type[Row]
) -> _Rows[Row]:
    """Rows that changed since a time, oldest change first.

    What changes while pages are read moves to the end of the list and shifts the others: so a further page is asked for by the time of
    the last row, and by its number only where all rows of a page have one time.
    """
    params = {**more, "sort": "updated", "direction": "asc"}
    sizes = list(SIZES)

    def ask(since: datetime, behind: str = "", etag: str = "") -> Reply:
        """From a time on, or what is behind a page; a page of fewer rows where their texts are too long for one answer."""
        while True:
            try:
                if behind:
                    return lists.ask(behind, {}, "")
                return lists.ask(path, {**params, "per_page": sizes[0], "since": _written(since)}, etag)
            except TrackerError as error:
                if not error.is_too_long or len(sizes) == 1:
                    raise
            del sizes[0]
            behind = etag = ""

    reply = first = ask(start, etag=etag)
    if reply.unchanged:
        return _Rows((), etag)
    found: dict[int, Row] = {}
    asked, last = start, start
    latest = datetime.now(UTC) + AHEAD
    for number in range(1, MOST_PAGES + 1):
        page: list[Row] = rows_of(reply, shape)
        for row in page:  # a later page shows the newer state
            key = row.number if isinstance(row, IssueShape) else row.id
            found[key] = row
            last = max(last, min(row.updated_at, latest))
        behind = lists.following(reply)
        if behind is None or not page:
            # The ETag is of one page alone: a full one stays as it is while what changes comes behind it.
            is_whole = number == 1 and sizes[0] == PER_PAGE and len(reply.json) < PER_PAGE
            return _Rows(list(found.values()), first.etag if is_whole else "")
        if number >= PAGES and last > start:
            break
        if page[-1].updated_at > asked:
            asked = page[-1].updated_at
            reply = ask(asked)
        else:
            reply = ask(asked, behind)
    return _Rows(list(found.values()), "", last if last > start else start + timedelta(seconds=1))


def _behind(
    cursor: Cursor,
    asked: _Asked,
    issues: _Rows[IssueShape],
    comments: _Rows[CommentShape],
    seen: Mapping[str, str],
) -> Cursor:
    """From where to go on. Where a list did not come to its end, exactly from there, for both of them."""
    assert cursor.since is not None
    ends = [rows.end for rows in (issues, comments) if rows.end is not None]
    latest = datetime.now(UTC) + AHEAD
    times = [row.updated_at for row in issues.rows] + [row.updated_at for row in comments.rows]
    times = [at for at in times if at <= latest]
    since = min(ends) if ends else max(times, default=cursor.since)
    following = _Asked(since, since)
    if not ends:
        following = _Asked(  # never back: what was seen before is no longer known
            max(asked.issues, _overlapping(since, seen, comments=False)),
            max(asked.comments, _overlapping(since, seen, comments=True)),
        )
        following = replace(
            following,
            issues_etag=issues.etag if following.issues == asked.issues else "",
            comments_etag=comments.etag if following.comments == asked.comments else "",
        )
    least = {True: _written(following.comments), False: _written(following.issues)}
    kept = {key: mark for key, mark in seen.items() if mark >= least[key.startswith(_COMMENT)]}
    if len(kept) > MOST_SEEN:
        kept = dict(sorted(kept.items(), key=lambda item: item[1])[-MOST_SEEN:])
    return Cursor(since, kept, following.written())


def _overlapping(since: datetime, seen: Mapping[str, str], *, comments: bool) -> datetime:
    """An overlap before a time; less of it where so much changed at once that it would be read again page by page."""
    begin = _written(since - OVERLAP)
    marks = sorted(
        mark for key, mark in seen.items() if key.startswith(_COMMENT) is comments and mark >= begin
    )
    if len(marks) <= AGAIN:
        return since - OVERLAP
    second = marks[-AGAIN].split(" ")[0]
    start = datetime.fromisoformat(second)
    if sum(mark >= second for mark in marks) > PER_PAGE:  # as much within one second: begin behind it
        start += timedelta(seconds=1)
    return min(start, since)


def _by_issue(lists: Lists, rows: Iterable[CommentShape]) -> dict[str, list[Comment]]:
    found: dict[str, list[Comment]] = {}
    for row in rows:
        if row.number:
            found.setdefault(f"{lists.repository_id}#{row.number}", []).append(row.comment(lists.web))
    return found


def _mark(row: IssueShape | CommentShape) -> str:
    """Begins with its time, which is whole seconds: two changes within one differ in the rest."""
    return (
        f"{_written(row.updated_at)} {hashlib.sha256(repr(row).encode('utf-8', 'replace')).hexdigest()[:16]}"
    )


def _written(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# ── many at once


def by_numbers(lists: Lists, numbers: Iterable[int]) -> tuple[dict[int, Issue], list[int]]:
    """Issues of a repository by their numbers, and the numbers that were found in no list: they are gone, moved, or have to be read one
    by one.

    A list has no filter by number, but in the order of creation issue N stands close before place N: a page holds what stands beside it as
    well. How many are missing before it is learnt with each page.
    """
    wanted = sorted(set(numbers))
    found: dict[int, Issue] = {}
    unfound: list[int] = []
    pages: dict[int, list[int]] = {}
    missing = 0
    while wanted:
        number = wanted[0]
        page = max(1, (number - 1 - missing) // PER_PAGE + 1)
        for _ in range(TRIES):
            if page not in pages:
                pages[page] = _page(lists, page, found)
            listed = pages[page]
            if not listed or number in found or _is_missing(number, listed):
                break
            missing = max(0, listed[0] - ((page - 1) * PER_PAGE + 1))
            step = 1 if number > listed[len(listed) // 2] else -1
            if page + step < 1:
                break
            page += step
        if number not in found:
            unfound.append(number)
        wanted = [each for each in wanted if each not in found and each != number]
    return {number: found[number] for number in set(numbers) & set(found)}, unfound


def _page(lists: Lists, page: int, found: dict[int, Issue]) -> list[int]:
    """The numbers of a page, in order; its issues go to `found`."""
    params: dict[str, str | int] = {"state": "all", "sort": "created", "direction": "asc"}
    try:
        reply = lists.ask(lists.issues, {**params, "per_page": PER_PAGE, "page": page}, "")
    except TrackerError as error:
        if not error.is_too_long:
            raise
        return []  # read one by one, they are short enough
    rows = rows_of(reply, IssueShape)
    found |= {row.number: row.issue(lists.repository_id, lists.web) for row in rows}
    return sorted(row.number for row in rows)


def _is_missing(number: int, listed: Sequence[int]) -> bool:
    """Whether it would stand on this page: between two that are close to each other."""
    at = bisect_left(listed, number)
    return 0 < at < len(listed) and listed[at] - listed[at - 1] <= PER_PAGE
