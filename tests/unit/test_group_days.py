"""Places of events as text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.groups.days import place_text

PLACES = st.tuples(
    st.text("r01a-", min_size=1, max_size=4),
    st.integers(0, 2**63 - 1) | st.integers(0, 12),
    st.integers(0, 200),
)


@given(PLACES, PLACES)
def test_places_sort_as_their_texts_do(one: tuple[str, int, int], other: tuple[str, int, int]) -> None:
    ours, theirs = place_text(one), place_text(other)
    assert (ours < theirs) == (one < other)
    assert (ours == theirs) == (one == other)
    assert ours.isascii()
    assert len(ours) <= 64
