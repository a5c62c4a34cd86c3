"""Reports that name what goes: what they are without its names and texts. What was counted stays; how they are stored again is in
`erasure/stored_reports.py`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from tasks_pipeline.erasure.stored_reports import Anew
from tasks_pipeline.reports.report import GroupRow, Report

DELETED = "(deleted)"
_LISTS = ("top", "top_by_users", "new", "returning", "noisy")


def without(content: bytes, change: Callable[[Report], Report]) -> Anew | None:
    """What a stored report is after a change; None where it stays the same, or is of a schema that this version does not read."""
    try:
        report = msgspec.json.decode(content, type=Report)
    except ValueError:
        return None
    changed = change(report)
    return None if changed == report else Anew(changed)


def without_groups(report: Report, group_ids: Collection[int]) -> Report:
    """A report without the titles of groups."""

    def nameless(row: GroupRow) -> GroupRow:
        if row.id not in group_ids or row.title == DELETED:
            return row
        return msgspec.structs.replace(row, title=DELETED, culprit="", suspect_commit=None)

    return _with_groups(report, nameless)


def without_project(report: Report, slug: str, project_id: int) -> Report:
    """A report without names and texts of a project: it is called by its number from then on."""
    name, change = str(project_id), msgspec.structs.replace

    def nameless(row: GroupRow) -> GroupRow:
        if row.project != slug:
            return row
        return change(
            row, project=name, short_id=name, title=DELETED, culprit="", suspect_commit=None, assignee=None, first_release=None, last_release=None,
        )  # fmt: skip

    def renamed(rows: list[Any], **values: str) -> list[Any]:
        return [change(row, project=name, **values) if row.project == slug else row for row in rows]

    t = report.transactions
    lists = ("slowest", "growing", "failing", "heaviest")
    found = _with_groups(report, nameless)
    return change(
        found,
        releases=change(report.releases, rows=renamed(report.releases.rows, version=DELETED)),
        transactions=change(t, **{each: renamed(getattr(t, each), name=DELETED, op="") for each in lists}),
        monitors=change(report.monitors, rows=renamed(report.monitors.rows, monitor=DELETED)),
        keys=renamed(report.keys, public_key=DELETED),
        projects=renamed(report.projects),
    )


def _with_groups(report: Report, change: Callable[[GroupRow], GroupRow]) -> Report:
    groups = report.groups
    lists = {name: [change(row) for row in getattr(groups, name)] for name in _LISTS}
    return msgspec.structs.replace(report, groups=msgspec.structs.replace(groups, **lists))
