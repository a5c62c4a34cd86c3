"""How fast an integration may be asked: buckets, what limits answers tell of, and who waits when little is left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tasks_pipeline.config.integrations import GitHubIntegration, RoundupIntegration
from tasks_pipeline.integrations.pace import Limit, buckets_of, limit_of, take, wait_for_limit

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HUB = GitHubIntegration(name="hub", token=SecretStr("tok-3n"))


def test_a_second_has_so_many_tokens_and_they_come_back() -> None:
    buckets, levels = buckets_of(HUB, writes=False), {}
    waits = []
    for _ in range(12):
        wait, levels = take(levels, buckets, "poll", NOW)
        waits.append(round(wait, 2))
    assert waits == [*[0] * 10, 0.1, 0.2]
    assert take(levels, buckets, "poll", NOW + timedelta(seconds=2))[0] <= 0


def test_writes_are_one_a_second_and_reading_does_not_refill_them_late() -> None:
    writes, reads = buckets_of(HUB, writes=True), buckets_of(HUB, writes=False)
    wait, levels = take({}, writes, "state", NOW)
    assert wait <= 0
    half = NOW + timedelta(seconds=0.5)
    _, levels = take(levels, reads, "poll", half)
    assert take(levels, writes, "state", half)[0] == pytest.approx(0.5)
    assert take(levels, writes, "state", NOW + timedelta(seconds=1))[0] <= 0


def test_the_last_writes_of_an_hour_are_for_what_goes_first() -> None:
    writes, levels = buckets_of(HUB, writes=True), {"hour": (29.0, NOW.timestamp())}
    waits = {kind: take(levels, writes, kind, NOW)[0] for kind in ("state", "create", "comment")}
    assert waits["state"] <= 0
    assert waits["create"] <= 0
    assert waits["comment"] == pytest.approx(24.0)  # a token of the hour's 300 every 12 s, and 31 are needed


def test_operators_may_slow_an_integration_down_in_all() -> None:
    slow = RoundupIntegration(
        name="r", url="https://acme.example", user="u", password=SecretStr("p"), requests_per_second=0.5
    )
    assert [bucket.each for bucket in buckets_of(slow, writes=True)] == [0.5, 0.5, 1.0]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "17", "x-ratelimit-reset": "1796040060"}, (5000, 17, 60)),
        ({"ratelimit-limit": "60", "ratelimit-remaining": "0", "ratelimit-reset": "30"}, (60, 0, 30)),
        ({"x-ratelimit-limit": "9", "x-ratelimit-remaining": "1", "x-ratelimit-reset": "2026-11-30T12:01:00Z"}, (9, 1, 60)),
        ({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "99999999999999"}, (None, 1, 6 * 3600)),
        ({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "soon"}, (None, 1, None)),
        ({"x-ratelimit-remaining": "1", "x-ratelimit-reset": "nan"}, (None, 1, None)),
        ({"x-ratelimit-remaining": "5", "x-ratelimit-resource": "search"}, (None, None, None)),
        ({"x-ratelimit-remaining": "lots"}, (None, None, None)),
        ({"x-ratelimit-remaining": "-1"}, (None, None, None)),
        ({}, (None, None, None)),
    ],
)  # fmt: skip
def test_limits_as_answers_spell_them(
    headers: dict[str, str], expected: tuple[int | None, int | None, int | None]
) -> None:
    found = limit_of(headers, NOW)
    seconds = None if found.resets_at is None else round((found.resets_at - NOW).total_seconds())
    assert (found.total, found.remaining, seconds) == expected


@given(
    st.dictionaries(
        st.sampled_from([f"x-ratelimit-{n}" for n in ("limit", "remaining", "reset", "resource")]), st.text()
    )
)
def test_no_header_is_an_error(headers: dict[str, str]) -> None:
    found = limit_of(headers, NOW)
    assert found.resets_at is None or found.resets_at <= NOW + timedelta(hours=6, seconds=1)


def test_polls_stop_first_and_pushes_last() -> None:
    def waiting(remaining: int) -> list[str]:
        limit = Limit(5000, remaining, NOW + timedelta(minutes=10))
        kinds = ("state", "check", "create", "comment", "poll", "enrich")
        return [kind for kind in kinds if wait_for_limit(limit, kind, NOW)]

    assert waiting(2501) == []
    assert waiting(2500) == ["enrich"]
    assert waiting(1000) == ["poll", "enrich"]
    assert waiting(500) == ["comment", "poll", "enrich"]
    assert waiting(1) == ["check", "create", "comment", "poll", "enrich"]
    assert waiting(0) == ["state", "check", "create", "comment", "poll", "enrich"]
    assert wait_for_limit(Limit(5000, 0, NOW - timedelta(seconds=1)), "poll", NOW) == 0
    assert wait_for_limit(Limit(5000, 0, NOW + timedelta(seconds=60)), "state", NOW) == 61
