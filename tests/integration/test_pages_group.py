"""A group as pages: its event, the way to others, its tabs, and what strangers put into it."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tasks_pipeline.access.viewer import Viewer
from tasks_pipeline.home import Home
from tasks_pipeline.pages.app import PAGES
from tests.support.pages_home import HOSTILE, RICH, Reader, Served, pages_home, pages_of


@pytest.fixture(scope="module")
def served(new_home: Callable[[Path], Home], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pages_home(new_home(tmp_path_factory.mktemp("pages"))) as home, pages_of(home) as served:
        yield served


@pytest.fixture
def browser(served: Served) -> Reader:
    served.viewer = Viewer("anna@acme.example", "admin")
    return Reader(served)


@pytest.fixture
def path(browser: Reader) -> str:
    """Where the group of the rich events is."""
    return browser.get(f"/events/{RICH}").url.path.partition("events/")[0]


def hidden(page: str) -> dict[str, str]:
    return {
        name: html.unescape(value)
        for name, value in re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page)
    }


def older(page: str) -> str:
    found = re.search(r'rel="next" data-key="older" href="([^"]+)"', page)
    return html.unescape(found[1]) if found else ""


def test_the_frame_that_crashed_comes_first_with_its_source_and_values(browser: Reader, path: str) -> None:
    page = browser.get(path).text
    assert page.index("shop/price.py:70") < page.index("shop/cart.py:26") < page.index("6 library frames")
    assert re.search(r'class="failed"><td class="n">70</td><td><code>    return int\(', page)
    assert "ref-84" in page
    assert page.index("ValueError</bdi>") < page.index("the cause") < page.index("KeyError</bdi>")
    assert "cut from 10,000" in page


def test_what_belongs_to_an_event_is_beside_it(browser: Reader) -> None:
    page = browser.get(f"/events/{RICH}").text
    for said in (
        "SELECT * FROM carts",
        "https://partner.example/refs",
        "The pay button does nothing",
        "CPython",
        "user9@example.org",
        "acme/shop#12",
        "gold",
    ):
        assert said in page, said
    assert re.search(r"<dt>batch</dt><dd>\d+", page)


def test_library_frames_are_shown_on_demand_and_in_the_other_order(browser: Reader, path: str) -> None:
    assert 'class="library"' not in browser.get(path, {"frames": "all"}).text
    page = browser.get(path, {"order": "call"}).text
    assert page.index("shop/cart.py:26") < page.index("shop/price.py:70")


def test_one_steps_from_event_to_event_within_a_filter(browser: Reader, path: str) -> None:
    page, seen = browser.get(path, {"query": "environment:staging"}).text, 1
    while link := older(page):
        assert "query=environment" in link
        page = browser.get(link).text
        assert "<dt>environment</dt><dd><bdi>staging</bdi>" in page
        seen += 1
    assert seen == 5


def test_an_event_is_copied_as_text_markdown_and_json(browser: Reader, path: str) -> None:
    text = browser.get(f"{path}events/{RICH}.txt").text
    assert text.startswith(
        "ValueError: invalid literal for int(): 'abc'\n  shop/price.py:70 in price_of\n    > return int('abc-%s' % ref)"
    )
    markdown = browser.get(f"{path}events/{RICH}.md").text
    assert "# ValueError: invalid literal for int\\(\\): 'abc'" in markdown
    assert "- browser: Firefox 0" in markdown
    assert f"{path}events/{RICH}/>" in markdown
    event = browser.get(f"{path}events/{RICH}.json").json()
    assert event["event_id"] == RICH
    assert event["_tasks_pipeline"]["short_id"] in path


def test_an_attachment_is_handed_over_as_bytes(browser: Reader, path: str) -> None:
    answer = browser.get(f"{path}events/{RICH}/attachments/0")
    assert answer.content == b'{"order": 17}'
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''order.json"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert browser.get(f"{path}events/{RICH}/attachments/1").status_code == 404


def test_events_are_listed_filtered_and_taken_along(browser: Reader, path: str) -> None:
    page = browser.get(f"{path}events/", {"query": 'browser:"Firefox 0" environment:production'}).text
    links = re.findall(r'data-open href="([^"]+)"', page)
    assert links
    assert all("query=browser" in link for link in links)
    rows = list(csv.DictReader(io.StringIO(browser.get(f"{path}events/events.csv").text)))
    assert len(rows) == 9
    assert {row["environment"] for row in rows} == {"production", "staging"}
    assert "FROM lake.events" in browser.get(f"{path}events/sql/", {"query": "release:latest"}).text
    assert "never closed" in browser.get(f"{path}events/", {"query": "(("}).text


def test_tags_say_how_many_events_they_are_of(browser: Reader, path: str) -> None:
    page = browser.get(f"{path}tags/").text
    assert "Of the newest 9 events" in page
    one = browser.get(f"{path}tags/browser/").text
    assert "3 values" in one
    assert browser.get(f"{path}tags/nothing/").status_code == 404


def test_rules_are_tried_and_nothing_is_changed(browser: Reader, path: str) -> None:
    assert "stack trace" in browser.get(f"{path}why/").text
    rules = {"stack_trace_rules": "", "fingerprint_rules": "error.type:ValueError -> {{ tags.browser }}"}
    tried = browser.post(f"{path}why/", rules).text
    assert "9 events tried." in tried
    assert tried.count("a new group") == 3
    assert (
        "<b>this group</b>"
        in browser.post(f"{path}why/", {"stack_trace_rules": "", "fingerprint_rules": ""}).text
    )
    wrong = browser.post(f"{path}why/", {"stack_trace_rules": "nonsense", "fingerprint_rules": ""})
    assert wrong.status_code == 400
    assert 'role="alert"' in wrong.text
    assert "9</span>" in browser.get(path).text


def test_times_at_the_end_of_all_times_are_mistakes(browser: Reader, path: str) -> None:
    assert browser.get(path, {"hour": "9999-12-31T23"}).status_code == 400
    until = {"do": "ignore-until", "id": "1", "until": "9999-12-31T23:59-23:59"}
    assert browser.post("/groups/act/", until).status_code == 400
    assert browser.get("/releases/", {"before": "0001-01-01T00:00+23:59", "behind": "x"}).status_code == 404


def test_comments_are_written_changed_and_deleted_by_those_who_may(
    served: Served, browser: Reader, path: str
) -> None:
    said = browser.post(f"{path}activity/", {"text": "The <b>bank</b> knows"}).text
    assert "<pre>The &lt;b&gt;bank&lt;/b&gt; knows</pre>" in said
    number = hidden(said)["comment"]
    served.viewer = Viewer("ben@acme.example", "member")
    assert browser.post(f"{path}activity/", {"comment": number, "text": "no"}).status_code == 403
    served.viewer = Viewer("ben@acme.example", "viewer")
    assert browser.post(f"{path}activity/", {"text": "no"}).status_code == 403
    served.viewer = Viewer("anna@acme.example", "member")
    assert (
        "knows better" in browser.post(f"{path}activity/", {"comment": number, "text": "knows better"}).text
    )
    assert "knows better" not in browser.post(f"{path}activity/", {"comment": number, "do": "delete"}).text


def test_a_decision_says_until_when_and_what_is_left(browser: Reader, path: str) -> None:
    number = hidden(browser.get(path).text)["id"]
    done = browser.post(
        "/groups/act/", {"id": number, "do": "ignore-events", "events": "100", "return": path}
    ).text
    assert "ignored until 109 events, 100 to go" in done
    undone = browser.post("/groups/undo/", {"token": hidden(done)["token"], "return": path}).text
    assert 'class="badge unresolved"' in undone
    log = browser.get(f"{path}activity/").text
    assert log.index("what was decided last is undone") < log.index("ignored until it is seen 100 times more")
    browser.post(
        "/groups/act/", {"id": number, "do": "ignore-until", "until": "2099-01-31T12:30", "return": path}
    )
    log = browser.get(f"{path}activity/").text
    assert log.count("ignored until 2099-01-31 12:30 UTC") == 2, "as it is now, and in the log"


def test_merged_groups_are_listed_lead_on_and_are_taken_out(browser: Reader, path: str) -> None:
    mine = hidden(browser.get(path).text)["id"]
    page = browser.get("/groups/", {"query": "Timeout7"}).text
    other = re.findall(r'name="id" value="(\d+)"', page)[0]
    name = re.findall(r'href="(/groups/[^/]+/)" data-open', page)[0]
    form = {"id": [mine, other], "into": mine, "do": "merge", "return": f"{path}similar/", "confirmed": "2"}
    assert "1 group merged." in browser.post("/groups/act/", form).text
    assert browser.get(f"{name}activity/").url.path == f"{path}activity/"
    taken = browser.post("/groups/act/", {"id": other, "do": "unmerge", "return": f"{path}similar/"}).text
    assert "1 group taken out." in taken
    assert browser.get(name).url.path == name


@pytest.mark.parametrize(
    ("address", "leads_to"),
    [
        (
            "/organizations/acme/issues/?query=is:ignored&project=1&statsPeriod=24h",
            "/groups/?project=shop&period=24h&query=is%3Aignored",
        ),
        ("/organizations/acme/issues/?query=", "/groups/?query="),
        ("/organizations/acme/releases/shop@1.4.2/", "/groups/?query=release%3A%22shop%401.4.2%22"),
        ("/", "/groups/"),
    ],
)
def test_addresses_that_clients_make_up_lead_somewhere(
    served: Served, browser: Reader, address: str, leads_to: str
) -> None:
    assert Reader(served, follow=False).get(address).headers["location"] == leads_to


def test_a_group_is_found_by_its_number_and_in_small_letters(browser: Reader, path: str) -> None:
    number = hidden(browser.get(path).text)["id"]
    for address in (
        f"/organizations/acme/issues/{number}/",
        f"/issues/{number}/events/latest/",
        path.lower(),
        f"/groups/{number}",
    ):
        assert browser.get(address).url.path.startswith(path), address
    assert browser.get(f"/organizations/acme/discover/shop:{RICH}/").url.path == f"{path}events/{RICH}/"


class Elements(HTMLParser):
    """Which elements and attributes a page has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


