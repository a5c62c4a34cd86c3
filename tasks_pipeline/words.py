"""Words for people: numbers with what they count, ids that are too long to read."""

from __future__ import annotations


def counted(number: int, word: str) -> str:
    """`1 event`, `1,234 events`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def short_commit(sha: str) -> str:
    """The beginning of a commit's id, long enough to tell commits apart."""
    return sha[:12]
