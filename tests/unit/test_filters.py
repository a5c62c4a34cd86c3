"""Inbound filters: what each keeps out and what it lets through."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.config import ConfigError, parse_config
from tasks_pipeline.config.filters import Filters
from tasks_pipeline.filtering.filters import InboundFilters
from tasks_pipeline.filtering.user_agents import browser, is_crawler, matches_rule
from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.event import normalise_event

CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
IE11 = "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko"


def context(**facts: Any) -> ItemContext:
    return ItemContext(1, datetime(2026, 11, 22, tzinfo=UTC), event_id="a" * 32, **facts)


def reason(settings: dict[str, Any], event: dict[str, Any], **facts: Any) -> str | None:
    """Why an event as an SDK sends it is kept out."""
    filters = InboundFilters(Filters.model_validate(settings))
    refusal = filters.refuses_event(normalise_event(event, context(**facts)), context(**facts))
    return refusal.reason if refusal else None


def with_agent(user_agent: str) -> dict[str, Any]:
    return {"request": {"headers": {"user-agent": user_agent}}}


def error(
    kind: str = "ValueError", value: str = "no such order", *places: str, **fields: Any
) -> dict[str, Any]:
    frames = [{"filename": place, "function": "f"} for place in places]
    exception: dict[str, Any] = {"type": kind, "value": value}
    if frames:
        exception["stacktrace"] = {"frames": frames}
    return {"exception": {"values": [{"type": "KeyError", "value": "cause"}, exception]}, **fields}


EXTENSIONS = {"browser_extensions": True}


@pytest.mark.parametrize(
    ("settings", "event", "expected"),
    [
        ({"releases": ["shop@0.*"]}, {"release": "Shop@0.9.1"}, "release"),
        ({"releases": ["shop@0.*"]}, {"release": "shop@1.0"}, None),
        ({"releases": ["shop@0.*"]}, {}, None),
        ({"environments": ["dev", "test-?"]}, {"environment": "test-1"}, "environment"),
        ({"environments": ["dev"]}, {"environment": "development"}, None),
        ({"error_messages": ["*timed out*"]}, {"message": "It Timed Out again"}, "error_message"),
        ({"error_messages": ["user * left"]}, {"logentry": {"message": "user %s left", "params": ["x"]}}, "error_message"),
        ({"error_messages": ["valueerror: no such *"]}, error(), "error_message"),
        ({"error_messages": ["no such order"]}, error(), "error_message"),
        ({"error_messages": ["*cause*"]}, error(), None),
        ({"error_types": ["Value*"]}, error(), "error_type"),
        ({"error_types": ["KeyError"]}, error(), None),
        ({"web_crawlers": True}, with_agent(GOOGLEBOT), "web_crawler"),
        ({"web_crawlers": True}, with_agent(CHROME), None),
        ({"legacy_browsers": ["ie11"]}, with_agent(IE11), "legacy_browser"),
        ({"legacy_browsers": ["ie10", "chrome_pre_130"]}, with_agent(CHROME), None),
        ({"localhost": True}, {"request": {"url": "http://localhost:3000/x"}}, "localhost"),
        ({"localhost": True}, {"request": {"url": "http://shop.localhost/x"}}, "localhost"),
        ({"localhost": True}, {"request": {"url": "http://127.0.0.1/x"}}, "localhost"),
        ({"localhost": True}, {"request": {"url": "http://[::1]:80/x"}}, "localhost"),
        ({"localhost": True}, {"user": {"ip_address": "127.0.0.1"}}, "localhost"),
        ({"localhost": True}, {"request": {"url": "https://localhost.example/"}}, None),
        ({"ip_addresses": ["10.0.0.0/8"]}, {"user": {"ip_address": "10.1.2.3"}}, "ip_address"),
        ({"ip_addresses": ["10.0.0.0/8"]}, {"user": {"ip_address": "::ffff:10.1.2.3"}}, "ip_address"),
        ({"ip_addresses": ["2001:db8::/32"]}, {"user": {"ip_address": "2001:db8::7"}}, "ip_address"),
        ({"ip_addresses": ["10.1.2.4"]}, {"user": {"ip_address": "10.1.2.3"}}, None),
        (EXTENSIONS, error("E", "x", "app.js", "chrome-extension://abc/x.js", platform="javascript"), "browser_extension"),
        (EXTENSIONS, error("E", "Extension context invalidated.", platform="javascript"), "browser_extension"),
        (EXTENSIONS, error("E", "x", "moz-extension://abc/x.js", "app.js", platform="javascript"), None),
        (EXTENSIONS, error("E", "Extension context invalidated.", platform="python"), None),
        ({}, error(release="x", **with_agent(GOOGLEBOT)), None),
    ],
)  # fmt: skip
def test_what_is_kept_out(settings: dict[str, Any], event: dict[str, Any], expected: str | None) -> None:
    assert reason(settings, event) == expected


@pytest.mark.parametrize(
    ("frame", "foreign"),
    [
        ({"function": "emit@webkit-masked-url:", "filename": "//hidden/"}, True),
        ({"function": "handle@safari-extension", "filename": "//3284871F-A480/2665fee0/commons.js"}, True),
        ({"function": "@moz-extension:", "filename": "//6e1c/content.js"}, True),
        ({"function": "run@Safari-Web-Extension://6E1C/content.js", "filename": "<anonymous>"}, True),
        ({"function": "chrome-extension:", "filename": "//abc/x.js"}, True),
        ({"function": "open@resource:", "filename": "//gre/modules/x.js"}, True),
        ({"function": "run", "module": "chrome-extension://abc/content", "filename": "content.js"}, True),
        ({"function": "run", "abs_path": "webkit-masked-url:", "filename": "hidden"}, True),
        ({"function": "run", "filename": "edge-extension://abc/x.js"}, True),
        ({"function": "notify@edge", "filename": "https://shop.test/app.js"}, False),
        ({"function": "load@https", "filename": "//shop.test/app.js"}, False),
        ({"function": "isFromExtension", "filename": "https://shop.test/safari-extension.js"}, False),
        ({"function": "no-safari-extension", "filename": "https://shop.test/app.js"}, False),
    ],
)
def test_extensions_are_known_by_any_part_of_the_frame_that_raised(
    frame: dict[str, Any], foreign: bool
) -> None:
    ours = {"function": "main", "filename": "https://shop.test/app.js", "lineno": 1}
    native = {"function": "forEach", "filename": "[native code]"}
    for frames in ([ours, frame], [frame], [ours, frame, native]):
        event = error("E", "x", platform="javascript")
        event["exception"]["values"][-1]["stacktrace"] = {"frames": frames}
        assert reason(EXTENSIONS, event) == ("browser_extension" if foreign else None)


def test_the_client_itself_counts_too() -> None:
    assert reason({"ip_addresses": ["203.0.113.0/24"]}, {}, remote_addr="203.0.113.7") == "ip_address"
    assert reason({"web_crawlers": True}, {}, user_agent=GOOGLEBOT) == "web_crawler"
    # what the event says about its request is nearer to the truth than who delivered it
    assert reason({"web_crawlers": True}, with_agent(CHROME), user_agent=GOOGLEBOT) is None


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        (CHROME, ("chrome", 131)),
        (IE11, ("ie", 11)),
        ("Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.1; Trident/6.0)", ("ie", 10)),
        ("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 5.1)", ("ie", 8)),
        (CHROME + " Edge/18.17763", ("edge", 18)),
        (CHROME + " Edg/131.0", ("edge", 131)),
        (CHROME + " OPR/116.0", ("opera", 116)),
        ("Opera/9.80 (Windows NT 6.1) Presto/2.12 Version/12.16", ("opera", 12)),
        ("Opera/9.80 (J2ME/MIDP; Opera Mini/7.1/28; U; en) Presto/2.8 Version/11.10", ("opera_mini", 7)),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0", ("firefox", 133)),
        ("Mozilla/5.0 (Macintosh) AppleWebKit/605 (KHTML, like Gecko) Version/5.1 Safari/605.1", ("safari", 5)),
        ("Mozilla/5.0 (Linux; U; Android 2.3.5) AppleWebKit/533.1 (KHTML) Version/4.0 Mobile Safari/533.1", ("android", 2)),
        ("sentry.python/2.75.0", None),
        ("", None),
    ],
)  # fmt: skip
def test_browsers(user_agent: str, expected: tuple[str, int] | None) -> None:
    assert browser(user_agent) == expected


@pytest.mark.parametrize(
    ("rule", "matches"),
    [("ie", True), ("ie9", True), ("ie10", False), ("ie_pre_10", True), ("ie_pre_9", False), ("edge", False)],
)
def test_rules_for_browsers(rule: str, matches: bool) -> None:
    assert matches_rule(rule, ("ie", 9)) is matches


@pytest.mark.parametrize(
    "name",
    "bingbot/2.0 AhrefsBot/7.0; YandexBot/3.0; Baiduspider/2.0 facebookexternalhit/1.1 Twitterbot/1.0 Slackbot-LinkExpanding"
    " Applebot/0.1 DuckDuckBot/1.1; GPTBot/1.2; PetalBot; UptimeRobot/2.0; SemrushBot/7~bl; Screaming-Frog-SEO-Spider".split(),
)
def test_crawlers(name: str) -> None:
    assert is_crawler(f"Mozilla/5.0 (compatible; {name} +http://x.example)")


@pytest.mark.parametrize(
    "user_agent",
    [
        CHROME,
        IE11,
        "Mozilla/5.0 (Linux; Android 9; CUBOT X19) Chrome/80 Mobile Safari/537.36",
        "curl/8.0",
        "okhttp/4",
    ],
)
def test_no_crawlers(user_agent: str) -> None:
    assert not is_crawler(user_agent)


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("{ip_addresses: [10.0.0.0/99]}", "filters.ip_addresses[0]: an IP address or a range such as"),
        ("{legacy_browsers: [netscape]}", "filters.legacy_browsers[0]: allowed are ie, edge"),
        ("{releases: ['']}", "filters.releases[0]: String should have at least 1 character"),
        ("{crawlers: true}", "filters.crawlers: unknown field"),
    ],
)
def test_settings_that_cannot_be_used(section: str, expected: str) -> None:
    text = f"projects: [{{id: 1, slug: shop, keys: [{{public_key: abcd}}], filters: {section}}}]"
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert expected in str(caught.value)


ALL = InboundFilters(
    Filters(
        releases=("a*b*c",),
        environments=("?",),
        error_messages=("*a*b*c*d*",),
        error_types=("[xyz]*",),
        browser_extensions=True,
        legacy_browsers=("ie", "safari_pre_6"),
        web_crawlers=True,
        localhost=True,
        ip_addresses=("10.0.0.0/8",),
    )
)
DATA: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["release", "environment", "user", "request", "exception", "logentry", "platform"])


@given(st.dictionaries(FIELDS, DATA), st.text(max_size=30), st.text(max_size=30))
def test_nothing_in_an_event_makes_them_fail(event: dict[str, Any], address: str, agent: str) -> None:
    facts = context(remote_addr=address, user_agent=agent)
    refusal = ALL.refuses_event(normalise_event(event, facts), facts)
    assert refusal is None or refusal.reason
