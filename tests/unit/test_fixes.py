"""Which groups the message of a commit says it fixes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.groups.fixes import fixed_groups
from tasks_pipeline.groups.short_id import format_short_id, parse_short_id
from tests.support.release_cases import cases, lists_of

SLUGS = ("shop", "shop-web", "api")


@cases("fixes", "cases")
def test_messages(case: dict[str, Any]) -> None:
    projects: Any = lists_of("fixes")["projects"]
    assert fixed_groups(case["message"], projects) == case["groups"]


@pytest.mark.parametrize(
    ("message", "groups"),
    [
        ("hot-fix SHOP-1", []),
        ("fix-up SHOP-1", []),
        ("prefix SHOP-1, unfixed SHOP-2", []),
        ("préfix SHOP-1", []),
        ("FIXES: the bugs SHOP-1 & shop-2 and", ["SHOP-1", "SHOP-2"]),
        ("fixes SHOP-1 SHOP-2\tSHOP-3", ["SHOP-1", "SHOP-2", "SHOP-3"]),
        ("fixes SHOP-1, which broke SHOP-2", ["SHOP-1"]),
        ("fixes SHOP-1 the SHOP-2", ["SHOP-1"]),
        ("fixes and SHOP-1", []),
        ("fixes SHOP-1: SHOP-2", ["SHOP-1"]),
        ("fixes FOO-9, SHOP-2", ["SHOP-2"]),
        ("fixes UTF-8 and SHOP-1", ["SHOP-1"]),
        ("fixes #12, SHOP-1", []),
        ("fixes [SHOP-1](https://x/(a) and [API-2](https://y)", ["SHOP-1", "API-2"]),
        ("fixes [SHOP-1](https://x", ["SHOP-1"]),
        ("fixes\nSHOP-1", []),
        ("x\nRevert \"y\"\nfixes SHOP-1", ["SHOP-1"]),
        ("fixes SHOP-1\u00fc", []),
        ("fixes SHOP-1\u212a, SHOP-2", ["SHOP-2"]),
        ("fixes \u017fhop-1, SHOP-2", ["SHOP-2"]),
        ("closes SHOP-1 resolves API-2", ["SHOP-1", "API-2"]),
        ("fix" * 10_000 + " SHOP-1", []),
        ("fixes SHOP-" + "Z" * 65_536 + ", SHOP-1", ["SHOP-1"]),
    ],
)  # fmt: skip
def test_further_messages(message: str, groups: list[str]) -> None:
    assert fixed_groups(message, SLUGS) == groups


@given(
    st.one_of(
        st.text(max_size=300), st.from_regex(r"shop-[0-9A-Za-z\u212a\u017f\u0131]{1,13}", fullmatch=True)
    )
)
def test_any_message_names_groups_of_ours_or_none(message: str) -> None:
    found = fixed_groups(f"fixes {message}", SLUGS)
    assert len(set(found)) == len(found)
    assert {parse_short_id(short_id)[0] for short_id in found} <= {*SLUGS}


@given(
    st.lists(st.tuples(st.sampled_from(SLUGS), st.integers(1, 2**40)), min_size=1, max_size=8, unique=True),
    st.lists(st.sampled_from([" ", ", ", " & ", " and ", "  ,"]), min_size=8, max_size=8),
)
def test_every_id_of_a_list_is_found(ids: list[tuple[str, int]], between: list[str]) -> None:
    named = [format_short_id(*each) for each in ids]
    message = "".join(f"{each}{sep}" for each, sep in zip(named, between, strict=False))
    assert fixed_groups(f"Closes {message}", SLUGS) == named
    assert fixed_groups(f'Revert "x"\n\nCloses {message}', SLUGS) == []
