"""Texts that must be nowhere: finding them in any other text, and overwriting them there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import quote

REMOVED = "(removed)"
"""What stands in the place of a text that people read."""
FILLER = b"x"
SHORTEST = 4
"""Shorter texts are part of too many others."""
MOST = 2_000
"""Texts that are looked for at once."""


@dataclass(frozen=True)
class Texts:
    """Texts that are looked for as words, in any case of letters: no letter or digit stands beside them."""

    wanted: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, texts: Iterable[str | None]) -> Texts:
        """Those of the texts that are long enough to say whose they are, the longest first where there are too many."""
        found = {text.strip() for text in texts if text and len(text.strip()) >= SHORTEST}
        return cls(frozenset(sorted(found, key=lambda text: (-len(text), text))[:MOST]))

    def __bool__(self) -> bool:
        return bool(self.wanted)

    def __or__(self, other: Texts) -> Texts:
        return Texts.of(self.wanted | other.wanted)

    @cached_property
    def _small(self) -> list[str]:
        """All spellings in small letters, the longest first."""
        return list(dict.fromkeys(text.lower() for text in self._spellings))

    @cached_property
    def _spellings(self) -> list[str]:
        """As it is, and as JSON writes it, once and within JSON once more."""
        found: dict[str, None] = {}
        wanted = sorted(self.wanted, key=len, reverse=True)
        for text in (*wanted, *(spelt_in_pages(each) for each in wanted if is_address(each))):
            for ascii_only in (False, True):
                spelt = text
                for _ in range(3):
                    found[spelt] = None
                    spelt = json.dumps(spelt, ensure_ascii=ascii_only)[1:-1]
        return sorted(found, key=len, reverse=True)

    def _pattern_in(self, text: str) -> re.Pattern[str] | None:
        """A pattern of those that are part of a text, where any is: one of all of them is a hundred times as slow."""
        small = text.lower()
        return _pattern(tuple(each for each in self._small if each in small))

    def are_in(self, text: str) -> bool:
        """Whether one of them is part of a text."""
        pattern = self._pattern_in(text)
        return pattern is not None and pattern.search(text) is not None

    def removed_from(self, text: str) -> str:
        """A text without them."""
        pattern = self._pattern_in(text)
        return text if pattern is None else pattern.sub(REMOVED, text)

    def removed_within(self, value: Any) -> Any:
        """JSON without them, in keys as in values."""
        match value:
            case str():
                return self.removed_from(value)
            case dict():
                return {self.removed_from(str(key)): self.removed_within(each) for key, each in value.items()}
            case list():
                return [self.removed_within(each) for each in value]
        return value

    def spans_in(self, content: bytes) -> list[tuple[int, int]]:
        """Where they begin and end in bytes of UTF-8."""
        small = content.lower()
        pattern = _bytes_pattern(tuple(each for each in self._small if each.encode() in small))
        return [] if pattern is None else [match.span() for match in pattern.finditer(content)]

    @property
    def longest(self) -> int:
        """Bytes of the longest of them: what overlaps when content is read in pieces."""
        return max((len(text.encode()) for text in self._spellings), default=0) + 2


NOTHING = Texts()


_ESCAPES = (r"(?<=\\[nrtbf])", r"(?<=\\u[0-9a-fA-F]{4})", r"(?<=%[0-9a-fA-F]{2})")
"""What JSON and addresses of pages write for a character that is no letter: its own last letter is none."""


@lru_cache(256)
def _pattern(texts: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(_as_word, texts)), re.IGNORECASE) if texts else None


@lru_cache(256)
def _bytes_pattern(texts: tuple[str, ...]) -> re.Pattern[bytes] | None:
    words = (_as_word(text).encode() for text in texts)
    return re.compile(b"|".join(words), re.IGNORECASE) if texts else None


def _as_word(text: str) -> str:
    """Neither within a longer word, number or address: 10.0.0.1 is not in 110.0.0.12 nor in 10.0.0.1.5, ann@b.org not in joann@b.org,
    x-ann@b.org or ann@b.org.uk."""
    before = after = ""
    if text[:1].isalnum():
        letters = "0-9A-Za-z._+-" if is_address(text) else "0-9A-Za-z"
        number = r"(?<![0-9]\.)" if text[0].isdigit() else ""
        before = f"(?:{'|'.join((f'(?<![{letters}]){number}', *_ESCAPES))})"
    if text[-1:].isalnum():
        longer = r"(?![.-][0-9A-Za-z])" if is_address(text) else r"(?!\.[0-9])" if text[-1].isdigit() else ""
        after = rf"(?![0-9A-Za-z]){longer}"
    return before + re.escape(text) + after


def is_address(text: str) -> bool:
    """Whether a text looks like a mail address, as it is or as addresses of pages hold one."""
    return "@" in text or "%40" in text


def spelt_in_pages(text: str) -> str:
    """A text as addresses of pages hold it."""
    return quote(text, safe="")
