"""Short ids of groups: readable, unambiguous, and back to the number they came from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.groups.short_id import ShortIdError, format_short_id, parse_short_id

slugs = st.from_regex(r"\A[a-z0-9][a-z0-9_-]{0,49}\Z")


@pytest.mark.parametrize(
    ("slug", "number", "short_id"),
    [("shop", 1, "SHOP-1"), ("shop", 31, "SHOP-Z"), ("shop", 32, "SHOP-10"), ("my-app", 111, "MY-APP-3F")],
)
def test_short_ids_look_like_this(slug: str, number: int, short_id: str) -> None:
    assert format_short_id(slug, number) == short_id
    assert parse_short_id(short_id.lower()) == (slug, number)


@given(slugs, st.integers(1, 2**63 - 1))
def test_every_number_comes_back(slug: str, number: int) -> None:
    assert parse_short_id(format_short_id(slug, number)) == (slug, number)


@given(slugs, st.integers(1, 2**63 - 1))
def test_no_letter_looks_like_a_digit(slug: str, number: int) -> None:
    assert not set(format_short_id(slug, number).rpartition("-")[2]) & set("ILOU")


@pytest.mark.parametrize("text", ["", "-", "SHOP", "SHOP-", "-3F", "SHOP-3 F", "SHOP-U", "SHOP-ß"])
def test_what_is_no_short_id_is_refused_by_name(text: str) -> None:
    with pytest.raises(ShortIdError, match="no short id"):
        parse_short_id(text)


@given(st.text(max_size=30))
def test_any_text_is_a_short_id_or_refused(text: str) -> None:
    try:
        slug, number = parse_short_id(text)
    except ShortIdError:
        return
    assert slug
    assert number >= 0
