"""What the symbolicator asks its worker process, and what that answers: plain data that travels over a pipe.

A message is the length of its body (4 bytes, big endian) and the body in MessagePack.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

CONTEXT_LINES = 5
"""Source lines shown before and after the line of a frame."""
MAX_LOCATIONS = 50
"""Most frames that one address or one obfuscated frame stands for."""

LENGTH = struct.Struct(">I")


class File(msgspec.Struct, frozen=True):
    """An uploaded file, or one in a bundle: the bundle's path, the name inside, and where it is kept unpacked."""

    path: str
    member: str | None = None
    target: str | None = None


class Lines(msgspec.Struct, frozen=True, array_like=True):
    """A source line and what stands around it, without line ends, each cut to what an event keeps."""

    pre_context: list[str]
    context_line: str
    post_context: list[str]


class Token(msgspec.Struct, frozen=True, array_like=True):
    """An original position: line and column from 1, the source as the map names it, the name at the position, the
    function around it."""

    line: int
    column: int
    source: str | None
    name: str | None
    function: str | None
    context: Lines | None


class Location(msgspec.Struct, frozen=True, array_like=True):
    """A function and line for an address; `start` is the function's address relative to the image, -1 if unknown."""

    function: str
    mangled: str
    path: str | None
    line: int
    start: int


class JavaLocation(msgspec.Struct, frozen=True, array_like=True):
    """An original Java frame; line 0 is unknown."""

    class_name: str
    method: str
    file: str | None
    line: int


class Rewrite(msgspec.Struct, frozen=True, array_like=True):
    """When all of these were thrown (descriptors: `La/b;`), so many innermost frames go."""

    thrown: list[str]
    removed: int


class JavaNotes(msgspec.Struct, frozen=True, array_like=True):
    """What R8 says of a frame: see `r8`.

    `synthesized`: nobody wrote its method. `outline`: it is code that was moved out of its caller. Of a caller, `calls` is the
    outline (`La/o;a()I`, or empty), and `positions` has the line that stands for it by the line of the outline.
    """

    synthesized: bool = False
    outline: bool = False
    calls: str = ""
    positions: dict[int, int] = {}
    rewrites: list[Rewrite] = []


class JavaFrame(msgspec.Struct, frozen=True, array_like=True):
    """What an obfuscated frame stands for: original frames, innermost first, and R8's notes."""

    locations: list[JavaLocation]
    notes: JavaNotes = JavaNotes()


class LookupPositions(msgspec.Struct, frozen=True, tag="positions"):
    """Positions (line and column from 1) in a minified source; without `source_map` the one inside the source."""

    source: File | None
    source_map: File | None
    positions: list[tuple[int, int]]


class FindReference(msgspec.Struct, frozen=True, tag="reference"):
    """Where a minified source says that its map is (one result): "" for none, "data:" for one inside."""

    source: File


class LookupAddresses(msgspec.Struct, frozen=True, tag="addresses"):
    """Addresses relative to the image in a debug file; `table` is where the built symbol table is kept."""

    path: str
    debug_id: str
    table: str
    addresses: list[int]


class LookupJava(msgspec.Struct, frozen=True, tag="java"):
    """Obfuscated frames: class, method, line; line 0 is unknown, and with method "" only the class is asked for."""

    mapping: File
    frames: list[tuple[str, str, int]]


class ReadLines(msgspec.Struct, frozen=True, tag="lines"):
    """Lines (from 1) around which to read in a source."""

    source: File
    lines: list[int]


class ReadBundledLines(msgspec.Struct, frozen=True, tag="bundled_lines"):
    """(path, line) of sources in a source bundle, by the paths that its debug file names."""

    bundle: str
    places: list[tuple[str, int]]


Request = LookupPositions | FindReference | LookupAddresses | LookupJava | ReadLines | ReadBundledLines


class Failure(msgspec.Struct, frozen=True):
    """A file could not be used: `status` is malformed, too_large, missing, or unavailable (for now, by our fault)."""

    status: str
    detail: str


class Answer(msgspec.Struct, frozen=True):
    """Results in the order of what was asked (None where there is nothing), or why there are none; `stored`: bytes
    were added to the cache."""

    results: Any = None
    failure: Failure | None = None
    stored: bool = False


RESULTS: dict[type[msgspec.Struct], Any] = {
    LookupPositions: list[Token | None],
    FindReference: list[str],
    LookupAddresses: list[list[Location]],
    LookupJava: list[JavaFrame],
    ReadLines: list[Lines | None],
    ReadBundledLines: list[Lines | None],
}
"""Type of `Answer.results` for each request."""
