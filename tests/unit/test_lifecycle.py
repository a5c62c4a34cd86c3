"""What moves a group from one status to another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.groups.lifecycle import Lifecycle, Status, after_events, ignore, reopen, resolve

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("life", "newest", "times_seen", "status"),
    [
        (Lifecycle(Status.UNRESOLVED), NOON, 1, Status.UNRESOLVED),
        (resolve(NOON), NOON + SECOND, 2, Status.REGRESSED),
        (resolve(NOON), NOON, 2, Status.RESOLVED),
        (resolve(NOON), NOON - SECOND, 2, Status.RESOLVED),
        (Lifecycle(Status.RESOLVED), NOON, 2, Status.REGRESSED),
        (Lifecycle(Status.REGRESSED, NOON), NOON + SECOND, 2, Status.REGRESSED),
        (reopen(NOON), NOON + SECOND, 2, Status.UNRESOLVED),
        (ignore(NOON), NOON + SECOND, 10**9, Status.IGNORED),
        (ignore(NOON, until=NOON + SECOND), NOON, 5, Status.IGNORED),
        (ignore(NOON, until=NOON + SECOND), NOON + SECOND, 5, Status.UNRESOLVED),
        (ignore(NOON, until_times_seen=10), NOON + SECOND, 9, Status.IGNORED),
        (ignore(NOON, until_times_seen=10), NOON + SECOND, 10, Status.UNRESOLVED),
        (ignore(NOON, until=NOON + SECOND, until_times_seen=10), NOON, 10, Status.UNRESOLVED),
    ],
)
def test_status_after_events(life: Lifecycle, newest: datetime, times_seen: int, status: Status) -> None:
    assert after_events(life, newest, times_seen).status == status


def test_a_change_is_dated_by_the_event_that_made_it() -> None:
    assert after_events(resolve(NOON), NOON + SECOND, 2) == Lifecycle(Status.REGRESSED, NOON + SECOND)
    assert after_events(ignore(NOON, until_times_seen=1), NOON + SECOND, 2) == reopen(NOON + SECOND)


moments = st.timedeltas(timedelta(days=-9), timedelta(days=9)).map(NOON.__add__)
lives = st.builds(
    Lifecycle,
    st.sampled_from(Status),
    st.none() | moments,
    st.none() | moments,
    st.none() | st.integers(1, 100),
)


@given(lives, moments, st.integers(1, 100))
def test_the_same_events_again_change_nothing_more(life: Lifecycle, newest: datetime, seen: int) -> None:
    once = after_events(life, newest, seen)
    assert after_events(once, newest, seen) == once


@given(lives, moments, st.integers(1, 100))
def test_events_never_resolve_or_ignore_anything(life: Lifecycle, newest: datetime, seen: int) -> None:
    after = after_events(life, newest, seen)
    assert after == life or after.status in (Status.REGRESSED, Status.UNRESOLVED)
