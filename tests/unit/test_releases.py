"""What names of releases tell, and which of two releases is the newer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.protocol.release import ReleaseName, parse_release, why_no_release
from tasks_pipeline.releases.versions import compare_versions, is_newer
from tests.support.release_cases import FOLDER, LISTS, cases, lists_of, release_names

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def dated(*releases: str) -> dict[str, datetime]:
    """Releases in the order of their dates."""
    return {release: NOON + timedelta(hours=n) for n, release in enumerate(releases)}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: str(path.name))
def test_every_list_of_cases_is_known(path: Any) -> None:
    assert set(lists_of(path.stem)) == LISTS.get(path.stem)


# ── what a name tells


@cases("parsing", "cases")
def test_parsing(case: dict[str, Any]) -> None:
    found = parse_release(case["release"])
    assert found == ReleaseName(
        package=case["package"],
        kind=case["kind"],
        numbers=case["numbers"] and tuple(case["numbers"]),
        pre=case["pre"] and tuple(case["pre"]),
        build=case["build"],
        short=case["short"],
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("shop@1234567890.123456789012345678", "version"),  # 18 digits
        ("shop@1234567890.1234567890123456789", "other"),
        ("shop@\uff11.\uff12", "other"),  # full-width digits are none
        ("shop@1.0\n", "other"),
        ("1.0Rc1", "other"),
        ("shop@V1.0", "other"),
        ("A86D127C4B2F", "hash"),
        ("shop@v", "other"),
        ("1.0+", "other"),
        ("1.0+a..b", "other"),
        ("1.0-rc.1+5+6", "other"),
        ("@scope/shop@", "other"),
        ("", "other"),
        ("1.0+" + "1" * 196, "version"),
        ("1.0+" + "1" * 197, "other"),
    ],
)
def test_kinds(name: str, kind: str) -> None:
    assert parse_release(name).kind == kind


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("@scope/shop@1.0+5", None), ("a b", None), (".", "cannot be"), ("..", "cannot be"), ("", "cannot be"), ("  ", "cannot be"),
        (" 1.0", "cannot be"), ("1.0\n", "cannot be"), ("a\x00b", "cannot be"), ("v" * 200, None), ("v" * 201, "longer than 200"),
        ("latest", "newest release"), ("Latest", "newest release"), ("latest-1", None), ("shop@latest", None),
    ],
)  # fmt: skip
def test_what_can_be_a_release(name: str, why: str | None) -> None:
    found = why_no_release(name)
    assert found is None if why is None else why in (found or "")


# ── order


def assert_ascending(releases: Sequence[str]) -> None:
    backwards = dated(*reversed(releases))  # their dates say nothing
    for older, newer in combinations(releases, 2):
        assert is_newer(newer, older, backwards), (older, newer)
        assert not is_newer(older, newer, backwards), (older, newer)


@cases("ordering", "chains")
def test_versions_in_order(case: dict[str, Any]) -> None:
    assert_ascending(case["ascending"])


@pytest.mark.parametrize(
    "releases",
    [
        ["v1.2", "v1.2.1", "1.3", "1.3.0.1"],
        ["a@1.0-a", "a@1.0-a-", "a@1.0-a0", "a@1.0-aa"],  # a word before the longer one that begins with it
        ["a@1.0-1", "a@1.0-1.1", "a@1.0-2", "a@1.0-A", "a@1.0-a", "a@1.0-a.0", "a@1.0-a.a", "a@1.0"],
        ["a@1.0-9" + "9" * 30, "a@1.0-1" + "0" * 31],
        ["a@1", "a@1+0", "a@1+1.9", "a@1+1.10", "a@1+1.10.0", "a@1+2"],
    ],
)
def test_further_versions_in_order(releases: list[str]) -> None:
    assert_ascending(releases)


@cases("ordering", "undecided")
def test_otherwise_dates_decide(case: dict[str, Any]) -> None:
    a, b = case["a"], case["b"]
    assert is_newer(a, b, dated(b, a))
    assert not is_newer(a, b, dated(a, b))
    assert is_newer(a, b, {b: NOON})  # never heard of
    assert not is_newer(a, b, {a: NOON})
    assert not is_newer(a, b, {})


def test_of_equal_dates_the_name_decides_within_a_version_alone() -> None:
    builds = {"a@1+f00": NOON, "a@1+bad": NOON}
    assert is_newer("a@1+f00", "a@1+bad", builds)
    assert not is_newer("a@1+bad", "a@1+f00", builds)
    others = {"f00ba4": NOON, "c0ffee": NOON}
    assert not is_newer("f00ba4", "c0ffee", others)
    assert not is_newer("c0ffee", "f00ba4", others)


def precedence(name: ReleaseName) -> tuple[Any, ...]:
    """What a version is ordered by, as section 11 of semver.org says it."""
    assert name.numbers is not None
    pre = [(0, p, "") if isinstance(p, int) else (1, 0, p) for p in name.pre or ()]
    build = (name.build or "").split(".")
    return (
        (*name.numbers, 0, 0, 0)[:4],
        [(2, 0, "")] if name.pre is None else pre,
        [int(part) for part in build] if all(part.isdigit() for part in build) else [],
    )


@given(release_names, release_names)
def test_keys_sort_as_versions_do(a: str, b: str) -> None:
    ours, theirs = parse_release(f"app@{a}"), parse_release(f"app@{b}")
    key, other = ours.sort_key, theirs.sort_key
    if key is None or other is None:
        assert compare_versions(f"app@{a}", f"app@{b}") is None
        return
    assert key.isascii()
    assert (key < other) == (precedence(ours) < precedence(theirs))
    assert (key == other) == (precedence(ours) == precedence(theirs))


@given(st.text(max_size=300))
def test_any_text_is_a_name(text: str) -> None:
    assert not is_newer(text, text, {})
    parse_release(text)
    why_no_release(text)
