"""Words for people: numbers with what they count."""

from __future__ import annotations


def counted(number: int, word: str) -> str:
    """`1 event`, `1,234 events`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"
