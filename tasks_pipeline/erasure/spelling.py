"""How a text is spelt within others: as it is, in JSON, in JSON within JSON, in addresses of pages, each letter in its own way; and where
it stands as a word of its own. Patterns are of Python's syntax, or of RE2's, which looks neither ahead nor behind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import unquote

_NEVER_ESCAPED = "-._~"
_HEX = "[0-9a-fA-F]"
_ESCAPES = (r"(?<=\\[nrtbf])", rf"(?<=\\u{_HEX}{{4}})", rf"(?<=%{_HEX}{{2}})")
"""What JSON and addresses of pages write for a character that is no letter: its own last letter is none."""
_RE2_ESCAPES = (
    rf"\\[nrtbf]|\\u(?:00[0-9ab]|2{_HEX}|30){_HEX}|\\u2{_HEX}{{3}}|%(?:2[0-9acfACF]|[013-9a-fA-F]{_HEX})"
)
_RE2_ESCAPES_AFTER = r"\\+(?:$|[^\\u]|u(?:00[0-9abAB]|2|30))|%(?:$|[^c-fC-F]|[eE]2)"
_NO_LETTERS = "".join(
    rf"\x{{{first:X}}}-\x{{{last:X}}}"
    for first, last in (
        (0x80, 0xBF), (0xD7, 0xD7), (0xF7, 0xF7), (0x2000, 0x206F), (0x20A0, 0x20CF), (0x2190, 0x2BFF), (0x2E00, 0x2E7F),
        (0x3000, 0x3004), (0x3008, 0x3020), (0x3030, 0x3030), (0xFE10, 0xFE6F), (0xFF00, 0xFF0F), (0xFF1A, 0xFF20),
        (0xFF3B, 0xFF40), (0xFF5B, 0xFF65), (0xFFF9, 0xFFFD), (0x1F000, 0x1FAFF),
    )
)  # fmt: skip
"""Signs, quotes and pictures."""
_ESCAPED_BEFORE = re.compile(rf"(?:\\u({_HEX}{{4}})|((?:%{_HEX}{{2}})+))\Z")
_ESCAPED_AFTER = re.compile(rf"\\+u({_HEX}{{4}})|((?:%{_HEX}{{2}}){{1,4}})")
_LONGEST_ESCAPE = 24
OF_LETTER = 24
"""Bytes of the longest spelling of a letter."""
_V6 = re.compile(r"[0-9a-f.]*:[0-9a-f.:]*:[0-9a-f.:]*", re.IGNORECASE)


def is_address(text: str) -> bool:
    """Whether a text looks like a mail address, as it is or as addresses of pages hold one."""
    return "@" in text or "%40" in text


@lru_cache(4096)
def runs_of(text: str) -> list[tuple[str, ...]]:
    """What any spelling of a text holds, in small letters: of each of these one. A quick look before the pattern is asked."""
    runs = sorted(set(re.findall(r"[^\W_]+", text.replace("i\u0307", "\u0130"))), key=len, reverse=True)[:4]
    return [tuple(dict.fromkeys(_ways(run))) for run in runs]


def _ways(run: str) -> Iterator[str]:
    if run.isascii():
        yield run.lower()
        return
    letter = next(each for each in run if not each.isascii())
    for each in (letter, letter.upper()[0]):
        yield each.lower()[0]
        yield f"u{each.encode('utf-16-be')[:2].hex()}"  # behind as many backslashes as it is within JSON
        yield "".join(f"{byte:02x}" for byte in each.encode()[:1])


@lru_cache(4096)
def as_word(text: str) -> str:
    """A pattern of a text that is neither within a longer word, number or address: 10.0.0.1 is not in 110.0.0.12 nor in 10.0.0.1.5,
    2001:db8::1 not in 2001:db8::1:5, ann@b.org not in joann@b.org, x-ann@b.org or ann@b.org.uk."""
    before = after = ""
    if _V6.fullmatch(text):
        groups = "".join(rf"(?<!^{_HEX}{{{n}}}:)(?<![^\w-]{_HEX}{{{n}}}:)" for n in range(1, 5))
        return rf"(?<![^\W_])(?<!::){groups}{spelt(text)}(?![^\W_])(?!:[0-9a-fA-F:])(?!\.[0-9])"
    if text[:1].isalnum():
        letters = r"[\w.+-]" if is_address(text) else r"[^\W_]"
        number = r"(?<![0-9]\.)" if text[0].isdigit() else ""
        before = f"(?:{'|'.join((f'(?<!{letters}){number}', *_ESCAPES))})"
    if text[-1:].isalnum():
        longer = r"(?![.-][^\W_])" if is_address(text) else r"(?!\.[0-9])" if text[-1].isdigit() else ""
        after = rf"(?![^\W_]){longer}"
    return before + spelt(text) + after


def as_words_in_re2(texts: Iterable[str]) -> str:
    """The same of several texts in RE2's syntax. What stands before and behind is said once for all that have it alike: classes of what is
    no letter are long, and RE2 compiles each."""
    alike: dict[tuple[str, str], list[str]] = {}
    for text in texts:
        alike.setdefault(_around_in_re2(text), []).append(spelt(text))
    return "|".join(f"{before}(?:{'|'.join(some)}){after}" for (before, after), some in alike.items())


@lru_cache(4096)
def _around_in_re2(text: str) -> tuple[str, str]:
    """What has to stand before a text and behind it."""
    before = after = ""
    if _V6.fullmatch(text):
        label = "[0-9A-Za-z_-]*[g-zG-Z_-][0-9A-Za-z_-]*:|[0-9A-Za-z_-]{5,}:"
        return rf"(?:^|{_none(':')}|{label})", rf"(?:$|{_none('.:')}|[:.](?:$|{_none(':')}))"
    if text[:1].isalnum():
        first = rf"{_none('.')}|(?:^|[^0-9])\." if text[0].isdigit() else _none()
        first = _none("._+-") if is_address(text) else first
        before = rf"(?:^|{first}|{_RE2_ESCAPES})"
    if text[-1:].isalnum():
        number, address = _none(".%\\"), _none(".-%\\")
        after = rf"{number}|\.(?:$|[^0-9])" if text[-1].isdigit() else _none("%\\")
        after = rf"{address}|[.-](?:$|{_none()})" if is_address(text) else after
        after = f"(?:$|{after}|{_RE2_ESCAPES_AFTER})"
    return before, after


@lru_cache(64)
def _none(but: str = "") -> str:
    """A class of what is neither letter nor digit: \\pL and \\pN make a program of RE2 a hundred times as large."""
    signs = "".join(
        rf"\x{code:02X}" for code in range(128) if not chr(code).isalnum() and chr(code) not in but
    )
    return f"[{signs}{_NO_LETTERS}]"


def stands_alone(found: re.Match[str]) -> bool:
    """Whether what is beside a match is no letter that is written as an escape: `\\u00f6ann@b.org`, `x%2Bann%40b.org`."""
    content, first, last = found.string, found.start(), found.end()
    more = "._+-" if is_address(found[0]) else ""
    if found[0][:1].isalnum():
        before = _ESCAPED_BEFORE.search(content[max(0, first - _LONGEST_ESCAPE) : first])
        if before is not None and _is_letter(_meant(before)[-1:], more):
            return False
    if found[0][-1:].isalnum():
        after = _ESCAPED_AFTER.match(content, last)
        return after is None or not _is_letter(_meant(after)[:1], "")
    return True


def _meant(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else unquote(escape[2])


def _is_letter(letter: str, more: str) -> bool:
    return letter.isalnum() or (letter != "" and letter in more)


@lru_cache(4096)
def spelt(text: str) -> str:
    # The small letter of this one is two, from which no pattern finds back to it.
    return "".join(map(_letter, text.replace("i\u0307", "\u0130")))


@lru_cache(4096)
def _letter(letter: str) -> str:
    if (letter.isascii() and letter.isalnum()) or letter in _NEVER_ESCAPED:
        return re.escape(letter)
    if letter == "\\":
        return r"(?:\\+|%(?:25)?5C)"
    cases = [letter, letter.lower(), *(each for each in (letter.upper(),) if len(each) == 1)]
    ways: dict[str, None] = {}
    for each in cases:
        ways[re.escape(each)] = None
        ways["".join(rf"%(?:25)?{byte:02X}" for byte in each.encode("utf-8", "surrogatepass"))] = None
        units = each.encode("utf-16-be", "surrogatepass")
        ways["".join(rf"\\+u{units[n] << 8 | units[n + 1]:04x}" for n in range(0, len(units), 2))] = None
    if letter in '"/':
        ways[rf"\\+{letter}"] = None
    if letter in " +":  # of forms
        ways.update({r"\+": None, " ": None})
    if letter in "\n\r\t":
        ways[r"\\+" + {"\n": "n", "\r": "r", "\t": "t"}[letter]] = None
    return f"(?:{'|'.join(ways)})"
