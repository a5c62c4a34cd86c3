"""What brings a resolved group back: the rule, and how it is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.groups.lifecycle import (
    Lifecycle,
    Resolution,
    Seen,
    Status,
    after_events,
    fixed_in_commit,
    fixed_in_next_release,
    fixed_in_release,
    ignore,
    resolve,
)
from tasks_pipeline.groups.regressions import KnownReleases, Regression, regression, told_regression
from tests.support.release_cases import cases, life_of, release_names

NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def known_of(releases: list[dict[str, Any]]) -> KnownReleases:
    """What is known of the releases of a case."""
    dates = {r["version"]: datetime.fromisoformat(r.get("released_at") or r["created_at"]) for r in releases}
    return KnownReleases(dates, {r["version"] for r in releases if "released_at" in r})


@cases("resolutions", "cases")
def test_resolutions(case: dict[str, Any]) -> None:
    life, event = life_of(case["resolution"]), case["event"]
    newest = datetime.fromisoformat(event["timestamp"])
    found = [event["release"]] if event["release"] else []
    known = known_of(case["releases"])
    known.dates.setdefault(event["release"], newest)  # type: ignore[attr-defined]  # noted in the batch of the event
    back = regression(life, newest, event["release"], found, known)
    assert (back is not None) is case["regressed"]
    after = after_events(life, Seen(newest, 2, in_fixed_release=back is not None))
    assert (after.status is Status.REGRESSED) is case["regressed"]


DATES = {"f00": NOON, "bad": NOON + HOUR, "a@1.0": NOON, "a@1.1": NOON - HOUR, "b@1": NOON + HOUR}


@pytest.mark.parametrize(
    ("life", "found", "how"),
    [
        (fixed_in_release(NOON, "a@1.0", NOON), ["a@1.1"], ("a@1.1", "version")),
        (fixed_in_release(NOON, "a@1.0", NOON), ["a@1.0"], ("a@1.0", "version")),
        (fixed_in_release(NOON, "f00", NOON), ["f00"], ("f00", "date")),
        (fixed_in_release(NOON, "a@1.0", NOON), ["b@1"], ("b@1", "date")),
        (fixed_in_release(NOON, "a@1.0", NOON), ["a@1.1", "a@1.0", "a@0.9"], ("a@1.1", "version")),
        (fixed_in_next_release(NOON, "f00", NOON), ["f00", "bad"], ("bad", "date")),
        (fixed_in_next_release(NOON, "a@1.0", NOON), ["a@1.0"], None),
        (fixed_in_release(NOON, "a@2.0", None), ["a@1.1", "b@1", "f00"], None),  # it is still to come
        (fixed_in_release(NOON, "gone", NOON), ["bad"], ("bad", "date")),
        (fixed_in_release(NOON, "gone", NOON + HOUR), ["bad"], None),
        (fixed_in_release(NOON, "gone", None), ["bad"], None),
    ],
)
def test_how_it_was_compared(life: Lifecycle, found: list[str], how: tuple[str, str] | None) -> None:
    back = regression(life, NOON + HOUR, None, found, KnownReleases(DATES))
    assert (back and (back.release, back.compared)) == how


def test_a_release_that_was_deleted_and_made_again_is_no_younger() -> None:
    """Its next event made a fresh row; what came out between is newer still. A date of release that was set later counts."""
    life = fixed_in_next_release(NOON, "f00", NOON)
    dates = {"f00": NOON + 5 * HOUR, "bad": NOON + HOUR}
    assert regression(life, NOON, None, ["bad"], KnownReleases(dates)) is not None
    assert regression(life, NOON, None, ["bad"], KnownReleases(dates, {"f00"})) is None


def test_a_commit_is_in_the_first_release_that_holds_it() -> None:
    life = fixed_in_commit(NOON, "abc")
    assert regression(life, NOON + HOUR, "a@9", ["a@9"], KnownReleases(DATES)) is None
    known = KnownReleases(DATES, holding={"abc": "a@1.1"})
    assert regression(life, NOON + HOUR, "a@1.0", ["a@1.0"], known) is None
    back = regression(life, NOON + HOUR, "a@1.1", ["a@1.1"], known)
    assert back == Regression(Resolution.IN_COMMIT, "a@1.1", "a@1.1", "version", "abc")


def test_of_what_is_not_resolved_nothing_comes_back() -> None:
    for life in (ignore(NOON), Lifecycle(Status.UNRESOLVED), Lifecycle(Status.REGRESSED, NOON)):
        assert regression(life, NOON + HOUR, "a@9", ["a@9"], KnownReleases(DATES)) is None


LIVES = st.builds(
    lambda make, version: make(NOON, version, NOON),
    st.sampled_from([fixed_in_release, fixed_in_next_release]),
    release_names.map("app@{}".format),
)
FOUND = st.lists(release_names.map("app@{}".format) | st.sampled_from(list(DATES)), max_size=4)


@given(LIVES, FOUND)
def test_events_in_one_batch_bring_back_what_one_of_them_alone_would(
    life: Lifecycle, found: list[str]
) -> None:
    known = KnownReleases(DATES)
    alone = [name for name in found if regression(life, NOON, None, [name], known)]
    back = regression(life, NOON, None, found, known)
    assert (back is not None) == bool(alone)
    if back is not None:
        assert back.release in alone
        assert back == regression(life, NOON, None, reversed(found), known)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"resolution": "now"}, "it is back: it was resolved"),
        (
            {"resolution": "now", "release": "a@1", "resolved_by": "ann", "resolved_at": NOON.isoformat()},
            "it is back in a@1: it was resolved by ann at 2026-11-10 12:00:00 UTC",
        ),
        (
            {"resolution": "in_release", "release": "a@2", "resolved_in": "a@1", "compared": "version"},
            "it is back in a@2 (newer by version): it was resolved in a@1",
        ),
        (
            {"resolution": "in_release", "release": "a@1", "resolved_in": "a@1", "compared": "version"},
            "it is back in a@1 (the same release): it was resolved in a@1",
        ),
        (
            {"resolution": "next_release", "release": "bad", "resolved_in": "f00", "compared": "date"},
            "it is back in bad (newer by date): it was resolved in the release after f00",
        ),
        (
            {
                "resolution": "in_commit", "release": "a@2", "resolved_in": "a@1", "compared": "version", "commit": "ab" * 20,
            },
            "it is back in a@2 (newer by version): it was resolved in a@1 with commit abababababab",
        ),
        ({}, "it is back: it was resolved"),  # an entry of an older version
    ],
)  # fmt: skip
def test_how_a_regression_is_told(facts: dict[str, Any], said: str) -> None:
    assert told_regression(facts) == said


def test_long_names_leave_room_for_the_rest() -> None:
    facts = {"resolution": "in_release", "release": "v" * 200, "resolved_in": "w" * 200, "compared": "date"}
    said = told_regression(facts | {"resolved_by": "x" * 200, "resolved_at": NOON.isoformat()})
    assert len(said) < 450
    assert said.endswith("at 2026-11-10 12:00:00 UTC")


def test_what_is_told_of_a_resolution_now() -> None:
    back = regression(resolve(NOON), NOON + HOUR, "a@1", [], KnownReleases())
    assert back is not None
    assert back.facts == {"resolution": "now", "release": "a@1"}
