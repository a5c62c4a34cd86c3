"""The pages as people use them: with a mouse, by keyboard, on a phone, in the dark, on paper, and without a script."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest

from tests.browser.conftest import Looks
from tests.support.pages_home import HOSTILE, RICH, TIMEOUTS

pytestmark = pytest.mark.browser

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
EVENT = f"/events/{RICH}"


def of_group(window: Looks, event_id: str = RICH) -> str:
    """The path of the group of an event."""
    page = window.go(f"/events/{event_id}")
    return str(page.url).removeprefix(window.address).partition("events/")[0]


def every_page(window: Looks) -> list[str]:
    base, hostile = of_group(window), of_group(window, HOSTILE)
    tabs = ["", "events/", "events/sql/", "tags/", "tags/browser/", "why/", "similar/", "activity/"]
    return [
        "/groups/",
        "/groups/?query=level:(",
        "/groups/?query=nothing",
        "/groups/sql/",
        "/none/",
        *(
            f"/{name}/"
            for name in (
                "releases",
                "monitors",
                "alerts",
                "reports",
                "notifications",
                "pipeline",
                "settings",
                "account",
            )
        ),
        "/releases/shop/shop@1.4.2/",
        *(base + tab for tab in tabs),
        hostile,
    ]


def test_a_search_finds_and_leads_to_the_line_that_failed(window: Looks) -> None:
    page = window.go("/groups/")
    page.fill("#query", "stack:price_of is:unresolved")
    page.press("#query", "Enter")
    page.click("text=ValueError: invalid literal")
    assert "return int('abc-%s' % ref)" in page.inner_text("tr.failed")
    assert page.is_visible("text=ref-84")


def test_a_mistake_is_marked_at_its_place(window: Looks) -> None:
    page = window.go("/groups/?query=level:error+%28oops")
    assert page.inner_text(".mistake mark") == "(oops"
    window.wrong.clear()  # the answer is 400, which the console tells


def test_one_steps_to_older_events_and_back(window: Looks) -> None:
    page = window.go(EVENT)
    first = page.url
    page.click("text=‹ older")
    page.wait_for_url(lambda url: url != first)
    page.keyboard.press("]")
    page.wait_for_url(re.compile(RICH))


def test_a_group_is_resolved_and_that_is_undone(window: Looks) -> None:
    page = window.go(of_group(window))
    page.click("summary:has-text('Resolve')")
    page.click("text=Resolved now")
    assert "1 group resolved" in page.inner_text("[role=status]")
    assert page.inner_text(".crumbs .badge") == "resolved"
    page.click("[role=status] >> text=Undo")
    assert page.inner_text(".crumbs .badge") == "unresolved"


def test_chosen_groups_are_ignored_until_and_that_is_undone(window: Looks) -> None:
    page = window.go("/groups/?query=is:unresolved+Timeout1")
    page.locator('input[name="id"]').nth(0).check()
    page.locator('input[name="id"]').nth(1).check()
    assert page.inner_text("[data-does=chosen]") == "2 chosen"
    page.click("summary:has-text('Ignore')")
    page.fill('input[name="until"]', "2199-01-31T09:00")
    page.click("text=until then (UTC)")
    assert "2 groups ignored" in page.inner_text("[role=status]")
    page.click("[role=status] >> text=Undo")
    assert "2 groups as before again" in page.inner_text("[role=status]")


def test_all_of_a_search_are_shown_before_anything_is_done(window: Looks) -> None:
    page = window.go("/groups/?query=level:warning")
    page.check('input[name="all"]')
    page.click("summary:has-text('Ignore')")
    page.click("text=For good")
    assert page.inner_text("h1") == f"Ignore {TIMEOUTS} groups?"
    assert page.locator(".plain li").count() == 21
    page.click("text=Leave them")
    assert page.url.endswith("/groups/?query=level%3Awarning")


def test_groups_are_merged_and_taken_out_again(window: Looks) -> None:
    page = window.go("/groups/?query=Timeout3")
    page.locator('input[name="id"]').nth(0).check()
    page.locator('input[name="id"]').nth(1).check()
    page.click("button:has-text('Merge')")
    page.click("button:has-text('Merge 2 groups')")
    assert "1 group merged" in page.inner_text("[role=status]")
    page.click("[role=status] >> text=Undo")
    assert "1 group as before again" in page.inner_text("[role=status]")


def test_a_comment_is_written_and_shown(window: Looks) -> None:
    page = window.go(f"{of_group(window)}activity/")
    page.fill("#text", "<i>The bank</i> knows")
    page.click("button:has-text('Comment')")
    assert page.inner_text(".log pre") == "<i>The bank</i> knows"
    page.click("summary:has-text('change')")
    page.click("text=Delete")
    assert page.locator(".log pre").count() == 0


def test_rules_are_tried(window: Looks) -> None:
    page = window.go(f"{of_group(window)}why/")
    page.fill('[name="fingerprint_rules"]', "error.type:ValueError -> {{ tags.browser }}")
    page.click("button:has-text('Try')")
    assert page.locator("td:has-text('a new group')").count() == 3


def test_everything_is_done_by_keyboard(window: Looks) -> None:
    page = window.go("/groups/?query=is:unresolved+Timeout4")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("x")
    assert page.inner_text("[data-does=chosen]") == "1 chosen"
    for key, first in (("i", "ignore"), ("a", "assignee")):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.value || document.activeElement.name") == first
        page.keyboard.press("Escape")
        assert page.locator("details.menu[open]").count() == 0
    page.keyboard.press("e")
    page.wait_for_selector("[role=status] >> text=1 group resolved")
    page.keyboard.press("?")
    assert page.is_visible("#keys")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.type("jx")  # writing is no command
    page.keyboard.press("Tab")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    page.keyboard.press("o")
    page.wait_for_selector(".crumbs .id")


def test_keys_can_be_switched_off(window: Looks) -> None:
    page = window.go("/groups/")
    page.click("text=Keys")
    page.check('[data-does="keys-off"]')
    page.click("text=Close")
    page.keyboard.press("j")
    assert page.locator("tr.current").count() == 0


@pytest.mark.parametrize("window", [{"java_script_enabled": False}], indirect=True)
def test_everything_works_without_a_script(window: Looks) -> None:
    page = window.go("/groups/?query=ValueError")
    page.click("text=ValueError: invalid literal")
    assert "UTC" in page.inner_text(".when time")
    assert page.is_visible("a.plainly >> text=Markdown")
    page.click("summary:has-text('6 library frames')")
    assert page.is_visible("text=httpkit/core.py:6")
    page.click("text=‹ older")
    page.click("summary:has-text('Resolve')")
    page.click("text=Resolved now")
    page.click("[role=status] >> text=Undo")
    assert page.inner_text(".crumbs .badge") == "unresolved"


@pytest.mark.parametrize("window", [PHONE], indirect=True)
def test_a_phone_scrolls_nothing_sideways_and_everything_is_large_enough(window: Looks) -> None:
    for path in every_page(window):
        page = window.go(path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        small = page.evaluate(
            "[...document.querySelectorAll('button, summary, select, input')].filter(e => e.checkVisibility() && e.type !== 'hidden'"
            " && e.type !== 'checkbox' && e.getBoundingClientRect().height < 20).map(e => e.outerHTML.slice(0, 100))"
        )
        assert small == [], path
    page = window.go("/settings/")
    assert page.evaluate(
        "document.querySelector('nav [aria-current]').getBoundingClientRect().right < innerWidth - 60"
    )
    window.wrong.clear()


def background(page: Any) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


@pytest.mark.parametrize("window", [{"color_scheme": "dark"}], indirect=True)
def test_it_is_dark_where_that_is_wanted_and_the_choice_stays(window: Looks) -> None:
    page = window.go("/groups/")
    dark = background(page)
    page.click('[data-does="theme"]')
    light = background(page)
    assert dark != light
    page.reload()
    assert background(page) == light


def test_on_paper_there_is_what_was_found_and_nothing_to_press(window: Looks) -> None:
    page = window.go(EVENT)
    page.emulate_media(media="print")
    assert page.is_visible("tr.failed")
    assert not page.is_visible(".top")
    assert not page.is_visible(".acting")


@pytest.mark.parametrize("window", [{"permissions": ["clipboard-read", "clipboard-write"]}], indirect=True)
def test_a_stack_trace_is_copied(window: Looks) -> None:
    page = window.go(EVENT)
    page.click("button:has-text('text')")
    page.wait_for_selector("button:has-text('Copied')")
    assert "shop/price.py:70 in price_of" in page.evaluate("navigator.clipboard.readText()")
    page.click("button:has-text('copy this frame')")
    page.wait_for_function(
        "navigator.clipboard.readText().then(text => text.includes('def before') && !text.includes('copy'))"
    )


def test_how_stack_traces_are_shown_is_remembered(window: Looks) -> None:
    page = window.go(EVENT)
    page.click("text=call first")
    page.click(".choice >> text=all")
    page = window.go(EVENT)
    assert page.locator(".library").count() == 0
    places = page.locator(".raised >> nth=0 >> .place").all_inner_texts()
    assert places[-1] == "shop/price.py:70"
    page.click(".choice >> text=ours")
    assert page.locator(".library").count() == 2


def test_times_are_those_of_the_place_with_utc_beside(window: Looks) -> None:
    page = window.go(EVENT)
    time = page.locator(".when time")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (CET|CEST|GMT\+[12])", time.inner_text())
    assert "UTC" in time.get_attribute("title")


def test_an_hour_of_the_histogram_leads_to_its_events(window: Looks) -> None:
    page = window.go(of_group(window))
    address = page.locator(".histogram a").last.get_attribute("href")
    page = window.go(address)
    assert page.locator("tbody tr").count() == 1
    assert "one hour" in page.inner_text(".within")


def test_a_page_is_small_and_comes_in_few_requests(window: Looks) -> None:
    window.go("/groups/")
    assert len(window.requests) <= 5, window.requests
    assert all(url.startswith(window.address) for url in window.requests)


def test_what_a_stranger_sent_does_nothing(window: Looks) -> None:
    base = of_group(window, HOSTILE)
    window.page.add_init_script(
        "addEventListener('securitypolicyviolation', e => console.error('violation ' + e.violatedDirective))"
    )
    for tab in ("", "?frames=all", "events/", "tags/", "tags/evil/", "why/", "activity/"):
        page = window.go(base + tab)
        for summary in page.locator("main details:not([open]) > summary").all()[:12]:
            if summary.is_visible():
                summary.click()
        assert (
            page.locator(
                "main img, main style, main script, main iframe, main [onload], main [onerror]"
            ).count()
            == 0
        )
        assert page.evaluate("getComputedStyle(document.querySelector('h1')).display") != "none"


def violations(window: Looks, paths: list[str]) -> list[str]:
    """What axe-core finds on pages, each kind with its first place."""
    found = dict[str, str]()
    for path in paths:
        page = window.go(path)
        for each in page.evaluate(f"{AXE}; axe.run(document, {{resultTypes: ['violations']}})")["violations"]:
            node = each["nodes"][0]
            found.setdefault(
                each["id"], f"{each['id']} at {path}: {node['html'][:160]} {node['failureSummary'][:200]}"
            )
    window.wrong.clear()  # a mistake and an address without a page are answered 400 and 404, which the console tells
    return sorted(found.values())


def test_no_page_keeps_anybody_out(window: Looks) -> None:
    assert violations(window, every_page(window)) == []


@pytest.mark.parametrize("window", [PHONE, {"color_scheme": "dark"}], indirect=True, ids=["narrow", "dark"])
def test_nobody_is_kept_out_on_a_phone_or_in_the_dark(window: Looks) -> None:
    base = of_group(window)
    assert violations(window, ["/groups/", base, f"{base}why/"]) == []
