"""Globs of the rule languages as predicates on text, in time linear in the text for the patterns people write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, product

MAX_PATTERN = 1_000
MAX_ALTERNATIVES = 64


@dataclass(frozen=True, slots=True)
class Glob:
    """A compiled glob. Every match contains one of `literals` (folded like the pattern), a cheap first test. `exact`: the
    one text it matches, when nothing in it is special."""

    matches: Callable[[str], bool]
    literals: tuple[str, ...]
    exact: str | None


def text_glob(pattern: str, *, folded: bool = False) -> Glob:
    """A glob over a whole text: `*` any text, `?` one character, `[abc]` `[a-z]` `[!a]` one of these, `{a,b}` either,
    `\\` takes the special meaning of the next character. `folded`: upper and lower case are the same.

    Raises ValueError when the pattern is too long or has too many alternatives.
    """
    readings = _readings(pattern, escapes=True, folded=folded)
    match = _compiled([_parts(tokens, crosses=True) for tokens in readings])
    if folded:
        return Glob(lambda text: match(text.lower()) is not None, _literals(readings), _exact(readings))
    return Glob(lambda text: match(text) is not None, _literals(readings), _exact(readings))


def path_glob(pattern: str) -> Glob:
    """A glob over a path: like `text_glob` without case and escapes, `\\` is `/`, `*` stays within a segment and `**`
    crosses segments. A relative path is tried with a leading `/` as well. Raises ValueError as `text_glob` does.
    """
    pattern = pattern.replace("\\", "/")
    readings = _readings(pattern, escapes=False, folded=True)
    match = _compiled([_parts(tokens, crosses=False) for tokens in readings])

    def matches(path: str) -> bool:
        path = path.replace("\\", "/").lower()
        return match(path) is not None or (not path.startswith("/") and match("/" + path) is not None)

    # the leading slash may be one that the path only gets here
    literals = tuple(literal.removeprefix("/") for literal in _literals(readings))
    return Glob(matches, literals, None)


@dataclass(frozen=True, slots=True)
class _Token:
    """`kind`: `text` (a regular expression for a text of known length), `star` or `stars`."""

    kind: str
    regex: str = ""
    plain: str = ""


_SPECIAL = re.compile(
    r"(?P<escape>\\.)|(?P<stars>\*{2,})|(?P<star>\*)|(?P<one>\?)|(?P<set>\[[^\]\\]+\])"
    r"|\{(?P<either>[^{}]*,[^{}]*)\}|(?P<plain>.)",
    re.DOTALL,
)


def _readings(pattern: str, *, escapes: bool, folded: bool) -> list[list[_Token]]:
    """The tokens of the pattern, once for every choice of its alternatives."""
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"the pattern is longer than {MAX_PATTERN} characters")
    choices = [
        match["either"].split(",") if match["either"] is not None else [match[0]]
        for match in _SPECIAL.finditer(pattern)
    ]
    spellings = ["".join(chosen) for chosen in islice(product(*choices), MAX_ALTERNATIVES + 1)]
    if len(spellings) > MAX_ALTERNATIVES:
        raise ValueError(f"the pattern has more than {MAX_ALTERNATIVES} alternatives")
    return [list(_tokens(spelling, escapes=escapes, folded=folded)) for spelling in spellings]


def _tokens(spelling: str, *, escapes: bool, folded: bool) -> Iterator[_Token]:
    def text(plain: str) -> _Token:
        plain = plain.lower() if folded else plain
        return _Token("text", re.escape(plain), plain)

    for match in _SPECIAL.finditer(spelling):
        kind, found = match.lastgroup, match[0]
        if kind == "escape" and escapes:
            yield text(found[1])
        elif kind in ("star", "stars"):
            yield _Token(kind)
        elif kind == "one":
            yield _Token("text", ".")
        elif kind == "set":
            yield _Token("text", _one_of(found[1:-1].lower() if folded else found[1:-1]))
        else:
            yield from map(text, found)


def _one_of(content: str) -> str:
    """A character class. A range that runs backwards is its three characters."""
    negated = len(content) > 1 and content[0] in "!^"
    members = re.findall(r"(.)-(.)|(.)", content[1:] if negated else content, re.DOTALL)
    ranges = [
        f"{re.escape(low)}-{re.escape(high)}" if low and low <= high else re.escape(single or f"{low}-{high}")
        for low, high, single in members
    ]
    return f"[{'^' if negated else ''}{''.join(ranges)}]"


def _parts(tokens: list[_Token], *, crosses: bool) -> str:
    """A regular expression for the whole text.

    Between two wildcards that match anything, the first place where the part in between matches is as good as any
    later one; atomic groups say so, and no text makes the search try combinations.
    """
    parts = [""]
    for token in tokens:
        if token.kind == "text":
            parts[-1] += token.regex
        elif token.kind == "star" and not crosses:
            parts[-1] += "[^/]*?"
        else:
            parts.append("")
    first, *others = parts
    if not others:
        return first
    middle = "".join(f"(?>.*?{part})" for part in others[:-1] if part)
    return f"(?>{first}){middle}.*{others[-1]}" if others[-1] else f"(?>{first}){middle}.*"


def _compiled(alternatives: list[str]) -> Callable[[str], re.Match[str] | None]:
    return re.compile("|".join(f"(?:{one})" for one in alternatives), re.DOTALL).fullmatch


def _literals(readings: list[list[_Token]]) -> tuple[str, ...]:
    """The longest run of plain characters of every reading."""
    longest = []
    for reading in readings:
        runs = [""]
        for token in reading:
            if token.plain:
                runs[-1] += token.plain
            else:
                runs.append("")
        longest.append(max(runs, key=len))
    return tuple(longest)


def _exact(readings: list[list[_Token]]) -> str | None:
    first, *others = readings
    return None if others or not all(token.plain for token in first) else "".join(t.plain for t in first)
