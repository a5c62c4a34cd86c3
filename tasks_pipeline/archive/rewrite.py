"""Taking rows out of archives, for what is deleted on purpose: files are written again without them.

```
rewritten    files   new files beside the old ones, of all tables of a part
             …       who asked remembers what goes, and that the old manifest is over
publish      file    the new manifest: from here on the rows are gone
sweep                files that no manifest names any more
```

The caller holds the lock `archive`. A process that dies leaves the old part or the new one, and files that the next one sweeps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import replace

from tasks_pipeline.archive.manifest import Manifest, Table, Taken
from tasks_pipeline.archive.opened import OpenedDay, OpenedPart
from tasks_pipeline.archive.store import MANIFEST, Archive, Part
from tasks_pipeline.archive.verify import look
from tasks_pipeline.archive.write import BLOBS, READ_ROWS, ROW_GROUP, stored_rows
from tasks_pipeline.storage.lake.tables import LAKE_TABLES

Changed = Callable[[pa.Table], tuple[pa.Table, int]]
"""Gives the rows of a piece as they are to be from then on, without those that go, and how many that concerns."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A part whose new files are there: `manifest` says of them, `taken` how many rows and blobs go of what, `changed` how many rows of
    groups say something else."""

    part: Part
    before: Manifest
    manifest: Manifest
    taken: Mapping[str, int]
    blobs: int
    changed: Mapping[str, int]


def counted(day: OpenedDay, gone: Mapping[str, str]) -> Counter[str]:
    """How many rows of a day meet the condition of their table."""
    found = Counter[str]()
    for name, condition in gone.items():
        if any(each.manifest.table(name) for each in day.parts):
            (row,) = day.query(f"SELECT count(*) AS rows FROM lake.{name} WHERE {condition}")
            found[name] += row["rows"]
    return +found


def rewritten(
    day: OpenedDay, each: OpenedPart, gone: Mapping[str, str], changed: Mapping[str, Changed], reason: str
) -> Rewritten | None:
    """Write the files of a part again without rows that meet the condition of their table, and with what is changed of those of groups;
    None where nothing of it is concerned."""
    tables: list[Table] = []
    taken, other = Counter[str](), Counter[str]()
    for table in each.manifest.tables:
        new = table
        if table.name in gone and (rows := _matching(day, each, table, gone[table.name])):
            for file in table.files:  # from here on rows leave DuckDB's memory, in pieces of so many
                look(day.archive, each.part, table, file, each.paths[file.name])
            new = _stored(day, each, table, _rest(day, each, table, gone[table.name]))
            taken[table.name] = rows
        elif table.name in changed and (rows := _differing(each, table, changed[table.name])):
            new = _stored(day, each, table, _pieces(each, table, changed[table.name]))
            other[table.name] = rows
        tables.append(new)
    if not taken and not other:
        return None
    manifest = replace(each.manifest, tables=tuple(tables), taken=_added(each.manifest.taken, taken, reason))
    if "attachments" in taken:
        digests = _digests(day, each, gone["attachments"])
        manifest = replace(manifest, blobs=tuple(blob for blob in manifest.blobs if blob.name in digests))
    blobs = len(each.manifest.blobs) - len(manifest.blobs)
    return Rewritten(each.part, each.manifest, manifest, taken, blobs, other)


def sweep(archive: Archive, part: Part, manifest: Manifest) -> None:
    """Remove the files of a part that its manifest does not name."""
    named = {f"{part.path}/{file.name}" for file in manifest.files}
    named |= {f"{part.path}/{BLOBS}{blob.name}" for blob in manifest.blobs}
    for path in archive.tree.find(part.path):
        if path not in named and path != f"{part.path}/{MANIFEST}":
            archive.tree.remove(path)


def _added(known: Sequence[Taken], taken: Mapping[str, int], reason: str) -> tuple[Taken, ...]:
    rows = Counter({(each.table, each.reason): each.rows for each in known})
    rows.update({(table, reason): count for table, count in taken.items()})
    return tuple(Taken(*key, count) for key, count in sorted(rows.items()))


def _matching(day: OpenedDay, each: OpenedPart, table: Table, condition: str) -> int:
    found = 0
    for file in table.files:
        source = day.table_of(each, table, file)
        (row,) = day.query(f"SELECT count(*) AS rows FROM {source} WHERE {condition}")
        found += row["rows"]
    return found


def _rest(day: OpenedDay, each: OpenedPart, table: Table, condition: str) -> Iterator[pa.Table]:
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    for file in table.files:
        schema = pq.read_schema(each.paths[file.name])
        source = day.table_of(each, table, file)
        rows = LAKE_TABLES[table.name].row_group if table.name == "event_payloads" else READ_ROWS
        for piece in day.pieces(f"SELECT {columns} FROM {source} WHERE ({condition}) IS NOT TRUE", rows=rows):
            yield piece.cast(schema)


def _stored(day: OpenedDay, each: OpenedPart, table: Table, pieces: Iterator[pa.Table]) -> Table:
    schema = pq.read_schema(each.paths[table.files[0].name])
    group = LAKE_TABLES[table.name].row_group if table.name in LAKE_TABLES else ROW_GROUP
    number = max(_number_of(file.name) for file in table.files) + 1
    filled = (piece for piece in pieces if piece.num_rows)
    files = tuple(stored_rows(day.archive, each.part, table.name, schema, filled, group, number))
    return replace(table, files=files, rows=sum(file.rows for file in files))


def _pieces(each: OpenedPart, table: Table, change: Changed) -> Iterator[pa.Table]:
    yield from (change(piece)[0] for piece in _read(each, table))


def _differing(each: OpenedPart, table: Table, change: Changed) -> int:
    """How many rows of a table go or are others."""
    return sum(change(piece)[1] for piece in _read(each, table))


def _read(each: OpenedPart, table: Table) -> Iterator[pa.Table]:
    for file in table.files:
        with pq.ParquetFile(each.paths[file.name]) as opened:
            for number in range(opened.num_row_groups):
                yield opened.read_row_group(number)


def _number_of(file: str) -> int:
    """The number of a file in its name."""
    words = file.split(".")
    return int(words[1]) if len(words) == 3 and words[1].isdecimal() else 1


def _digests(day: OpenedDay, each: OpenedPart, gone: str) -> set[str]:
    """Digests that rows which stay name."""
    table = each.manifest.table("attachments")
    found: set[str] = set()
    for file in table.files if table else ():
        source = day.table_of(each, table, file) if table else ""
        rows = day.query(f"SELECT DISTINCT digest FROM {source} WHERE ({gone}) IS NOT TRUE")
        found.update(row["digest"] for row in rows)
    return found
