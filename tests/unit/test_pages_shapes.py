"""Events as pages show them: whatever was sent gives a shape that is clean and bounded, and its texts say what is there."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks_pipeline.pages import event_text
from tasks_pipeline.pages.event_frames import MOST_FRAMES, OPEN
from tasks_pipeline.pages.event_shape import MOST_CRUMBS, MOST_EXCEPTIONS, shape_event
from tasks_pipeline.pages.event_values import ROOM, remark, web_link
from tasks_pipeline.texts import is_hidden

_TEXTS = st.text(max_size=30) | st.sampled_from(
    ["\x00", "\u202e<b>", "\ud800", "javascript:x", "x" * 5_000, "{{7*7}}"]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=6,
)
_NAMES = st.sampled_from(
    ["exception", "threads", "stacktrace", "breadcrumbs", "request", "user", "contexts", "extra", "modules", "tags", "errors", "logentry",
     "_meta", "sdk", "debug_meta", "level", "platform", "values", "frames", "type", "value", "mechanism", "data", "registers", "vars"]
)  # fmt: skip
_NESTED = st.recursive(
    _JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=6),
    max_leaves=6,
)


def frame(number: int, *, in_app: bool = True, **more: Any) -> dict[str, Any]:
    return {
        "filename": f"f{number}.py",
        "lineno": number,
        "function": f"call_{number}",
        "in_app": in_app,
        "context_line": f"line {number}",
        **more,
    }


def event(*frames: dict[str, Any], **more: Any) -> dict[str, Any]:
    raised = {"type": "ValueError", "value": "bad", "stacktrace": {"frames": list(frames)}}
    return {"exception": {"values": [raised]}, **more}


@given(st.dictionaries(_NAMES, _NESTED, max_size=8))
@settings(max_examples=40)
def test_anything_gives_a_shape_that_is_clean(sent: dict[str, Any]) -> None:
    shape = shape_event(sent)
    texts = json.dumps(
        [shape.title, shape.message, *(f"{s.title}{r.name}{r.text}" for s in shape.sections for r in s.rows)],
        ensure_ascii=False,
    )
    assert not [c for c in texts if is_hidden(c) or c in "\x00\ud800"]
    event_text.plain(shape).encode()
    event_text.markdown(shape, shape.title, []).encode()


def test_frames_of_libraries_are_one_run() -> None:
    shape = shape_event(event(*(frame(n, in_app=False) for n in range(6)), frame(7), frame(8, in_app=False)))
    stack = shape.exceptions[0].stack
    assert stack is not None
    assert [(run.in_app, len(run.frames)) for run in stack.runs] == [(False, 1), (True, 1), (False, 6)]
    assert [f.open for run in stack.runs for f in run.frames] == [False, True, *[False] * 6]


def test_the_frame_that_crashed_is_open_where_none_is_of_the_program() -> None:
    shape = shape_event(event(frame(1, in_app=False), frame(2, in_app=False)))
    stack = shape.exceptions[0].stack
    assert stack is not None
    assert [f.place for run in stack.runs for f in run.frames if f.open] == ["f2.py:2"]


def test_of_many_frames_the_ends_are_kept_and_few_are_open() -> None:
    shape = shape_event(event(*(frame(n) for n in range(10_000))))
    stack = shape.exceptions[0].stack
    assert stack is not None
    shown = [f for run in stack.runs for f in run.frames]
    assert (len(shown), stack.left_out) == (MOST_FRAMES, 10_000 - MOST_FRAMES)
    assert (shown[0].place, shown[-1].place) == ("f9999.py:9999", "f0.py:0")
    assert sum(f.open for f in shown) == OPEN


def test_what_does_not_fit_is_left_out_and_that_is_said() -> None:
    huge = {f"v{n}": "x" * 1_000_000 for n in range(50)}
    many = [
        {
            "type": "E",
            "value": "v" * 100_000,
            "stacktrace": {"frames": [frame(n, vars=huge) for n in range(50)]},
        }
    ] * 100
    crumbs = [{"message": "m" * 10_000}] * 1_000
    shape = shape_event({"exception": {"values": many}, "breadcrumbs": {"values": crumbs}, "extra": huge})
    assert len(shape.exceptions) == MOST_EXCEPTIONS
    assert len(shape.crumbs) == MOST_CRUMBS
    assert "what did not fit into the page" in shape.left_out
    assert len(event_text.plain(shape)) < 2 * ROOM


def test_a_chain_and_a_group_of_exceptions_say_what_is_what() -> None:
    def raised(kind: str, number: int, parent: int | None, source: str) -> dict[str, Any]:
        return {
            "type": kind,
            "mechanism": {
                "exception_id": number,
                "source": source,
                **({} if parent is None else {"parent_id": parent}),
            },
        }

    values = [
        raised("Inner", 2, 1, "__cause__"),
        raised("Part", 1, 0, "exceptions[0]"),
        raised("Group", 0, None, ""),
    ]
    shape = shape_event({"exception": {"values": values}})
    assert [(e.type, e.relation, e.depth) for e in shape.exceptions] == [
        ("Group", "", 0), ("Part", "part of the group: exceptions[0]", 1), ("Inner", "the cause", 2),
    ]  # fmt: skip


def test_parents_in_a_circle_end() -> None:
    values = [{"type": "A", "mechanism": {"exception_id": n, "parent_id": 1 - n}} for n in (0, 1)]
    assert [e.depth for e in shape_event({"exception": {"values": values}}).exceptions] == [6, 6]


def test_remarks_say_what_was_done_to_a_value() -> None:
    assert remark({"": {"len": 10_000}}) == "cut from 10,000"
    assert remark({"": {"rem": [["@password:filter", "s", 0, 10]], "len": 16}}) == "replaced: password"
    assert remark({"0": {"": {"rem": [["@ip", "x"]]}}}) == "partly removed or cut"
    assert remark({}) == remark(None) == remark([1]) == ""


def test_minified_lines_are_shown_around_their_column() -> None:
    line = "a" * 5_000 + "HERE" + "b" * 5_000
    shape = shape_event(event(frame(1, colno=5_001, context_line=line)))
    stack = shape.exceptions[0].stack
    assert stack is not None
    (shown,) = stack.runs[0].frames[0].lines
    assert "HERE" in shown.text
    assert len(shown.text) < 300


def test_only_addresses_of_the_web_are_links() -> None:
    assert web_link("https://shop.example/pay?a=1") == "https://shop.example/pay?a=1"
    for url in (
        "javascript:alert(1)",
        "data:text/html,x",
        "//x",
        'https://x/"onclick=',
        "HTTPS://\u202ex",
        "https://x y",
    ):
        assert web_link(url) == "", url


def test_markdown_is_what_it_says_and_nothing_else() -> None:
    shape = shape_event(
        event(frame(1, context_line="```\n# no heading")),
    )
    text = event_text.markdown(shape, "# [link](http://x) <b>", [("group", "SHOP-1")])
    assert text.startswith("# \\# \\[link\\]\\(http://x\\) \\<b\\>\n")
    assert "````\nValueError: bad" in text


def test_thousands_of_short_texts_are_as_bounded_as_long_ones() -> None:
    """Within a megabyte there is room for 80,000 variables of one letter: a page of 12 MB."""
    many = [frame(n, vars={str(k): 1 for k in range(40)}) for n in range(100)]
    raised = [{"type": "E", "value": "", "stacktrace": {"frames": many}} for _ in range(30)]
    shape = shape_event(
        {"exception": {"values": raised}, "threads": {"values": [{"id": 1, **raised[0]}] * 30}}
    )
    stacks = [*(each.stack for each in shape.exceptions), *(each.stack for each in shape.threads)]
    frames = [f for stack in stacks if stack is not None for run in stack.runs for f in run.frames]
    assert sum(len(f.lines) + len(f.values) for f in frames) < ROOM / 20
    assert len(frames) < 500
    assert any("did not fit" in words for words in shape.left_out)
