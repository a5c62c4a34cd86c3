"""GET …/sessions/ and the health of releases as objects: right figures, every mistake named, and a lake that is open only when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasks_pipeline.access import tokens
from tasks_pipeline.home import Home
from tasks_pipeline.releases.fold import STATES
from tasks_pipeline.stores import Stores, open_stores
from tasks_pipeline.web.app import create_web
from tasks_pipeline.web_api import sessions
from tests.support.health_rows import Seen, write_day, write_health
from tests.support.receiver import configure, serving

PATH = "/api/0/organizations/acme/sessions/"
MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ONE_DAY = {"start": "2026-11-20T00:00:00Z", "end": "2026-11-21T00:00:00.123456789Z"}
SEEN = [
    Seen(MIDNIGHT, "a", user=1, seconds=10, sessions=2),
    Seen(MIDNIGHT + HOUR, "a", user=2, state="crashed"),
    Seen(MIDNIGHT + HOUR, "a", "", user=1, state="errored"),
    Seen(MIDNIGHT + 26 * HOUR, "b", "staging", user=1, seconds=20),
    Seen(MIDNIGHT + 26 * HOUR, "a", project=2, user=7),
]


@contextmanager
def served(stores: Stores) -> Iterator[httpx.Client]:
    """An installation with the projects shop and other, and some sessions."""
    configure(stores.home)
    write_health(stores.state, stores.lake, SEEN)
    stores.lake.close()
    _, token = tokens.create_token(stores.state, "http://test", "acme", "ci", ["project:read"])
    headers = {"authorization": f"Bearer {token}"}
    with (
        serving(create_web(stores.home)) as url,
        httpx.Client(base_url=url, timeout=120, headers=headers) as client,
    ):
        yield client


@pytest.fixture
def any_client(own: Stores) -> Iterator[httpx.Client]:
    """On each kind of home."""
    with served(own) as client:
        yield client


@pytest.fixture(scope="module")
def client(
    tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Home]
) -> Iterator[httpx.Client]:
    """One for all that only ask."""
    with open_stores(new_home(tmp_path_factory.mktemp("served"))) as stores, served(stores) as client:
        yield client


def got(client: httpx.Client, *fields: str, **asked: Any) -> dict[str, Any]:
    answer = client.get(PATH, params={"field": fields or ["sum(session)"], **asked})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_sessions_over_time(any_client: httpx.Client) -> None:
    found = got(any_client, "sum(session)", "count_unique(user)", interval="6h", project="shop", **ONE_DAY)
    assert (found["start"], found["end"]) == ("2026-11-20T00:00:00Z", "2026-11-21T06:00:00Z")
    assert found["intervals"] == [
        f"2026-11-2{day}T{hour:02}:00:00Z" for day, hour in ((0, 0), (0, 6), (0, 12), (0, 18), (1, 0))
    ]
    (group,) = found["groups"]
    assert group == {
        "by": {},
        "totals": {"sum(session)": 5, "count_unique(user)": 2},
        "series": {"sum(session)": [4, 0, 0, 0, 1], "count_unique(user)": [2, 0, 0, 0, 1]},
    }


def test_groups(client: httpx.Client) -> None:
    found = got(
        client,
        "sum(session)",
        "crash_free_rate(session)",
        "crash_rate(user)",
        "p50(session.duration)",
        "avg(session.duration)",
        "max(session.duration)",
        groupBy=["project", "release"],
        interval="1d",
        start="2026-11-20",
        end="2026-11-22",
        includeSeries="0",
    )
    assert [group["by"] for group in found["groups"]] == [
        {"project": 1, "release": "a"}, {"project": 1, "release": "b"}, {"project": 2, "release": "a"},
    ]  # fmt: skip
    first, second, third = (group["totals"] for group in found["groups"])
    assert first["crash_free_rate(session)"] == 0.75
    assert first["crash_rate(user)"] == 0.5
    assert first["p50(session.duration)"] == pytest.approx(10_000, rel=0.0101)
    assert (second["avg(session.duration)"], second["max(session.duration)"]) == (20_000, 20_000)
    assert third["p50(session.duration)"] is None
    assert all("series" not in group for group in found["groups"])


def test_every_status_appears(client: httpx.Client) -> None:
    """Also with nothing, and also where there is nothing at all."""
    asked = {"groupBy": ["session.status", "environment"], "interval": "1d", "project": "shop", **ONE_DAY}
    found = got(client, "sum(session)", "count_unique(user)", **asked)
    by = {(g["by"]["environment"], g["by"]["session.status"]): g["totals"] for g in found["groups"]}
    assert list(by) == [(place, state) for place in ("production", "", "staging") for state in STATES]
    assert by["production", "healthy"] == {"sum(session)": 2, "count_unique(user)": 1}
    assert by["production", "crashed"] == {"sum(session)": 1, "count_unique(user)": 1}
    assert by["", "crashed"] == {"sum(session)": 0, "count_unique(user)": 0}
    empty = got(
        client, "sum(session)", groupBy="session.status", interval="1d", start="2020-01-01", end="2020-01-03"
    )
    assert [g["series"]["sum(session)"] for g in empty["groups"]] == [[0, 0]] * 5
    assert got(client, groupBy="release", interval="1d", start="2020-01-01", end="2020-01-03")["groups"] == []


def test_order_and_number_of_groups(client: httpx.Client) -> None:
    asked: dict[str, Any] = {
        "groupBy": "release",
        "interval": "1d",
        "start": "2026-11-20",
        "end": "2026-11-22",
    }

    def order(**more: Any) -> list[str]:
        fields = ("sum(session)", "crash_rate(session)", "max(session.duration)")
        return [group["by"]["release"] for group in got(client, *fields, **asked, **more)["groups"]]

    assert order() == ["a", "b"]
    assert order(orderBy="sum(session)") == ["b", "a"]
    assert order(orderBy="-crash_rate(session)", per_page="1") == ["a"]
    assert order(orderBy="-max(session.duration)") == ["b", "a"]


@pytest.mark.parametrize(
    ("asked", "sessions_found"),
    [
        ({}, 6),
        ({"project": ["1"]}, 5),
        ({"project": ["-1"]}, 6),
        ({"project": ["other", "shop"]}, 6),
        ({"environment": ["production"]}, 4),
        ({"environment": ["staging", "production"]}, 5),
        ({"query": "release:a"}, 5),
        ({"query": 'release:"a" project:shop'}, 4),
        ({"query": "release:[a, b] environment:staging"}, 1),
        ({"query": "release:[a,b]", "project": "other"}, 1),
        ({"query": "release:nope"}, 0),
        ({"query": 'release:["a, b", "b"]'}, 1),
        ({"query": 'release:["x]", a , "b"]'}, 6),
        ({"query": 'environment:""'}, 1),
        ({"query": "session.status:[crashed, errored]"}, 2),
        ({"query": "environment:staging", "environment": "production"}, 0),
    ],
)
def test_what_is_searched_for(client: httpx.Client, asked: dict[str, Any], sessions_found: int) -> None:
    found = got(client, interval="1d", start="2026-11-20", end="2026-11-22", **asked)
    assert found["groups"][0]["totals"] == {"sum(session)": sessions_found}
    assert found["query"] == asked.get("query", "")


def test_a_period_ends_with_the_interval_of_now(any_client: httpx.Client, own: Stores) -> None:
    now = datetime.now(UTC)
    write_health(own.state, own.lake, [Seen(now - timedelta(minutes=1), "now")])
    own.lake.close()
    found = got(any_client, statsPeriod="24h", interval="4h")
    assert len(found["intervals"]) == 6
    assert datetime.fromisoformat(found["intervals"][-1]) <= now < datetime.fromisoformat(found["end"])
    assert sum(found["groups"][0]["series"]["sum(session)"]) == 1
    assert len(got(any_client)["intervals"]) == 14 * 24
    assert len(got(any_client, statsPeriod="2w", interval="1d")["intervals"]) == 14


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"field": []}, "field: name at least one; allowed are sum(session), count_unique(user)"),
        ({"field": "sum(sessions)"}, "'sum(sessions)' is none; allowed are sum(session)"),
        ({"groupBy": "user"}, "allowed are project, release, environment, session.status"),
        ({"interval": "5h"}, "allowed are 1h, 2h, 3h, 4h, 6h, 8h, 12h, 24h, 1d"),
        ({"interval": "30m"}, "interval"),
        ({"statsPeriod": "soon"}, "allowed are lengths such as 24h, 14d, 2w"),
        ({"statsPeriod": "0d"}, "statsPeriod"),
        ({"statsPeriod": "99999w"}, "400 days"),
        ({"statsPeriod": "14d", "start": "2026-11-20"}, "say either it, or start and end"),
        ({"start": "2026-11-20"}, "belong together"),
        ({"start": "yesterday", "end": "2026-11-20"}, "start: 'yesterday' is no time"),
        ({"start": "2026-11-20", "end": "2026-11-20"}, "must be later"),
        ({"start": "2020-01-01", "end": "2026-11-20", "interval": "1d"}, "at most 400 days"),
        ({"start": "9999-12-31T23:30:00", "end": "9999-12-31T23:59:59"}, "beyond all times"),
        ({"orderBy": "-count_unique(user)"}, "is not among the fields; allowed are [-]sum(session)"),
        ({"query": "user:7"}, "'user:7' is not understood; allowed are release:value"),
        ({"query": "release:a or release:b"}, "'or release:b' is not understood"),
        ({"query": "release:a release:b"}, "release is there twice"),
        ({"query": f"release:[{','.join(map(str, range(101)))}]"}, "of release at most 100 values"),
        ({"query": 'release:[a "b"]'}, "is not understood in a list"),
        ({"query": "session.status:fine"}, "allowed are healthy, errored"),
        ({"query": "project:nope"}, "allowed are shop, other"),
        ({"project": "nope"}, "there is no 'nope'; allowed are shop, other"),
        ({"per_page": "0"}, "is not from 1 to 29"),
        ({"per_page": "30"}, "336 intervals are at most 10,000"),
        ({"includeTotals": "yes"}, "allowed are 0, 1"),
        ({"field": "crash_rate(session)", "groupBy": "session.status"}, "cannot be told by session.status"),
        ({"field": "crash_free_rate(user)", "query": "session.status:crashed"}, "allowed are sum(session), count_unique(user)"),
        ({"field": "p50(session.duration)", "groupBy": "session.status"}, "cannot be told"),
    ],
)  # fmt: skip
def test_mistakes(client: httpx.Client, asked: dict[str, Any], said: str) -> None:
    answer = client.get(PATH, params={"field": "sum(session)", **asked})
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["detail"]


def test_an_answer_has_no_more_points_than_allowed(
    any_client: httpx.Client, own: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The groups with most sessions stay, whole: all statuses of each."""
    write_day(
        own.state,
        own.lake,
        MIDNIGHT.date(),
        [Seen(MIDNIGHT, f"v{n}", user=n, sessions=n + 1) for n in range(20)],
    )
    own.lake.close()
    monkeypatch.setattr(sessions, "MOST_POINTS", 24)
    asked = {
        "groupBy": ["release", "session.status"],
        "interval": "12h",
        "start": "2026-11-20",
        "end": "2026-11-21",
    }
    found = got(any_client, **asked)
    assert [group["by"]["release"] for group in found["groups"]] == ["v19"] * 5 + ["v18"] * 5
    monkeypatch.setattr(sessions, "MOST_GROUPS_READ", 3)
    found = got(
        any_client, "count_unique(user)", orderBy="count_unique(user)", **(asked | {"groupBy": "release"})
    )
    assert {group["by"]["release"]: group["totals"]["count_unique(user)"] for group in found["groups"]} == {
        "v17": 1, "v18": 1, "v19": 1,
    }  # fmt: skip


def test_who_may_read(any_client: httpx.Client, own: Stores) -> None:
    _, token = tokens.create_token(own.state, "http://test", "acme", "other", ["project:releases"])
    assert any_client.get(PATH, headers={"authorization": f"Bearer {token}"}).status_code == 403
    assert any_client.post(PATH).status_code == 405
    assert any_client.get("/api/0/organizations/other/sessions/").status_code == 404
