"""How an integration is doing, from what a check saw and what was noted of its calls. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from tasks_pipeline.integrations.gate import (
    AUTH_FAILED,
    DEGRADED,
    DISABLED,
    MISCONFIGURED,
    OK,
    RATE_LIMITED,
    REFUSALS,
    UNREACHABLE,
    recent_calls,
)
from tasks_pipeline.trackers.answers import Do, Verdict
from tasks_pipeline.trackers.issue import Identity, Place
from tasks_pipeline.words import counted

WARNED_DAYS = (3, 14)
"""So many days before a credential ends it is told."""
LIMITED_SECONDS = 60.0
FAILED_SHARE, FAILED_OF = 0.1, 10
"""More than such a share of calls, where there were so many, is a part that fails."""
WAITS = timedelta(hours=1)
CHECKS_NEEDED: Mapping[str, int] = {UNREACHABLE: 3, DEGRADED: 2, MISCONFIGURED: 2}
"""So many checks in a row have to see a state before it counts; one is enough for the others, and where nothing is known yet."""
CANNOT_BE_ASKED = (AUTH_FAILED, UNREACHABLE, RATE_LIMITED, DISABLED)
CHECKS_TO_LEAVE: Mapping[str, int] = {DEGRADED: 2}
SEVERITY: Mapping[str, str] = {
    OK: "info", DISABLED: "info", RATE_LIMITED: "warning", DEGRADED: "warning",
    UNREACHABLE: "critical", MISCONFIGURED: "critical", AUTH_FAILED: "critical",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """A state and why."""

    status: str
    cause: str = ""


@dataclass
class Seen:
    """What a check saw. `places`: of the trackers that were looked at, what they are, or why they cannot be read."""

    identity: Identity | None = None
    error: Verdict | None = None
    places: dict[str, Place | Verdict] = field(default_factory=dict)
    calls: int = 0
    checked: bool = False
    """Whether anything was asked; else only what was noted before is judged."""


@dataclass(frozen=True, slots=True)
class Work:
    """What waits for an integration. `stuck`: changes that were tried and are not made for an hour; `differ`: links whose sides differ
    for an hour and nothing says why, for people."""

    waiting: int = 0
    oldest: datetime | None = None
    stuck: int = 0
    differ: Sequence[str] = ()


def judge_place(found: Place | Verdict) -> Finding:
    """How a tracker is, by its repository or project."""
    if isinstance(found, Verdict):
        return Finding(DEGRADED, found.said or str(found.do))
    if found.missing_fields:
        fields = ", ".join(found.missing_fields)
        return Finding(
            MISCONFIGURED, f"issues there need fields that the configuration gives no value: {fields}"
        )
    if found.problem:
        return Finding(DEGRADED, found.problem)
    if found.renamed_to:
        said = (
            f"it is called {found.renamed_to} now, and the configuration has a former name: write the new one"
        )
        return Finding(DEGRADED, said)
    return Finding(OK)


def judge_integration(
    row: Row[Any],
    seen: Seen,
    trackers: Mapping[str, Finding],
    work: Work,
    now: datetime,
    *,
    enabled: bool = True,
) -> Finding:
    """How an integration is. `row` is what is stored, with what its calls were counted as; `trackers` how each of them is."""
    if row.disabled_at is not None:
        return Finding(DISABLED, "disabled by command; tasks-pipeline integrations enable turns it on")
    if not enabled:
        return Finding(DISABLED, "enabled: false in the configuration")
    error = seen.error
    if error is not None and error.do is Do.MISCONFIGURED:
        return Finding(MISCONFIGURED, error.said)
    if row.refused >= REFUSALS:
        said = error.said if error is not None and error.do is Do.AUTH_FAILED else row.pace.get("said") or ""
        return Finding(AUTH_FAILED, said or "it lets us not in")
    if error is not None and error.do in (Do.RETRY, Do.UNREACHABLE, Do.UNKNOWN, Do.LOOK_AGAIN):
        return Finding(UNREACHABLE, error.said or "it does not answer")
    limited = _limited(row, now)
    if limited:
        return limited
    if error is not None and error.do is not Do.RATE_LIMITED:
        return Finding(DEGRADED, error.said or str(error.do))
    broken = [name for name, found in trackers.items() if found.status == MISCONFIGURED]
    if broken and len(broken) == len(trackers):
        return Finding(MISCONFIGURED, _of_trackers(trackers))
    causes = [said for said in (_of_trackers(trackers), *_parts(row, work, now)) if said]
    return Finding(DEGRADED, "; ".join(causes)) if causes else Finding(OK)


def _limited(row: Row[Any], now: datetime) -> Finding | None:
    until, said = None, ""
    for scope, (at, why) in (row.pace.get("waits") or {}).items():
        found = datetime.fromisoformat(at)
        if scope != "comments of the integration" and (until is None or found > until):
            until, said = found, why or "it asked us to wait"
    if row.limit_remaining == 0 and row.limit_resets_at is not None and (until or now) < row.limit_resets_at:
        until, said = (
            row.limit_resets_at,
            f"all {row.limit_total or ''} requests are used up".replace("  ", " "),
        )
    if until is None or (until - now).total_seconds() <= LIMITED_SECONDS:
        return None
    return Finding(RATE_LIMITED, f"{said}; it goes on at {until:%Y-%m-%d %H:%M:%S} UTC")


def _of_trackers(trackers: Mapping[str, Finding]) -> str:
    return "; ".join(f"{name}: {found.cause}" for name, found in trackers.items() if found.status != OK)


def _parts(row: Row[Any], work: Work, now: datetime) -> list[str]:
    """What fails though the integration as a whole works."""
    causes = []
    days = days_left(row.expires_at, now)
    if days is not None and days < max(WARNED_DAYS):
        ends = "ended" if days < 0 else "ends"
        causes.append(f"its credential {ends} on {row.expires_at:%Y-%m-%d %H:%M} UTC: make a new one")
    if row.status in CANNOT_BE_ASKED:
        return causes  # it works again: what failed and waited before says nothing of that
    _, calls, failed, before, failed_before = recent_calls(row.pace.get("calls"), now)
    calls, failed = calls + before, failed + failed_before
    if calls >= FAILED_OF and failed > FAILED_SHARE * calls:
        causes.append(f"{failed} of {calls} calls failed lately: {row.pace.get('said') or 'see the log'}")
    if work.stuck:
        causes.append(f"{counted(work.stuck, 'change')} could not be made there for an hour")
    if work.differ:
        more = f" and {len(work.differ) - 3} more" if len(work.differ) > 3 else ""
        causes.append(f"sides differ for an hour, and nothing says why: {', '.join(work.differ[:3])}{more}")
    return causes


def days_left(until: datetime | None, now: datetime) -> float | None:
    """Days until a credential ends."""
    return None if until is None else (until - now).total_seconds() / 86_400


def stage_of(until: datetime | None, now: datetime) -> int:
    """0: nothing to warn of; else in how many days at most a credential ends, of WARNED_DAYS."""
    days = days_left(until, now)
    return next((stage for stage in WARNED_DAYS if days is not None and days < stage), 0)


def settled(row: Row[Any], found: Finding, now: datetime, *, checked: bool, anew: bool) -> dict[str, Any]:
    """The columns of a state after a finding: it changes when enough checks in a row saw it. `checked`: something was asked; `anew`:
    nothing is known yet, or the configuration changed."""
    if found.status == row.status:
        return {"cause": found.cause, "pending": "", "pending_checks": 0}
    needed = max(CHECKS_NEEDED.get(found.status, 1), CHECKS_TO_LEAVE.get(row.status, 1))
    gets_through = row.status in CANNOT_BE_ASKED and found.status in (OK, DEGRADED)
    if found.status == DISABLED or row.status in ("", DISABLED) or anew or gets_through:
        needed = 1
    seen = (row.pending_checks if row.pending == found.status else 0) + (checked or needed == 1)
    if seen < needed:
        return {"pending": found.status if seen else row.pending, "pending_checks": seen}
    return {"status": found.status, "since": now, "cause": found.cause, "pending": "", "pending_checks": 0}
