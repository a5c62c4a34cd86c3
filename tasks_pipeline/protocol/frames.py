"""Frames of exceptions that need no repair, from their JSON; stack traces that come again are decoded and checked once (`recurring`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

import msgspec
from msgspec import Meta

from tasks_pipeline.protocol.bounds import MAX_FRAMES, MAX_LINE, MAX_LINE_NUMBER, MAX_LINES
from tasks_pipeline.recurring import Recurring, SharedFrames, SharedStack

_Text64 = Annotated[str, Meta(max_length=64)]
_Text512 = Annotated[str, Meta(max_length=512)]
_Text1024 = Annotated[str, Meta(max_length=1024)]
_Number = Annotated[int, Meta(ge=0, le=MAX_LINE_NUMBER)]
_Line = Annotated[str, Meta(max_length=MAX_LINE)]
_Lines = Annotated[list[_Line], Meta(max_length=MAX_LINES)]

_BEFORE, _BEHIND = b',"vars":{', b'},"in_app":'
"""What stands around the variables of a frame in JSON of the SDK that sends them unasked, Python's. The first stands for nothing else: in a
text a quotation mark has a backslash before it. The second may stand within variables, which are then no JSON by themselves."""
_ADDRESS, _BEGINNING = b'"instruction_addr":', 1000
NOTHING = (b"{}", b"null")
"""Free data that go without a word."""
_MOST_SEEN = 20_000
"""Stack traces of which it is known that they came."""
_MOST, _LARGEST = 64 * 2**20, 2**20
"""Bytes of memory of all stack traces that are kept, some hundred usual ones, and of one."""


class _Frame(TypedDict, total=False):
    # In the order of the SDKs: the decoder looks for the next field first.
    filename: _Text1024
    abs_path: Annotated[str, Meta(max_length=2048)]
    function: _Text1024
    module: _Text512
    lineno: _Number
    pre_context: _Lines
    context_line: _Line
    post_context: _Lines
    vars: msgspec.Raw
    in_app: bool
    colno: _Number
    package: _Text1024
    platform: _Text64
    # Present in native frames and mended field by field: an event with one of them is not exact.
    instruction_addr: Literal[""]
    symbol_addr: Literal[""]
    image_addr: Literal[""]
    function_id: Literal[""]
    raw_function: Literal[""]
    addr_mode: Literal[""]
    symbol: Literal[""]
    trust: Literal[""]
    stack_start: Literal[""]
    lock: Literal[""]
    data: Literal[""]


class _Stack(msgspec.Struct, forbid_unknown_fields=True):
    frames: Annotated[list[_Frame], Meta(min_length=1, max_length=MAX_FRAMES)]


_decode = msgspec.json.Decoder(_Stack).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_known: Recurring[bytes, SharedStack] = Recurring(_MOST, _LARGEST)
_seen: Recurring[int, bool] = Recurring(_MOST_SEEN, 1)


def exact_frames(stack: bytes) -> tuple[SharedFrames | list[dict[str, Any]], list[bytes]]:
    """The frames of a stack trace, and the JSON of their variables, into which nobody has looked. Raises ValueError for one that needs
    repair."""
    if _ADDRESS in stack[:_BEGINNING]:
        raise ValueError(
            "frames of native code are mended field by field"
        )  # as they would be below, after much work
    code, variables = _parted(stack)
    known = _known.get(code)
    if known is not None and _are_values(variables):
        return SharedFrames(known, variables), variables
    frames: list[dict[str, Any]] = _decode(stack).frames  # type: ignore[assignment]
    for frame in frames:
        if "vars" in frame and bytes(frame["vars"]) in NOTHING:
            del frame["vars"]
    if not all(frames):
        raise ValueError("an empty frame")
    found = [bytes(frame["vars"]) for frame in frames if "vars" in frame]
    if found == variables and _comes_again(code):
        bare = [{name: value for name, value in frame.items() if name != "vars"} for frame in frames]
        shared = SharedStack(bare, ["vars" in frame for frame in frames])
        _known.keep(code, shared, shared.size + len(code))
    return frames, found


def _comes_again(code: bytes) -> bool:
    """Whether a stack trace was there before: what is made of it to be kept costs as much as decoding it, and many come once."""
    seen = hash(code)
    if _seen.get(seen):
        return True
    _seen.keep(seen, True, 1)
    return False


def _parted(stack: bytes) -> tuple[bytes, list[bytes]]:
    """A stack trace without what seem to be the variables of its frames, and these. Raises ValueError when it has too many frames."""
    code: list[bytes] = []
    variables: list[bytes] = []
    place, find = 0, stack.find
    while (start := find(_BEFORE, place)) >= 0:
        end = find(_BEHIND, start) + 1
        if not end:
            return stack, []
        code.append(stack[place:start])
        json = stack[start + len(_BEFORE) - 1 : end]
        if json != b"{}":
            variables.append(json)
            code.append(b"\n")
        place = end
        if len(code) > 3 * MAX_FRAMES:
            raise ValueError("too many frames")
    code.append(stack[place:])
    return b"".join(code), variables


def _are_values(variables: list[bytes]) -> bool:
    """Whether each is JSON by itself. Then the stack trace without them being known, and all of it being JSON, they are the
    variables of its frames."""
    if not variables:
        return True
    try:
        return len(_decode_list(b"[%b]" % b",".join(variables))) == len(variables)
    except ValueError:
        return False
