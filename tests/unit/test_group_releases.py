"""Which of two releases is the newer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.releases.versions import is_newer, newest_release, parse_version

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def seen(*releases: str) -> dict[str, datetime]:
    """Releases in the order in which they were first seen."""
    return {release: NOON + timedelta(hours=n) for n, release in enumerate(releases)}


@pytest.mark.parametrize(
    "ordered",
    [
        # the example of semver.org, section 11
        ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0"],
        ["shop@1.9.0", "shop@1.10.0", "shop@2.0.0"],
        ["v1.2", "v1.2.1", "1.3", "1.3.0.1"],
        ["app@1.0.0+9", "app@1.0.0+10"],
    ],
)  # fmt: skip
def test_versions_in_order(ordered: list[str]) -> None:
    backwards = seen(*reversed(ordered))  # when they were seen says nothing
    for n, release in enumerate(ordered):
        assert [is_newer(other, release, backwards) for other in ordered] == [
            m > n for m in range(len(ordered))
        ]


def test_builds_that_are_no_numbers_are_the_same_version() -> None:
    assert not is_newer("a@1.0.0+f00", "a@1.0.0+bad", seen("a@1.0.0+bad", "a@1.0.0+f00"))


@pytest.mark.parametrize(
    ("release", "than"), [("f00ba4", "c0ffee"), ("web@1.0", "shop@9.0"), ("1.0", "nightly")]
)
def test_otherwise_it_is_when_they_were_first_seen(release: str, than: str) -> None:
    assert is_newer(release, than, seen(than, release))
    assert is_newer(release, than, seen(than))
    assert not is_newer(release, than, seen(release, than))
    assert not is_newer(release, than, {})


@pytest.mark.parametrize(
    ("releases", "newest"),
    [
        ([], None),
        (["f00ba4", "c0ffee"], "c0ffee"),
        (["shop@2.0.0", "shop@1.9.1"], "shop@2.0.0"),
        (["shop@2.0.0", "web@1.0.0"], "web@1.0.0"),
        (["shop@2.0.0", "c0ffee"], "c0ffee"),
        (["shop@1.0.0+2", "shop@1.0.0+10", "shop@1.0.0"], "shop@1.0.0+10"),
    ],
)
def test_the_newest(releases: list[str], newest: str | None) -> None:
    assert newest_release(seen(*releases)) == newest


names = st.from_regex(
    r"(?:(?:web|shop)@)?[0-3]\.[0-3](?:\.[0-3])?(?:-(?:a|1|a\.1))?(?:\+[0-3])?", fullmatch=True
)


@given(st.lists(names | st.text(max_size=9), min_size=1, max_size=8, unique=True))
def test_nothing_of_its_package_is_newer_than_the_newest(releases: list[str]) -> None:
    first_seen = seen(*releases)
    newest = newest_release(first_seen)
    assert newest in releases
    version = parse_version(newest)
    for release in releases:
        other = parse_version(release)
        if (version is None) or (other and other.package == version.package):
            assert not is_newer(release, newest, first_seen)


@given(st.text(max_size=300))
def test_any_text_is_a_release(text: str) -> None:
    assert not is_newer(text, text, {})
    parse_version(text)
