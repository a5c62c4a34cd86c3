"""Texts of strangers made safe to show: what none of them may hold wherever people read it. Escaping for HTML, SQL or a chat is
not done here."""

from __future__ import annotations

import re
import unicodedata

_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u2065\u3164\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]")
_UNSAFE = re.compile(r"[^\x20-\x7e\n]")


def is_hidden(character: str) -> bool:
    """Whether a character is not seen itself and may change what is: it turns the direction of a text, has no width, or carries
    another text along (format characters, tags, fillers). With them a text can show what it does not say.

    Selectors of the look of emoji (U+FE00 to U+FE0F) are none; what joins emoji and letters (U+200C, U+200D) is.
    """
    return unicodedata.category(character) == "Cf" or _UNSEEN.match(character) is not None


def clean(value: object, limit: int = 500, *, lines: bool = False) -> str:
    """A stranger's text that is safe to put anywhere once it is escaped: no control and no hidden characters, bounded in length.

    Line ends become spaces unless `lines`.
    """
    text = str(value)[: limit * 4 + 100]
    kept = "\n\t" if lines else ""
    if not (text.isascii() and text.isprintable()):  # of which most are
        text = "".join(c if c in kept else _seen(c) for c in text)
    text = text if lines else " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def error_text(error: Exception) -> str:
    """What an error is and says, as one line that may stand anywhere once it is escaped."""
    return clean(f"{type(error).__name__}: {error}", 200)


def _seen(character: str) -> str:
    if unicodedata.category(character) in ("Cc", "Cs", "Co", "Zl", "Zp"):
        return " "
    return "" if is_hidden(character) else character


def printable(text: str) -> str:
    """The text for a terminal: line breaks as blanks, and every other character that it might obey or not show as its escape."""
    return "".join(
        c if _shows(c) else " " if c in "\r\n\t" else c.encode("unicode_escape").decode() for c in text
    )


def safe_json(text: bytes) -> str:
    """The same JSON with every character escaped that a terminal might obey, or an editor not show."""
    return _UNSAFE.sub(_escaped, text.decode())


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if _shows(character):
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _shows(character: str) -> bool:
    return character.isprintable() and not is_hidden(character)
