"""Texts that must be nowhere: finding them in any other text, and overwriting them there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from tasks_pipeline.erasure.spelling import OF_LETTER, as_word, runs_of, stands_alone

REMOVED = "(removed)"
"""What stands in the place of a text that people read."""
FILLER = b"x"
SHORTEST = 4
"""Shorter texts are part of too many others."""
MOST = 2_000
"""Texts that are looked for at once."""
PIECE, CONTEXT = 2**20, 64
"""Bytes of content that are looked at together, and what is seen of those before them."""


_WORD = re.compile(r"[A-Za-z_./]+")


def removed(_found: str) -> str:
    """What stands in the place of a text that is deleted."""
    return REMOVED


@dataclass(frozen=True)
class Texts:
    """Texts that are looked for as words, in any case of letters: no letter or digit stands beside them. `instead` gives what stands in
    the place of one from then on, as it was spelt there."""

    wanted: frozenset[str] = field(default_factory=frozenset)
    instead: Callable[[str], str] = field(default=removed, compare=False)

    @classmethod
    def of(cls, texts: Iterable[str | None], instead: Callable[[str], str] = removed) -> Texts:
        """Those of the texts that are long enough to say whose they are, the longest first where there are too many."""
        found = {text.strip() for text in texts if text and len(text.strip()) >= SHORTEST}
        return cls(frozenset(sorted(found, key=lambda text: (-len(text), text))[:MOST]), instead)

    def __bool__(self) -> bool:
        return bool(self.wanted)

    def __or__(self, other: Texts) -> Texts:
        return Texts.of(self.wanted | other.wanted, self.instead)

    @cached_property
    def _runs(self) -> list[tuple[str, str, list[tuple[str, ...]]]]:
        """What to look for first, the longest text first: its longest run, where all spellings have that alike, and all of its runs."""
        wanted = sorted(self.wanted, key=lambda text: (-len(text), text))
        return [(text, _alike(runs_of(text)), runs_of(text)) for text in wanted]

    def _matches(self, text: str) -> Iterator[re.Match[str]]:
        """Where they stand in a text. Only those that may be part of it are asked for: a pattern of all is a hundred times as slow."""
        small = text.lower()
        likely = [(each, runs) for each, run, runs in self._runs if run in small]
        some = tuple(each for each, runs in likely if all(any(way in small for way in ways) for ways in runs))
        pattern = _pattern(some)
        return iter(()) if pattern is None else filter(stands_alone, pattern.finditer(text))

    def are_in(self, text: str) -> bool:
        """Whether one of them is part of a text."""
        return next(self._matches(text), None) is not None

    def removed_from(self, text: str) -> str:
        """A text without them; what stands instead of each is in their place."""
        kept, last = [], 0
        for match in self._matches(text):
            kept += [text[last : match.start()], self.instead(match[0])]
            last = match.end()
        return "".join((*kept, text[last:]))

    def removed_within(self, value: Any) -> Any:
        """JSON without them, in keys as in values; a key that is a word of programs stays."""
        match value:
            case str():
                return self.removed_from(value)
            case dict():
                return {self.key_without(str(key)): self.removed_within(each) for key, each in value.items()}
            case list():
                return [self.removed_within(each) for each in value]
        return value

    def key_without(self, key: str) -> str:
        """A key of JSON without them; one that is a word of programs stays."""
        return key if _WORD.fullmatch(key) else self.removed_from(key)

    def filled(self, found: bytes) -> bytes:
        """As many bytes as one of them has, to stand in its place where nothing may move."""
        if self.instead is removed:
            return FILLER * len(found)
        new = self.instead(found.decode("utf-8", "replace")).encode()
        return new[: len(found)].ljust(len(found), FILLER)

    def spans_in(self, content: bytes) -> list[tuple[int, int]]:
        """Where they begin and end in bytes of UTF-8."""
        return list(self._spans(content)) if self.wanted else []

    def _spans(self, content: bytes) -> Iterator[tuple[int, int]]:
        """In pieces, that overlap and show what stands before: some letters take four times as much memory as they have bytes."""
        known = 0
        for begin in range(0, len(content), PIECE):
            start = max(0, begin - CONTEXT)
            piece = content[start : begin + PIECE + self.longest].decode("utf-8", "surrogateescape")
            at, place = 0, start
            for match in self._matches(piece):
                first = place + _bytes_in(piece[at : match.start()])
                at, place = match.end(), first + _bytes_in(match[0])
                if begin <= first < begin + PIECE and first >= known:
                    known = place
                    yield first, place

    @cached_property
    def longest(self) -> int:
        """Bytes of the longest of them, however it is spelt: what overlaps when content is read in pieces."""
        return max((len(text) for text in self.wanted), default=0) * OF_LETTER + CONTEXT


NOTHING = Texts()


@lru_cache(256)
def _pattern(texts: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(as_word, texts)), re.IGNORECASE) if texts else None


def _alike(runs: list[tuple[str, ...]]) -> str:
    return next((ways[0] for ways in runs if len(ways) == 1), "")


def _bytes_in(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))
