"""Entries of a group's log as facts: what each of them says to whoever counts decisions. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Row

from tasks_pipeline.facts.actors import Actor
from tasks_pipeline.facts.types import (
    By,
    Fact,
    GroupAssigned,
    GroupCommented,
    GroupDiscarded,
    GroupIgnored,
    GroupLinked,
    GroupMerged,
    GroupRegressed,
    GroupResolved,
    GroupUnignored,
    GroupUnlinked,
    GroupUnmerged,
    GroupUnresolved,
)
from tasks_pipeline.groups.lifecycle import Resolution, Status

OPEN = (Status.UNRESOLVED, Status.REGRESSED)
_How = Literal["now", "release", "next_release", "commit", "recovery", "unwatched"]


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the log: its number, what it is about and says, and the group's row before it where there is one."""

    number: int
    group_id: int
    action: str
    said: Mapping[str, Any]
    actor: Actor
    at: datetime
    before: Row[Any] | None
    hashed: Callable[[str], str]

    @property
    def common(self) -> dict[str, Any]:
        """Attributes of every such fact."""
        return {"group": self.group_id, "action": self.number, "by": self._by()}

    def seconds_since_change(self, *statuses: Status) -> float | None:
        """Since when the group had its status, if it was one of these."""
        before = self.before
        if before is None or before.status not in statuses:
            return None
        since: datetime = before.status_changed_at or before.first_seen or before.created_at
        return max(0.0, (self.at - since).total_seconds())

    def _by(self) -> By:
        if "similarity" in self.said:
            return "similarity"
        if self.actor.kind == "member":
            return "person"
        if self.actor.kind == "commit" or "commit" in self.said:
            return "commit"
        if self.said.get("rule"):
            return "rule"
        return "monitor" if "by" in self.said else "automatic"


def fact_of(entry: Entry) -> Fact | None:
    """What an entry says; None for one that tells of another entry (the other half of a merge) or of where events went."""
    make = _FACTS.get(entry.action)
    return make(entry) if make else None


def _resolved(entry: Entry) -> Fact | None:
    before, said = entry.before, entry.said
    if said.get("kind") == Resolution.IN_COMMIT:
        return None  # it was resolved when that was said; now the release is known
    how: _How = "now"
    if "in_release_after" in said:
        how = "next_release"
    elif "commit" in said:
        how = "commit"
    elif "release" in said:
        how = "release"
    elif "by" in said:
        how = "recovery" if said["by"] == "recovery" else "unwatched"
    return GroupResolved(
        **entry.common,
        how=how,
        release=said.get("release") or said.get("in_release_after"),
        open_seconds=entry.seconds_since_change(*OPEN),
        events=before.times_seen if before is not None else 0,
        users=before.users if before is not None else 0,
    )


def _regressed(entry: Entry) -> Fact:
    return GroupRegressed(
        **entry.common,
        release=entry.said.get("release"),
        compared_by=entry.said.get("compared"),
        closed_seconds=entry.seconds_since_change(Status.RESOLVED),
    )


def _ignored(entry: Entry) -> Fact:
    said = entry.said
    ends = (("time", "until"), ("events", "more_events"), ("users", "more_users"))
    until: Any = next((word for word, name in ends if said.get(name) is not None), "good")
    return GroupIgnored(**entry.common, until=until)


def _assigned(entry: Entry) -> Fact:
    return GroupAssigned(**entry.common, to=entry.hashed(entry.said.get("assignee") or ""))


def _merged(entry: Entry) -> Fact | None:
    return GroupMerged(**entry.common, into=entry.said["into"]) if "into" in entry.said else None


def _unmerged(entry: Entry) -> Fact | None:
    return GroupUnmerged(**entry.common, of=entry.said["from"]) if "from" in entry.said else None


def _linked(entry: Entry) -> Fact:
    # Made, or one that a rule made for several groups at once.
    made = "made" in entry.said or "rule" in entry.said
    return GroupLinked(**entry.common, tracker=entry.said["tracker"], made=made)


def _commented(entry: Entry) -> Fact:
    return GroupCommented(**entry.common, side="theirs" if "issue" in entry.said else "ours")


_FACTS: dict[str, Callable[[Entry], Fact | None]] = {
    "resolve": _resolved,
    "regress": _regressed,
    "unignore": lambda entry: GroupUnignored(**entry.common),
    "ignore": _ignored,
    "unresolve": lambda entry: GroupUnresolved(**entry.common),
    "keep": lambda entry: GroupUnresolved(**entry.common),
    "assign": _assigned,
    "unassign": _assigned,
    "merge": _merged,
    "unmerge": _unmerged,
    "link": _linked,
    "unlink": lambda entry: GroupUnlinked(**entry.common, tracker=entry.said["tracker"]),
    "comment": _commented,
    "discard": lambda entry: GroupDiscarded(**entry.common, events=entry.said.get("events", 0)),
}
