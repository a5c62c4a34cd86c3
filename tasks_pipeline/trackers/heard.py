"""Heard: an answer of a tracker as rules look at it, and what several of them need."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from tasks_pipeline.texts import clean
from tasks_pipeline.trackers.refusals import words_of
from tasks_pipeline.trackers.verdicts import Do, Verdict
from tasks_pipeline.trackers.waits import Pause, a_minute, pause

CREATING = frozenset({"create", "comment"})
"""Calls that make something: done twice, it is there twice."""
READING = frozenset({"read", "list", "search", "poll", "check", "who", "place", "app token"})
"""Calls that change nothing. Every call that is in neither changes something to what it then is, however often it is made."""
BASES = {"github": "https://api.github.com", "gitlab": "https://gitlab.com/api/v4"}
"""Where an API begins when nobody says."""

INTEGRATION = "integration"
WRITES = "writes of the integration"
DEGRADED = "degraded"
SAID_LENGTH = 300
MOST_WORDS = 20_000


@dataclass(frozen=True, slots=True)
class Answer:
    """Names of headers are in lower case. `at` is our clock, `base` where the API begins, `asked` what was asked for."""

    provider: str
    call: str
    status: int
    headers: Mapping[str, str]
    value: Any
    """The JSON, `...` where there is none."""
    text: str
    at: datetime
    base: str
    asked: str

    @property
    def creates(self) -> bool:
        """Whether the call was to make something."""
        return self.call in CREATING

    @property
    def reads(self) -> bool:
        """Whether the call changes nothing."""
        return self.call in READING

    @property
    def html(self) -> bool:
        """Whether it is a page for people."""
        if self.value is not ...:
            return False
        return "html" in self.headers.get("content-type", "").lower() or self.text.lstrip()[:1] == "<"

    @property
    def words(self) -> str:
        """What it says, for people and for rules."""
        if self.value is not ...:
            return words_of(self.value)[:MOST_WORDS]
        return "" if self.html else self.text[:MOST_WORDS]

    def verdict(self, do: Do, **more: Any) -> Verdict:
        """A verdict with its status and words."""
        said = clean(self.words, SAID_LENGTH)
        shown = f"HTTP {self.status}{f': {said}' if said else ''}"
        return Verdict(do, **{"said": shown, **more})

    def held(self, tracker: str = DEGRADED) -> Verdict:
        """Nothing can be done there for now, and no attempt is used up."""
        return self.verdict(Do.HELD, tracker=tracker)

    def by_call(self, **more: Any) -> Verdict:
        """It may have been done, or not: what that means for the call."""
        do = Do.UNKNOWN if self.creates else Do.RETRY if self.reads else Do.LOOK_AGAIN
        return self.verdict(do, **more)

    def pause(self) -> Pause | None:
        """How long it wants to be left alone."""
        return pause(self.headers, self.at)


def value_of(text: str) -> Any:
    """The JSON of a text; `...` for none."""
    try:
        return json.loads(text, parse_constant=_no_number) if text.strip() else ...
    except (ValueError, RecursionError):
        return ...


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def limited(answer: Answer, scope: str = INTEGRATION) -> Verdict:
    """Nothing of the scope for as long as it says, or a minute."""
    found = answer.pause()
    return answer.verdict(Do.RATE_LIMITED, wait=found.seconds if found else a_minute(), scope=scope)


def within(url: str, base: str) -> bool:
    """Whether an address lies within an API: the same scheme, host and port, and below the same path, without a step up."""
    try:
        ours, theirs = urlsplit(base), urlsplit(url)
        same = _origin(base) == _origin(url)
    except ValueError:
        return False
    path = theirs.path.lower()
    if not same or "@" in theirs.netloc or ".." in re.split(r"[/\\]|%2f|%5c", path) or "%2e" in path:
        return False
    prefix = ours.path.rstrip("/")
    return not prefix or theirs.path == prefix or theirs.path.startswith(f"{prefix}/")


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(scheme)
