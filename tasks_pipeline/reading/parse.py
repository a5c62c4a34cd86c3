"""Reading queries: from what people type to a tree, or to a mistake with its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks_pipeline.reading.keys import ALIASES, KEYS, STATUSES, Key, Kind, key_of, read_number, read_span
from tasks_pipeline.reading.tree import EVERYTHING, All, Filter, Node, Some, Value, Words

MOST_CHARACTERS, MOST_TERMS, MOST_LEVELS = 2_000, 30, 5
MOST_WILDCARDS = 4
"""In a value: what comparing costs grows with the power of their number."""
MOST_VALUES = 50
_KEY = re.compile(r"(!?)([A-Za-z][A-Za-z0-9_.\-]{0,199}|tags\[[^\]\s\"]{1,200}\]):(?=\S)")
_COMPARISON = re.compile(r"<=|>=|<|>")
_ESCAPED = '\\"*'


class QueryError(ValueError):
    """What was typed is no query; the message says what is wrong, `at` where: a number of characters before it."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


def parse_query(text: str) -> Node:
    """The tree of a query; an empty one is everything. Raises QueryError."""
    if len(text) > MOST_CHARACTERS:
        raise QueryError(f"a query has at most {MOST_CHARACTERS:,} characters", MOST_CHARACTERS)
    reader = _Reader(text)
    tree = reader.alternatives(level=0)
    if reader.at < len(text):
        raise QueryError("nothing was opened that could be closed here", reader.at)
    return tree


def unknown_keys(tree_leaves: Iterable[Filter | Words]) -> list[str]:
    """Keys of a query that are none of ours, and so are taken for tags, in their order."""
    named = [leaf.key for leaf in tree_leaves if isinstance(leaf, Filter)]
    return list(dict.fromkeys(n for n in named if n not in KEYS and not n.startswith("tags[")))


