"""Short ids of groups (SHOP-3F): the project's slug and a number in base 32 without letters that look like digits."""

from __future__ import annotations

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's
MOST_DIGITS = 13
"""No number of a group has more. Whoever reads ids that strangers wrote looks at this first: to read one costs time that
grows with the square of its length."""
_VALUES = {letter: value for value, upper in enumerate(ALPHABET) for letter in (upper, upper.lower())}


class ShortIdError(ValueError):
    """The text is no short id."""


def format_short_id(slug: str, number: int) -> str:
    """The short id of the number-th group (from 1) of a project."""
    digits = ""
    while number:
        number, rest = divmod(number, 32)
        digits = ALPHABET[rest] + digits
    return f"{slug.upper()}-{digits or '0'}"


def parse_short_id(text: str) -> tuple[str, int]:
    """(slug, number) of a short id, in upper or lower case. Raises ShortIdError."""
    slug, dash, digits = text.strip().rpartition("-")
    number = 0
    for letter in digits:
        if letter not in _VALUES:
            raise ShortIdError(f"{text!r} is no short id: {letter!r} is no base 32 digit")
        number = number * 32 + _VALUES[letter]
    if not dash or not slug or not digits:
        raise ShortIdError(f"{text!r} is no short id; one looks like SHOP-3F")
    return slug.lower(), number
