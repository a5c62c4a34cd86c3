"""Verdicts: what an answer of a tracker asks for, and the error that carries one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

LESS = "ask for less at once"
"""One more try of a read whose answer had no end."""


class Do(StrEnum):
    """What an answer asks for."""

    GOOD = "good"
    UNCHANGED = "unchanged"
    READ_IT = "read_it"
    """Good, but the answer does not say all: read it."""
    RETRY = "retry"
    """The usual backoff."""
    RATE_LIMITED = "rate_limited"
    """Nothing of `scope` before `wait` seconds are over."""
    UNKNOWN = "unknown"
    """It may have been made: look for the marker before anything else."""
    LOOK_AGAIN = "look_again"
    """Read, and decide anew."""
    AUTH_FAILED = "auth_failed"
    MISCONFIGURED = "misconfigured"
    UNREACHABLE = "unreachable"
    HELD = "held"
    """Waits without using up attempts; `tracker` says how the tracker is."""
    GONE = "gone"
    MAYBE_GONE = "maybe_gone"
    FOLLOW = "follow"
    DEAD = "dead"
    BUG = "bug"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about an answer.

    `wait`: seconds, of RATE_LIMITED and RETRY. `scope` of RATE_LIMITED: `integration`, `writes of the integration`,
    `comments of the integration`, `issue`, `endpoint`; of others `issue` when only one is at fault. `fields`: those that were refused. `then`: one more try that is worth it.
    `to`: where FOLLOW leads. `said`: the provider's words, bounded, without secrets.
    """

    do: Do
    wait: float = 0.0
    scope: str = ""
    tracker: str = ""
    fields: Sequence[str] = ()
    then: str = ""
    to: str = ""
    said: str = ""


class TrackerError(Exception):
    """A call that gave nothing to go on with; `verdict` says what to do about it. The text is for people and holds no secrets."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.said or str(verdict.do))
        self.verdict = verdict

    @property
    def is_too_long(self) -> bool:
        """Whether it was too much at once: a page of fewer rows may be read."""
        return self.verdict.then == LESS
