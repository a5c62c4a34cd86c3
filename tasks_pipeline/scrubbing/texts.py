"""What must go from one text: secrets by their looks, values of secret names (`password=…`), addresses, own patterns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from tasks_pipeline.config.scrubbing import Scrubbing
from tasks_pipeline.scrubbing import addresses
from tasks_pipeline.scrubbing.engine import Matcher, matcher, spans
from tasks_pipeline.scrubbing.looks import (
    EMAIL,
    FILTERED,
    NUMBER_HINTS,
    NUMBERS,
    TOKENS,
    Found,
    lower,
    plain,
    shape,
)
from tasks_pipeline.scrubbing.names import Names, is_strong, words

_CODE = ("<function ", "<class ", "<bound method ", "<module ", "<built-in ")
"""How the representation of code begins in Python: what a name is bound to is no secret then."""

_WHITESPACE = (" ", "\n", "\r", "\t")
_DONE = (*(f'"{code}' for code in _CODE), '"[filtered]"', '{"":{"rem":')
"""How values begin in JSON that need no look: code, what was filtered already, and an SDK's note of that in `_meta`."""

_NOTHING = re.compile(
    r"""['"]?(?:
        null | none | nil | undefined | true | false | \*+ | \[\w+\]      # nothing, or filtered already
      | %s | %\(\w+\)s | \? | \$\d+ | :\w+ | \{\w*\}                      # placeholders
      | <[\w.$<>]+(?:[ ]object)?[ ]at[ ]0x[0-9a-f]+>                      # an object that shows no content
    )?['"]?""",
    re.VERBOSE | re.IGNORECASE,
)

# A name and its sign: `password=`, `"password": `, `\"password\":`, `password =>`, `Cookie: `.
_NAME = re.compile(
    r"""(?<![\w.$%\[\]-]) (?P<name>[\w.$%\[\]-]{1,200}+) (?P<quote>\\*+["'])?+ [ ]{0,2}+ (?P<sign>=>?|:) [ ]{0,2}+""",
    re.VERBOSE,
)
_OPENING_QUOTE = re.compile(r"""[bu]?(\\*+["'])""")
_QUOTED = {quote: re.compile(rf"(?:[^{quote}\\]|\\.)*+", re.DOTALL) for quote in "\"'"}
_BARE = re.compile(
    r"""[\[({][^\])}\n]*+[\])}]?+ | (?:(?:bearer|basic|digest|token)[ ]++)?+ [^\s&;,"'<>(){}\[\]\\]++""",
    re.VERBOSE | re.IGNORECASE,
)
_LINE = re.compile(r"[^\r\n\"']++")
_LINE_NAMES = frozenset({("cookie",), ("set", "cookie")})
_DIGIT = re.compile("[0-9]")


def is_harmless(value: str) -> bool:
    """Whether the value of a secret name gives nothing away: nothing, a placeholder, code, or filtered already."""
    return value.startswith(_CODE) or (len(value) <= 500 and _NOTHING.fullmatch(value) is not None)


class TextRules:
    """The rules of a project for texts.

    Texts are judged clean by an engine that takes a nanosecond or two a character; only the others are read closely.
    """

    def __init__(self, settings: Scrubbing, names: Names) -> None:
        self._names = names
        tokens, numbers = (TOKENS, NUMBERS) if settings.defaults else ((), ())
        self._tokens = [(matcher(look.hint), look.find) for look in tokens]
        self._numbers = [look.find for look in numbers]
        self._number_hints = [[*map(matcher, line)] for line in NUMBER_HINTS] if numbers else []
        self._personal: list[tuple[Matcher, Callable[[str], Iterable[Found]]]] = []
        if settings.email_addresses == "remove":
            self._personal.append((matcher(EMAIL.hint), EMAIL.find))
        if settings.ip_addresses != "keep":
            find = _addresses(truncate=settings.ip_addresses == "truncate")
            self._personal.append((matcher(addresses.HINT), find))
        self._assignments = [(matcher(names), matcher(all_)) for names, all_ in _assignments(names)]
        self._patterns = [(matcher(pattern), pattern) for pattern in settings.patterns]

    def is_clean(self, text: str, *, code: bool = False) -> bool:
        """Whether `find` finds nothing for sure."""
        return self._is_clean(text.encode(), code) and not any(matches(text) for matches, _ in self._patterns)

    def is_clean_json(self, json: bytes, *, code: bool = False) -> bool:
        """Whether, for sure, no text in JSON documents and no value of a secret name in them must go.

        What SDKs have filtered already counts as clean. `json` is UTF-8, the documents may follow one another.
        """
        # Patterns are about texts; what is escaped in JSON they would not see.
        return not self._patterns and self._is_clean(json, code)

    def find(self, text: str, *, code: bool = False) -> list[Found]:
        """What must go from a text, in order and without overlaps.

        In source `code` names mean nothing (`password = form["password"]`), and numbers and addresses are examples.
        """
        utf8 = text.encode()
        kept, low, shaped = plain(utf8), lower(utf8), shape(utf8)
        found = [each for hinted, find in self._tokens if hinted(kept) for each in find(text)]
        if not code:
            if self._may_have_number(shaped):
                found += [each for find in self._numbers for each in find(text)]
            found += [each for hinted, find in self._personal if hinted(low) for each in find(text)]
            found += _assigned(text, self._names) if self._assigns(low) else ()
        for matches, pattern in self._patterns:
            if matches(text):
                found += [(*span, "pattern", FILTERED) for span in spans(pattern, text)]
        return _apart(found)

    def _is_clean(self, utf8: bytes, code: bool) -> bool:
        kept = plain(utf8)
        if any(hinted(kept) for hinted, _ in self._tokens):
            return False
        if code:
            return True
        low = lower(utf8)
        return not (
            self._may_have_number(shape(utf8))
            or any(hinted(low) for hinted, _ in self._personal)
            or self._assigns(low)
        )

    def _may_have_number(self, shaped: str) -> bool:
        return any(all(matches(shaped) for matches in line) for line in self._number_hints)

    def _assigns(self, low: str) -> bool:
        return any(named(low) and assigns(low) for named, assigns in self._assignments)


