"""Expressions for deciding whether a text is of interest at all (`protocol/search.py`), and where what they match stands, once it
is known that there is a match.
"""

from __future__ import annotations

from tasks_pipeline.protocol.search import matcher

_MARK = "\0"  # no normalised text has one
_PLAIN = bytes(byte if byte < 128 else ord("~") for byte in range(256))


def plain(utf8: bytes) -> bytes:
    """A text for expressions about ASCII: every byte of another character as `~`. The engine takes it as it lies there."""
    return utf8 if utf8.isascii() else utf8.translate(_PLAIN)


def check_pattern(expression: str) -> None:
    """Raise ValueError, with the reason, for an expression that cannot be used to find and replace."""
    import pyarrow as pa  # 0.2 s, and most projects have no patterns
    import pyarrow.compute as pc

    if matcher(expression)(""):
        raise ValueError("it matches the empty text, so it would match everywhere")
    if _MARK in expression or r"\0" in expression:
        raise ValueError("NUL is in no text")
    try:
        pc.match_substring_regex(pa.array([""]), expression)
    except pa.ArrowInvalid as error:
        raise ValueError(str(error)) from error


def spans(expression: str, text: str) -> list[tuple[int, int]]:
    """[start, end) of the matches of a checked expression in a text that it matches, found by RE2 in linear time.

    The two engines differ in the finest points of Unicode: a match that RE2 does not see is taken to be the whole text.
    """
    import pyarrow.compute as pc

    marked = pc.replace_substring_regex(text, f"({expression})", f"{_MARK}\\1{_MARK}").as_py()
    found: list[tuple[int, int]] = []
    place = 0
    for number, piece in enumerate(marked.split(_MARK)):
        if number % 2 and piece:
            found.append((place, place + len(piece)))
        place += len(piece)
    return found or [(0, len(text))]
