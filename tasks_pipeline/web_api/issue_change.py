"""What clients change of issues: their bodies, in every way they are sent, as decisions about groups. What cannot be done here is
refused with a reason: silence would be something else than what was meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tasks_pipeline.acting.together import Act, act
from tasks_pipeline.protocol.decode import PayloadError, decode_json
from tasks_pipeline.reading.group_list import groups_by_id
from tasks_pipeline.web_api.calls import ApiError, Call, FieldError
from tasks_pipeline.web_api.filters import moment
from tasks_pipeline.web_api.people import assignees

KEPT_NOWHERE = frozenset("hasSeen isBookmarked isSubscribed isPublic inbox priority substatus".split())
"""Taken, and kept nowhere: they say nothing about the group."""
_NUMBERS = frozenset(
    "ignoreDuration ignoreCount ignoreWindow ignoreUserCount ignoreUserWindow snoozeDuration".split()
)
"""Until when to ignore, in the body itself; else in its statusDetails."""
_MOST = 10**9


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be done, in this order, and what was sent of it."""

    acts: tuple[Act, ...]
    said: Mapping[str, Any]


def parse_change(call: Call, text: str | None = None) -> Change:
    """The change that a body asks for. Raises ApiError and FieldError."""
    try:
        body = decode_json(call.body if text is None else text.encode())
    except PayloadError as error:
        raise ApiError(400, f"the body is no JSON: {error}") from error
    if not isinstance(body, Mapping):
        raise ApiError(400, "the body is no object")
    acts: list[Act] = []
    for name, value in body.items():
        match name:
            case "status":
                acts.append(_status(body, call.asked.now))
            case "statusDetails" if "status" in body:
                continue
            case "assignedTo":
                acts.append(Act("assign", assignee=_assignee(call, value)))
            case "merge":
                if value not in (1, True, "1", "true"):
                    raise FieldError("merge", "allowed is 1")
                acts.append(Act("merge"))
            case "discard" if value is True:
                acts.append(Act("discard"))
            case _ if name not in KEPT_NOWHERE and name not in _NUMBERS:
                allowed = "status, statusDetails, assignedTo, merge, discard"
                raise FieldError(str(name)[:80], f"this cannot be changed here; allowed are {allowed}")
    return Change(tuple(acts), body)


def change(call: Call, ids: Sequence[int], wanted: Change) -> dict[str, Any]:
    """Do it to groups; gives what was changed, as clients want to hear it. Raises NotAllowed and DecisionError, and ApiError for a group
    that it cannot be done to, when the others have been changed."""
    told: dict[str, Any] = {
        k: v for k, v in wanted.said.items() if k in ("status", "statusDetails", "assignedTo")
    }
    for each in wanted.acts:
        if each.kind == "merge":
            told["merge"] = _merge(call, ids)
            continue
        done = act(call.services.state, call.viewer, ids, _for_these(call, ids, each))
        if done.refused:
            group_id, why = next(iter(done.refused.items()))
            raise ApiError(400, f"issue {group_id}: {why}; {done.groups} of {len(set(ids))} were changed")
    return told


def _for_these(call: Call, ids: Sequence[int], wanted: Act) -> Act:
    """Discarded groups are kept again by those who call them unresolved."""
    if wanted.kind != "unresolve":
        return wanted
    statuses = {str(group["status"]) for group in groups_by_id(call.asked, ids).values()}
    return Act("keep") if statuses == {"discarded"} else wanted


def _merge(call: Call, ids: Sequence[int]) -> dict[str, Any]:
    """Into the one with most events, the oldest of those with as many."""
    found = groups_by_id(call.asked, ids)
    if len(found) < 2:
        raise ApiError(400, "merge: it takes two issues at least, which are not one already")
    target = max(found.values(), key=lambda group: (group["times_seen"], -group["id"]))["id"]
    act(call.services.state, call.viewer, [*found], Act("merge", into=target))
    return {"parent": str(target), "children": [str(each) for each in sorted(found) if each != target]}


def _status(body: Mapping[str, Any], now: datetime) -> Act:
    status, details = body["status"], body.get("statusDetails") or {}
    if not isinstance(details, Mapping):
        raise FieldError("statusDetails", "it is no object")
    match status:
        case "resolved":
            return _resolved(details)
        case "resolvedInNextRelease":
            return Act("resolve", in_next_release=True)
        case "unresolved":
            return Act("unresolve")
        case "ignored" | "muted" | "archived":
            return _ignored(body, details, now)
    allowed = "resolved, resolvedInNextRelease, unresolved, ignored, muted"
    raise FieldError("status", f"{str(status)[:40]!r} is none; allowed are {allowed}")


def _resolved(details: Mapping[str, Any]) -> Act:
    _check_details(details, ("inRelease", "inNextRelease"))
    if details.get("inNextRelease"):
        return Act("resolve", in_next_release=True)
    release = details.get("inRelease")
    if release is not None and not isinstance(release, str):
        raise FieldError("statusDetails", "inRelease is no text")
    return Act("resolve", in_release=release)


def _ignored(body: Mapping[str, Any], details: Mapping[str, Any], now: datetime) -> Act:
    said = {**details, **{k: v for k, v in body.items() if k in _NUMBERS and v is not None}}
    _check_details(
        said, ("ignoreDuration", "ignoreCount", "ignoreUserCount", "ignoreUntil", "snoozeDuration")
    )
    substatus = body.get("substatus")
    if substatus == "archived_until_escalating" and not any(said.values()):
        raise FieldError("substatus", "groups are not ignored until they escalate; allowed are archived_forever, and a number of events, users or minutes")  # fmt: skip
    minutes = _number(said, "ignoreDuration") or _number(said, "snoozeDuration")
    until = _until(said.get("ignoreUntil"))
    if minutes is not None:
        until = now + timedelta(minutes=min(minutes, 5_256_000))
    return Act("ignore", until=until, more_events=_number(said, "ignoreCount"), more_users=_number(said, "ignoreUserCount"))  # fmt: skip


def _check_details(details: Mapping[str, Any], allowed: Sequence[str]) -> None:
    """Raises FieldError for what would have to be something else."""
    for name, value in details.items():
        if name not in allowed and value not in (None, 0, False, ""):
            raise FieldError("statusDetails", f"{str(name)[:40]} cannot be done here; allowed are {', '.join(allowed)}")  # fmt: skip


def _number(said: Mapping[str, Any], name: str) -> int | None:
    value = said.get(name)
    if value in (None, 0, ""):
        return None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 11:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _MOST:
        raise FieldError(name, f"allowed are whole numbers from 1 to {_MOST:,}")
    return value


def _until(value: object) -> datetime | None:
    if value in (None, ""):
        return None
    if not isinstance(value, str):
        raise FieldError("ignoreUntil", "it is no time")
    return moment("ignoreUntil", value)


def _assignee(call: Call, value: object) -> str | None:
    """An address or team:SLUG that the body means, None for nobody. Raises FieldError."""
    if value in (None, "", False):
        return None
    name = str(value.get("id") or value.get("email") or "") if isinstance(value, Mapping) else str(value)
    name = name.strip().lower()
    if name == "me" and call.viewer.member is not None:
        return call.viewer.member.email
    known = assignees(call.config)
    if name in known:
        return known[name]
    allowed = ", ".join(sorted(set(known.values()))[:20])
    raise FieldError("assignedTo", f"{name[:100]!r} is nobody here; allowed are {allowed}")
