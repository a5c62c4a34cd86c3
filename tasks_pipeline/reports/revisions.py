"""What makes a report another: the digest of its content, what changed from one revision to the next, and why.

Nothing is stored here. Marks (final, incomplete) and names of now (titles, suspect commits) are no content: they are put right
without another revision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from tasks_pipeline.reports.rendering.words import place_of, revised_words
from tasks_pipeline.reports.report import GroupRow, Groups, Number, Report

WORDS = {
    "batch": "late events",
    "recomputed": "recomputed day",
    "reprocessed": "late symbols",
    "regrouped": "merged or discarded groups",
    "sessions": "late sessions",
    "facts": "late facts",
    "retention": "retention",
    "privacy": "deletion for privacy",
}
"""Reasons of changes of days, for people."""
LATE_SESSIONS = WORDS["sessions"]
NOT_COUNTED = "days that were not counted yet"
"""Why a report came out otherwise of which some days had no figures when it was made."""
SECTIONS = (
    "series", "groups", "releases", "transactions", "monitors", "keys", "notifications", "pipeline", "projects", "books",
    "previous", "changes",
)  # fmt: skip
_BALANCE = ("open_at_start", "new", "reopened", "resolved", "ignored", "merged", "open_at_end")
_LISTS = ("top", "top_by_users", "new", "returning", "noisy")


@dataclass(frozen=True, slots=True)
class FigureChange:
    """A figure of a report that came out otherwise than in the revision before; of a section without figures of its own both
    values are None."""

    figure: str
    before: Number
    after: Number
    cause: str

    def as_dict(self) -> dict[str, Any]:
        """As it is stored."""
        return {"figure": self.figure, "before": self.before, "after": self.after, "cause": self.cause}


def content_digest(report: Report) -> str:
    """Hex digits that are the same for the same content."""
    return sha256(msgspec.json.encode(_content(report))).hexdigest()


def _content(report: Report) -> Report:
    replace = msgspec.structs.replace
    return replace(
        report,
        revision=0,
        final=False,
        incomplete=0,
        revised=[],
        groups=_nameless(report.groups),
        pipeline=replace(report.pipeline, open_days=[]),
        books=replace(report.books, waiting=0, balanced=True),
    )


def _nameless(groups: Groups) -> Groups:
    lists = {name: [_nameless_row(row) for row in getattr(groups, name)] for name in _LISTS}
    return msgspec.structs.replace(groups, **lists)


def _nameless_row(row: GroupRow) -> GroupRow:
    return msgspec.structs.replace(row, title="", culprit="", level="", suspect_commit=None)


def changes_between(before: Report, after: Report, cause: str) -> list[FigureChange]:
    """What changed: figures, the balance of groups, and sections in which anything else did."""
    found = _changed(before.figures, after.figures, cause)
    found += _changed(_balance(before), _balance(after), cause)
    told = {change.figure.partition(".")[0] for change in found}
    one, other = _content(before), _content(after)
    for name in SECTIONS:
        if name not in told and getattr(one, name) != getattr(other, name):
            found.append(FigureChange(name, None, None, cause))
    return found


def _balance(report: Report) -> dict[str, Number]:
    return {f"groups.{name}": getattr(report.groups.balance, name) for name in _BALANCE}


def _changed(before: Mapping[str, Number], after: Mapping[str, Number], cause: str) -> list[FigureChange]:
    return [
        FigureChange(name, before.get(name), after.get(name), cause)
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]


def told(changes: Sequence[Mapping[str, Any]], most: int = 50) -> list[str]:
    """Changes in words, those of figures alone and at most so many, a text for each cause:
    `errors 1,204 → 1,260, users affected 80 → 82 and 3 more (late symbols)`."""
    by_cause: dict[str, list[str]] = {}
    for change in sorted(changes, key=lambda each: place_of(each["figure"])):
        if change["before"] is not None or change["after"] is not None:
            said = revised_words(change["figure"], change["before"], change["after"])
            by_cause.setdefault(change["cause"], []).append(said)
    return [
        f"{', '.join(said[:most])}{f' and {len(said) - most:,} more' if len(said) > most else ''} ({cause})"
        for cause, said in by_cause.items()
    ]


def carried_over(report: Report, before: Report | None) -> Report:
    """The report with what can only be counted from single transactions as the revision before had it, where these are gone
    since and nothing else about transactions changed."""
    if before is None or not before.transactions.count:
        return report
    was, now = before.transactions, report.transactions
    if now.misery_users is not None or was.misery_users is None or was.count != now.count:
        return report
    kept = {name: getattr(was, name) for name in ("p50_ms", "p75_ms", "p95_ms", "misery_users", "misery")}
    return msgspec.structs.replace(report, transactions=msgspec.structs.replace(now, **kept))
