"""How integrations are doing: states that do not flap, told once with their recovery, and checks that cost little."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tasks_pipeline.config.integrations import AnyIntegration, Tracker
from tasks_pipeline.groups.decisions import assign_groups_to, resolve_groups
from tasks_pipeline.groups.merging import merge_groups
from tasks_pipeline.integrations.checking import checks_due
from tasks_pipeline.integrations.gate import states_of
from tasks_pipeline.integrations.status import set_disabled, update_integration_status
from tasks_pipeline.storage.state.tables import (
    groups,
    integration_states,
    issue_intents,
    issue_links,
    tracker_cursors,
)
from tasks_pipeline.stores import Stores
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.calls import Gate
from tasks_pipeline.trackers.issue import Identity, Person, Place
from tests.support.alerting import alert_rows, configured, outbox
from tests.support.day import Day
from tests.support.events import event

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
REFUSED = Verdict(Do.AUTH_FAILED, said="Bad credentials")
AWAY = Verdict(Do.RETRY, said="not reached: refused")
ARCHIVED = Verdict(Do.HELD, tracker="degraded", said="Repository was archived so is read-only.")
SETTINGS = """
channels: [{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]
members: [{email: anna@acme.example}]
watch: {operators: ['channel:hook']}
integrations: [{name: hub, type: roundup, url: 'https://acme.example', user: u, password: '${env:HOME}', requests_per_second: 1000}]
trackers: [{name: one, integration: hub}, {name: two, integration: hub}]
"""


@dataclass
class FarSide:
    """What calls of a provider give: a verdict to raise, or all is well."""

    who: Verdict | None = None
    places: dict[str, Verdict | Place] = field(default_factory=dict)
    expires_at: datetime | None = None
    calls: list[str] = field(default_factory=list)
    clock: Callable[[], datetime] = lambda: NOW

    @contextmanager
    def opened(self, integration: AnyIntegration, gate: Gate) -> Iterator[Any]:
        yield _Provider(self, gate)


class _Provider:
    def __init__(self, far: FarSide, gate: Gate) -> None:
        self._far, self._gate = far, gate

    def _ask(self, name: str, verdict: Verdict | None) -> None:
        self._gate.enter("check")
        self._far.calls.append(name)
        status = {Do.AUTH_FAILED: 401, Do.RETRY: 0, Do.HELD: 403}.get(verdict.do, 400) if verdict else 200
        self._gate.note("check", status, {}, verdict or Verdict(Do.GOOD))
        if verdict is not None:
            raise TrackerError(verdict)

    def who(self) -> Identity:
        self._ask("who", self._far.who)
        return Identity(Person("bot", "The bot"), expires_at=self._far.expires_at)

    def place(self, tracker: Tracker) -> Place:
        found = self._far.places.get(tracker.name)
        self._ask(tracker.name, found if isinstance(found, Verdict) else None)
        return found if isinstance(found, Place) else Place("1", "acme/shop")


@dataclass
class Watched:
    stores: Stores
    far: FarSide
    now: datetime = NOW

    def look(self, minutes: float = 5, **options: Any) -> str:
        """The state of the hub after a look so many minutes later."""
        self.now += timedelta(minutes=minutes)
        report = update_integration_status(self.stores, self.now, opened=self.far.opened, **options)
        assert report.failed == []
        return report.states["hub"].status

    @property
    def cause(self) -> str:
        with self.stores.state.read() as connection:
            return str(states_of(connection)["hub"][""].cause)

    def told(self) -> list[str]:
        return [
            f"{row['status']} {row['severity']}: {row['data']['title']}" for row in alert_rows(self.stores, 0)
        ]


@pytest.fixture
def watched(own: Stores) -> Watched:
    return Watched(configured(own, 1000, SETTINGS), FarSide())


def linked(day: Day, stores: Stores, number: int = 1) -> tuple[int, int]:
    """A group with an issue, and their link; nothing is on its way."""
    day.send(event(f"Problem{number}"))
    day.drain()
    group = day.groups()[0]["id"]
    row = {
        "project_id": 1000, "group_id": group, "integration": "hub", "tracker": "one", "external_id": f"R#{number}",
        "shown_key": f"acme/shop#{number}", "state": "linked", "origin": "linked", "marker": str(number),
        "agreed_state": "open", "theirs": {"state": "open"}, "turns": [], "created_at": NOW,
    }  # fmt: skip
    with stores.state.write() as connection:
        made = connection.execute(issue_links.insert().values(**row)).inserted_primary_key
    assert made is not None
    return group, made[0]


def waiting_intent(stores: Stores, link: int, until: datetime, **values: Any) -> None:
    row = {
        "key": f"state:{link}:1", "link_id": link, "integration": "hub", "tracker": "one", "kind": "state", "data": {},
        "status": "waiting", "priority": 0, "not_before": until, "created_at": NOW,
    }  # fmt: skip
    with stores.state.write() as connection:
        connection.execute(issue_intents.insert().values(**{**row, **values}))


def test_all_is_well_and_nobody_hears_of_it(watched: Watched) -> None:
    assert watched.look() == "ok"
    with watched.stores.state.read() as connection:
        row = states_of(connection)["hub"][""]
    assert (row.identity, row.cause) == ("The bot", "")
    assert watched.told() == []


def test_a_check_costs_three_calls_and_places_are_looked_at_once_an_hour(watched: Watched) -> None:
    watched.stores = configured(
        watched.stores,
        1000,
        SETTINGS.replace("}, {name: two", "}, {name: three, integration: hub}, {name: two"),
    )
    for _ in range(13):
        watched.look()
    assert watched.far.calls[:5] == ["who", "one", "three", "who", "two"]
    assert watched.far.calls.count("who") == 13
    assert [watched.far.calls.count(name) for name in ("one", "two", "three")] == [2, 1, 2]
    assert watched.look(1) == "ok"
    assert watched.far.calls.count("who") == 13


def test_a_revoked_token_is_told_once_and_heals_by_itself(own_day: Day, watched: Watched) -> None:
    group, link = linked(own_day, watched.stores)
    assign_groups_to(watched.stores.state, [group], "cli", assignee="anna@acme.example")
    assert watched.look() == "ok"
    waiting_intent(watched.stores, link, NOW + timedelta(hours=3))
    watched.far.who = REFUSED
    assert watched.look() == "auth_failed"
    assert watched.cause == "Bad credentials"
    assert watched.far.calls[-2:] == ["who", "who"]
    for _ in range(11):  # tried every hour, not more often
        assert watched.look() == "auth_failed"
    assert watched.far.calls[-2:] == ["who", "who"]
    assert watched.told() == ["firing critical: hub is auth failed"]
    assert [row["target"] for row in outbox(watched.stores, 0)] == [
        "channel:hook",
        "member:anna@acme.example",
    ]
    said = alert_rows(watched.stores, 0)[0]["data"]
    assert "make a new token" in said["changed"].lower()
    assert "1 change for it waiting, the oldest for" in said["changed"]
    watched.far.who = None
    assert watched.look() == "ok"
    assert watched.told()[1:] == ["recovered info: hub is well again"]
    assert {row["thread"] for row in alert_rows(watched.stores, 0)} == {"integration:hub"}
    with watched.stores.state.read() as connection:
        assert connection.execute(select(issue_intents.c.not_before)).scalar_one() == watched.now


def test_of_a_group_that_was_merged_whoever_has_the_whole_is_told(own_day: Day, watched: Watched) -> None:
    merged, _ = linked(own_day, watched.stores)
    own_day.send(event(message="another", exception=None))
    own_day.drain()
    with watched.stores.state.read() as connection:
        target = connection.execute(select(groups.c.id).where(groups.c.id != merged)).scalar_one()
    merge_groups(watched.stores.state, target, [merged], "cli")
    assign_groups_to(watched.stores.state, [target], "cli", assignee="anna@acme.example")
    watched.look()
    watched.far.who = REFUSED
    assert watched.look() == "auth_failed"
    assert "member:anna@acme.example" in [row["target"] for row in outbox(watched.stores, 0)]


def test_what_failed_before_it_worked_again_is_no_news(own_day: Day, watched: Watched) -> None:
    _, link = linked(own_day, watched.stores)
    assert watched.look() == "ok"
    waiting_intent(watched.stores, link, NOW + timedelta(hours=3), attempts=2)
    watched.far.who = AWAY
    states = [watched.look() for _ in range(24)]
    assert states[-1] == "unreachable"
    watched.far.who = None
    assert watched.look() == "ok"
    with watched.stores.state.write() as connection:
        connection.execute(update(issue_intents).values(status="done"))
    assert [watched.look(), watched.look()] == ["ok", "ok"]
    assert len(watched.told()) == 2


def test_a_new_token_is_tried_at_once(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.far.who = REFUSED
    assert watched.look() == "auth_failed"
    assert watched.look(1) == "auth_failed"
    calls, watched.far.who = len(watched.far.calls), None
    monkeypatch.setenv("HOME", "another-token")
    watched.stores = configured(watched.stores, 1000, SETTINGS)
    assert watched.look(1) == "ok"
    assert len(watched.far.calls) > calls


def test_one_that_does_not_answer_is_told_after_three_checks(watched: Watched) -> None:
    assert watched.look() == "ok"
    watched.far.who = AWAY
    assert [watched.look(), watched.look(1), watched.look(1)] == ["ok", "ok", "unreachable"]
    assert watched.cause == "not reached: refused"
    assert watched.look() == "unreachable"
    watched.far.who = None
    assert watched.look() == "ok"
    assert watched.told() == ["firing critical: hub is unreachable", "recovered info: hub is well again"]


def test_a_hiccup_is_no_news(watched: Watched) -> None:
    assert watched.look() == "ok"
    for verdict in (AWAY, None, AWAY, AWAY, None):
        watched.far.who = verdict
        assert watched.look() == "ok"
    assert watched.told() == []


def test_a_part_that_fails_names_it_and_all_else_goes_on(own_day: Day, watched: Watched) -> None:
    _, link = linked(own_day, watched.stores)
    assert watched.look() == "ok"
    watched.far.places["one"] = ARCHIVED
    states = [watched.look(61), watched.look(1), watched.look(1)]
    assert states == ["ok", "ok", "degraded"] or states == ["ok", "degraded", "degraded"]
    waiting_intent(watched.stores, link, NOW + timedelta(hours=9))
    assert watched.cause == "one: Repository was archived so is read-only."
    assert watched.told() == ["firing warning: hub is degraded"]
    del watched.far.places["one"]
    for _ in range(4):
        state = watched.look()
    assert state == "ok"
    assert watched.told()[1:] == ["recovered info: hub is well again"]
    with watched.stores.state.read() as connection:
        assert connection.execute(select(issue_intents.c.not_before)).scalar_one() <= watched.now


def test_fields_that_are_missing_are_a_mistake_of_the_configuration(watched: Watched) -> None:
    watched.far.places = {
        name: Place("1", "shop", missing_fields=("Severity", "Area")) for name in ("one", "two")
    }
    assert watched.look() == "misconfigured"
    assert watched.cause.startswith(
        "one: issues there need fields that the configuration gives no value: Severity, Area"
    )
    watched.far.places = {}
    watched.stores = configured(
        watched.stores, 1000, SETTINGS.replace("integration: hub}", "integration: hub, fields: {a: b}}")
    )
    assert watched.look() == "ok"


def test_a_place_with_another_name_is_told(watched: Watched) -> None:
    watched.far.places["two"] = Place("1", "acme/shop", renamed_to="acme/web")
    assert watched.look() == "degraded"
    assert "it is called acme/web now" in watched.cause


def test_the_end_of_a_token_is_told_twice(watched: Watched) -> None:
    watched.far.expires_at = NOW + timedelta(days=20)
    assert watched.look() == "ok"
    assert [watched.look(60 * 24 * 7), watched.look(5)] == ["ok", "degraded"]
    assert "its credential ends on 2026-12-20 12:00 UTC: make a new one" in watched.cause
    assert watched.told() == ["firing warning: hub is degraded"]
    assert [watched.look(60 * 24 * 5), watched.look(60 * 24 * 6), watched.look()] == ["degraded"] * 3
    assert watched.told()[1:] == ["firing critical: hub is degraded"]


def test_what_asks_to_wait_is_waited_for(watched: Watched) -> None:
    assert watched.look() == "ok"
    until = (watched.now + timedelta(minutes=30)).isoformat()
    with watched.stores.state.write() as connection:
        waits = {"integration": [until, "API rate limit exceeded"]}
        connection.execute(update(integration_states).values(pace={"waits": waits}))
    calls = len(watched.far.calls)
    assert watched.look() == "rate_limited"
    assert (
        watched.cause
        == f"API rate limit exceeded; it goes on at {datetime.fromisoformat(until):%Y-%m-%d %H:%M:%S} UTC"
    )
    assert len(watched.far.calls) == calls
    assert watched.look(31) == "ok"
    assert len(watched.told()) == 2


def test_changes_that_cannot_be_made_and_calls_that_fail_are_a_part_that_fails(
    own_day: Day, watched: Watched
) -> None:
    _, link = linked(own_day, watched.stores)
    assert watched.look() == "ok"
    waiting_intent(watched.stores, link, NOW + timedelta(hours=9), attempts=3)
    waiting_intent(watched.stores, link, NOW + timedelta(hours=9), key="create:1", kind="create")
    watched.look(50)
    begin = (watched.now + timedelta(minutes=5)).timestamp() // 900 * 900
    with watched.stores.state.write() as connection:
        connection.execute(
            update(integration_states).values(pace={"calls": [begin, 40, 9, 0, 0], "said": "HTTP 500"})
        )
    assert [watched.look(), watched.look(1)] == ["ok", "degraded"]
    assert (
        watched.cause == "9 of 42 calls failed lately: HTTP 500; 1 change could not be made there for an hour"
    )


def test_sides_that_differ_for_an_hour_and_nothing_says_why(own_day: Day, watched: Watched) -> None:
    group, _ = linked(own_day, watched.stores)
    with watched.stores.state.write() as connection:
        connection.execute(update(issue_links).values(agreed_state="open", look_at=None))
        connection.execute(tracker_cursors.insert().values(tracker="one", seen={}, full_pass_at=NOW))
    assert watched.look() == "ok"
    resolve_groups(watched.stores.state, [group], "cli")
    assert [watched.look(), watched.look(59)] == ["ok", "ok"]
    with watched.stores.state.read() as connection:
        assert connection.execute(select(issue_links.c.look_at)).scalar_one() is not None
    assert [watched.look(5), watched.look(1)] == ["ok", "degraded"]
    assert (
        watched.cause
        == "sides differ for an hour, and nothing says why: SHOP-1 is resolved, acme/shop#1 is open"
    )
    with watched.stores.state.write() as connection:
        connection.execute(update(issue_links).values(held="flapping"))
    assert [watched.look(61), watched.look(5)] == ["degraded", "ok"]
    with watched.stores.state.read() as connection:
        assert connection.execute(select(tracker_cursors.c.full_pass_at)).scalar_one() is None


def test_what_is_disabled_is_not_asked_and_nobody_is_told(watched: Watched) -> None:
    assert watched.look() == "ok"
    calls = len(watched.far.calls)
    assert set_disabled(watched.stores.state, "hub", watched.now, watched.now)
    assert not set_disabled(watched.stores.state, "hub", watched.now, watched.now)
    assert watched.look() == "disabled"
    assert watched.look() == "disabled"
    assert checks_due(watched.stores.state, watched.stores.config.integrations, watched.now) == []
    assert len(watched.far.calls) == calls
    assert set_disabled(watched.stores.state, "hub", None, watched.now)
    assert checks_due(watched.stores.state, watched.stores.config.integrations, watched.now) == ["hub"]
    assert watched.look(1) == "ok"
    watched.stores = configured(watched.stores, 1000, SETTINGS.replace("1000}", "1000, enabled: false}"))
    assert watched.look(1) == "disabled"
    assert watched.told() == []


def test_by_hand_all_places_are_looked_at_at_once(watched: Watched) -> None:
    watched.look()
    watched.far.calls.clear()
    assert watched.look(0.1, by_hand=True) == "ok"
    assert watched.far.calls == ["who", "one", "two"]


def test_an_integration_that_fails_in_its_own_way_costs_itself(watched: Watched) -> None:
    text = SETTINGS.replace(
        "integrations: [",
        "integrations: [{name: bad, type: roundup, url: 'https://b.example', user: u, password: '${env:HOME}'}, ",
    )
    stores = configured(watched.stores, 1000, text)

    @contextmanager
    def opened(integration: AnyIntegration, gate: Gate) -> Iterator[Any]:
        if integration.name == "bad":
            raise RuntimeError("boom")
        with watched.far.opened(integration, gate) as provider:
            yield provider

    report = update_integration_status(stores, NOW, opened=opened)
    assert report.failed == ["bad"]
    assert report.states["hub"].status == "ok"


def test_without_integrations_nothing_is_asked_of_anybody(own: Stores) -> None:
    stores = configured(own, 1000, "")
    assert checks_due(replace(stores).state, stores.config.integrations, NOW) == []
    assert update_integration_status(stores, NOW).states == {}
