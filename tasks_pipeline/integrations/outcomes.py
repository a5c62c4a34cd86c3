"""What becomes of a change that could not be made there: put off, given up, or held, by what the answer says."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection

from tasks_pipeline.integrations.work import PAUSE_SECONDS
from tasks_pipeline.links.intents import DEAD, DROPPED, Claimed, finish, put_back
from tasks_pipeline.trackers.answers import Do, Verdict

MOST_ATTEMPTS = 12
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 5.0, 3600.0
LOOK_AGAIN_SECONDS = 5.0
HELD_SECONDS = 300.0
_NOT_SENT = (Do.RATE_LIMITED, Do.AUTH_FAILED, Do.MISCONFIGURED, Do.HELD)
"""Answers that say nothing about the change itself: it waits, and no attempt is used up."""
Outcome = Literal["later", "again", "held", "gone", "dead"]


def put_off(
    connection: Connection, claimed: Claimed, verdict: Verdict, now: datetime, tried: str = ""
) -> Outcome:
    """End an attempt at a change that may be repeated without harm, such as to close an issue. Gives what that means for the link: it is
    tried `later`; read `again` first, since it may have been made; `held`: the tracker does not take it as this issue is, and it is put
    on its way again when that may have changed;
    `gone`: there may be no such issue; `dead`: it is given up. `tried`: what
    the issue was to become, which is remembered where it may have."""
    said = verdict.said or str(verdict.do)
    if verdict.do in (Do.GONE, Do.MAYBE_GONE):
        put_back(connection, claimed, now + timedelta(seconds=HELD_SECONDS), said, counted=False)
        return "gone"
    if verdict.do is Do.HELD and not verdict.tracker:
        finish(connection, claimed, DROPPED, now=now, reason=said)
        return "held"
    if verdict.do in _NOT_SENT:
        seconds = verdict.wait or (HELD_SECONDS if verdict.do is Do.HELD else PAUSE_SECONDS)
        put_back(connection, claimed, now + timedelta(seconds=seconds), said, counted=False, tried="")
        return "later"
    if verdict.do in (Do.DEAD, Do.BUG) or claimed.attempts >= MOST_ATTEMPTS:
        finish(connection, claimed, DEAD, now=now, reason=said)
        return "dead"
    if verdict.do in (Do.RETRY, Do.UNREACHABLE):  # nothing was made
        seconds = max(verdict.wait, retry_seconds(claimed.attempts))
        put_back(connection, claimed, now + timedelta(seconds=seconds), said, tried="")
        return "later"
    seconds = max(LOOK_AGAIN_SECONDS, retry_seconds(claimed.attempts))
    put_back(connection, claimed, now + timedelta(seconds=seconds), said, tried=tried)
    return "again"


def retry_seconds(attempts: int) -> float:
    """Seconds until the next attempt: doubled each time up to an hour, of which half is left to chance."""
    whole = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(attempts - 1, 20))
    return whole / 2 + random.uniform(0, whole / 2)
