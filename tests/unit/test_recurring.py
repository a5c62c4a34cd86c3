"""Stack traces that come again are the same as if they came for the first time, and what is kept of them is bounded."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.config.scrubbing import Scrubbing
from tasks_pipeline.grouping import Grouping, group_event, grouping_rules
from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import decode_json, encode_json
from tasks_pipeline.protocol.event import normalise_event
from tasks_pipeline.protocol.exact import DecodedEvent, decode_event
from tasks_pipeline.recurring import Recurring, SharedFrames, SharedStack, own_frames
from tasks_pipeline.scrubbing.scrubber import Scrubber

CONTEXT = ItemContext(1, datetime(2026, 11, 22, 12, tzinfo=UTC), event_id="a" * 32)
SCRUBBER = Scrubber(Scrubbing())
RULES = grouping_rules("function:pay +app\nfunction:main -app\nmodule:shop.* category=shop")


def compact(value: Any) -> bytes:
    """JSON as SDKs write it."""
    return json.dumps(value, separators=(",", ":")).encode()


def event(*frames: dict[str, Any]) -> dict[str, Any]:
    return {"exception": {"values": [{"type": "E", "value": "v", "stacktrace": {"frames": [*frames]}}]}}


def frame(name: str, **fields: Any) -> dict[str, Any]:
    """A frame in the order of Python's SDK."""
    variables = {"vars": fields.pop("vars")} if "vars" in fields else {}
    return {"filename": f"{name}.py", "function": name, "lineno": 1, **fields, **variables, "in_app": True}


def stored(raw: bytes, *, thorough: bool = False) -> tuple[Any, Grouping]:
    """What is stored of an event, and its group."""
    decoded = DecodedEvent(decode_json(raw)) if thorough else decode_event(raw, CONTEXT)
    found = normalise_event(decoded.payload, CONTEXT, decoded.exact)
    SCRUBBER.scrub(found, raw, decoded.variables)
    grouping = group_event(found, RULES)
    return decode_json(encode_json(found)), grouping


def frames_of(raw: bytes) -> Any:
    """The frames of an event whose stack trace came twice before."""
    for _ in range(2):
        decode_event(raw, CONTEXT)
    return decode_event(raw, CONTEXT).exact["exception"]["values"][0]["stacktrace"]["frames"]


VALUES = st.recursive(
    st.none()
    | st.integers(-5, 5)
    | st.sampled_from(["x", '},"in_app":true', ',"vars":{', "4111111111111111"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "in_app", "vars", "password"]), inner, max_size=3)
    ),
    max_leaves=6,
)
FRAMES = st.builds(
    lambda name, given: frame(name, **({} if given is None else {"vars": given})),
    st.sampled_from(["main", "pay", "load"]),
    st.none() | st.dictionaries(st.sampled_from(["a", "in_app", "token"]), VALUES, max_size=3),
)


@given(st.lists(st.lists(FRAMES, min_size=1, max_size=3), min_size=1, max_size=4))
def test_whatever_came_before_an_event_is_stored_as_if_it_were_the_first(given: list[list[Any]]) -> None:
    for frames in given * 3:
        raw = compact(event(*copy.deepcopy(frames)))
        assert stored(raw) == stored(raw, thorough=True)


def test_a_stack_trace_that_comes_again_is_shared_with_variables_of_its_own() -> None:
    first, second = (compact(event(frame("pay", vars={"n": n}), frame("shared"))) for n in (1, 2))
    one, other = frames_of(first), frames_of(second)
    assert isinstance(one, SharedFrames)
    assert one.stack is other.stack
    assert decode_json(other.json()) == [frame("pay", vars={"n": 2}), frame("shared")]


def test_functions_without_variables_share_a_stack_trace_too() -> None:
    raw = compact(event(frame("pay", vars={}), frame("load", vars={"n": 1})))
    shared = frames_of(raw)
    assert isinstance(shared, SharedFrames)
    assert shared.variables == [b'{"n":1}']
    assert stored(raw) == stored(raw, thorough=True)


