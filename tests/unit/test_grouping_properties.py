"""What holds for all events: rubbish is survived, neighbours never run together, unimportant changes change nothing."""

from __future__ import annotations

import copy
from collections import defaultdict
from importlib.resources import files
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks_pipeline.grouping import explain, group_event

Event = dict[str, Any]

_NAMES = st.text(alphabet="abcDEF_.$<>:/? 17", max_size=12)
_FRAMES = st.fixed_dictionaries(
    {},
    optional={
        "function": _NAMES,
        "module": _NAMES,
        "filename": _NAMES,
        "context_line": _NAMES,
        "in_app": st.booleans(),
        "lineno": st.integers(1, 9),
    },
)
_EXCEPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "type": _NAMES,
        "value": _NAMES,
        "stacktrace": st.fixed_dictionaries({"frames": st.lists(_FRAMES, max_size=5)}),
    },
)
_EVENTS = st.fixed_dictionaries(
    {"platform": st.sampled_from(["python", "javascript", "native", "java", "ruby", "php", "csharp"])},
    optional={
        "exception": st.fixed_dictionaries({"values": st.lists(_EXCEPTIONS, max_size=3)}),
        "logentry": st.fixed_dictionaries({"formatted": _NAMES}),
        "stacktrace": st.fixed_dictionaries({"frames": st.lists(_FRAMES, max_size=4)}),
        "transaction": _NAMES,
    },
)

_RUBBISH = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "values frames type value stacktrace mechanism meta ns_error domain code exception_id parent_id "
                "is_exception_group formatted message function module abs_path context_line data in_app crashed "
                "effective_directive blocked_uri hostname raw_function".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
_TOP_LEVEL = (
    "exception threads stacktrace logentry template csp hpkp expectct expectstaple fingerprint tags platform "
    "transaction level logger checksum"
).split()


@given(st.dictionaries(st.sampled_from(_TOP_LEVEL), _RUBBISH, max_size=6))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_rubbish_is_grouped(event: Event) -> None:
    grouping = group_event(event)
    assert 1 <= len(grouping.keys) <= 2
    assert all(len(key) == 32 for key in grouping.keys)
    assert grouping.title
    assert tuple(explain(event)["keys"].values()) == grouping.keys


@given(_EVENTS)
@settings(deadline=None)
def test_explanation_and_grouping_agree(event: Event) -> None:
    told = explain(event)
    assert tuple(told["keys"].values()) == group_event(event).keys
    contributing = {name for name, tree in told["variants"].items() if tree["contributes"]}
    assert set(told["keys"]) == (contributing or {"fallback"})
    msgspec.json.encode(told)


@given(_EVENTS, st.integers(10, 99))
@settings(deadline=None)
def test_moved_code_and_metadata_change_nothing(event: Event, by: int) -> None:
    moved = copy.deepcopy(event)
    for stacktrace in _stacktraces(moved):
        for frame in stacktrace["frames"]:
            if "lineno" in frame:
                frame["lineno"] += by
            frame["vars"] = {"x": by}
    moved |= {
        "release": f"shop@{by}",
        "server_name": f"web-{by}",
        "transaction": f"/{by}",
        "level": "fatal",
        "logger": "x",
    }
    assert group_event(event).keys == group_event(moved).keys


@given(_EVENTS)
@settings(deadline=None)
def test_another_function_in_app_changes_the_first_key_and_another_salt_every_key(event: Event) -> None:
    keys = set(group_event(event).keys)
    assert not keys & set(group_event(event | {"fingerprint": ["{{ default }}", "salt"]}).keys)
    changed = copy.deepcopy(event)
    values = changed.get("exception", {}).get("values", [])
    if not values:
        return
    values[-1].setdefault("stacktrace", {"frames": []})["frames"].append(
        {"function": "neverSeenBefore", "module": "m", "in_app": True}
    )
    assert group_event(changed).keys[0] not in keys


@given(st.lists(_NAMES, min_size=1, max_size=4), st.lists(_NAMES, min_size=1, max_size=4))
@settings(deadline=None)
def test_custom_fingerprints_are_equal_exactly_when_their_elements_are(
    one: list[str], other: list[str]
) -> None:
    same = group_event({"fingerprint": one}).keys == group_event({"fingerprint": other}).keys
    assert same == (one == other)


@pytest.mark.parametrize(
    "event",
    [
        {
            "platform": "python",
            "exception": {
                "values": [
                    {"type": "E", "stacktrace": {"frames": [{"function": f"f{n}"} for n in range(10_000)]}}
                ]
            },
        },
        {"exception": {"values": [{"type": "E", "value": "x"}] * 10_000}},
        {
            "exception": {
                "values": [
                    {
                        "type": "E",
                        "mechanism": {
                            "exception_id": n,
                            "parent_id": (n + 1) % 3_000,
                            "is_exception_group": True,
                        },
                    }
                    for n in range(3_000)
                ]
            }
        },
        {"logentry": {"formatted": "a1 " * 333_333}},
        {"logentry": {"formatted": "\n" * 1_000_000}},
        {"fingerprint": ["{{ message }}"] * 100_000, "logentry": {"formatted": "x" * 1_000_000}},
        {
            "platform": "native",
            "stacktrace": {"frames": [{"function": "<" * 4_000 + str(n)} for n in range(250)]},
        },
    ],
    ids=["frames", "exceptions", "cycle", "message", "lines", "fingerprint", "brackets"],
)
def test_large_events_are_grouped(event: Event) -> None:
    assert group_event(event).keys


def test_the_shop_recording_gives_its_fifty_groups() -> None:
    recording = files("tasks_pipeline.demo") / "recordings" / "shop-2000.jsonl.zst"
    groups: dict[frozenset[str], set[int]] = defaultdict(set)
    keys_of: dict[int, set[str]] = defaultdict(set)
    with zstandard.open(str(recording), "rt", encoding="utf-8") as lines:
        for line in lines:
            record = msgspec.json.decode(line)
            event = msgspec.json.decode(record["envelope"].split("\n")[2])
            keys = frozenset(group_event(event).keys)
            groups[keys].add(record["truth"])
            keys_of[record["truth"]] |= keys
    assert len(keys_of) == 50
    assert all(len(truths) == 1 for truths in groups.values())
    assert sum(len(keys) for keys in keys_of.values()) == len(set().union(*keys_of.values())), (
        "a key in two groups"
    )


def _stacktraces(event: Event) -> list[Event]:
    found = [event["stacktrace"]] if "stacktrace" in event else []
    return found + [
        value["stacktrace"] for value in event.get("exception", {}).get("values", []) if "stacktrace" in value
    ]
