"""What an answer of a tracker means: whether to go on, wait, look first, or give up. Plain rules, one place for all providers.

Sources: each provider's documentation, and what Redmine 5.0 and Roundup 2.6 were seen to say. What a status means depends on the call:
a gateway that fails while something is made leaves it unknown whether it was made, while a read may simply be made again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from urllib.parse import urljoin, urlsplit

from tasks_pipeline.texts import clean
from tasks_pipeline.trackers.heard import (
    BASES,
    CREATING,
    DEGRADED,
    READING,
    SAID_LENGTH,
    Answer,
    limited,
    value_of,
    within,
)
from tasks_pipeline.trackers.manners import SPECIAL
from tasks_pipeline.trackers.refusals import is_required, refused_fields, worth_without
from tasks_pipeline.trackers.verdicts import Do, TrackerError, Verdict

__all__ = ["CREATING", "DEGRADED", "READING", "Do", "TrackerError", "Verdict", "judge", "within"]

WITHOUT = "once more without that field"
_LOGIN = re.compile(
    r"(?:^|[/?&._-])(?:log-?in|sign_?-?in|sso|saml2?|oauth2?|openid|auth|authorize|idp|adfs|cas|session)(?:$|[/?&=._-])",
    re.I,
)
_LIMITED = re.compile(r"rate limit|too many (?:requests|times)|retry later|try again later", re.I)
_DEAD_CREDENTIAL = re.compile(
    r"suspended|SAML enforcement|SSO|captcha|account (?:is )?(?:locked|blocked|deactivated)", re.I
)


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
    answer = Answer(
        provider,
        call,
        status,
        {name.lower(): value for name, value in headers.items()},
        value_of(text) if isinstance(body, str | bytes) else ... if body is None else body,
        text,
        at,
        base or BASES.get(provider, ""),
        asked,
    )
    special = SPECIAL.get(provider)
    return (special and special(answer)) or _by_status(answer)


def _by_status(answer: Answer) -> Verdict:
    rules: Sequence[tuple[range, Callable[[Answer], Verdict]]] = (
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


def _good(answer: Answer) -> Verdict:
    if answer.status in (204, 205):
        return answer.verdict(Do.GOOD if answer.reads or answer.call == "delete" else Do.READ_IT)
    if answer.value is ... or answer.status == 202:
        return _unreadable(answer)
    if _is_error(answer.value) and _LIMITED.search(answer.words):
        return limited(answer)  # GraphQL's way
    if not isinstance(answer.value, dict | list) or _is_error(answer.value):
        # An error in the clothes of a success, or a page that is none of this API: never "there are no issues".
        said = f"HTTP {answer.status} without what was asked for: {clean(answer.words, SAID_LENGTH)}"
        do = Do.UNKNOWN if answer.creates else Do.UNREACHABLE if answer.reads else Do.LOOK_AGAIN
        return answer.verdict(do, said=said)
    if answer.creates and not isinstance(answer.value, dict):
        return answer.verdict(Do.UNKNOWN)
    return answer.verdict(Do.GOOD)


def _unreadable(answer: Answer) -> Verdict:
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


def _elsewhere(answer: Answer) -> Verdict:
    if answer.status == 304:
        return answer.verdict(Do.UNCHANGED)
    location = answer.headers.get("location", "").strip()
    if not location:
        return answer.verdict(Do.UNREACHABLE, said=f"HTTP {answer.status} to nowhere")
    try:
        to = urljoin(answer.asked or f"{answer.base}/", location)
        urlsplit(to).port  # noqa: B018 — raises
    except ValueError:
        return answer.verdict(Do.MISCONFIGURED, said="it leads to what is no address")
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


# ── 4xx


def _refused(answer: Answer) -> Verdict:
    rule = _REFUSALS.get(answer.status)
    return rule(answer) if rule else answer.held()


def _bad(answer: Answer) -> Verdict:
    """400 and 422: what was asked is wrong. Trying again is of no use, unless without the field that is."""
    if answer.reads:
        return answer.verdict(Do.BUG)
    fields = refused_fields(answer.provider, answer.value)
    then = WITHOUT if answer.call == "create" and worth_without(answer.provider, fields, answer.words) else ""
    tracker = "misconfigured" if answer.call == "create" and is_required(fields, answer.words) else ""
    return answer.verdict(Do.DEAD, fields=fields, then=then, tracker=tracker)


def _unauthorised(answer: Answer) -> Verdict:
    return answer.verdict(Do.AUTH_FAILED)


def _forbidden(answer: Answer) -> Verdict:
    headers = answer.headers
    if "x-authentication-denied-reason" in headers or _DEAD_CREDENTIAL.search(answer.words):
        return answer.verdict(Do.AUTH_FAILED)
    if "retry-after" in headers or _LIMITED.search(answer.words):
        return limited(answer)
    if answer.html:
        return answer.verdict(Do.UNREACHABLE, said="HTTP 403 with a page for people: a proxy, or a wall")
    return answer.held()


def _not_there(answer: Answer) -> Verdict:
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


def _gone(answer: Answer) -> Verdict:
    place_is_shut = re.search(r"disabled|switched off|archived", answer.words, re.I)
    if place_is_shut or answer.call in ("create", "list", "poll", "place", "check"):
        return answer.held()
    return answer.verdict(Do.BUG if answer.call == "search" else Do.GONE)


def _barred(answer: Answer) -> Verdict:
    """451: for legal reasons."""
    return (
        answer.held()
        if answer.call in ("create", "list", "poll", "place", "check")
        else answer.verdict(Do.GONE)
    )


def _conflict(answer: Answer) -> Verdict:
    return answer.verdict(Do.LOOK_AGAIN)


def _later(answer: Answer) -> Verdict:
    found = answer.pause()
    return answer.verdict(Do.RETRY, wait=found.seconds if found else 0.0)


def _timed_out(answer: Answer) -> Verdict:
    return answer.by_call()


def _wrong_address(answer: Answer) -> Verdict:
    return answer.verdict(Do.MISCONFIGURED)


def _bug(answer: Answer) -> Verdict:
    return answer.verdict(Do.BUG)


def _dead(answer: Answer) -> Verdict:
    return answer.verdict(Do.DEAD)


_REFUSALS: Mapping[int, Callable[[Answer], Verdict]] = {
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
    429: limited,
    431: _bug,
    451: _barred,
}


# ── 5xx


def _failed(answer: Answer) -> Verdict:
    if answer.status in (501, 505):
        return answer.verdict(Do.BUG)
    found = answer.pause() if "retry-after" in answer.headers else None
    return answer.by_call(wait=found.seconds if found else 0.0)
