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
    "deleted": "deletion",
}
"""Reasons of changes of days, for people."""
LATE_SESSIONS = WORDS["sessions"]
NOT_COUNTED = "days that were not counted yet"
"""Why a report came out otherwise of which some days had no figures when it was made."""
SECTIONS = {
    "series": "errors over time",
    "groups": "lists of groups",
    "releases": "releases",
    "transactions": "transactions",
    "monitors": "monitors",
    "keys": "keys",
    "notifications": "messages",
    "pipeline": "the pipeline",
    "projects": "rows of projects",
    "books": "books",
    "previous": "the period before",
    "changes": "comparison",
}
"""Sections by name, and what people call them."""
_RETOLD = {
    "series": ("errors", "new_groups"),
    "groups": ("errors", "users", "new_groups", "open_groups", "moves"),
    "releases": ("new_groups", "sessions", "crash_free_sessions", "crash_free_users", "deploys"),
    "transactions": ("transactions", "apdex", "failure_rate"),
    "monitors": ("check_ins", "failed_monitors", "incidents"),
    "keys": ("items",),
    "notifications": ("notifications",),
    "books": ("errors", "items"),
}
"""Figures of each section: where a change of one is told, that of the section says nothing more."""
_OF_ALL = ("projects", "changes")
"""Sections that retell every figure."""
_BALANCE = ("open_at_start", "new", "reopened", "resolved", "ignored", "merged", "open_at_end")
_LISTS = ("top", "top_by_users", "new", "returning", "noisy")


@dataclass(frozen=True, slots=True)
class FigureChange:
    """A figure of a report that came out otherwise than in the revision before; of a section of which no figure did, both values
    are None."""

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
        pipeline=replace(report.pipeline, open_days=[], wrong_days=[]),
        books=replace(report.books, waiting=0, balanced=True),
    )


def _nameless(groups: Groups) -> Groups:
    lists = {name: [_nameless_row(row) for row in getattr(groups, name)] for name in _LISTS}
    return msgspec.structs.replace(groups, **lists)


def _nameless_row(row: GroupRow) -> GroupRow:
    return msgspec.structs.replace(row, title="", culprit="", level="", suspect_commit=None)


def changes_between(before: Report, after: Report, cause: str) -> list[FigureChange]:
    """What changed: figures, the balance of groups, and sections in which anything did that no figure says."""
    found = _changed(before.figures, after.figures, cause)
    found += _changed(_balance(before), _balance(after), cause)
    told = {change.figure.partition(".")[0] for change in found}
    one, other = _content(before), _content(after)
    return found + [
        FigureChange(name, None, None, cause)
        for name in SECTIONS
        if getattr(one, name) != getattr(other, name) and not _is_told(name, told)
    ]


def _is_told(section: str, told: set[str]) -> bool:
    return section in told or not told.isdisjoint(_RETOLD.get(section, told if section in _OF_ALL else ()))


def _balance(report: Report) -> dict[str, Number]:
    return {f"groups.{name}": getattr(report.groups.balance, name) for name in _BALANCE}


def _changed(before: Mapping[str, Number], after: Mapping[str, Number], cause: str) -> list[FigureChange]:
    return [
        FigureChange(name, before.get(name), after.get(name), cause)
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]


def told(changes: Sequence[Mapping[str, Any]], most: int = 50) -> list[str]:
    """Changes in words, at most so many, a text for each cause:
    `errors 1,204 → 1,260, users affected 80 → 82 and 3 more (late symbols)`; of a section its name."""
    by_cause: dict[str, list[str]] = {}
    for change in sorted(changes, key=lambda each: place_of(each["figure"])):
        by_cause.setdefault(change["cause"], []).append(_words(change))
    return [
        f"{', '.join(said[:most])}{f' and {len(said) - most:,} more' if len(said) > most else ''} ({cause})"
        for cause, said in by_cause.items()
    ]


def _words(change: Mapping[str, Any]) -> str:
    figure, before, after = str(change["figure"]), change["before"], change["after"]
    if before is None and after is None:
        return SECTIONS.get(figure, figure)
    return revised_words(figure, before, after)


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
