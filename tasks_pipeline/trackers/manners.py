"""Manners: what each provider has of its own in what it answers. None: as everywhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tasks_pipeline.trackers.heard import INTEGRATION, WRITES, Answer, limited
from tasks_pipeline.trackers.refusals import is_required, refused_fields, words_of
from tasks_pipeline.trackers.verdicts import Do, Verdict
from tasks_pipeline.trackers.waits import a_minute, pause

COMMENTS = "comments of the integration"
ISSUE = "issue"
ENDPOINT = "endpoint"
_SECONDARY = re.compile(
    r"secondary rate limit|abuse detection|submitted too quickly|temporarily blocked from content", re.I
)
_OTHER_WAY = re.compile(
    r"not valid for the current state|cannot be set|not on the appropriate screen|transition", re.I
)
_CLOCK = re.compile(r"'(?:Expiration time|Issued at)' claim", re.I)


def _github(answer: Answer) -> Verdict | None:
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
        return limited(answer)
    if status == 429:
        return limited(answer, INTEGRATION if answer.reads else WRITES)
    return None


def _limited_longer(answer: Answer, scope: str) -> Verdict:
    """A secondary limit: the wait of Retry-After, or a minute; the reset is of the primary limit and says nothing about it."""
    found = pause(
        {name: value for name, value in answer.headers.items() if name in ("retry-after", "date")}, answer.at
    )
    return answer.verdict(Do.RATE_LIMITED, wait=found.seconds if found else a_minute(), scope=scope)


def _gitlab(answer: Answer) -> Verdict | None:
    if answer.status == 405:
        return answer.verdict(Do.LOOK_AGAIN)
    if answer.status == 429:
        by_user = "this endpoint" in answer.words.lower()
        scope = COMMENTS if answer.call == "comment" else INTEGRATION if answer.reads else WRITES
        return limited(answer, scope if by_user else INTEGRATION)
    return None


def _jira(answer: Answer) -> Verdict | None:
    status, words = answer.status, answer.words
    if answer.headers.get("x-authentication-denied-reason") or (
        status == 403
        and "x-seraph-loginreason" in answer.headers
        and "OK" not in answer.headers["x-seraph-loginreason"]
    ):
        return answer.verdict(Do.AUTH_FAILED)
    if status == 403 and "xsrf" in words.lower():
        return answer.verdict(Do.BUG)
    if status == 410 and "removed" in words.lower():
        return answer.verdict(Do.BUG)
    if status == 400 and answer.reads and "does not exist" in words:
        return answer.verdict(Do.MISCONFIGURED)
    changes = not answer.creates and not answer.reads
    if status in (400, 422) and changes and _OTHER_WAY.search(words) and not is_required((), words):
        return answer.verdict(Do.LOOK_AGAIN)
    if status == 429:
        reason = answer.headers.get("ratelimit-reason", "").lower()
        return limited(
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


def _roundup(answer: Answer) -> Verdict | None:
    if answer.status == 409 and answer.creates:  # seen for a property that is missing: nothing was made
        return answer.verdict(Do.DEAD, fields=refused_fields(answer.provider, answer.value))
    return None


def _redmine(answer: Answer) -> Verdict | None:
    if answer.status == 422 and answer.value is not ... and not words_of(answer.value):
        return answer.verdict(Do.DEAD if answer.creates else Do.LOOK_AGAIN)
    return None


SPECIAL: Mapping[str, Callable[[Answer], Verdict | None]] = {
    "github": _github,
    "gitlab": _gitlab,
    "jira_cloud": _jira,
    "jira_dc": _jira,
    "redmine": _redmine,
    "roundup": _roundup,
}
