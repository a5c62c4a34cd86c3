"""Places of archived rows beside those of the lake: what of an archive is stored there now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq

from tasks_pipeline.archive.manifest import ArchiveError, Manifest, Table
from tasks_pipeline.archive.store import Archive, Part
from tasks_pipeline.storage.decoding import Undecodable, prove
from tasks_pipeline.storage.lake.lake import Lake

PLACE = ["part", "position", "item"]
"""Where an item lay in the spool of its day: rows with the same are of one item, and go together."""
OF_PROJECT = ["project_id", *PLACE]
"""The same with the project: outcomes of several projects are counted at one place, that of their batch."""
ENVELOPE = PLACE[:2]
"""Where its envelope lay, which holds one event at most, with its attachments."""


def are_all_stored(lake: Lake, archive: Archive, part: Part, manifest: Manifest) -> bool:
    """Whether the lake holds each archived row of a part. Raises ArchiveError when a file is damaged: nobody knows then."""
    return all(
        stored_places(lake, part.day, part.project_id, table.name, places_of(archive, part, table))
        == table.rows
        for table in manifest.of_lake
    )


def places_of(archive: Archive, part: Part, table: Table) -> Iterator[pa.Table]:
    """The places of the archived rows of a table, in pieces of a row group. Raises ArchiveError."""
    for stored in table.files:
        with archive.at_hand(part, stored) as path:
            try:
                prove(path, PLACE)
                with pq.ParquetFile(path, page_checksum_verification=True) as file:
                    # Three narrow columns: a project whose oldest events go each night has many parts of a day.
                    for group in range(file.num_row_groups):
                        yield file.read_row_group(group, PLACE)
            except (Undecodable, pa.ArrowInvalid, OSError) as error:
                raise ArchiveError(
                    f"{archive.url}/{part.path}/{stored.name} cannot be read ({error}): bring it back from a copy of the archive"
                ) from error


def stored_places(lake: Lake, day: date, project_id: int, table: str, places: Iterator[pa.Table]) -> int:
    """How many of these rows the lake holds an item of."""
    with lake.given("archived_places", places):
        (found,) = lake.query(
            f"SELECT count(*) AS rows FROM archived_places SEMI JOIN (SELECT part, position, item FROM lake.{table} "
            "WHERE day = $day AND project_id = $project) AS s USING (part, position, item)",
            {"day": day, "project": project_id},
        )
    return int(found["rows"])


def places_in_lake(lake: Lake, day: date, project_ids: Sequence[int], table: str) -> pa.Table:
    """The places of a day and of projects that the lake holds rows of, each with its project."""
    among = ", ".join(str(int(each)) for each in project_ids)
    return lake.arrow(
        f"SELECT DISTINCT {', '.join(OF_PROJECT)} FROM lake.{table} WHERE day = $day AND project_id IN ({among})",
        {"day": day},
    )


def without(piece: pa.Table, places: pa.Table) -> pa.Table:
    """The rows of a piece that are at none of these places, or in none of these envelopes where they name no item."""
    if not places.num_rows or not piece.num_rows:
        return piece
    names = places.column_names
    keys = piece.select(names).append_column("row", pa.array(range(piece.num_rows), pa.int64()))
    left = keys.join(places.cast(keys.select(names).schema), names, join_type="left anti")
    return piece.take(left["row"].combine_chunks().sort())