SEEMING = {
    "in_app within them": b'{"a":{"b":1},"in_app":false},"in_app":true',
    "a field behind them": b'{"a":{}},"lineno":{},"in_app":true',
    "variables twice": b'{"a":1},"vars":{"b":2},"in_app":true',
    "a list of them": b'{"a":1},"in_app":[{"vars":{"b":{}},"in_app":1}]',
}


@pytest.mark.parametrize("case", SEEMING)
def test_what_only_seems_to_be_variables_is_none(case: str) -> None:
    frames = b'{"exception":{"values":[{"stacktrace":{"frames":[{"function":"known","vars":%b}]}}]}}'
    usual = frames % b'{"a":1},"in_app":true'
    assert isinstance(frames_of(usual), SharedFrames)
    raw = frames % SEEMING[case]
    assert stored(raw) == stored(raw, thorough=True)


def test_marks_and_what_is_filtered_stay_with_their_event() -> None:
    clean, dirty = (compact(event(frame("main", vars={name: "hunter2-X9"}))) for name in ("note", "password"))
    before = stored(clean)
    for _ in range(3):  # by what is known at last
        assert "hunter2" not in json.dumps(stored(dirty)[0])
        assert stored(dirty) == stored(dirty, thorough=True)
    assert stored(clean) == before == stored(clean, thorough=True)


def test_a_marked_event_can_be_grouped_by_other_rules_as_if_it_had_never_been() -> None:
    raw = compact(event(frame("main", vars={"n": 1}), frame("pay")))
    assert isinstance(frames_of(raw), SharedFrames)
    decoded = decode_event(raw, CONTEXT)
    found = normalise_event(decoded.payload, CONTEXT, decoded.exact)
    others = grouping_rules("function:pay -app")
    group_event(found, RULES)
    again = group_event(found, others)
    alone = normalise_event(decode_json(raw), CONTEXT)
    assert again == group_event(alone, others)
    assert decode_json(encode_json(found)) == alone


def test_frames_of_ones_own_may_be_changed() -> None:
    raw = compact(event(frame("pay", vars={"n": 1})))
    assert isinstance(frames_of(raw), SharedFrames)
    found = normalise_event({}, CONTEXT, decode_event(raw, CONTEXT).exact)
    own_frames(found)
    (own,) = found["exception"]["values"][0]["stacktrace"]["frames"]
    assert own == frame("pay", vars={"n": 1})
    own["lineno"] = 7
    assert decode_json(frames_of(raw).json()) == [frame("pay", vars={"n": 1})]


def test_a_frame_with_nothing_but_variables_is_json() -> None:
    shared = SharedStack([{}, {"a": 1}, {}], [True, True, False])
    assert decode_json(SharedFrames(shared, [b"[]", b"2"]).json()) == [{"vars": []}, {"a": 1, "vars": 2}, {}]
    assert shared.frames == ({}, {"a": 1}, {})


def test_a_stack_trace_that_comes_once_is_not_kept() -> None:
    raw = compact(event(frame("only once", vars={"n": 1})))
    first, second, third = (
        decode_event(raw, CONTEXT).exact["exception"]["values"][0]["stacktrace"]["frames"] for _ in range(3)
    )
    assert [type(frames) for frames in (first, second, third)] == [list, list, SharedFrames]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 60)), max_size=200))
def test_what_is_kept_is_bounded_and_right(asked: list[tuple[int, int]]) -> None:
    kept: Recurring[tuple[int, int], tuple[int, int]] = Recurring(most=200, largest=50)
    for key in asked:
        assert (kept.get(key) or kept.keep(key, key, key[1])) == key
        assert kept.held <= 200
        assert (kept.get(key) == key) is (key[1] <= 50)


def test_what_is_asked_for_stays_while_others_go() -> None:
    kept: Recurring[str, int] = Recurring(most=100, largest=10)
    kept.keep("asked for", 1, 10)
    kept.keep("forgotten", 2, 10)
    for number in range(30):
        kept.keep(str(number), number, 10)
        assert kept.get("asked for") == 1
    assert kept.get("forgotten") is None
