"""Whatever strangers send through the receiver: every good event beside it is stored, nothing waits, the books balance."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks_pipeline.home import Home
from tasks_pipeline.receiver.app import create_app
from tasks_pipeline.storage.ledger.backlog import backlogs
from tasks_pipeline.stores import Stores, open_stores
from tests.support.day import Day
from tests.support.hostile import good_event, hostile_envelope
from tests.support.receiver import KEY, configure, serving

ENVELOPE = f"/api/1/envelope/?sentry_key={KEY}"


@pytest.fixture
def receiving(any_home: Home) -> Iterator[tuple[httpx.Client, Stores]]:
    """A client of a running receiver, and the stores that it writes to."""
    configure(any_home)
    with (
        serving(create_app(any_home)) as url,
        httpx.Client(base_url=url, timeout=120) as client,
        open_stores(any_home) as stores,
    ):
        yield client, stores


@settings(
    deadline=None,
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seeds=st.lists(st.integers(0, 2**32), min_size=4, max_size=16))
def test_good_events_are_stored_whatever_lies_beside_them(
    receiving: tuple[httpx.Client, Stores], seeds: list[int]
) -> None:
    client, stores = receiving
    sent: list[str] = []
    for number, seed in enumerate(seeds):
        hostile = hostile_envelope(Random(seed), datetime.now(UTC))
        assert client.post(ENVELOPE, content=hostile).status_code in (200, 400)
        event_id, body = good_event(number)
        assert client.post(ENVELOPE, content=body).status_code == 200
        sent.append(event_id)
    for date in stores.spool.days():
        day = Day(stores, date, 1)
        day.drain()
        day.assert_balanced()
    # What the receiver refused comes as a sum of its own, some seconds later.
    assert sum(day.items for day in backlogs(stores.state, stores.spool)) == 0
    stored = {row["event_id"] for row in stores.lake.query("SELECT event_id FROM lake.events")}
    assert stored >= set(sent)


def test_numbers_in_a_query_cost_nobody_else(receiving: tuple[httpx.Client, Stores]) -> None:
    client, stores = receiving
    schedule = {"type": "interval", "value": 10, "unit": "year"}
    described = {"status": "ok", "monitor_config": {"schedule": schedule, "checkin_margin": 40_320}}
    for slug in ("backup", "x"):
        assert client.post(f"/api/1/cron/{slug}/{KEY}/", json=described).status_code == 202
    for call in (
        f"/api/1/cron/backup/{KEY}/?status=ok&duration=1e12",
        f"/api/1/cron/backup/{KEY}/?status=error&duration=1e308",
        f"/api/1/cron/backup/{KEY}/?status=ok&duration=2419201&environment=%00%ff",
        f"/api/1/cron/%00%ff-x/{KEY}/?status=in_progress&duration=6.5e10&sentry_client=%00",
        f"/api/1/store/?sentry_key={KEY}&sentry_client=a%00b/1&sentry_data=%7B%22timestamp%22:1e308%7D",
    ):
        assert client.get(call).status_code in (200, 202), call
    event_id, body = good_event(1)
    assert client.post(ENVELOPE, content=body).status_code == 200
    for date in stores.spool.days():
        Day(stores, date, 1).drain()
    # What the receiver refused comes as a sum of its own, some seconds later.
    assert sum(day.items for day in backlogs(stores.state, stores.spool)) == 0
    assert event_id in {row["event_id"] for row in stores.lake.query("SELECT event_id FROM lake.events")}
    told = stores.lake.query("SELECT count(*) AS n, max(duration_s) AS longest FROM lake.check_ins")
    assert told == [{"n": 6, "longest": None}]


def test_an_envelope_of_two_events_is_none(home: Home) -> None:
    configure(home)
    _, body = good_event(1)
    with serving(create_app(home)) as url, httpx.Client(base_url=url, timeout=120) as client:
        for second in ("event", "transaction", "feedback", "security"):
            answer = client.post(ENVELOPE, content=body + b'\n{"type":"%s"}\n{}' % second.encode())
            assert answer.json() == {"detail": "items that are events: found 2, allowed 1"}
            assert answer.status_code == 400
        assert client.post(ENVELOPE, content=body + b'\n{"type":"session"}\n{}').status_code == 200
