"""What moves a group from one status to another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.groups.lifecycle import (
    Lifecycle,
    Resolution,
    Seen,
    Status,
    after_events,
    discard,
    fixed_in_next_release,
    ignore,
    reopen,
    resolve,
)

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
    assert after_events(life, Seen(newest, times_seen)).status == status


def test_a_change_is_dated_by_the_event_that_made_it() -> None:
    seen = Seen(NOON + SECOND, 2)
    assert after_events(resolve(NOON), seen) == Lifecycle(Status.REGRESSED, NOON + SECOND)
    assert after_events(ignore(NOON, until_times_seen=1), seen) == reopen(NOON + SECOND)


def test_resolved_in_the_next_release_is_about_releases_and_not_about_time() -> None:
    life = fixed_in_next_release(NOON, "shop@1.0", NOON)
    assert after_events(life, Seen(NOON + SECOND, 2)) == life
    assert after_events(life, Seen(NOON - SECOND, 2, in_fixed_release=True)).status == Status.REGRESSED


@pytest.mark.parametrize(("users", "status"), [(4, Status.IGNORED), (5, Status.UNRESOLVED)])
def test_ignored_until_so_many_users(users: int, status: Status) -> None:
    assert after_events(ignore(NOON, until_users=5), Seen(NOON, 9, users)).status == status


moments = st.timedeltas(timedelta(days=-9), timedelta(days=9)).map(NOON.__add__)
counts = st.none() | st.integers(1, 100)
lives = st.builds(
    Lifecycle,
    st.sampled_from(Status),
    st.none() | moments,
    st.none() | moments,
    counts,
    counts,
    st.none() | st.sampled_from(Resolution),
    st.none() | st.just("shop@1.0"),
)
seens = st.builds(Seen, moments, st.integers(1, 100), st.integers(0, 100), st.booleans())


@given(lives, seens)
def test_the_same_events_again_change_nothing_more(life: Lifecycle, seen: Seen) -> None:
    once = after_events(life, seen)
    assert after_events(once, seen) == once


@given(lives, seens)
def test_events_never_resolve_ignore_or_discard_anything(life: Lifecycle, seen: Seen) -> None:
    after = after_events(life, seen)
    assert after == life or after.status in (Status.REGRESSED, Status.UNRESOLVED)


@given(seens)
def test_what_is_discarded_stays_so(seen: Seen) -> None:
    assert after_events(discard(NOON), seen) == discard(NOON)
