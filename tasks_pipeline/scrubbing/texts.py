"""What must go from one text: secrets by their looks, values of secret names (`password=…`), addresses, own patterns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from tasks_pipeline.protocol.search import Matcher, matcher
from tasks_pipeline.recurring import SharedStack
from tasks_pipeline.scrubbing import addresses
from tasks_pipeline.scrubbing.engine import plain, spans
from tasks_pipeline.scrubbing.looks import EMAIL, FILTERED, NUMBERS, TOKENS, Found
from tasks_pipeline.scrubbing.names import LONGEST, Names, is_strong, words

if TYPE_CHECKING:
    from tasks_pipeline.config.scrubbing import Scrubbing

_CODE = ("<function ", "<class ", "<bound method ", "<module ", "<built-in ")
"""How the representation of code begins in Python: what a name is bound to is no secret then."""

_WHITESPACE = (" ", "\n", "\r", "\t")
_DONE = (*(f'"{code}' for code in _CODE), '"[filtered]"', '{"":{"rem":')
"""How values begin in JSON that need no look: code, what was filtered already, and an SDK's note of that in `_meta`."""

_NOTHING = re.compile(
    r"""['"]?(?:
        null | none | nil | undefined | true | false | \*+                # nothing, or filtered already
      | \[(?:filtered|redacted|removed|masked|hidden|scrubbed)\]
      | %s | %\([a-z_]+\)s | \? | \$\d+ | :[a-z_]* | \{[a-z_]*\}           # placeholders
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
    return value[:20].lower().startswith(_CODE) or (
        len(value) <= 500 and _NOTHING.fullmatch(value) is not None
    )


class TextRules:
    """The rules of a project for texts.

    Texts are judged clean by an engine that takes two nanoseconds a byte; only the others are read closely.
    """

    def __init__(self, settings: Scrubbing, names: Names) -> None:
        self._names = names
        tokens, numbers = (TOKENS, NUMBERS) if settings.defaults else ((), ())
        in_data = [*numbers, *((EMAIL,) if settings.email_addresses == "remove" else ())]
        hints = [look.hint for look in (*tokens, *in_data)]
        self._in_code = [look.find for look in tokens]
        self._in_data: list[Callable[[str], Iterable[Found]]] = [look.find for look in in_data]
        if settings.ip_addresses != "keep":
            hints.append(addresses.HINT)
            self._in_data.append(_addresses(truncate=settings.ip_addresses == "truncate"))
        self._suspicious_code = _any_of(look.hint for look in tokens)
        self._suspicious = _any_of((*hints, *(f"(?i:{each})" for each in _assignments(names))))
        self._patterns = [(matcher(pattern), pattern) for pattern in settings.patterns]
        self._is_clean_name = lru_cache(8192)(self.is_clean)

    def is_clean(self, text: str, *, code: bool = False) -> bool:
        """Whether `find` finds nothing for sure."""
        suspicious = self._suspicious_code if code else self._suspicious
        if suspicious(plain(text.encode())):
            return False
        return not (self._patterns and any(matches(text) for matches, _ in self._patterns))

    def is_clean_name(self, name: str) -> bool:
        """`is_clean` of a name of a field, which comes again and again; long ones are not kept, since strangers choose them."""
        return self._is_clean_name(name) if len(name) <= LONGEST else self.is_clean(name)

    def is_clean_json(self, json: bytes, *, code: bool = False) -> bool:
        """Whether, for sure, no text in JSON documents and no value of a secret name in them must go.

        What SDKs have filtered already counts as clean. `json` is UTF-8, the documents may follow one another.
        """
        # Patterns are about texts; what is escaped in JSON they would not see.
        suspicious = self._suspicious_code if code else self._suspicious
        return not (self._patterns or suspicious(plain(json)))

    def is_clean_stack(self, stack: SharedStack) -> bool:
        """`is_clean_json` of the frames of a stack trace without their variables: judged once."""
        rules = self._suspicious_code
        if rules not in stack.verdicts:
            stack.verdicts[rules] = not rules(plain(b"".join(stack.pieces)))
        return not self._patterns and stack.verdicts[rules]

    def find(self, text: str, *, code: bool = False) -> list[Found]:
        """What must go from a text, in order and without overlaps.

        In source `code` names mean nothing (`password = form["password"]`), and numbers and addresses are examples.
        """
        found = [each for find in self._in_code for each in find(text)]
        if not code:
            found += [each for find in self._in_data for each in find(text)]
            found += _assigned(text, self._names)
        for matches, pattern in self._patterns:
            if matches(text):
                found += [(*span, "pattern", FILTERED) for span in spans(pattern, text)]
        return _apart(found)


def _any_of(expressions: Iterable[str]) -> Matcher:
    joined = "|".join(expressions)
    return matcher(joined) if joined else lambda _text: False


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
            apart[-1] = (start, max(end, each[1]), rule, FILTERED)
        else:
            apart.append(each)
    return apart


def _assignments(names: Names) -> list[str]:
    """Expressions that match wherever a secret name has a value: as a key, before a sign, or as the first of a pair."""
    anywhere, at_end = names.expressions()
    value = _not_beginning((*_WHITESPACE, *_DONE))
    inside = r"(?:[^\"\\]|\\.)*"
    key, sign = rf"{inside}\"\s*:\s*{value}", r"[\w~.$%\[\]-]*\\*[\"']? {0,2}(?:=>?|:) {0,2}" + value
    found = [rf"(?:{anywhere})(?:{key}|{sign})"] if anywhere else []
    found += [rf"{at_end}[:=]>?\s*{value}"] if at_end else []
    firsts = [*([rf"(?:{anywhere}){inside}"] if anywhere else ()), *([at_end] if at_end else ())]
    found += [rf"\[\s*\"{inside}(?:{'|'.join(firsts)})\"\s*,\s*{value}"] if firsts else []
    return found


def _not_beginning(prefixes: tuple[str, ...]) -> str:
    """An expression for a beginning that none of the prefixes has; the engine knows no look-ahead."""
    if "" in prefixes:
        return "[^\\s\\S]"
    following: dict[str, tuple[str, ...]] = {}
    for prefix in prefixes:
        following[prefix[0]] = (*following.get(prefix[0], ()), prefix[1:])
    others = "".join(map(re.escape, following))
    longer = "|".join(re.escape(c) + _not_beginning(rest) for c, rest in following.items())
    return f"(?:[^{others}]|$|{longer})"
