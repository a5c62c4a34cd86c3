"""Who may do what: tokens of members, passwords and their invitations, sessions, and those who guess."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from tasks_pipeline.access import failures, passwords, sessions, tokens
from tasks_pipeline.access.ends import FAILURES_FOR, IDLE_FOR, INVITED_FOR
from tasks_pipeline.access.roles import projects_of
from tasks_pipeline.config import Config, parse_config
from tasks_pipeline.home import Home
from tasks_pipeline.retention.finished import drop_finished
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import member_passwords, web_sessions

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
ANNA, BEN, EVE = "anna@acme.example", "ben@acme.example", "eve@acme.example"
PASSWORD = "correct horse battery staple"
CONFIG = f"""\
projects:
  - {{id: 1, slug: shop, keys: [{{public_key: abcd}}]}}
  - {{id: 2, slug: web, keys: [{{public_key: efgh}}]}}
teams: [{{slug: payments, members: [{BEN}], projects: [web]}}]
members:
  - {{email: {ANNA}, role: admin}}
  - {{email: {BEN}, sees: mine}}
  - {{email: {EVE}, role: viewer, sees: [shop]}}
"""


@pytest.fixture
def state(any_home: Home) -> Iterator[StateDatabase]:
    state = StateDatabase(any_home)
    yield state
    state.close()


def config() -> Config:
    return parse_config(CONFIG)


def token_of(state: StateDatabase, scopes: tuple[str, ...], member: str | None) -> tokens.Token | None:
    _, text = tokens.create_token(state, "http://test", "acme", "editor", scopes, member)
    assert text.startswith("sntrys_" if member is None else "sntryu_")
    return tokens.find_token(state, config(), text)


def test_a_token_of_a_member_does_what_the_member_may(state: StateDatabase) -> None:
    admin = token_of(state, tokens.SCOPES, ANNA)
    assert admin is not None
    assert (admin.viewer.actor, admin.viewer.role, admin.viewer.projects) == (ANNA, "admin", None)
    viewer = token_of(state, tokens.SCOPES, EVE)
    assert viewer is not None
    assert (viewer.scopes, viewer.viewer.role) == (frozenset(tokens.READS), "viewer")
    assert viewer.viewer.may_see(1)
    assert not viewer.viewer.may_see(2)
    reader = token_of(state, ("event:read",), ANNA)
    assert reader is not None
    assert (reader.scopes, reader.viewer.role) == ({"event:read"}, "viewer")
    assert token_of(state, tokens.SCOPES, "gone@acme.example") is None


def test_a_token_without_a_member_is_logged_by_its_name(state: StateDatabase) -> None:
    found = token_of(state, ("event:read", "event:write"), None)
    assert found is not None
    assert (found.viewer.actor, found.viewer.role, found.viewer.projects) == ("token:editor", "member", None)


def test_the_projects_of_a_member() -> None:
    seen = {member.email: projects_of(config(), member) for member in config().members}
    assert seen == {ANNA: None, BEN: {2}, EVE: {1}}


def test_an_invitation_is_good_once(state: StateDatabase) -> None:
    first = passwords.invite(state, ANNA, NOW)
    link = passwords.invite(state, ANNA, NOW)
    assert passwords.invited(state, first, NOW) is None, "an earlier one ends"
    assert passwords.invited(state, link, NOW + INVITED_FOR) is None
    for bad in ("short", "x" * 20, ANNA, "long " * 1000):
        with pytest.raises(passwords.BadPassword):
            passwords.accept(state, link, bad, NOW)
    assert not passwords.is_right(state, ANNA, PASSWORD)
    assert passwords.accept(state, link, PASSWORD, NOW) == ANNA
    assert passwords.accept(state, link, PASSWORD, NOW) is None
    assert passwords.is_right(state, ANNA, PASSWORD)
    assert not passwords.is_right(state, ANNA, PASSWORD + " ")
    assert not passwords.is_right(state, BEN, PASSWORD)
    with state.read() as connection:
        stored = connection.execute(select(member_passwords.c.hash)).scalar_one()
    assert stored.startswith("scrypt$32768$8$1$")


def test_a_session_is_known_by_its_cookie_until_it_ends(state: StateDatabase) -> None:
    planted = sessions.begin(state, EVE, "password", NOW)
    cookie = sessions.begin(state, ANNA, "password", NOW, before=planted)
    assert sessions.find(state, planted, NOW) is None, (
        "what was there before the login is worth nothing after it"
    )
    found = sessions.find(state, cookie, NOW + timedelta(days=13))
    assert found is not None
    assert found.member == ANNA
    assert sessions.find(state, cookie, NOW + timedelta(days=26)) is not None, "use keeps it"
    assert sessions.find(state, cookie, NOW + timedelta(days=26) + IDLE_FOR * 1.01) is None
    with state.read() as connection:
        assert cookie not in str(connection.execute(select(web_sessions)).all())
    assert sessions.is_csrf(cookie, sessions.csrf_of(cookie))
    assert not sessions.is_csrf(cookie, sessions.csrf_of(planted))
    sessions.end(state, cookie)
    assert sessions.find(state, cookie, NOW) is None


def test_another_password_ends_all_sessions(state: StateDatabase) -> None:
    cookie = sessions.begin(state, ANNA, "password", NOW)
    passwords.change(state, ANNA, PASSWORD, NOW)
    assert sessions.find(state, cookie, NOW) is None


def test_sessions_of_a_member_are_bounded(state: StateDatabase) -> None:
    first, *_ = [sessions.begin(state, ANNA, "oidc", NOW + timedelta(minutes=n)) for n in range(25)]
    assert sessions.count_of(state, ANNA, NOW) == sessions.MOST
    assert sessions.find(state, first, NOW) is None


def test_who_guesses_waits(state: StateDatabase) -> None:
    for n in range(failures.TOGETHER):
        assert failures.admit(state, "10.0.0.1", ANNA, NOW + timedelta(seconds=n)) == 0, n
    late = NOW + timedelta(seconds=10)
    wait = failures.admit(state, "10.0.0.1", ANNA, late)
    assert wait == FAILURES_FOR.total_seconds() - 10
    assert failures.admit(state, "10.0.0.2", ANNA, late) == 0, "the member can still get in"
    assert failures.admit(state, "10.0.0.1", BEN, late) == 0
    assert failures.admit(state, "10.0.0.1", ANNA, late + timedelta(seconds=wait)) == 0
    failures.forgive(state, "10.0.0.1", ANNA)
    assert failures.admit(state, "10.0.0.1", ANNA, late) == 0
    for n in range(failures.OF_ADDRESS):
        assert failures.admit(state, "2001:db8::1", f"{n}@acme.example", late) == 0
    assert failures.admit(state, "2001:db8::ffff:2", BEN, late) > 0, "a network is one client"


def test_many_guesses_at_once_are_no_more(state: StateDatabase) -> None:
    with ThreadPoolExecutor(16) as threads:
        waits = [*threads.map(lambda _: failures.admit(state, "10.0.0.1", ANNA, NOW), range(40))]
    assert waits.count(0) == failures.TOGETHER


def test_what_is_over_goes(state: StateDatabase) -> None:
    sessions.begin(state, ANNA, "password", NOW)
    passwords.invite(state, BEN, NOW)
    failures.admit(state, "10.0.0.1", ANNA, NOW)
    later = drop_finished(state, NOW + timedelta(days=15))
    assert (later["web_sessions"], later["invitations"], later["failed_logins"]) == (1, 1, 1)
