"""Who is told, how and when: targets, owners, preferences, quiet hours, times of digests."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.config import Config, ConfigError, parse_config
from tasks_pipeline.config.people import WEEK, QuietHours
from tasks_pipeline.notifications.digests import Pending, next_digest_at
from tasks_pipeline.notifications.quiet import quiet_until
from tasks_pipeline.notifications.routing import Route, owners_of, routes

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)  # a Monday
BASE = """\
projects:
  - id: 1
    slug: shop
    keys: [{public_key: abcdef}]
    ownership:
      - {path: "src/**", owners: ["team:web"]}
      - {path: "src/billing/*.py", owners: [carl@acme.example, "team:pay"]}
      - {tag: {name: area, is: "search*"}, owners: [anna@acme.example]}
      - {url: "*/checkout*", owners: ["team:pay"]}
channels:
  - {name: mail, type: mail, host: localhost, sender: errors@acme.example}
  - {name: ops, type: slack, url: "https://hooks.slack.example/x"}
members:
  - {email: anna@acme.example}
  - {email: ben@acme.example, notifications: {delivery: digest}}
  - {email: carl@acme.example, notifications: {delivery: none}, projects: {shop: {only_assigned: true, delivery: immediate}}}
  - {email: dora@acme.example, timezone: Europe/Berlin, notifications: {rules: ["crit*"], quiet_hours: {start: "22:00", end: "07:00"}}}
teams:
  - {slug: web, members: [anna@acme.example, ben@acme.example]}
  - {slug: pay, members: [carl@acme.example], channel: ops}