def _addresses(truncate: bool) -> Callable[[str], Iterator[Found]]:
    def find(text: str) -> Iterator[Found]:
        for start, end, address in addresses.find_addresses(text):
            kept = addresses.truncated(address) if truncate else FILTERED
            if kept != text[start:end]:
                yield start, end, "ip", kept

    return find


def _assigned(text: str, names: Names) -> Iterator[Found]:
    """Values of secret names within a text."""
    place = 0
    while match := _NAME.search(text, place):
        place = match.end()
        rule = names.rule(match["name"])
        if not rule:
            continue
        start, end = _value(text, match)
        value = text[start:end]
        in_a_sentence = match["sign"] == ":" and not match["quote"]
        if in_a_sentence and not _is_meant(match["name"], value, rule):
            continue
        if not is_harmless(value):
            yield start, end, rule, FILTERED
        place = max(place, end)


def _value(text: str, match: re.Match[str]) -> tuple[int, int]:
    """[start, end) of the value behind a name and its sign."""
    start = match.end()
    if opening := _OPENING_QUOTE.match(text, start):
        quote = opening[1]
        start = opening.end()
        if len(quote) == 1:
            inside = _QUOTED[quote].match(text, start)
            return start, inside.end() if inside else start
        closing = text.find(quote, start)
        return start, len(text) if closing < 0 else closing
    whole_line = match["sign"] == ":" and words(match["name"]) in _LINE_NAMES
    bare = (_LINE if whole_line else _BARE).match(text, start)
    return (start, bare.end()) if bare else (start, start)


def _is_meant(name: str, value: str, rule: str) -> bool:
    """Whether `name: value` gives a value away, unlike "unexpected token: end of file"."""
    found = words(name)
    surely = rule == "field" or is_strong(name) or found in _LINE_NAMES or found[-1] == "authorization"
    return surely or (len(value) >= 6 and _DIGIT.search(value) is not None)


def _apart(found: list[Found]) -> list[Found]:
    """In order; of those that overlap the first, which then reaches to the end of both."""
    apart: list[Found] = []
    for each in sorted(found):
        if apart and each[0] < apart[-1][1]:
            start, end, rule, _ = apart[-1]
            if each[1] > end:
                apart[-1] = (start, each[1], rule, FILTERED)
        else:
            apart.append(each)
    return apart


# The quick look at names: over lower-case texts and JSON documents.


def _assignments(names: Names) -> list[tuple[str, str]]:
    """Pairs of expressions: where a secret name has a value, both of a pair match; the first is the cheaper one.

    A name has a value as a key, before a sign, or as the first of a pair.
    """
    anywhere, at_end = names.expressions()
    value = _not_beginning((*_WHITESPACE, *_DONE))
    inside = r"(?:[^\"\\]|\\.)*"
    key, sign = rf"{inside}\"\s*:\s*{value}", r"[\w.$%\[\]-]*\\*[\"']? {0,2}(?:=>?|:) {0,2}" + value
    found = [(name, rf"(?:{name})(?:{key}|{sign})") for name in anywhere]
    found += [(name, rf"{name}[:=]>?\s*{value}") for name in at_end]
    firsts = [*(rf"(?:{name}){inside}" for name in anywhere), *at_end]
    if firsts:
        found.append((r"\[\s*\"", rf"\[\s*\"{inside}(?:{'|'.join(firsts)})\"\s*,\s*{value}"))
    return found


def _not_beginning(prefixes: tuple[str, ...]) -> str:
    """An expression for a beginning that none of the prefixes has; the fast engine knows no look-ahead."""
    if "" in prefixes:
        return "[^\\s\\S]"
    following: dict[str, tuple[str, ...]] = {}
    for prefix in prefixes:
        following[prefix[0]] = (*following.get(prefix[0], ()), prefix[1:])
    others = "".join(map(re.escape, following))
    return f"(?:[^{others}]|{'|'.join(re.escape(c) + _not_beginning(rest) for c, rest in following.items())})"
