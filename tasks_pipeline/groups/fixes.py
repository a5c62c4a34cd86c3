"""Which groups the message of a commit says it fixes: `Fixes SHOP-1, SHOP-2`. What becomes of them is not decided here.

    KEYWORD [":"] [filler …] ID { sep ID }      all on one line, in any case
    KEYWORD = fix fixes fixed close closes closed resolve resolves resolved, a word of its own, not before "(" or "-"
    filler  = the issue issues bug bugs error errors sentry        sep = blanks, ",", "&", "and"
    ID      = slug "-" number in base 32, or as a Markdown link [ID](address)

What looks like an id and is none of ours is passed over, and the list goes on; anything else ends it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from tasks_pipeline.groups.short_id import ALPHABET, MOST_DIGITS

_KEYWORDS = frozenset("fix fixes fixed close closes closed resolve resolves resolved".split())
_FILLERS = frozenset("the issue issues bug bugs error errors sentry".split())
_BETWEEN = frozenset(" \t,&[]")
_TOKEN = re.compile(r"[\w-]+|\]\([^)]*\)?|.")
"""A word with its dashes, the address of a Markdown link, or one other character."""
_ANY_KEYWORD = re.compile("fix|close|resolve", re.IGNORECASE)
_REVERT = 'Revert "'
_DIGITS = frozenset(ALPHABET.lower())


def fixed_groups(message: str | None, slugs: Collection[str]) -> list[str]:
    """Short ids in upper case, each once, in order of appearance; of the projects with these slugs (in lower case).

    What takes a commit back fixes nothing. Whether there are such groups is not known here.
    """
    lines = (message or "").splitlines()
    if lines and lines[0].startswith(_REVERT):
        return []
    return list(dict.fromkeys(found for line in lines for found in _in_line(line, slugs)))


def _in_line(line: str, slugs: Collection[str]) -> Iterator[str]:
    if not _ANY_KEYWORD.search(line):  # nearly all of them
        return
    reading = any_id = False  # after a keyword, and nothing but what belongs to its list since then
    for found in _TOKEN.finditer(line):
        token = found[0]
        word = token.lower()
        if word in _KEYWORDS:
            reading, any_id = True, False
        elif (
            not reading
            or token in _BETWEEN
            or token.startswith("](")
            or (word == "and" if any_id else word == ":" or word in _FILLERS)
        ):
            continue
        elif _looks_like_an_id(token):
            any_id = True
            slug, _, number = word.rpartition("-")
            # Of ASCII alone: of other letters some are ours in lower case, and not in upper case again.
            if (
                token.isascii()
                and slug in slugs
                and len(number) <= MOST_DIGITS
                and _DIGITS.issuperset(number)
            ):
                yield token.upper()
        else:
            reading = False


def _looks_like_an_id(token: str) -> bool:
    slug, _, number = token.rpartition("-")
    return bool(slug and number) and "_" not in number
