"""How alike two groups are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.groups.similarity import (
    VERSION,
    features,
    is_comparable,
    is_current,
    sign,
    similar_pairs,
)


def error(kind: str, value: str, *functions: str, **fields: Any) -> dict[str, Any]:
    """An event with an exception and frames in app."""
    frames = [{"module": "shop", "function": function, "in_app": True} for function in functions]
    return {
        "exception": {"values": [{"type": kind, "value": value, "stacktrace": {"frames": frames}}]},
        **fields,
    }


def jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)


def pairs(events: dict[int, dict[str, Any]], threshold: float = 0.7) -> list[tuple[int, int, float]]:
    signatures = {number: sign(features(event)) for number, event in events.items()}
    return similar_pairs({n: s for n, s in signatures.items() if is_comparable(s)}, threshold)


def test_features_are_types_frames_in_app_and_words() -> None:
    event = error("ValueError", "order 4711 is gone", "pay")
    event["exception"]["values"][0]["stacktrace"]["frames"].append({"module": "lib", "function": "call"})
    assert features(event) == {
        "type:ValueError", "frame:shop:pay", "words:order <int>", "words:<int> is", "words:is gone",
    }  # fmt: skip


def test_without_frames_in_app_all_of_them_count() -> None:
    frames = [{"filename": "lib.js", "function": "call", "in_app": False}]
    assert features({"stacktrace": {"frames": frames}}) == {"frame:lib.js:call"}


def test_a_message_counts_by_its_template() -> None:
    entry = {"message": "user %s left", "formatted": "user ann left"}
    assert features({"logentry": entry}) == {"words:user %s", "words:%s left"}


def test_other_numbers_are_the_same_thing() -> None:
    one, other = error("E", "took 12 s for order 99", "a"), error("E", "took 7 s for order 100", "a")
    assert pairs({1: one, 2: other}) == [(1, 2, 1.0)]


def test_a_refactored_function_is_similar_and_another_bug_is_not() -> None:
    functions = [f"step_{n}" for n in range(12)]
    original = error("KeyError", "no such cart in session", *functions)
    renamed = error("KeyError", "no such cart in session", *functions[:-1], "step_last")
    other = error("TimeoutError", "payment took too long", *(f"pay_{n}" for n in range(12)))
    ((older, newer, score),) = pairs({1: original, 2: renamed, 3: other})
    assert (older, newer) == (1, 2)
    assert score == pytest.approx(jaccard(features(original), features(renamed)), abs=0.15)


def test_too_little_to_compare_is_like_nothing() -> None:
    assert not is_comparable(sign(features(error("Error", "", "f"))))
    assert pairs({1: error("Error", "", "f"), 2: error("Error", "", "f")}) == []


def test_a_thousand_look_alikes_are_each_paired_once() -> None:
    signature = sign(features(error("E", "it went wrong", "a", "b")))
    found = similar_pairs(dict.fromkeys(range(1, 1001), signature), 0.7)
    assert found == [(1, n, 1.0) for n in range(2, 1001)]


def test_signatures_of_another_version_are_made_anew() -> None:
    signature = sign(features(error("E", "it went wrong", "a")))
    assert is_current(signature)
    assert not is_current(bytes([VERSION + 1]) + signature[1:])
    assert not is_current(b"")


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["exception", "values", "stacktrace", "frames", "type", "value", "module", "function", "logentry"]),
        inner,
        max_size=4,
    ),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["exception", "stacktrace", "logentry"]), json_values))
def test_any_event_has_features_and_one_signature(event: dict[str, Any]) -> None:
    found = features(event)
    assert sign(found) == sign(set(found))


words = st.sets(st.sampled_from([f"w{n}" for n in range(40)]), min_size=3)


@given(words, words)
def test_the_estimate_is_near_the_truth(one: set[str], other: set[str]) -> None:
    found = similar_pairs({1: sign(one), 2: sign(other)}, 0.5)
    if jaccard(one, other) > 0.9:
        assert found
    for _, _, score in found:
        assert score == pytest.approx(jaccard(one, other), abs=0.25)