@pytest.mark.parametrize(
    "rest",
    ["", "events/", "tags/", "tags/evil/", "why/", "similar/", "activity/", "events/?query=tags[evil]:*"],
)
def test_a_stranger_puts_no_element_onto_a_page(browser: Reader, rest: str) -> None:
    base = browser.get(f"/events/{HOSTILE}").url.path.partition("events/")[0]
    answer = browser.get(base + rest)
    assert answer.status_code == 200
    assert len(answer.content) < 2 * 1024 * 1024
    found = Elements(answer.text)
    if rest == "":  # what is shown of it is all there
        assert len([value for name, value in found.attributes if name == "class" and value == "frame"]) >= 20
    assert not {"img", "style", "iframe", "b" if rest == "" else "object"} & (set(found.tags) - {"b"})
    assert found.tags.count("script") == 1
    assert not [name for name, _ in found.attributes if name.startswith("on") or name == "style"]
    links = [value for name, value in found.attributes if name in ("href", "src", "action", "data-from")]
    assert not [link for link in links if not link.startswith(("/", "#", "http://127.0.0.1"))]
    assert not [c for c in answer.text if c in "\x00\u202e\u2028\ud800"]


def test_a_member_of_another_project_sees_nothing_of_a_group(
    served: Served, browser: Reader, path: str
) -> None:
    served.viewer = Viewer("ben@acme.example", "admin", projects=frozenset({2}))
    given = {
        "name": path.split("/")[2],
        "event": RICH,
        "issue": path.split("/")[2],
        "key": "browser",
        "number": "0",
        "org": "acme",
        "place": f"shop:{RICH}",
        "version": "shop@1.4.2",
        "project": "shop",
    }
    for page in PAGES:
        address = page.path
        for name, value in given.items():
            address = address.replace(f"{{{name}}}", value)
        if page.method == "GET":
            answer = browser.get(address)
            assert "invalid literal" not in answer.text, address
            assert RICH not in answer.text, address
            if "{name}" in page.path or "{event}" in page.path:
                assert answer.status_code == 404, address
        elif "{name}" in page.path:
            assert browser.post(address, {"text": "x", "stack_trace_rules": ""}).status_code == 404, address


def test_a_day_is_done_again_by_admins_of_all_alone_and_where_dagster_runs(
    served: Served, browser: Reader
) -> None:
    assert browser.post("/pipeline/2026-01-01/again/", {"mode": "recompute"}).status_code == 409
    assert browser.post("/pipeline/2026-01-01/again/", {"mode": "rm"}).status_code == 400
    served.viewer = Viewer("anna@acme.example", "admin", projects=frozenset({1}))
    assert browser.post("/pipeline/2026-01-01/again/", {"mode": "recompute"}).status_code == 403
    served.viewer = Viewer("anna@acme.example", "member")
    assert browser.post("/pipeline/2026-01-01/again/", {"mode": "recompute"}).status_code == 403


@pytest.mark.parametrize(
    "name", ["SHOP-99999", "x", "0" * 30, "SHOP-ILOU", "%2e%2e", "SHOP-1%00", "a" * 300, "SHOP-1'--"]
)
def test_what_is_no_group_is_not_there(browser: Reader, name: str) -> None:
    assert browser.get(f"/groups/{name}/").status_code == 404
