"""What an installation holds, row by row, and what of it is wrong after a kill: compared with one that nobody disturbed."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tasks_pipeline.archive.store import open_archive
from tasks_pipeline.archive.verify import verify_archive
from tasks_pipeline.erasure.certificate import certificates
from tasks_pipeline.processing.books import books_of_lake, books_of_state
from tasks_pipeline.retention.blobs import named_in_state
from tasks_pipeline.storage.lake.catalog import known_paths
from tasks_pipeline.storage.lake.tables import LAKE_TABLES
from tasks_pipeline.storage.state.erasures import open_requests
from tasks_pipeline.storage.state.tables import metadata
from tasks_pipeline.stores import Stores

Rows = dict[str, list[dict[str, Any]]]
NOT_COMPARED = frozenset(
    {
        "state.drains",
        "state.day_changes",
        "state.erasures",
        "state.probes",
        "state.analytics_outbox",
        "lake.analytics_events",
    }
)
"""What says how often something was tried, not what there is. Facts are counted by what they say (`facts`)."""
TEMPORARY = re.compile(r"\.tmp$|/\.drafts/.|/\.draft-|/run/duckdb/.|/blobs/../\.|/tasks-pipeline-\d+/.")


@dataclass
class Content:
    """All that an installation holds: rows by store and table, and what is wrong by itself."""

    rows: Rows = field(default_factory=dict)
    orphans: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)


def content(stores: Stores, root: Path) -> Content:
    """Everything, below a folder that holds the home and what lies beside it."""
    found = Content(rows=rows_of(stores))
    found.orphans = [*_files(stores), *_blobs(stores), *_temporary(root)]
    found.unfinished = [*_open(stores), *_unbalanced(stores), *_archive(stores, found.rows)]
    found.rows["certificates"] = [{"valid": each["valid"]} for each in certificates(stores.home)]
    return found


def rows_of(stores: Stores) -> Rows:
    """Rows of lake, state and spool, and blobs."""
    rows = lake_rows(stores)
    with stores.state.read() as connection:
        for table in metadata.sorted_tables:
            rows[f"state.{table.name}"] = [dict(row._mapping) for row in connection.execute(select(table))]
    for day in stores.spool.days():
        for part in sorted(stores.spool.totals(day)):
            for each in stores.spool.read(day, part, 0):
                rows.setdefault(f"spool {day}", []).append(
                    {"part": part, "position": each.position, "body": _digest(each.receipt)}
                )
    rows["blobs"] = [{"digest": digest} for digest in stores.blobs.digests()]
    rows["facts"] = list(_facts(rows))
    return rows


def lake_rows(stores: Stores, tables: Iterable[str] = LAKE_TABLES) -> Rows:
    """Rows of tables of the lake, with their payloads."""
    return {
        f"lake.{name}": stores.lake.query(f"SELECT * FROM lake.{name}", payloads=name == "event_payloads")
        for name in tables
    }


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


def _facts(rows: Rows) -> Iterator[dict[str, Any]]:
    """Of facts what they say of removals: rows by table and day."""
    gone = Counter[tuple[str, str]]()
    for row in rows["state.analytics_outbox"]:
        data = row["data"] or {}
        if row["type"] == "retention.dropped":
            gone[str(data.get("what")), str(data.get("day"))] += int(data.get("rows", 0))
    for (what, day), count in sorted(gone.items()):
        yield {"what": what, "day": day, "rows": count}


# ── what is wrong by itself


def _files(stores: Stores) -> Iterator[str]:
    """Files that no snapshot knows, and files that the catalog names and that are not there."""
    folder = Path(stores.home.lake_files)
    there = {str(path) for path in folder.rglob("*.parquet")}
    live = {each.path for each in stores.lake.live_files()}
    yield from (f"is gone: {path}" for path in sorted(live - there))
    unknown = there - live
    if unknown:
        with stores.lake.lock():
            yield from (
                f"nobody knows {path}"
                for path in sorted(unknown - known_paths(stores.lake._stored, stores.home, unknown))
            )


def _blobs(stores: Stores) -> Iterator[str]:
    digests = set(stores.blobs.digests())
    rows = stores.lake.query("SELECT DISTINCT digest FROM lake.attachments WHERE digest IS NOT NULL")
    with stores.state.read() as connection:
        named = {
            each for each in named_in_state(connection, sorted(digests)) if re.fullmatch("[0-9a-f]{64}", each)
        }
    named |= {row["digest"] for row in rows}
    yield from (f"blob {digest} is gone" for digest in sorted(named - digests))
    yield from (f"nobody needs blob {digest}" for digest in sorted(digests - named))


def _temporary(root: Path) -> Iterator[str]:
    for path in sorted([*root.rglob("*"), *root.rglob(".*")]):
        if path.is_file() and TEMPORARY.search(str(path)):
            yield f"left: {path.relative_to(root)}"


def _open(stores: Stores) -> Iterator[str]:
    with stores.state.read() as connection:
        yield from (f"open: {request.kind}" for request in open_requests(connection))


def _unbalanced(stores: Stores) -> Iterator[str]:
    for day in stores.spool.days():
        for books in (books_of_lake(stores, day), books_of_state(stores, day)):
            if books.difference:
                yield f"books of {day}: {books}"


def _archive(stores: Stores, rows: Rows) -> Iterator[str]:
    url = stores.config.retention.archive_url
    if url is None or not Path(url).exists():
        return
    report = verify_archive(open_archive(stores.home, url))
    rows["archive"] = [{"rows": report.rows}]
    yield from map(str, [*report.problems, *report.unfinished])


# ── compared


@dataclass(frozen=True)
class Reference:
    """What should be there: rows by table, each as the text of those columns on which two runs that nobody disturbed agree."""

    rows: Mapping[str, Counter[str]]
    columns: Mapping[str, tuple[str, ...]]
    before: Mapping[str, Counter[str]]


def reference(one: Rows, other: Rows, before: Rows) -> Reference:
    """Of two runs that nobody disturbed, and what was there before. Raises SystemExit where they differ in more than columns."""
    columns = {}
    for name in sorted({*one, *other} - NOT_COMPARED):
        if len(one.get(name, ())) != len(other.get(name, ())):
            raise SystemExit(
                f"two runs without a kill left {len(one.get(name, ()))} and {len(other.get(name, ()))} rows of {name}"
            )
        rows, others = one[name], other[name]
        columns[name] = tuple(
            column for column in (rows[0] if rows else ())
            if sorted(repr(row[column]) for row in rows) == sorted(repr(row[column]) for row in others)
        )  # fmt: skip
    return Reference(
        {name: _texts(one[name], columns[name]) for name in columns},
        columns,
        {
            name: _texts(rows, columns.get(name, ()))
            for name, rows in before.items()
            if name not in NOT_COMPARED
        },
    )


def _texts(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> Counter[str]:
    return Counter(repr([row.get(column) for column in columns]) for row in rows)


def lost(rows: Rows, wanted: Reference) -> list[str]:
    """Rows that stay and are not there: what readers miss between a kill and the next run."""
    found = []
    for name, of_table in rows.items():
        if name in wanted.rows:
            missing = wanted.rows[name] - _texts(of_table, wanted.columns[name])
            found += [f"{name}: {row}" for row in missing.elements()]
    return found


@dataclass
class Verdict:
    """What is wrong after a kill and another run, by its kind, each in words."""

    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    came_back: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)


def judge(found: Content, wanted: Reference) -> Verdict:
    """Row by row: what is missing, twice there, back although it went, or something else than it should be."""
    verdict = Verdict(orphans=found.orphans, unfinished=found.unfinished)
    for name in sorted({*wanted.rows, *found.rows} - NOT_COMPARED):
        right = wanted.rows.get(name, Counter())
        there = _texts(found.rows.get(name, []), wanted.columns.get(name, ()))
        verdict.missing += [f"{name}: {row}" for row in (right - there).elements()]
        for row in (there - right).elements():
            kind = (
                verdict.doubled
                if row in right
                else verdict.came_back
                if row in wanted.before.get(name, ())
                else verdict.changed
            )
            kind.append(f"{name}: {row}")
    return verdict
