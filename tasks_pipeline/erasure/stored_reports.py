"""Stored reports that tell of what goes: their files are made again without it, and the former ones go. What was counted stays."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import bindparam, select, tuple_, update

from tasks_pipeline.erasure.selection import Erased
from tasks_pipeline.erasure.texts import Texts
from tasks_pipeline.reports.files import files_of
from tasks_pipeline.reports.report import Report
from tasks_pipeline.reports.revisions import content_digest
from tasks_pipeline.reports.store import FORMER, JSON_FILE
from tasks_pipeline.retention.blobs import named_in_state
from tasks_pipeline.storage.blobs import BlobMissing
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import notifications, report_revisions
from tasks_pipeline.stores import Stores

ROWS = 100
_v = report_revisions.c


@dataclass(frozen=True, slots=True)
class Revision:
    """A stored revision of a report: its place, the digest of what it says, and those of its files by name."""

    report_id: int
    revision: int
    digest: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Anew:
    """A report as it is to be from now on; None for one of a schema that this version does not read: its files go."""

    report: Report | None


Without = Callable[[bytes], Anew | None]
"""Gives what the report of a report.json is without what goes; None where it holds nothing of it."""


def overwrite_reports(stores: Stores, texts: Texts) -> list[Erased]:
    """Have no revision hold one of the texts; gives how many did."""
    made = write_again(stores, lambda content: _without_texts(content, texts)) if texts else 0
    return [Erased("reports", made, "overwritten")] if made else []


def count_reports(stores: Stores, texts: Texts) -> list[Erased]:
    """Revisions whose files hold one of the texts; nothing is changed."""
    if not texts:
        return []
    found = sum(1 for _ in named_revisions(stores, lambda content: _without_texts(content, texts)))
    return [Erased("reports", found, "overwritten")] if found else []


def _without_texts(content: bytes, texts: Texts) -> Anew | None:
    document = msgspec.json.decode(content)
    if not texts.are_in(msgspec.json.encode(document).decode()):
        return None
    try:
        return Anew(msgspec.json.decode(msgspec.json.encode(texts.removed_within(document)), type=Report))
    except ValueError:  # it can be computed again
        return Anew(None)


def named_revisions(stores: Stores, without: Without) -> Iterator[tuple[Revision, Anew]]:
    """Revisions that hold something of what goes, with what they are without it."""
    for each in _revisions(stores.state):
        try:
            content = stores.blobs.get(each.files[JSON_FILE])
        except (BlobMissing, KeyError):  # its files are over
            continue
        anew = without(content)
        if anew is not None:
            yield each, anew


def _revisions(state: StateDatabase) -> Iterator[Revision]:
    place = (-1, -1)
    while True:
        query = select(_v.report_id, _v.revision, _v.digest, _v.files)
        behind = query.where(tuple_(_v.report_id, _v.revision) > place)
        with state.read() as connection:
            rows = connection.execute(behind.order_by(_v.report_id, _v.revision).limit(ROWS)).all()
        if not rows:
            return
        place = (rows[-1].report_id, rows[-1].revision)
        yield from (Revision(*row) for row in rows)


def write_again(stores: Stores, without: Without) -> int:
    """Write the files of reports again that hold something of what goes, and remove the former ones; gives how many revisions.

    A revision names its former files until they are gone, so that whoever is killed in between is followed by one who finds them.
    """
    count = 0
    for each, anew in named_revisions(stores, without):
        report = anew.report
        made = {} if report is None else files_of(report)
        new = {name: stores.blobs.put(content) for name, content in made.items()}
        over = [(name, digest) for name, digest in each.files.items() if digest not in new.values()]
        former = {f"{FORMER}{n}:{_name(name)}": digest for n, (name, digest) in enumerate(over)}
        _set_files(
            stores.state, each, new | former, each.digest if report is None else content_digest(report)
        )
        count += 1
    _drop_former(stores)
    return count


def _name(name: str) -> str:
    """The name that a file has, or had before it was a former one."""
    return name.split(":", 2)[2] if name.startswith(FORMER) else name


def _drop_former(stores: Stores) -> None:
    new: dict[str, str] = {}
    former: set[str] = set()
    changed: list[Revision] = []
    for each in _revisions(stores.state):
        over = {name: digest for name, digest in each.files.items() if name.startswith(FORMER)}
        if over:
            former.update(over.values())
            new |= {old: each.files[_name(name)] for name, old in over.items() if _name(name) in each.files}
            changed.append(each)
    if not changed:
        return
    _rename_in_messages(stores.state, new)
    sweep_unnamed(stores, former)
    for each in changed:
        files = {name: digest for name, digest in each.files.items() if not name.startswith(FORMER)}
        _set_files(stores.state, each, files, each.digest)


def _set_files(state: StateDatabase, revision: Revision, files: Mapping[str, str], digest: str) -> None:
    place = _v.report_id == revision.report_id, _v.revision == revision.revision
    with state.write() as connection:
        connection.execute(update(report_revisions).where(*place).values(files=dict(files), digest=digest))


def _rename_in_messages(state: StateDatabase, new: Mapping[str, str]) -> None:
    """Have messages name the new files where they named the old ones: they may have to be sent."""
    n = notifications.c
    with state.write() as connection:
        sent = connection.execute(select(n.id, n.data).where(n.type == "report")).all()
        moved = [
            {"old": each.id, "new": named}
            for each in sent
            if (named := _renamed(each.data, new)) != each.data
        ]
        if moved:
            connection.execute(
                update(notifications).where(n.id == bindparam("old")).values(data=bindparam("new")), moved
            )


def _renamed(value: Any, new: Mapping[str, str]) -> Any:
    match value:
        case str():
            return new.get(value, value)
        case dict():
            return {key: _renamed(each, new) for key, each in value.items()}
        case list():
            return [_renamed(each, new) for each in value]
    return value


def report_digests(state: StateDatabase) -> set[str]:
    """Blobs that reports name: not those that they had before."""
    files = (each.files for each in _revisions(state))
    return {digest for named in files for name, digest in named.items() if not name.startswith(FORMER)}


def sweep_unnamed(stores: Stores, digests: Collection[str]) -> int:
    """Remove those of some blobs that no row of the state database names; gives how many."""
    with stores.state.read() as connection:
        named = set(named_in_state(connection, sorted(digests)))
    return sweep(stores, set(digests) - named)


def sweep(stores: Stores, digests: Collection[str]) -> int:
    """Remove blobs, unless somebody stores them at the same time; gives how many."""
    before = datetime.now(UTC)
    return sum(stores.blobs.sweep(digest, before) for digest in sorted(digests))