@dataclass(slots=True)
class _Reader:
    """Where in the text it is read, and how many terms were."""

    text: str
    at: int = 0
    terms: int = 0

    def alternatives(self, level: int) -> Node:
        found = [self.together(level)]
        while self._word_is("OR"):
            at = self.at
            self.at += 2
            found.append(self.together(level))
            if EVERYTHING in found:
                raise QueryError("before and behind OR something has to stand", at)
        return found[0] if len(found) == 1 else Some(tuple(found))

    def together(self, level: int) -> Node:
        found: list[Node] = []
        while True:
            self._skip()
            if self.at >= len(self.text) or self._peek() == ")" or self._word_is("OR"):
                break
            if self._word_is("AND"):
                if not found:
                    raise QueryError("before AND something has to stand", self.at)
                self.at += 3
                self._skip()
                if self.at >= len(self.text) or self._peek() == ")" or self._word_is("OR"):
                    raise QueryError("behind AND something has to stand", self.at)
            found.append(self.term(level))
        return found[0] if len(found) == 1 else All(tuple(found))

    def term(self, level: int) -> Node:
        if self._peek() == "(":
            return self._in_parentheses(level)
        self.terms += 1
        if self.terms > MOST_TERMS:
            raise QueryError(f"a query has at most {MOST_TERMS} terms", self.at)
        start = self.at
        match = _KEY.match(self.text, start)
        if match and not self.text.startswith(("//", ":"), match.end()):
            self.at = match.end()
            return self._filter(match[2], bool(match[1]), start)
        negated = (
            self._peek() == "!" and self.at + 1 < len(self.text) and not self.text[self.at + 1].isspace()
        )
        self.at += negated
        if negated and self._peek() == "(":
            raise QueryError("! stands before a key or a word, not before a parenthesis", start)
        (value, _) = self._value("")
        if not any(value):
            raise QueryError("a word is missing here", start)
        return Words(value, negated, start)

    def _in_parentheses(self, level: int) -> Node:
        opened = self.at
        if level >= MOST_LEVELS:
            raise QueryError(f"parentheses lie at most {MOST_LEVELS} deep", opened)
        self.at += 1
        inner = self.alternatives(level + 1)
        if self._peek() != ")":
            raise QueryError("this parenthesis is never closed", opened)
        self.at += 1
        if inner == EVERYTHING:
            raise QueryError("there is nothing between these parentheses", opened)
        return inner

    def _filter(self, name: str, negated: bool, start: int) -> Filter:
        if name == "error.unhandled":  # the other way round
            name, negated = "handled", not negated
        key = key_of(name)
        comparison = ""
        if key.compares and (match := _COMPARISON.match(self.text, self.at)):
            comparison = match[0]
            self.at = match.end()
        values_at = self.at
        if self._peek() == "[" and not comparison:
            values = self._list()
        else:
            values = (self._value("")[0],)
        for value in values:
            _check(key, value, comparison, values_at)
        return Filter(ALIASES.get(name, name), values, comparison, negated, start)

    def _list(self) -> tuple[Value, ...]:
        opened = self.at
        self.at += 1
        found: list[Value] = []
        while True:
            self._skip()
            value, was_quoted = self._value(",]")
            if not was_quoted and not any(value):
                raise QueryError("a value is missing here", self.at)
            found.append(value)
            self._skip()
            if self._peek() == "]":
                self.at += 1
                break
            if self._peek() != ",":
                raise QueryError("this list is never closed", opened)
            self.at += 1
        if len(found) > MOST_VALUES:
            raise QueryError(f"a list has at most {MOST_VALUES} values", opened)
        return tuple(found)

    def _value(self, ends: str) -> tuple[Value, bool]:
        """A word or what stands in quotes, and whether it does; a word ends before what is in `ends`, too."""
        start, pieces, piece, depth = self.at, list[str](), "", 0
        in_quotes = self._peek() == '"'
        self.at += in_quotes
        while self.at < len(self.text):
            letter = self.text[self.at]
            if letter == "\\" and self.text[self.at + 1 : self.at + 2] in tuple(_ESCAPED):
                piece += self.text[self.at + 1]
                self.at += 2
                continue
            if in_quotes and letter == '"':
                break
            if not in_quotes:
                depth += (letter == "(") - (letter == ")")
                if letter.isspace() or letter in ends or depth < 0:
                    break
            if letter == "*":
                pieces.append(piece)
                piece = ""
            else:
                piece += letter
            self.at += 1
        if in_quotes:
            if self._peek() != '"':
                raise QueryError("this quote is never closed", start)
            self.at += 1
        value = (*pieces, piece)
        if len(value) - 1 > MOST_WILDCARDS:
            raise QueryError(f"a value has at most {MOST_WILDCARDS} wildcards", start)
        if "\0" in piece or any("\0" in each for each in pieces):
            raise QueryError("no text holds a NUL character", start)
        return value, in_quotes

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def _word_is(self, word: str) -> bool:
        self._skip()
        behind = self.text[self.at + len(word) : self.at + len(word) + 1]
        return self.text.startswith(word, self.at) and (not behind or behind.isspace() or behind in "()")


_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def _check(key: Key, value: Value, comparison: str, at: int) -> None:
    """Raises QueryError for a value that a key cannot have."""
    text = "*".join(value)
    if not _is_allowed(key, value, comparison):
        allowed = ", ".join(STATUSES) if key.kind is Kind.STATUS else key.kind.value
        raise QueryError(f"{text[:50]!r} is no value of {key.name}; allowed are {allowed}", at)


def _is_allowed(key: Key, value: Value, comparison: str) -> bool:
    text, plain = value[0], len(value) == 1
    match key.kind:
        case Kind.NUMBER:
            return plain and _reads(read_number, text)
        case Kind.TIME:
            return plain and _reads(lambda each: read_span(each, comparison, _MOMENT), text)
        case Kind.STATUS:
            return plain and text.lower() in STATUSES
        case Kind.TRUTH:
            return plain and text.lower() in ("true", "false", "yes", "no", "1", "0")
        case Kind.CONTAINED:
            return any(value)
        case Kind.HAS | Kind.PERSON | Kind.GROUP | Kind.PROJECT:
            return plain and bool(text)
        case Kind.RELEASE if comparison:
            return plain and bool(text)
    return True


def _reads(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except (ValueError, OverflowError):
        return False
    return True
