"""What a message tells of an event: the whole story, bounded, whatever strangers put into it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.notifications.message import Message, Section
from tasks_pipeline.notifications.rendering import render
from tasks_pipeline.notifications.story import Story, story_of

FRAMES = [
    {"function": "main", "filename": "main.py", "lineno": 3, "in_app": True, "context_line": "    run()"},
    {
        "function": "price_of",
        "filename": "shop/cart.py",
        "lineno": 12,
        "in_app": True,
        "pre_context": ["    total = sum(prices)"],
        "context_line": "    return total / len(cart)",
        "vars": {"cart": "[]", "total": "0", "customer": {"id": 77}},
    },
    {"function": "call", "filename": "lib/wsgi.py", "in_app": False, "vars": {"environ": "{}"}},
]
CAUSE = {
    "type": "KeyError",
    "value": "'u-77'",
    "stacktrace": {"frames": [{"function": "get", "filename": "shop/db.py", "lineno": 31}]},
}
EVENT = {
    "exception": {
        "values": [CAUSE, {"type": "ZeroDivisionError", "value": "no", "stacktrace": {"frames": FRAMES}}]
    },
    "request": {
        "method": "POST",
        "url": "https://shop.example/pay",
        "query_string": [["u", "77"], ["token", "[Filtered]"]],
        "headers": [["User-Agent", "Firefox"], ["Cookie", "session=s3cret"]],
        "cookies": [["session", "s3cret"]],
        "data": {"card": "4111"},
    },
    "user": {"id": "77", "email": "ann@acme.example", "geo": {"city": "Graz", "country_code": "AT"}},
    "server_name": "web-3",
    "tags": {"area": "checkout"},
    "contexts": {"runtime": {"name": "CPython", "version": "3.11"}, "os": {"name": "Linux"}, "trace": {}},
    "breadcrumbs": {
        "values": [
            {"timestamp": "2026-11-29T03:12:01Z", "category": "query", "message": "SELECT 1"},
            {"timestamp": "2026-11-29T03:12:02Z", "type": "http", "data": {"url": "/x", "status_code": 502}},
        ]
    },
}


def sections(event: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {section.title: dict(section.rows) for section in story_of(event).sections}


def minified(**fields: Any) -> Story:
    """Three frames of a file of one line, as the SDKs for JavaScript send them."""
    code = "{snip} " + "a" * 50 + "BEFORE.it.FAILED.there" + "b" * 68 + " {snip}"
    frame = {"filename": "server.js", "lineno": 3, "colno": 18342, "function": "d", "context_line": code,
             "pre_context": ["{snip} " + "x" * 140 + " {snip}"] * 5, **fields}  # fmt: skip
    return story_of({"exception": {"values": [{"stacktrace": {"frames": [frame] * 3}}]}})


def test_a_story_says_what_one_asks_first() -> None:
    story, found = story_of(EVENT), sections(EVENT)
    assert [frame.function for frame in story.frames] == ["price_of", "main"]
    assert found["Variables of price_of"] == {"cart": "[]", "total": "0", "customer": '{"id":77}'}
    assert found["Caused by"] == {"KeyError": "'u-77' (shop/db.py:31 in get)"}
    assert found["Request"] == {
        "POST": "https://shop.example/pay?u=77&token=[Filtered]",
        "User-Agent": "Firefox",
    }
    assert found["User"] == {"id": "77", "email": "ann@acme.example", "place": "Graz, AT"}
    assert (story.server, story.ran_on) == ("web-3", "CPython 3.11, Linux")
    assert story.tags == (("area", "checkout"),)
    assert [crumb.text for crumb in story.crumbs] == ["url=/x status_code=502", "SELECT 1"]
    assert "s3cret" not in str(story)
    assert "4111" not in str(story)


def test_code_begins_at_the_left() -> None:
    assert story_of(EVENT).frames[0].lines == (
        (11, "total = sum(prices)", False),
        (12, "return total / len(cart)", True),
    )


def test_of_a_minified_file_one_line_is_shown_around_the_column_that_failed() -> None:
    first, *others = minified().frames
    assert first.place == "server.js:3:18342"
    ((number, code, failed),) = first.lines
    assert (number, failed) == (3, True)
    assert "BEFORE.it.FAILED.there" in code
    assert len(code) <= 100
    assert code[0] == code[-1] == "…"
    assert [frame.lines for frame in others] == [(), ()]


def test_a_long_line_without_marks_is_cut_around_its_column_too() -> None:
    code = "a" * 3000 + "FAILED()" + "b" * 3000
    assert "FAILED()" in minified(context_line=code, colno=3001).frames[0].lines[0][1]
    assert minified(context_line=code, colno=99_999).frames[0].lines[0][1]
    assert "short()" in minified(context_line="short()", colno=1).frames[0].lines[-1][1]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just("x" * 5000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
parts = st.fixed_dictionaries(
    {},
    optional={
        name: anything | st.just([["a", "b"]] * 50)
        for name in ("exception", "request", "user", "tags", "contexts", "breadcrumbs", "server_name")
    }
    | {"breadcrumbs": st.builds(lambda values: {"values": values}, st.lists(anything, max_size=30))}
    | {"user": st.dictionaries(st.sampled_from(["id", "email", "geo"]), anything)},
)


@given(parts)
def test_any_event_has_a_bounded_story_that_can_be_told(event: dict[str, Any]) -> None:
    story = story_of(event)
    assert len(str(story)) < 30_000
    assert len(story.crumbs) <= 8
    for section in story.sections:
        assert len(section.rows) <= 12
    message = Message("k", "t", "alert", "firing", "info", "s", "t", "p", frames=story.frames,
                      sections=(*story.sections, Section("Tags", story.tags)))  # fmt: skip
    assert render("mail.html", message)
