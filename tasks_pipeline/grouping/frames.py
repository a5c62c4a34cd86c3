"""Stack traces: the frames that count in the app and in the system variant, and what rules write on frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from tasks_pipeline.grouping.components import Component, ignored, node
from tasks_pipeline.grouping.facts import FIELDS, FrameFacts, frame_facts
from tasks_pipeline.grouping.stack_rules import Effects, StackRules
from tasks_pipeline.grouping.values import LISTS, integer, objects
from tasks_pipeline.recurring import Recurring, SharedFrames, SharedStack

ORIGINAL = "orig_in_app"
"""Where the flag of the SDK lies in a frame's `data` when a rule changed it: 1, 0, or -1 for a frame without one."""
CATEGORY = "category"
"""Where the category given by rules lies in a frame's `data`."""

_KEPT = 8_000_000  # characters of all stack traces that are kept
_LARGEST_KEPT = 100_000  # characters of a stack trace; what real traffic repeats is smaller
_MOST_SHARED = 64 * 2**20
"""Bytes of memory of the stack traces that what all rules made of them may hold on to."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What rules changed about the frame at `position`: `original` is the SDK's flag as in `ORIGINAL`, None if it stays."""

    position: int
    in_app: bool
    original: int | None
    category: str | None


@dataclass(frozen=True, slots=True)
class StackVariants:
    """One stack trace seen twice, with the frames in app only and with all of them, and the marks its frames get. `raised` is what
    exceptions with it contribute (exceptions.py), kept with it."""

    app: Component
    system: Component
    marks: tuple[Mark, ...] = ()
    raised: dict[tuple[str, bool], Any] = field(default_factory=dict, compare=False, repr=False)


NO_STACK = StackVariants(node("stacktrace", ()), node("stacktrace", ()))

_Fields = tuple[Any, ...]
"""Of a frame: the `FIELDS` of its facts, the flag of the SDK, and whether a source map named its function (or None)."""

# The event's platform, the fields of the frames, which frames are direct recursion, and the rules that are out for the
# exception.
_Key = tuple[str, tuple[_Fields, ...], tuple[int, ...], frozenset[int]]


_SharedKey = tuple[Any, str, SharedStack, frozenset[int]]
_Grouped = tuple[StackVariants, SharedStack]
"""What was made of a stack trace, and its frames as they are marked then."""


_shared: Recurring[_SharedKey, _Grouped] = Recurring(_MOST_SHARED, _MOST_SHARED)
"""Of all sets of rules, by these as well."""


class StackGrouper:
    """Applies a set of rules to stack traces. Keeps what it made of a stack trace, for they come again and again."""

    def __init__(self, rules: StackRules, *, former: bool = False) -> None:
        self.rules = rules
        self._former = former
        self._known: dict[_Key, StackVariants] = {}
        self._kept = 0

    def group(
        self, stacktrace: Mapping[str, Any], platform: str, exception: Mapping[str, str]
    ) -> StackVariants:
        """Both variants of a stack trace object (`frames`, oldest call first), whose frames are marked in place.

        `platform` is the event's; `exception` are type, value and mechanism of the exception it belongs to.
        """
        shared = stacktrace.get("frames")
        if isinstance(shared, SharedFrames):
            return self._group_shared(shared, platform, exception)
        frames = objects(stacktrace, "frames")
        if not frames:
            return NO_STACK
        fields = [tuple(map(frame.get, _READ)) for frame in frames]
        marked = False
        if [one[-1] for one in fields].count(None) < len(fields):  # some have `data`
            fields = list(map(_with_data, fields))
            marked = any(map(_is_marked, frames))
        key = (platform, tuple(fields), _recursion(frames, fields), self.rules.gate(exception))
        try:
            known = self._known.get(key) or self._remember(key)
        except TypeError:  # something in it is a list or an object: never in an event that was normalised
            known = self._make(key)
        if marked:
            for frame in frames:
                unmark(frame)
        for mark in known.marks:
            _mark(frames[mark.position], mark)
        return known

    def _group_shared(
        self, frames: SharedFrames, platform: str, exception: Mapping[str, str]
    ) -> StackVariants:
        """The same for frames that many events share: marked ones take their place."""
        key = (self, platform, frames.stack, self.rules.gate(exception))
        known = _shared.get(key)
        if known is None:
            copies = [dict(frame) for frame in frames]
            variants = self.group({"frames": copies}, platform, exception)
            marked = frames.stack.changed(copies)
            size = sum(stack.size for stack in {frames.stack, marked})
            known = _shared.keep(key, (variants, marked), size)
        variants, frames.stack = known
        return variants

    def _make(self, key: _Key) -> StackVariants:
        platform, fields, recursion, gate = key
        facts = [frame_facts(platform, one[:-2], one[-1] is True, former=self._former) for one in fields]
        flags = [one[-2] for one in fields]
        same = {p for p in recursion if facts[p].component.data == facts[p - 1].component.data}
        effects = self.rules.effects(facts, [flag is True for flag in flags], gate)
        return StackVariants(*_variants(facts, same, effects), tuple(_marks(flags, effects)))

    def _remember(self, key: _Key) -> StackVariants:
        made = self._make(key)
        size = sum(len(field) for fields in key[1] for field in fields if isinstance(field, str))
        self._kept += size
        if self._kept > _KEPT:
            self._known.clear()  # rare, and cheaper than keeping track of use
            self._kept = size
        if size <= _LARGEST_KEPT:
            self._known[key] = made
        return made


