"""What comes again and again is kept by its bytes: a bounded memory, and stack traces that many events share.

Real traffic repeats its stack traces, while their variables differ each time. Here is the form in which both go through the steps,
and nothing about what they mean.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar

import msgspec

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Frame = dict[str, Any]

_HOLDERS = frozenset(("threads", "stacktrace", "raw_stacktrace"))
"""Of stack traces that are never shared, beside exceptions."""

_encode = msgspec.json.Encoder().encode
_decode_frames = msgspec.json.Decoder(list[Frame]).decode


class Recurring(Generic[K, V]):
    """What was made of keys, of which at most `most` bytes are held: what was asked for of late.

    It lies in two halves. When the younger one is full, the older one goes and the younger one takes its place; what is found in
    the older one moves. A value must be a function of its key alone: everybody gets the same one.
    """

    def __init__(self, most: int, largest: int) -> None:
        self._half, self._largest, self._held = most // 2, min(largest, most // 2), 0
        self._young: dict[K, tuple[V, int]] = {}
        self._old: dict[K, tuple[V, int]] = {}

    def get(self, key: K) -> V | None:
        """What is kept of a key."""
        found = self._young.get(key)
        if found is None:
            found = self._old.pop(key, None)
            if found is None:
                return None
            self._keep(key, found)
        return found[0]

    def keep(self, key: K, value: V, size: int) -> V:
        """Keep what was made of a key, of about `size` bytes, unless it is one of the largest: strangers choose them."""
        if size <= self._largest:
            self._keep(key, (value, size))
        return value

    def _keep(self, key: K, found: tuple[V, int]) -> None:
        if self._held + found[1] > self._half:
            self._old, self._young, self._held = self._young, {}, 0
        self._young[key] = found
        self._held += found[1]

    @property
    def held(self) -> int:
        """About how many bytes are held."""
        return sum(size for half in (self._young, self._old) for _, size in half.values())


class SharedStack:
    """Frames of a stack trace in their final form, without their variables; events that hold it must not change it."""

    def __init__(self, frames: Sequence[Frame], with_variables: Sequence[bool]) -> None:
        """`with_variables` says of each frame whether the event has variables for it."""
        self.with_variables = tuple(with_variables)
        pieces = [b"["]
        for frame, has_any in zip(frames, with_variables, strict=True):
            pieces[-1] += _encode(frame)[:-1]
            if has_any:
                pieces[-1] += b',"vars":' if frame else b'"vars":'
                pieces += [b"", b""]
            pieces[-1] += b"},"
        pieces[-1] = pieces[-1][:-1] + b"]"
        self.pieces = tuple(pieces)
        """JSON of the frames; every other piece is empty, and stands where variables belong."""
        self.verdicts: dict[object, bool] = {}
        """What rules say of it that are the same for all events of a project, by the rules."""

    @cached_property
    def frames(self) -> tuple[Frame, ...]:
        """The frames, to be read. Seldom asked for."""
        kept = list(self.pieces)
        kept[1::2] = [b"null"] * (len(kept) // 2)
        return tuple({k: v for k, v in f.items() if k != "vars"} for f in _decode_frames(b"".join(kept)))

    def changed(self, frames: Sequence[Frame]) -> SharedStack:
        """The same stack trace with other frames: this one, when they are the same."""
        return self if list(self.frames) == frames else SharedStack(frames, self.with_variables)

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return 6 * sum(map(len, self.pieces)) + 1000


class SharedFrames:
    """The frames of a stack trace of an event: a shared one, and the variables of this event in JSON."""

    __slots__ = ("stack", "variables")

    def __init__(self, stack: SharedStack, variables: list[bytes]) -> None:
        self.stack, self.variables = stack, variables

    def __len__(self) -> int:
        return len(self.stack.with_variables)

    def __getitem__(self, index: Any) -> Any:
        return self.stack.frames[index]

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.stack.frames)

    def json(self) -> bytes:
        """All of it in JSON."""
        pieces = list(self.stack.pieces)
        pieces[1::2] = self.variables
        return b"".join(pieces)

    def own(self) -> list[Frame]:
        """Frames that belong to this event alone and may be changed."""
        return _decode_frames(self.json())


def own_frames(event: Mapping[str, Any]) -> None:
    """Give the exceptions of an event frames of their own, for a step that changes them."""
    for value in (event.get("exception") or {}).get("values") or ():
        stack = value.get("stacktrace")
        if stack and isinstance(stack["frames"], SharedFrames):
            value["stacktrace"] = {**stack, "frames": stack["frames"].own()}


def shared_stacks(event: Mapping[str, Any]) -> list[SharedStack] | None:
    """The stack traces of an event, when all of them are shared ones."""
    if not _HOLDERS.isdisjoint(event):
        return None
    stacks = [
        stack["frames"]
        for value in (event.get("exception") or {}).get("values") or ()
        for name in ("stacktrace", "raw_stacktrace")
        if (stack := value.get(name))
    ]
    return [frames.stack for frames in stacks] if {*map(type, stacks)} <= {SharedFrames} else None
