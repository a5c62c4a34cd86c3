"""Who gets which report, of what and when; whose word counts; links that nobody can guess."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from tasks_pipeline.config import Config, parse_config
from tasks_pipeline.notifications.subscriptions import (
    ADVERBS,
    Decision,
    Kind,
    subscription_of,
    token_of,
    tokens_of,
    unsubscribe_url,
    without_links,
)
from tasks_pipeline.reports.periods import period_of
from tasks_pipeline.reports.recipients import due_at, recipient_of_member, recipients

BASE = """
projects:
  - {id: 1, slug: shop, keys: [{public_key: abcdef}], timezone: Europe/Berlin}
  - {id: 2, slug: api, keys: [{public_key: abcdee}]}
  - {id: 3, slug: web, keys: [{public_key: abcded}]}
channels: [{name: mail, type: mail, host: 127.0.0.1, sender: e@acme.example}, {name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]
"""


def config_of(member: str = "", more: str = "") -> Config:
    return parse_config(
        f"{BASE}members: [{{email: anna@acme.example{', ' if member else ''}{member}}}]\n{more}"
    )


@pytest.mark.parametrize(
    ("kind", "key", "zone", "clock", "wishes", "due"),
    [
        ("week", "2026-11-16", "UTC", "UTC", "", "2026-11-23 08:00"),
        ("week", "2026-11-16", "Europe/Berlin", "America/Los_Angeles", "", "2026-11-23 16:00"),
        # In Auckland it is noon on Monday when Berlin's week ends: at once, and not a week later.
        ("week", "2026-11-16", "Europe/Berlin", "Pacific/Auckland", "", "2026-11-22 23:00"),
        ("week", "2026-11-16", "UTC", "UTC", "weekday: fri, at: '17:30'", "2026-11-27 17:30"),
        ("day", "2026-10-24", "Europe/Berlin", "Europe/Berlin", "at: '02:30'", "2026-10-25 00:30"),
        ("day", "2026-11-22", "Europe/Berlin", "Pacific/Auckland", "", "2026-11-22 23:00"),
        ("day", "2026-11-22", "UTC", "Pacific/Kiritimati", "at: '13:30'", "2026-11-23 00:00"),
        ("day", "2026-11-22", "Europe/Berlin", "America/Los_Angeles", "", "2026-11-23 16:00"),
        ("month", "2026-11-01", "UTC", "UTC", "", "2026-12-01 08:00"),
        ("month", "2026-11-01", "UTC", "America/New_York", "", "2026-12-01 13:00"),
        ("month", "2026-11-01", "Europe/Berlin", "Pacific/Auckland", "", "2026-11-30 23:00"),
    ],
)
def test_when_a_report_is_due(kind: Kind, key: str, zone: str, clock: str, wishes: str, due: str) -> None:
    config = config_of(f"timezone: {clock}, reports: {{{wishes}}}", f"reports: {{timezone: {zone}}}")
    period = period_of(kind, date.fromisoformat(key), zone)
    found = due_at(recipient_of_member(config, config.members[0], kind), period)
    assert f"{found.astimezone(UTC):%Y-%m-%d %H:%M}" == due
    assert found >= period.end


@pytest.mark.parametrize(
    ("wishes", "teams", "scope", "projects", "reason"),
    [
        ("", "", "organisation", None, ""),
        ("projects: [shop]", "", "project:shop", None, ""),
        ("projects: [shop, api]", "", "organisation", {1, 2}, ""),
        ("projects: mine", "", "organisation", set(), "no projects"),
        ("projects: mine", "{slug: a, members: [anna@acme.example], projects: [shop, api]}", "team:a", None, ""),
        (
            "projects: mine",
            "{slug: a, members: [anna@acme.example], projects: [shop]}, {slug: b, members: [anna@acme.example], projects: [api]}",
            "organisation", {1, 2}, "",
        ),
        ("projects: mine", "{slug: b, members: [], projects: [api]}", "organisation", set(), "no projects"),
    ],
)  # fmt: skip
def test_of_what(wishes: str, teams: str, scope: str, projects: set[int] | None, reason: str) -> None:
    config = config_of(f"reports: {{{wishes}}}", f"teams: [{teams}]" if teams else "")
    found = recipient_of_member(config, config.members[0], "week")
    assert (found.scope, found.projects, found.reason) == (scope, projects, reason)
    assert found.zone == ("Europe/Berlin" if scope == "project:shop" else "UTC")


def test_who_has_nowhere_to_be_reached() -> None:
    config = config_of(
        "address: U0123", "teams: [{slug: a, reports: [weekly]}, {slug: b, channel: mail, reports: [weekly]}]"
    )
    found = {one.target: one.reason for one in recipients(config, {}) if one.kind == "week"}
    assert found == {"member:anna@acme.example": "no address", "team:a": "no channel", "team:b": "no address"}
    no_mail = parse_config(
        "projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]\nmembers: [{email: a@b.example}]"
    )
    assert recipients(no_mail, {})[0].reason == "no channel"


def test_what_a_member_decided_wins_over_the_file() -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    member = config_of("reports: {daily: true}").members[0]
    link = {(member.email, "day"): Decision(False, "link", at)}
    assert subscription_of(member, "day", {}).by == "file"
    assert subscription_of(member, "week", {}).by == "default"
    assert (subscription_of(member, "day", link).wanted, subscription_of(member, "day", link).by) == (
        False,
        "link",
    )
    again = {(member.email, "month"): Decision(True, "command", at)}
    assert subscription_of(member, "month", again).wanted


def test_who_wants_no_notifications_is_not_sent_reports_by_default() -> None:
    silent = config_of("notifications: {delivery: none}").members[0]
    assert not any(subscription_of(silent, kind, {}).wanted for kind in ADVERBS)
    asked = config_of("notifications: {delivery: none}, reports: {monthly: true}").members[0]
    assert [kind for kind in ADVERBS if subscription_of(asked, kind, {}).wanted] == ["month"]


def test_links_are_of_one_member_kind_and_installation() -> None:
    config = config_of("", "receiver: {public_url: 'https://errors.acme.example/'}")
    key, other = b"k" * 32, b"o" * 32
    tokens = tokens_of(key, config)
    assert len(tokens) == 3
    assert len({*tokens, *tokens_of(other, config)}) == 6
    token = token_of(key, "anna@acme.example", "week")
    assert tokens[token] == ("anna@acme.example", "week")
    assert token_of(key, "Anna@ACME.example", "week") == token
    assert unsubscribe_url(config, token) == f"https://errors.acme.example/unsubscribe/{token}"
    assert unsubscribe_url(config_of(), token) == ""


def test_a_configuration_without_a_place_for_links_is_told_so() -> None:
    assert "no link to unsubscribe" in without_links(config_of())
    assert without_links(config_of("", "receiver: {public_url: 'https://errors.acme.example'}")) == ""
    assert without_links(config_of("reports: {weekly: false}")) == ""
