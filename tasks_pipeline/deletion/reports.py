"""Reports that name what goes: their files are written again without its names and texts. What was counted stays."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import select, tuple_, update

from tasks_pipeline.reports.files import files_of
from tasks_pipeline.reports.report import GroupRow, Report
from tasks_pipeline.reports.store import ReportMissing, report_in
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import report_revisions
from tasks_pipeline.stores import Stores

DELETED = "(deleted)"
FORMER = "former:"
"""Before names of files that a revision does not have any more."""
PAGE = 100
_LISTS = ("top", "top_by_users", "new", "returning", "noisy")
_v = report_revisions.c


@dataclass(frozen=True, slots=True)
class Revision:
    """A stored revision of a report: its place, and the digests of its files by name."""

    report_id: int
    revision: int
    files: Mapping[str, str]


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


def named_revisions(stores: Stores, without: Callable[[Report], Report]) -> Iterator[tuple[Revision, Report]]:
    """Revisions that hold something of what goes, with what they are without it."""
    for each in _revisions(stores.state):
        try:
            report = report_in(stores.blobs, each.files)
        except ReportMissing:
            continue  # its files are gone
        changed = without(report)
        if changed != report:
            yield each, changed


def _revisions(state: StateDatabase) -> Iterator[Revision]:
    place = (-1, -1)
    while True:
        query = select(_v.report_id, _v.revision, _v.files).where(tuple_(_v.report_id, _v.revision) > place)
        with state.read() as connection:
            rows = connection.execute(query.order_by(_v.report_id, _v.revision).limit(PAGE)).all()
        if not rows:
            return
        place = (rows[-1].report_id, rows[-1].revision)
        yield from (Revision(*row) for row in rows)


def write_again(stores: Stores, without: Callable[[Report], Report]) -> int:
    """Write the files of reports again that hold something of what goes, and remove the former ones; gives how many revisions.

    A revision names its former files until they are gone, so that whoever is killed in between is followed by one who finds them.
    """
    count = 0
    for each, report in named_revisions(stores, without):
        new = {name: stores.blobs.put(content) for name, content in files_of(report).items()}
        former = sorted(set(each.files.values()) - set(new.values()))
        _set_files(
            stores.state, each, new | {f"{FORMER}{number}": digest for number, digest in enumerate(former)}
        )
        count += 1
    _drop_former(stores)
    return count


def _drop_former(stores: Stores) -> None:
    former: set[str] = set()
    changed: list[Revision] = []
    for each in _revisions(stores.state):
        names = {name: digest for name, digest in each.files.items() if name.startswith(FORMER)}
        if names:
            former.update(names.values())
            changed.append(each)
    if not changed:
        return
    sweep(stores, former - report_digests(stores.state))
    for each in changed:
        files = {name: digest for name, digest in each.files.items() if not name.startswith(FORMER)}
        _set_files(stores.state, each, files)


def _set_files(state: StateDatabase, revision: Revision, files: Mapping[str, str]) -> None:
    place = _v.report_id == revision.report_id, _v.revision == revision.revision
    with state.write() as connection:
        connection.execute(update(report_revisions).where(*place).values(files=dict(files)))


def report_digests(state: StateDatabase) -> set[str]:
    """Blobs that reports name: not those that they had before."""
    files = (each.files for each in _revisions(state))
    return {digest for named in files for name, digest in named.items() if not name.startswith(FORMER)}


def sweep(stores: Stores, digests: Collection[str]) -> int:
    """Remove blobs that nothing names, unless somebody stores them at the same time; gives how many."""
    before = datetime.now(UTC)
    return sum(stores.blobs.sweep(digest, before) for digest in sorted(digests))
