"""Paging by the time of the last change: whatever changes meanwhile, and however many in one second, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.trackers import paging
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.issue import Changes, Cursor, Issue, IssueState
from tasks_pipeline.trackers.verdicts import LESS

START = datetime(2026, 11, 30, 12, tzinfo=UTC)
OVERLAP = timedelta(seconds=120)
PAGE, PAGES = 5, 4


@pytest.fixture(autouse=True, scope="module")
def _small_pages() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paging, "PAGE", PAGE)
        patch.setattr(paging, "PAGES", PAGES)
        yield


class Far:
    """Issues by number, with the second of their last change. Of those in `between` one changes before each page."""

    def __init__(self, changed: dict[int, int]) -> None:
        self.changed, self.pages = dict(changed), 0
        self.between: list[int] = []

    def page(self, since: datetime, offset: int) -> list[Issue]:
        if self.pages and self.between:
            self.changed[self.between.pop()] = 7 + self.pages
        self.pages += 1
        rows = sorted((second, number) for number, second in self.changed.items())
        fitting = [
            _issue(number, second) for second, number in rows if START + timedelta(seconds=second) >= since
        ]
        return fitting[offset : offset + PAGE]

    def poll(self, cursor: Cursor) -> Changes:
        return paging.changed_since(cursor, self.page, lambda: START, OVERLAP)


def _issue(number: int, second: int) -> Issue:
    at = START + timedelta(seconds=second)
    return Issue(str(number), f"#{number}", "", f"at {second}", IssueState.OPEN, updated_at=at)


def _poll_all(far: Far, cursor: Cursor, note: Callable[[Issue], object]) -> Cursor:
    for _ in range(1000):
        found = far.poll(cursor)
        cursor = found.cursor
        for issue in found.issues:
            note(issue)
        if not found.more:
            return cursor
    raise AssertionError("there is always more")


@given(
    st.dictionaries(st.integers(1, 30), st.integers(0, 6), max_size=30),
    st.lists(st.integers(1, 30), max_size=4, unique=True),
)
def test_nothing_that_changes_while_pages_are_read_is_lost(
    changed: dict[int, int], between: list[int]
) -> None:
    far = Far(changed)
    far.between = list(between)
    seen: dict[str, str] = {}
    _poll_all(far, Cursor(START), lambda issue: seen.update({issue.external_id: issue.title}))
    assert seen == {str(number): f"at {second}" for number, second in far.changed.items()}


def test_many_seconds_are_read_in_steps_and_each_issue_is_told_once() -> None:
    far = Far({number: number for number in range(1, 301)})
    told: list[str] = []
    first = far.poll(Cursor(START))
    assert (first.more, far.pages) == (True, PAGES), "a step is bounded"
    cursor = _poll_all(far, first.cursor, lambda issue: told.append(issue.external_id))
    assert {issue.external_id for issue in first.issues} | set(told) == {str(n) for n in range(1, 301)}
    assert far.poll(cursor).issues == []


def test_more_issues_in_one_second_than_a_step_has_do_not_hold_it_up() -> None:
    far = Far(dict.fromkeys(range(1, PAGE * PAGES + 51), 5) | {999: 6})
    told: set[str] = set()
    cursor = _poll_all(far, Cursor(START), lambda issue: told.add(issue.external_id))
    assert len(told) == PAGE * PAGES + 51
    assert far.poll(cursor).issues == []


def test_the_first_poll_begins_at_their_time() -> None:
    found = Far({1: 1}).poll(Cursor())
    assert (found.issues, found.cursor.since) == ((), START - OVERLAP)


def test_a_row_of_next_year_hides_nothing_that_follows() -> None:
    far = Far({1: 1, 2: 40_000_000_000})
    found = far.poll(Cursor(START))
    assert {issue.external_id for issue in found.issues} == {"1", "2"}
    far.changed[3] = 2
    found = far.poll(found.cursor)
    assert [issue.external_id for issue in found.issues] == ["3"]


@pytest.mark.parametrize("clock", [START + timedelta(days=9000), datetime.max.replace(tzinfo=UTC)])
def test_a_clock_that_is_years_ahead_is_no_place_to_begin(clock: datetime) -> None:
    begin = paging.changed_since(Cursor(), lambda since, offset: [], lambda: clock, OVERLAP).cursor.since
    assert begin is not None
    assert begin < datetime.now(UTC) + timedelta(days=1)


def test_rows_that_are_too_long_are_read_in_parts_and_one_that_is_by_itself_is_left_out() -> None:
    asked: list[tuple[int, int]] = []

    def rows(offset: int, many: int) -> list[int]:
        asked.append((offset, many))
        if many > 10 or 117 in range(offset, offset + many):
            raise TrackerError(Verdict(Do.UNREACHABLE, then=LESS))
        return list(range(offset, min(offset + many, 150)))

    assert paging.in_parts(rows, 100, 100) == [row for row in range(100, 150) if row != 117]
    assert len(asked) < 60


def test_what_is_always_too_long_comes_to_an_end() -> None:
    asked: list[int] = []

    def rows(offset: int, many: int) -> list[int]:
        asked.append(many)
        raise TrackerError(Verdict(Do.UNREACHABLE, then=LESS))

    with pytest.raises(TrackerError):
        paging.in_parts(rows, 0, 100)
    assert len(asked) == paging.LESS_LONG


def test_a_cursor_never_goes_back() -> None:
    later = START + timedelta(hours=1)
    assert Far({1: 1}).poll(Cursor(later)).cursor.since == later
