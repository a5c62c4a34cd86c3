"""Reports that tell of what goes: their files are made again without it, in the place of the old ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, select, update

from tasks_pipeline.erasure.selection import Erased
from tasks_pipeline.erasure.texts import Texts
from tasks_pipeline.reports.files import files_of
from tasks_pipeline.reports.report import Report
from tasks_pipeline.reports.revisions import content_digest
from tasks_pipeline.reports.store import JSON_FILE
from tasks_pipeline.retention.blobs import named_in_state
from tasks_pipeline.storage.blobs import BlobMissing
from tasks_pipeline.storage.state.tables import notifications, report_revisions
from tasks_pipeline.stores import Stores

_v = report_revisions.c
ROWS = 200


def overwrite_reports(stores: Stores, texts: Texts) -> list[Erased]:
    """Make files of revisions again that hold one of the texts; the old ones go at once. Gives how many revisions."""
    made = 0
    for row, document in _telling(stores, texts):
        content = msgspec.json.encode(texts.removed_within(document))
        before = dict(row.files)
        try:
            report = msgspec.json.decode(content, type=Report)
        except ValueError:  # of a schema that this version does not read: it can be computed again
            digest, files = row.digest, {}
        else:
            digest = content_digest(report)
            files = {name: stores.blobs.put(data) for name, data in files_of(report).items()}
        _exchange(stores, row, digest, before, files)
        made += 1
    return [Erased("reports", made, "overwritten")] if made else []


def count_reports(stores: Stores, texts: Texts) -> list[Erased]:
    """Revisions whose files hold one of the texts; nothing is changed."""
    found = sum(1 for _ in _telling(stores, texts))
    return [Erased("reports", found, "overwritten")] if found else []


def _telling(stores: Stores, texts: Texts) -> Iterator[tuple[Row[Any], Any]]:
    """Revisions whose files hold a text, with what report.json says."""
    query = select(_v.report_id, _v.revision, _v.digest, _v.files).order_by(_v.report_id, _v.revision)
    last = (0, 0)
    while texts:
        with stores.state.read() as connection:
            behind = (_v.report_id > last[0]) | ((_v.report_id == last[0]) & (_v.revision > last[1]))
            rows = connection.execute(query.where(behind).limit(ROWS)).all()
        for row in rows:
            last = row.report_id, row.revision
            try:
                content = stores.blobs.get(row.files[JSON_FILE])
            except (BlobMissing, KeyError):  # its files are over
                continue
            document = msgspec.json.decode(content)
            if texts.are_in(msgspec.json.encode(document).decode()):
                yield row, document
        if len(rows) < ROWS:
            return


def _exchange(
    stores: Stores, row: Row[Any], digest: str, before: Mapping[str, str], files: Mapping[str, str]
) -> None:
    """Name the new files where the old ones were named, and remove those that nothing names any more."""
    new = {old: files[name] for name, old in before.items() if name in files}
    n = notifications.c
    with stores.state.write() as connection:
        this = (_v.report_id == row.report_id) & (_v.revision == row.revision)
        connection.execute(update(report_revisions).where(this).values(digest=digest, files=dict(files)))
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
    gone = sorted(set(before.values()) - set(files.values()))
    with stores.state.read() as connection:
        named = set(named_in_state(connection, gone))
    for old in gone:
        if old not in named:
            stores.blobs.sweep(old, datetime.now(UTC))


def _renamed(value: Any, new: Mapping[str, str]) -> Any:
    match value:
        case str():
            return new.get(value, value)
        case dict():
            return {key: _renamed(each, new) for key, each in value.items()}
        case list():
            return [_renamed(each, new) for each in value]
    return value