def crash_frame(stacktrace: Mapping[str, Any]) -> Mapping[str, Any]:
    """The frame in app nearest the crash, else the frame nearest the crash, else an empty one."""
    frames = stacktrace.get("frames")
    if not isinstance(frames, LISTS):
        return {}
    nearest: Mapping[str, Any] = {}
    for frame in reversed(frames):
        if isinstance(frame, dict):
            if frame.get("in_app") is True:
                return frame
            nearest = nearest or frame
    return nearest


# What is read of a frame

_READ = (*FIELDS, "in_app", "data")
_FUNCTION, _RAW_FUNCTION = FIELDS.index("function"), FIELDS.index("raw_function")
_FLAGS: dict[object, bool | None] = {1: True, 0: False, -1: None}  # of ORIGINAL


def _with_data(read: _Fields) -> _Fields:
    """The fields of a frame from what was read of it: its `data` may know the flag of the SDK."""
    flag, data = read[-2:]
    if not isinstance(data, dict):
        return (*read[:-1], None)
    original = data.get(ORIGINAL)
    if type(original) is int:
        flag = _FLAGS.get(original, flag)
    return (*read[:-2], flag, bool(data.get("sourcemap")) or None)


def _recursion(frames: Sequence[Mapping[str, Any]], fields: Sequence[_Fields]) -> tuple[int, ...]:
    """The positions of frames that are the same call from the same place as the frame before, as far as the fields say
    that every platform uses."""
    return tuple(
        position
        for position in range(1, len(frames))
        if fields[position][_FUNCTION] == fields[position - 1][_FUNCTION]
        and fields[position][:_RAW_FUNCTION] == fields[position - 1][:_RAW_FUNCTION]
        and fields[position][-1] == fields[position - 1][-1]
        and _same_line(frames[position - 1], frames[position])
    )


def _same_line(caller: Mapping[str, Any], callee: Mapping[str, Any]) -> bool:
    return integer(caller, "lineno") == integer(callee, "lineno") and integer(caller, "colno") == integer(
        callee, "colno"
    )


# Marks


def _marks(flags: Sequence[object], effects: Effects) -> list[Mark]:
    marks = []
    for position, (flag, in_app, category) in enumerate(
        zip(flags, effects.in_app, effects.category, strict=True)
    ):
        original = None
        if (flag is True) is not in_app:
            original = 1 if flag is True else 0 if flag is False else -1
        if original is not None or category is not None:
            marks.append(Mark(position, in_app, original, category))
    return marks


def _is_marked(frame: Mapping[str, Any]) -> bool:
    data = frame.get("data")
    return isinstance(data, dict) and (ORIGINAL in data or CATEGORY in data)


def unmark(frame: dict[str, Any]) -> None:
    """Make the frame what it was before it was marked."""
    if not _is_marked(frame):
        return
    data = {name: value for name, value in frame["data"].items() if name != CATEGORY}
    if ORIGINAL in data:
        flag = _FLAGS.get(data.pop(ORIGINAL))
        if flag is None:
            frame.pop("in_app", None)
        else:
            frame["in_app"] = flag
    if data:
        frame["data"] = data
    else:
        del frame["data"]


def _mark(frame: dict[str, Any], mark: Mark) -> None:
    data = frame.get("data")
    data = dict(data) if isinstance(data, dict) else {}
    if mark.original is not None:
        frame["in_app"] = mark.in_app
        data[ORIGINAL] = mark.original
    if mark.category is not None:
        data[CATEGORY] = mark.category
    frame["data"] = data


# Contribution


def _variants(
    facts: Sequence[FrameFacts], recursion: Set[int], effects: Effects
) -> tuple[Component, Component]:
    system: list[Component] = []
    app: list[Component] = []
    for position, fact in enumerate(facts):
        counted, out_of_app = fact.component, fact.out_of_app
        off_by = effects.off_by[position]
        if position in recursion:
            counted = out_of_app = ignored(counted, "recursion")
        elif off_by is not None and counted.contributes:
            counted = out_of_app = ignored(counted, f"switched off by the rule: {off_by}")
        elif not effects.in_app[position] and effects.in_app_by[position] and counted.contributes:
            out_of_app = ignored(counted, f"not in app by the rule: {effects.in_app_by[position]}")
        system.append(counted)
        app.append(counted if effects.in_app[position] else out_of_app)
    if len(facts) == 1 and facts[0].bare_script:
        app = system = [ignored(system[0], "the only frame, without a function name")]
    return _limited(app, effects), _limited(system, effects)


def _limited(frames: list[Component], effects: Effects) -> Component:
    """The stack trace within `max-frames` and `min-frames`."""
    most, by = effects.limits.get("max-frames", (0, ""))
    counting = [position for position, frame in enumerate(frames) if frame.contributes]
    if most and len(counting) > most:
        for position in counting[:-most]:
            frames[position] = ignored(frames[position], f"beyond the limit of the rule: {by}")
        counting = counting[-most:]
    least, by = effects.limits.get("min-frames", (0, ""))
    stack = node("stacktrace", frames)
    if 0 < len(counting) < least:
        return ignored(stack, f"too few frames for the rule: {by}")
    return stack
