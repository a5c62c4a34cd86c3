"""The gate of an integration: what is shared by all who ask it, and what its answers make of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import event, select, update
from sqlalchemy.exc import OperationalError

from tasks_pipeline.config.integrations import GitHubIntegration, RoundupIntegration
from tasks_pipeline.home import Home
from tasks_pipeline.integrations.gate import StoredGate, recent_calls, requests_within_an_hour
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import integration_requests, integration_states
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict

NOW = datetime(2026, 11, 30, 12, 30, tzinfo=UTC)
HUB = GitHubIntegration(name="hub", token=SecretStr("tok-3n"))
FAST = RoundupIntegration(
    name="hub", url="https://acme.example", user="u", password=SecretStr("p"), requests_per_second=1000
)
GOOD = Verdict(Do.GOOD)
AWAY = Verdict(Do.RETRY, said="no answer: refused")


class Clock:
    def __init__(self) -> None:
        self.now, self.slept = NOW, 0.0

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def state(home: Home) -> Iterator[StateDatabase]:
    opened = StateDatabase(home)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def gate(state: StateDatabase, clock: Clock, integration: Any = FAST) -> StoredGate:
    return StoredGate(state, integration, clock=clock, sleep=clock.sleep)


def row(state: StateDatabase) -> Any:
    with state.read() as connection:
        return connection.execute(select(integration_states)).one()


def refused(one: StoredGate, kind: Any = "poll", *, writes: bool = False) -> Verdict:
    with pytest.raises(TrackerError) as caught:
        one.enter(kind, writes=writes)
    return caught.value.verdict


def test_writes_are_a_second_apart_also_by_two_who_do_not_know_each_other(
    state: StateDatabase, clock: Clock
) -> None:
    first, second = gate(state, clock, HUB), gate(state, clock, HUB)
    for one in (first, second, first, second):
        one.enter("state", writes=True)
    assert clock.slept == pytest.approx(3.0)


def test_whoever_would_wait_for_long_is_sent_away(state: StateDatabase, clock: Clock) -> None:
    one = gate(state, clock, HUB)
    for _ in range(12):
        one.enter("poll")
    clock.sleep(-clock.slept)  # nobody waited: all at once
    with state.write() as connection:
        tokens = {"hour": [0.0, NOW.timestamp()]}
        connection.execute(update(integration_states).values(pace={"tokens": tokens}))
    found = refused(one, "state", writes=True)
    assert (found.do, found.scope, round(found.wait)) == (Do.RATE_LIMITED, "writes of the integration", 12)


def test_reading_costs_few_writes_of_ours(state: StateDatabase, clock: Clock) -> None:
    one, begun = gate(state, clock), []
    event.listen(state.engine, "begin", lambda _connection: begun.append(1))
    with one:
        for _ in range(100):
            one.enter("poll")
            one.note("poll", 304, {}, GOOD)
            clock.sleep(0.03)
    assert len(begun) <= 25
    with state.read() as connection:
        counted = connection.execute(select(integration_requests)).one()
        assert requests_within_an_hour(connection, clock.now) == {"hub": 100}
    assert (counted.requests, counted.failed, counted.not_modified) == (100, 0, 100)


def test_the_hour_before_counts_in_part(state: StateDatabase, clock: Clock) -> None:
    hour = NOW.replace(minute=0)
    with state.write() as connection:
        for at, requests in ((hour, 10), (hour - timedelta(hours=1), 100), (hour - timedelta(hours=2), 1000)):
            connection.execute(
                integration_requests.insert().values(integration="hub", hour=at, requests=requests)
            )
        assert requests_within_an_hour(connection, NOW) == {"hub": 60}


def test_a_far_side_that_does_not_answer_is_left_alone_longer_and_longer(
    state: StateDatabase, clock: Clock
) -> None:
    one = gate(state, clock)
    waits = []
    for number in range(1, 14):
        one.note("poll", 0, {}, AWAY)
        until = row(state).open_until
        waits.append((until - clock.now).total_seconds() if until else 0.0)
        assert row(state).failures == number
        clock.sleep(waits[-1])
    assert waits == [0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    clock.sleep(-1)
    assert refused(gate(state, clock)).wait == pytest.approx(1)
    one.enter("check")
    one.note("check", 200, {}, GOOD)
    assert (row(state).failures, row(state).open_until) == (0, None)
    gate(state, clock).enter("poll")


def test_an_answer_after_failures_that_were_not_written_is_one(state: StateDatabase, clock: Clock) -> None:
    one = gate(state, clock)
    one.note("poll", 503, {}, AWAY)
    one.note("poll", 404, {}, Verdict(Do.MAYBE_GONE))
    one.note("poll", 502, {}, AWAY)
    assert row(state).failures == 1


def test_whom_it_lets_in_no_more_asks_no_more_but_for_checks(state: StateDatabase, clock: Clock) -> None:
    one, other = gate(state, clock), gate(state, clock)
    no = Verdict(Do.AUTH_FAILED, said="Bad credentials")
    one.enter("poll")
    one.note("poll", 401, {}, no)
    other.enter("poll")
    one.note("state", 401, {}, no)
    clock.sleep(1)
    assert refused(other, "state").do is Do.RATE_LIMITED
    assert row(state).pace["said"] == "Bad credentials"
    other.enter("check")
    other.note("check", 200, {}, GOOD)
    one.enter("poll")
    assert row(state).refused == 0


def test_waits_concern_what_they_are_about_and_are_shared(state: StateDatabase, clock: Clock) -> None:
    one, other = gate(state, clock), gate(state, clock)
    one.note(
        "create",
        403,
        {},
        Verdict(Do.RATE_LIMITED, wait=70, scope="writes of the integration", said="slow down"),
    )
    other.enter("poll")
    found = refused(other, "state", writes=True)
    assert round(found.wait) == 70
    assert "slow down" in found.said
    one.note("comment", 429, {}, Verdict(Do.RATE_LIMITED, wait=50, scope="comments of the integration"))
    one.note("state", 429, {}, Verdict(Do.RATE_LIMITED, wait=10**9, scope="issue"))
    clock.sleep(71)
    other.enter("state", writes=True)
    other.enter("comment", writes=True)
    one.note("poll", 429, {}, Verdict(Do.RATE_LIMITED, wait=10**9, scope="integration"))
    assert refused(other).wait == pytest.approx(6 * 3600)
    assert list(row(state).pace["waits"]) == ["integration"]


def test_polls_stop_when_little_is_left_within_what_was_taken_at_once(
    state: StateDatabase, clock: Clock
) -> None:
    one = gate(state, clock)
    reset = str(int((NOW + timedelta(minutes=10)).timestamp()))
    headers = {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "999", "x-ratelimit-reset": reset}
    one.enter("poll")
    one.note("poll", 200, headers, GOOD)
    found = refused(one)
    assert round(found.wait) == 601
    assert "999 of 5000 requests are left" in found.said
    gate(state, clock).enter("state", writes=True)
    clock.sleep(600)
    one.enter("poll")


def test_clocks_are_compared(state: StateDatabase, clock: Clock) -> None:
    one = gate(state, clock)
    one.note("poll", 200, {"date": "Mon, 30 Nov 2026 12:40:00 GMT"}, GOOD)
    assert row(state).clock_skew_seconds == 600
    one.note("poll", 200, {"date": "no date"}, GOOD)
    one.flush()
    assert row(state).clock_skew_seconds == 600


@pytest.mark.parametrize("by", ["configuration", "command"])
def test_one_that_is_disabled_is_not_asked_at_all(state: StateDatabase, clock: Clock, by: str) -> None:
    one = gate(state, clock, FAST.model_copy(update={"enabled": by == "command"}))
    if by == "command":
        one.enter("check")
        with state.write() as connection:
            connection.execute(update(integration_states).values(disabled_at=NOW))
        clock.sleep(1)
    assert refused(one, "check").said == "hub is disabled"


def test_what_was_counted_outlives_being_sent_away(state: StateDatabase, clock: Clock) -> None:
    one = gate(state, clock)
    one.note("poll", 200, {}, GOOD)
    one.note("poll", 200, {}, GOOD)
    one.note("poll", 401, {}, Verdict(Do.AUTH_FAILED))
    one.note("poll", 401, {}, Verdict(Do.AUTH_FAILED))
    refused(one)
    with state.read() as connection:
        assert connection.execute(select(integration_requests.c.requests)).scalar_one() == 4


def test_an_answer_is_not_lost_because_it_cannot_be_counted(
    state: StateDatabase, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = gate(state, clock)
    with monkeypatch.context() as broken:

        def fails() -> Any:
            raise OperationalError("x", {}, Exception("locked"))

        broken.setattr(state, "write", fails)
        one.note("create", 201, {}, GOOD)
        one.note("create", 503, {}, AWAY)
    one.flush()
    assert row(state).failures == 1
    assert row(state).pace["calls"][1:3] == [2, 1]


def test_calls_of_the_last_minutes() -> None:
    begin = NOW.timestamp()
    known = recent_calls(None, NOW, 10, 1)
    assert known == [begin, 10, 1, 0, 0]
    assert recent_calls(known, NOW + timedelta(minutes=14), 5, 5) == [begin, 15, 6, 0, 0]
    assert recent_calls(known, NOW + timedelta(minutes=16), 5, 5) == [begin + 900, 5, 5, 10, 1]
    assert recent_calls(known, NOW + timedelta(minutes=31), 1) == [begin + 1800, 1, 0, 0, 0]