"""
CONFIG = parse_config(BASE)


def told(
    *targets: str,
    config: Config = CONFIG,
    rule: str = "critical",
    severity: str = "warning",
    at: datetime = NOON,
    assignee: str | None = None,
) -> dict[str, Route]:
    found = routes(
        config, project_id=1, targets=targets, rule=rule, severity=severity, at=at, assignee=assignee
    )
    return {route.target: route for route in found}


def test_everybody_is_told_once_in_their_own_way() -> None:
    found = told("members", "team:web", "anna@acme.example".replace("anna", "member:anna"), "channel:ops")
    assert {target: (r.channel, r.delivery) for target, r in found.items()} == {
        "member:anna@acme.example": ("mail", "immediate"),
        "member:ben@acme.example": ("mail", "digest"),
        "member:carl@acme.example": ("mail", "skipped"),
        "member:dora@acme.example": ("mail", "immediate"),
        "channel:ops": ("ops", "immediate"),
    }
    assert found["member:carl@acme.example"].reason == "wants only what is assigned to them"
    assert found["member:anna@acme.example"].address == "anna@acme.example"


def test_a_team_with_a_channel_is_told_there() -> None:
    assert {t: r.channel for t, r in told("team:pay").items()} == {"team:pay": "ops"}


def test_an_assignee_hears_of_what_is_theirs() -> None:
    assert told("assignee") == {}
    assert told("assignee", assignee="carl@acme.example")["member:carl@acme.example"].delivery == "immediate"
    assert told("members", assignee="team:pay")["member:carl@acme.example"].delivery == "immediate"
    assert list(told("assignee", assignee="team:pay")) == ["team:pay"]


def test_rules_that_are_not_wanted_are_skipped_with_the_reason() -> None:
    route = told("members", rule="noise")["member:dora@acme.example"]
    assert (route.delivery, route.reason) == ("skipped", "does not want those of rule noise")


def test_quiet_hours_wait_and_critical_ones_do_not() -> None:
    night = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)  # half past midnight in Berlin
    route = told("members", at=night)["member:dora@acme.example"]
    assert route.not_before == datetime(2026, 11, 24, 6, tzinfo=UTC)
    assert route.reason.startswith("quiet hours until")
    assert told("members", at=night, severity="critical")["member:dora@acme.example"].not_before == night


@pytest.mark.parametrize(
    ("paths", "tags", "url", "owners"),
    [
        (["src/web/views.py"], {}, None, ("team:web",)),
        (["/app/src/web/views.py"], {}, None, ("team:web",)),
        (["src/billing/pay.py"], {}, None, ("member:carl@acme.example", "team:pay")),
        (["src/billing/deep/pay.py"], {}, None, ("team:web",)),
        (["lib/x.py"], {"area": "search-index"}, None, ("member:anna@acme.example",)),
        (["src/x.py"], {}, "https://shop.example/checkout/1", ("team:pay",)),
        (["lib/x.py"], {}, None, ()),
        ([], {}, None, ()),
    ],
)
def test_the_last_rule_that_matches_names_the_owners(
    paths: list[str], tags: dict[str, str], url: str | None, owners: tuple[str, ...]
) -> None:
    assert owners_of(CONFIG, 1, paths, tags, url) == owners


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("alert_rules: [{name: a, when: [new_group], notify: [nobody@acme.example]}]", "alert_rules[0].notify[0]: nobody@acme.example is not configured"),
        ("alert_rules: [{name: a, when: [new_group], notify: ['team:none']}]", "allowed: web, pay"),
        ("alert_rules: [{name: a, when: [sometimes], notify: [members]}]", "sometimes"),
        ("alert_rules: [{name: a, when: [new_group], notify: [everyone]}]", "nobody; allowed are assignee"),
        ("alert_rules: [{name: a, when: [new_group], notify: [members]}, {name: a, when: [regression], notify: [members]}]", "used twice: a"),
        ("alert_rules: [{name: a, when: [{type: metric, metric: error_count, warning: 5, critical: 2}], notify: [members]}]", "out of order"),
        ("alert_rules: [{name: a, when: [new_group], notify: [members], if: {all: [{level: loud}]}}]", "not a level"),
        ("alert_rules: [{name: a, when: [new_group], notify: [members], if: {all: [{times_seen: many}]}}]", "not a comparison"),
        ("watch: {operators: [members]}", "watch.operators"),
        ("watch: {fallback_channel: pigeon}", "pigeon is not configured; allowed: mail, ops"),
        ("watch: {disk_free_bytes: {warning: 1, critical: 5}}", "at most warning"),
    ],
)  # fmt: skip
def test_mistakes_are_named(change: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config(BASE + change)
    assert said in str(error.value)


ZONES = st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"])
MOMENTS = st.integers(0, 730 * 86_400).map(lambda s: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=s))
TIMES = st.times().map(lambda t: t.replace(second=0, microsecond=0))
DAYS = st.lists(st.sampled_from(WEEK), min_size=1, unique=True).map(tuple)


@given(TIMES, TIMES, DAYS, ZONES, MOMENTS)
def test_the_end_of_quiet_hours_is_ahead_and_not_quiet(
    start: time, end: time, days: tuple[str, ...], zone: str, at: datetime
) -> None:
    if start == end:
        return
    hours = QuietHours.model_validate({"start": start, "end": end, "days": days})
    until = quiet_until(hours, zone, at)
    if until is not None:
        assert at < until <= at + timedelta(days=8)
        again = quiet_until(hours, zone, until)
        assert again is None or until - at > timedelta(days=6)


def digest(schedule: str, quiet: str = "") -> Config:
    return parse_config(
        "projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]\n"
        f"members: [{{email: a@b.example, timezone: America/New_York, notifications: {{delivery: digest, digest: {schedule}{quiet}}}}}]"
    )


def pending(first: datetime, last: datetime) -> Pending:
    return Pending("member:a@b.example", 1, first, last, 2)


def test_a_digest_waits_for_silence_but_not_for_ever() -> None:
    config = digest("{min_delay_minutes: 5, max_delay_minutes: 30}")
    after = timedelta(minutes=2)
    assert next_digest_at(config, pending(NOON, NOON + after), NOON) == NOON + timedelta(minutes=7)
    busy = pending(NOON, NOON + timedelta(minutes=29))
    assert next_digest_at(config, busy, NOON) == NOON + timedelta(minutes=30)


def test_fixed_times_are_those_of_the_member() -> None:
    config = digest("{at: ['09:00', '17:00'], days: [mon, tue]}")
    assert next_digest_at(config, pending(NOON, NOON), NOON) == datetime(
        2026, 11, 23, 14, tzinfo=UTC
    )  # 9:00 there
    evening = NOON + timedelta(hours=11)
    assert next_digest_at(config, pending(evening, evening), evening) == datetime(
        2026, 11, 24, 14, tzinfo=UTC
    )
    wednesday = NOON + timedelta(days=2)
    assert next_digest_at(config, pending(wednesday, wednesday), wednesday) == datetime(
        2026, 11, 30, 14, tzinfo=UTC
    )


def test_a_digest_does_not_wake_anybody() -> None:
    config = digest("{at: ['03:00']}", ", quiet_hours: {start: '22:00', end: '07:00'}")
    assert next_digest_at(config, pending(NOON, NOON), NOON) == datetime(2026, 11, 24, 12, tzinfo=UTC)


@given(MOMENTS, ZONES, st.lists(TIMES, min_size=1, max_size=3, unique=True), DAYS)
def test_a_fixed_time_is_ahead_and_on_its_day(
    first: datetime, zone: str, at: list[time], days: tuple[str, ...]
) -> None:
    times = ", ".join(f"'{t:%H:%M}'" for t in at)
    config = parse_config(
        "projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]\n"
        f"members: [{{email: a@b.example, timezone: {zone}, notifications: {{delivery: digest, digest: {{at: [{times}], days: [{', '.join(days)}]}}}}}}]"
    )
    due = next_digest_at(config, pending(first, first), first)
    assert first < due <= first + timedelta(days=9)
    local = due.astimezone(ZoneInfo(zone))
    assert WEEK[local.weekday()] in days or local.hour < 2  # a time that the clocks skip at midnight


def test_an_address_in_another_case_of_letters_is_the_same_member() -> None:
    """Or Kim would get two mails of one report, and could end one of them alone."""
    head = "projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]\n"
    with pytest.raises(ConfigError, match="email used twice"):
        parse_config(f"{head}members: [{{email: Kim@Example.com}}, {{email: kim@example.com}}]\n")
    config = parse_config(
        f"{head}members: [{{email: Kim@Example.com}}]\n"
        "teams: [{slug: web, members: [KIM@example.com]}]\nwatch: {operators: [kim@EXAMPLE.com]}\n"
    )
    kim = config.member("kIm@example.com")
    assert kim is not None
    assert config.teams[0].members == (kim.email,)
    assert config.watch.operators == (f"member:{kim.email}",)
