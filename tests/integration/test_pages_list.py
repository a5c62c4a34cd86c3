"""The list of groups as a page: what it finds, what is done to it, and undone."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks_pipeline.access.viewer import Viewer
from tasks_pipeline.home import Home
from tests.support.pages_home import TIMEOUTS, Reader, Served, pages_home, pages_of

GROUPS = TIMEOUTS + 3


@pytest.fixture(scope="module")
def served(new_home: Callable[[Path], Home], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pages_home(new_home(tmp_path_factory.mktemp("pages"))) as home, pages_of(home) as served:
        yield served


@pytest.fixture
def browser(served: Served) -> Reader:
    served.viewer = Viewer("anna@acme.example", "admin")
    return Reader(served)


def titles(page: str) -> list[str]:
    return [html.unescape(found) for found in re.findall(r"data-open><bdi>(.*?)</bdi>", page)]


def ids(page: str, title: str) -> list[str]:
    """The numbers of the groups whose title begins so."""
    rows = re.findall(r'name="id" value="(\d+)".*?data-open><bdi>(.*?)</bdi>', page, re.DOTALL)
    return [number for number, found in rows if found.startswith(title)]


def hidden(page: str) -> dict[str, str]:
    return {
        name: html.unescape(value)
        for name, value in re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page)
    }


def test_the_start_leads_to_what_needs_somebody(browser: Reader) -> None:
    answer = browser.get("/")
    assert answer.url.path == "/groups/"
    assert 'value="is:unresolved"' in answer.text
    assert f'Unresolved <span class="count">{GROUPS}</span>' in answer.text
    assert len(answer.content) < 60_000


def test_pages_follow_each_other_without_a_gap(browser: Reader) -> None:
    first = browser.get("/groups/").text
    link = re.search(r'<a href="([^"]+)" rel="next">', first)
    assert link
    second = browser.get(html.unescape(link[1])).text
    assert len(titles(first)) + len(titles(second)) == GROUPS
    assert len({*titles(first), *titles(second)}) == GROUPS
    assert f"51–{GROUPS} of {GROUPS}" in second


def test_a_filter_of_events_counts_what_it_is_about(browser: Reader) -> None:
    page = browser.get("/groups/", params={"query": "ValueError", "environment": "staging"}).text
    (title,) = titles(page)
    assert title.startswith("ValueError: invalid literal")
    assert re.search(r'<td class="n">5<span class="of">of 9</span>', page)


def test_words_are_looked_for_in_stack_traces(browser: Reader) -> None:
    assert [t[:10] for t in titles(browser.get("/groups/", params={"query": "stack:price_of"}).text)] == [
        "ValueError"
    ]


@pytest.mark.parametrize(
    ("query", "marked", "said"),
    [
        ("level:error (foo", "(foo", "never closed"),
        ("is:solved", "solved", "no value of is"),
        ('title:"open', "&#34;open", "never closed"),
    ],
)
def test_a_mistake_is_shown_at_its_place(browser: Reader, query: str, marked: str, said: str) -> None:
    answer = browser.get("/groups/", params={"query": query})
    assert answer.status_code == 400
    assert f"<mark>{marked}" in answer.text
    assert said in answer.text
    assert titles(answer.text) == []


def test_it_is_told_what_came_since_the_page_was_made(browser: Reader) -> None:
    page = browser.get("/groups/", {"query": "Timeout"}).text
    address = re.search(r'data-news="([^"]+)"', page)
    assert address
    asked = html.unescape(address[1])
    assert browser.get(asked).json() == {"new": 0}
    assert browser.get(re.sub(r"than=\d+", "than=1", asked)).json() == {"new": 50}
    assert "data-news" not in browser.get("/groups/", {"environment": "staging"}).text


def test_searches_of_the_configuration_are_offered(browser: Reader) -> None:
    assert 'query=assigned%3Ateam%3Apayments">of payments</a>' in browser.get("/groups/").text


def test_columns_put_the_list_in_order(browser: Reader) -> None:
    page = browser.get("/groups/").text
    by_events = re.search(r'href="([^"]*sort=events[^"]*)">Events', page)
    assert by_events
    assert titles(browser.get(html.unescape(by_events[1])).text)[0].startswith("ValueError")


def test_an_unknown_key_is_told_to_be_a_tag(browser: Reader) -> None:
    assert (
        "<code>brwser</code> is no key of ours" in browser.get("/groups/", params={"query": "brwser:x"}).text
    )


def test_chosen_groups_are_resolved_and_undone(browser: Reader) -> None:
    page = browser.get("/groups/", params={"query": "is:unresolved Timeout1"}).text
    chosen = ids(page, "Timeout1")[:3]
    done = browser.post(
        "/groups/act/", data={"id": chosen, "do": "resolve", "return": "/groups/?query=is:resolved"}
    )
    assert "3 groups resolved." in done.text
    assert sorted(ids(done.text, "Timeout1")) == sorted(chosen)
    undone = browser.post(
        "/groups/undo/", data={"token": hidden(done.text)["token"], "return": "/groups/?query=is:resolved"}
    )
    assert "3 groups as before again." in undone.text
    assert titles(undone.text) == []


def test_what_was_decided_since_is_not_undone(browser: Reader) -> None:
    page = browser.get("/groups/", params={"query": "Timeout2"}).text
    chosen = ids(page, "Timeout2")[:2]
    done = browser.post(
        "/groups/act/", data={"id": chosen, "do": "ignore-events", "events": "7", "return": "/groups/"}
    )
    token = hidden(done.text)["token"]
    browser.post("/groups/act/", data={"id": chosen[:1], "do": "resolve", "return": "/groups/"})
    undone = browser.post("/groups/undo/", data={"token": token, "return": "/groups/?query=is:resolved"})
    assert "1 group as before again; 1 group stay as they are." in undone.text
    assert ids(undone.text, "Timeout2") == chosen[:1]
    browser.post("/groups/act/", data={"id": chosen, "do": "unresolve", "return": "/groups/"})


def test_all_of_a_search_are_told_before_they_are_changed(browser: Reader) -> None:
    search = "/groups/?query=is:unresolved+level:warning"
    asked = browser.post(
        "/groups/act/", data={"all": "1", "search": search, "do": "ignore", "return": search}
    )
    assert f"<h1>Ignore {TIMEOUTS} groups?</h1>" in asked.text
    assert f"and {TIMEOUTS - 20} more" in asked.text
    form = hidden(asked.text)
    assert form["confirmed"] == str(TIMEOUTS)
    again = browser.post("/groups/act/", data=form | {"confirmed": "7"})
    assert "The number changed" in again.text
    done = browser.post("/groups/act/", data=form)
    assert f"{TIMEOUTS} groups ignored." in done.text
    assert titles(done.text) == []
    undone = browser.post("/groups/undo/", data={"token": hidden(done.text)["token"], "return": search})
    assert f"{TIMEOUTS} groups as before again." in undone.text


def test_merging_many_wants_their_number_typed(browser: Reader) -> None:
    chosen = ids(browser.get("/groups/", params={"query": "Timeout"}).text, "Timeout")[:21]
    asked = browser.post("/groups/act/", data={"id": chosen, "do": "merge", "return": "/groups/"})
    assert "Type 21 to go on" in asked.text
    form = hidden(asked.text) | {"id": chosen}
    assert "Type 21 to go on" in browser.post("/groups/act/", data=form | {"typed": "20"}).text
    done = browser.post("/groups/act/", data=form | {"typed": "21"})
    assert "20 groups merged." in done.text
    undone = browser.post("/groups/undo/", data={"token": hidden(done.text)["token"], "return": "/groups/"})
    assert "20 groups as before again." in undone.text


def test_who_may_only_read_finds_no_buttons_and_does_nothing(served: Served, browser: Reader) -> None:
    served.viewer = Viewer("ben@acme.example", "viewer")
    page = browser.get("/groups/").text
    assert 'name="do"' not in page
    assert 'name="id"' not in page
    refused = browser.post("/groups/act/", data={"id": "1", "do": "resolve", "return": "/groups/"})
    assert refused.status_code == 403


def test_groups_of_other_projects_are_neither_shown_nor_changed(served: Served, browser: Reader) -> None:
    (theirs,) = ids(browser.get("/groups/", params={"query": "Overdrawn"}).text, "Overdrawn")
    served.viewer = Viewer("ben@acme.example", "member", projects=frozenset({1}))
    assert titles(browser.get("/groups/", params={"query": "Overdrawn"}).text) == []
    assert "billing" not in browser.get("/groups/").text
    refused = browser.post("/groups/act/", data={"id": theirs, "do": "resolve", "return": "/groups/"})
    assert refused.status_code == 403
    assert "Overdrawn" not in browser.get("/groups/groups.csv", params={"query": ""}).text


@pytest.mark.parametrize(
    "address", ["https://evil.example/", "//evil.example/", "/\\evil.example/", "javascript:alert(1)"]
)
def test_no_address_of_others_is_gone_back_to(served: Served, browser: Reader, address: str) -> None:
    chosen = ids(browser.get("/groups/", params={"query": "Timeout5"}).text, "Timeout5")[:1]
    form = {"id": chosen, "do": "unresolve", "return": address}
    answer = Reader(served, follow=False).post("/groups/act/", data=form)
    assert answer.headers["location"].startswith("/groups/?")


def test_all_that_is_found_as_csv_without_formulas(browser: Reader) -> None:
    answer = browser.get("/groups/groups.csv", params={"query": ""})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == GROUPS
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]


def test_a_page_says_nothing_may_come_from_elsewhere(browser: Reader) -> None:
    answer = browser.get("/groups/")
    assert (
        "default-src 'none'; script-src 'self'; style-src 'self'" in answer.headers["content-security-policy"]
    )
    assert answer.headers["cache-control"] == "no-store"
    style = re.search(r'href="(/assets/[^"]+\.css)"', answer.text)
    assert style
    sent = browser.get(style[1])
    assert "immutable" in sent.headers["cache-control"]
    assert sent.headers["content-encoding"] in ("br", "gzip")


def test_what_is_not_there_is_told(browser: Reader) -> None:
    answer = browser.get("/nothing/")
    assert answer.status_code == 404
    assert "There is no page at this address." in answer.text
