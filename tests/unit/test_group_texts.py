"""What the first event of a group is found by: its exceptions and frames, each text once, bounded, whatever was sent."""

from __future__ import annotations

from tasks_pipeline.groups.texts import LONGEST, texts_of
from tests.support.events import event


def test_exceptions_and_frames_are_found() -> None:
    frames = [
        {"filename": "outer.py", "function": "f"},
        {"filename": "inner.py", "module": "shop.pay", "function": "f"},
    ]
    stack = {"frames": frames}
    first, second = (
        {"type": "KeyError", "value": "'ref'"},
        {"type": "PayError", "value": "no", "stacktrace": stack},
    )
    found = texts_of(event(exception={"values": [first, second]}, logentry={"formatted": "order 7 failed"}))
    assert found.said.splitlines() == ["PayError", "no", "KeyError", "'ref'", "order 7 failed"]
    assert found.stack.splitlines() == ["inner.py", "shop.pay", "f", "outer.py"]


def test_what_is_long_or_odd_is_bounded() -> None:
    frames = [{"filename": f"{n}.py" * 100, "function": None} for n in range(10_000)]
    long = event(
        exception={"values": [{"type": "T", "value": "v\0" * 10**6, "stacktrace": {"frames": frames}}]}
    )
    found = texts_of(long)
    assert len(found.said) <= LONGEST
    assert 0 < len(found.stack) <= LONGEST
    assert "9999.py" in found.stack
    assert "\0" not in found.said
    nothing = texts_of({"exception": {"values": None}, "threads": {}, "stacktrace": None})
    assert (nothing.said, nothing.stack) == ("", "")
