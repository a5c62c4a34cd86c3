"""What an answer of a tracker means: whether to go on, wait, look first, or give up. Plain rules, one place for all providers.

Sources: each provider's documentation, and what Redmine 5.0 and Roundup 2.6 were seen to say. What a status means depends on the call:
a gateway that fails while something is made leaves it unknown whether it was made, while a read may simply be made again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urljoin, urlsplit

from tasks_pipeline.texts import clean
from tasks_pipeline.trackers.refusals import is_required, refused_fields, words_of, worth_without
from tasks_pipeline.trackers.waits import Pause, a_minute, pause


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
    `comments of the integration`, `issue`, `endpoint`. `fields`: those that were refused. `then`: one more try that is worth it.
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


CREATING = frozenset({"create", "comment"})
"""Calls that make something: done twice, it is there twice."""
READING = frozenset({"read", "list", "search", "poll", "check", "who", "place", "app token"})
"""Calls that change nothing. Every call that is in neither changes something to what it then is, however often it is made."""
BASES = {"github": "https://api.github.com", "gitlab": "https://gitlab.com/api/v4"}
"""Where an API begins when nobody says."""

INTEGRATION = "integration"
WRITES = "writes of the integration"
COMMENTS = "comments of the integration"
ISSUE = "issue"
ENDPOINT = "endpoint"
DEGRADED = "degraded"
WITHOUT = "once more without that field"
SAID_LENGTH = 300
_LOGIN = re.compile(
    r"(?:^|[/?&._-])(?:log-?in|sign_?-?in|sso|saml2?|oauth2?|openid|auth|authorize|idp|adfs|cas|session)(?:$|[/?&=._-])",
    re.I,
)
_SECONDARY = re.compile(
    r"secondary rate limit|abuse detection|submitted too quickly|temporarily blocked from content", re.I
)
_LIMITED = re.compile(r"rate limit|too many (?:requests|times)|retry later|try again later", re.I)
_OTHER_WAY = re.compile(
    r"not valid for the current state|cannot be set|not on the appropriate screen|transition", re.I
)
_CLOCK = re.compile(r"'(?:Expiration time|Issued at)' claim", re.I)
_DEAD_CREDENTIAL = re.compile(
    r"suspended|SAML enforcement|SSO|captcha|account (?:is )?(?:locked|blocked|deactivated)", re.I
)


@dataclass(frozen=True, slots=True)
class _Answer:
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
        return self.call in CREATING

    @property
    def reads(self) -> bool:
        return self.call in READING

    @property
    def html(self) -> bool:
        if self.value is not ...:
            return False
        return "html" in self.headers.get("content-type", "").lower() or self.text.lstrip()[:1] == "<"

    @property
    def words(self) -> str:
        """What it says, for people and for rules."""
        if self.value is not ...:
            return words_of(self.value)
        return "" if self.html else self.text

    def verdict(self, do: Do, **more: Any) -> Verdict:
        said = clean(self.words, SAID_LENGTH)
        shown = f"HTTP {self.status}{f': {said}' if said else ''}"
        return Verdict(do, **{"said": shown, **more})

    def held(self, tracker: str = DEGRADED) -> Verdict:
        return self.verdict(Do.HELD, tracker=tracker)

    def by_call(self, **more: Any) -> Verdict:
        """It may have been done, or not: what that means for the call."""
        do = Do.UNKNOWN if self.creates else Do.RETRY if self.reads else Do.LOOK_AGAIN
        return self.verdict(do, **more)

    def pause(self) -> Pause | None:
        return pause(self.headers, self.at)


def judge(
    provider: str,
    call: str,
    status: int,
    headers: Mapping[str, str],
    body: object,
    at: datetime,
    *,
    base: str = "",
    asked: str = "",
) -> Verdict:
    """What an answer asks for.

    `body`: its JSON, or its text where it is none. `at`: our clock. `base`: where the API begins; a redirect is followed within it
    alone. `asked`: the address that was asked, for redirects that name a path only.
    """
    text = (
        body.decode("utf-8", "replace") if isinstance(body, bytes) else body if isinstance(body, str) else ""
    )
    answer = _Answer(
        provider,
        call,
        status,
        {name.lower(): value for name, value in headers.items()},
        _value(text) if isinstance(body, str | bytes) else ... if body is None else body,
        text,
        at,
        base or BASES.get(provider, ""),
        asked,
    )
    special = _SPECIAL.get(provider)
    return (special and special(answer)) or _by_status(answer)


def _value(text: str) -> Any:
    try:
        return json.loads(text) if text.strip() else ...
    except (ValueError, RecursionError):
        return ...


def _by_status(answer: _Answer) -> Verdict:
    rules: Sequence[tuple[range, Callable[[_Answer], Verdict]]] = (
        (range(200, 300), _good),
        (range(300, 400), _elsewhere),
        (range(400, 500), _refused),
        (range(500, 600), _failed),
    )
    for statuses, rule in rules:
        if answer.status in statuses:
            return rule(answer)
    return answer.by_call() if answer.creates else answer.verdict(Do.UNREACHABLE)


# ── 2xx


def _good(answer: _Answer) -> Verdict:
    if answer.status in (204, 205):
        return answer.verdict(Do.GOOD if answer.reads or answer.call == "delete" else Do.READ_IT)
    if answer.value is ... or answer.status == 202:
        return _unreadable(answer)
    if not isinstance(answer.value, dict | list) or _is_error(answer.value):
        # An error in the clothes of a success, or a page that is none of this API: never "there are no issues".
        said = f"HTTP {answer.status} without what was asked for: {clean(answer.words, SAID_LENGTH)}"
        do = Do.UNKNOWN if answer.creates else Do.UNREACHABLE if answer.reads else Do.LOOK_AGAIN
        return answer.verdict(do, said=said)
    if answer.creates and not isinstance(answer.value, dict):
        return answer.verdict(Do.UNKNOWN)
    return answer.verdict(Do.GOOD)


def _unreadable(answer: _Answer) -> Verdict:
    if answer.creates:
        return answer.verdict(Do.UNKNOWN)
    if answer.html:
        return answer.verdict(
            Do.UNREACHABLE, said=f"HTTP {answer.status} with a page for people: a login, or a proxy"
        )
    if answer.text.lstrip()[:1] in ("{", "["):
        return answer.by_call(said=f"HTTP {answer.status} with half of an answer")
    if answer.reads and answer.status != 202:
        return answer.verdict(Do.UNREACHABLE, said=f"HTTP {answer.status} without JSON")
    return answer.verdict(Do.RETRY if answer.reads else Do.READ_IT)


def _is_error(value: object) -> bool:
    if not isinstance(value, dict) or not value:
        return False
    shapes = {
        "message",
        "error",
        "errors",
        "errorMessages",
        "error_description",
        "documentation_url",
        "status",
        "code",
        "success",
    }
    return set(value) <= shapes and any(
        value.get(name) for name in ("message", "error", "errors", "errorMessages", "error_description")
    )


# ── 3xx


def _elsewhere(answer: _Answer) -> Verdict:
    if answer.status == 304:
        return answer.verdict(Do.UNCHANGED)
    location = answer.headers.get("location", "").strip()
    if not location:
        return answer.verdict(Do.UNREACHABLE, said=f"HTTP {answer.status} to nowhere")
    to = urljoin(answer.asked or f"{answer.base}/", location)
    shown = clean(to, 200)
    ours = within(to, answer.base)
    if (not ours or answer.status in (302, 303)) and _asks_for_login(to):
        return answer.verdict(Do.AUTH_FAILED, said=f"it asks for a login: {shown}")
    if (
        ours
        and answer.status != 303
        and (answer.status in (307, 308) or answer.reads or answer.provider == "github")
    ):
        # GitHub: "repeat the request verbatim", whatever the method.
        return answer.verdict(Do.FOLLOW, to=to, said=f"it moved to {shown}")
    if ours and answer.status == 301:
        return answer.verdict(Do.LOOK_AGAIN, said=f"it moved to {shown}")
    if ours:  # after a write it may mean that it was done: see there
        return answer.by_call(said=f"HTTP {answer.status}: see {shown}")
    said = f"it leads to {shown}, out of the API: not followed; configure the address it leads to, if it is right"
    return answer.verdict(Do.MISCONFIGURED, said=said)


def _asks_for_login(url: str) -> bool:
    parts = urlsplit(url)
    return any(_LOGIN.search(text) for text in (f"{parts.path}?{parts.query}", f".{parts.hostname or ''}."))


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


# ── 4xx


def _refused(answer: _Answer) -> Verdict:
    rule = _REFUSALS.get(answer.status)
    return rule(answer) if rule else answer.held()


def _bad(answer: _Answer) -> Verdict:
    """400 and 422: what was asked is wrong. Trying again is of no use, unless without the field that is."""
    if answer.reads:
        return answer.verdict(Do.BUG)
    fields = refused_fields(answer.provider, answer.value)
    then = WITHOUT if answer.call == "create" and worth_without(answer.provider, fields, answer.words) else ""
    tracker = "misconfigured" if answer.call == "create" and is_required(fields, answer.words) else ""
    return answer.verdict(Do.DEAD, fields=fields, then=then, tracker=tracker)


def _unauthorised(answer: _Answer) -> Verdict:
    return answer.verdict(Do.AUTH_FAILED)


def _forbidden(answer: _Answer) -> Verdict:
    headers = answer.headers
    if "x-authentication-denied-reason" in headers or _DEAD_CREDENTIAL.search(answer.words):
        return answer.verdict(Do.AUTH_FAILED)
    if "retry-after" in headers or _LIMITED.search(answer.words):
        return _limited(answer)
    if answer.html:
        return answer.verdict(Do.UNREACHABLE, said="HTTP 403 with a page for people: a proxy, or a wall")
    return answer.held()


def _not_there(answer: _Answer) -> Verdict:
    if answer.html:
        said = "HTTP 404 with a page for people: there is no API at this address"
        return answer.verdict(Do.UNREACHABLE if answer.reads else Do.MISCONFIGURED, said=said)
    if answer.call == "app token":
        return answer.verdict(Do.AUTH_FAILED)
    if (
        answer.call in ("create", "list", "search", "poll", "place", "check", "who")
        or "project not found" in answer.words.lower()
    ):
        return answer.held()
    return answer.verdict(Do.MAYBE_GONE)


def _gone(answer: _Answer) -> Verdict:
    place_is_shut = re.search(r"disabled|switched off|archived", answer.words, re.I)
    if place_is_shut or answer.call in ("create", "list", "poll", "place", "check"):
        return answer.held()
    return answer.verdict(Do.BUG if answer.call == "search" else Do.GONE)


def _barred(answer: _Answer) -> Verdict:
    """451: for legal reasons."""
    return (
        answer.held()
        if answer.call in ("create", "list", "poll", "place", "check")
        else answer.verdict(Do.GONE)
    )


def _conflict(answer: _Answer) -> Verdict:
    return answer.verdict(Do.LOOK_AGAIN)


def _limited(answer: _Answer, scope: str = INTEGRATION) -> Verdict:
    found = answer.pause()
    return answer.verdict(Do.RATE_LIMITED, wait=found.seconds if found else a_minute(), scope=scope)


def _later(answer: _Answer) -> Verdict:
    found = answer.pause()
    return answer.verdict(Do.RETRY, wait=found.seconds if found else 0.0)


def _timed_out(answer: _Answer) -> Verdict:
    return answer.by_call()


def _wrong_address(answer: _Answer) -> Verdict:
    return answer.verdict(Do.MISCONFIGURED)


def _bug(answer: _Answer) -> Verdict:
    return answer.verdict(Do.BUG)


def _dead(answer: _Answer) -> Verdict:
    return answer.verdict(Do.DEAD)


_REFUSALS: Mapping[int, Callable[[_Answer], Verdict]] = {
    400: _bad,
    401: _unauthorised,
    403: _forbidden,
    404: _not_there,
    405: _wrong_address,
    406: _bug,
    407: _wrong_address,
    408: _timed_out,
    409: _conflict,
    410: _gone,
    411: _bug,
    412: _conflict,
    413: _dead,
    414: _bug,
    415: _bug,
    417: _bug,
    421: _later,
    422: _bad,
    423: _later,
    425: _later,
    428: _conflict,
    429: _limited,
    431: _bug,
    451: _barred,
}


# ── 5xx


def _failed(answer: _Answer) -> Verdict:
    if answer.status in (501, 505):
        return answer.verdict(Do.BUG)
    found = answer.pause() if "retry-after" in answer.headers else None
    return answer.by_call(wait=found.seconds if found else 0.0)


# ── what each provider has of its own; None: as everywhere


def _github(answer: _Answer) -> Verdict | None:
    status, words = answer.status, answer.words
    if status == 401 and _CLOCK.search(words):
        return answer.verdict(Do.RETRY, wait=1.0)  # the JWT is made by their Date the next time
    if status == 400 and re.search(r"API version", words, re.I):
        return answer.verdict(Do.MISCONFIGURED)
    if status == 400 and re.search(r"parsing JSON|should be a JSON", words, re.I):
        return answer.verdict(Do.BUG)
    if status == 403 and "user-agent" in words.lower():
        return answer.verdict(Do.MISCONFIGURED)
    if status == 403 and "x-github-sso" in answer.headers:
        return answer.verdict(Do.AUTH_FAILED)
    if status == 403 and answer.call == "app token":
        return answer.verdict(Do.AUTH_FAILED)
    if status in (403, 422, 429) and _SECONDARY.search(words):
        return _limited_longer(answer, INTEGRATION if answer.reads else WRITES)
    if status in (403, 429) and answer.headers.get("x-ratelimit-remaining", "").strip() == "0":
        return _limited(answer)
    if status == 429:
        return _limited(answer, INTEGRATION if answer.reads else WRITES)
    return None


def _limited_longer(answer: _Answer, scope: str) -> Verdict:
    """A secondary limit: the wait of Retry-After, or a minute; the reset is of the primary limit and says nothing about it."""
    found = pause(
        {name: value for name, value in answer.headers.items() if name in ("retry-after", "date")}, answer.at
    )
    return answer.verdict(Do.RATE_LIMITED, wait=found.seconds if found else a_minute(), scope=scope)


def _gitlab(answer: _Answer) -> Verdict | None:
    if answer.status == 405:
        return answer.verdict(Do.LOOK_AGAIN)
    if answer.status == 429:
        by_user = "this endpoint" in answer.words.lower()
        scope = COMMENTS if answer.call == "comment" else INTEGRATION if answer.reads else WRITES
        return _limited(answer, scope if by_user else INTEGRATION)
    return None


def _jira(answer: _Answer) -> Verdict | None:
    status, words = answer.status, answer.words
    if answer.headers.get("x-authentication-denied-reason") or (
        status == 403
        and "x-seraph-loginreason" in answer.headers
        and "OK" not in answer.headers["x-seraph-loginreason"]
    ):
        return answer.verdict(Do.AUTH_FAILED)
    if status == 410 and "removed" in words.lower():
        return answer.verdict(Do.BUG)
    if status == 400 and answer.reads and "does not exist" in words:
        return answer.verdict(Do.MISCONFIGURED)
    changes = not answer.creates and not answer.reads
    if status in (400, 422) and changes and _OTHER_WAY.search(words) and not is_required((), words):
        return answer.verdict(Do.LOOK_AGAIN)
    if status == 429:
        reason = answer.headers.get("ratelimit-reason", "").lower()
        return _limited(
            answer, ISSUE if "per-issue" in reason else ENDPOINT if "burst" in reason else INTEGRATION
        )
    if (
        status in (200, 201)
        and answer.call == "create"
        and isinstance(answer.value, dict)
        and "fields" not in answer.value
    ):
        return answer.verdict(Do.READ_IT) if answer.value.get("id") else None
    return None


def _redmine(answer: _Answer) -> Verdict | None:
    if answer.status == 422 and answer.value is not ... and not words_of(answer.value):
        return answer.verdict(Do.DEAD if answer.creates else Do.LOOK_AGAIN)
    return None


_SPECIAL: Mapping[str, Callable[[_Answer], Verdict | None]] = {
    "github": _github,
    "gitlab": _gitlab,
    "jira_cloud": _jira,
    "jira_dc": _jira,
    "redmine": _redmine,
}
