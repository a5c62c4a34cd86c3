"""Exporting a person: everything that was found of them, as JSON lines by where it is, in one archive with an index."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import msgspec
from sqlalchemy import select

from tasks_pipeline.archive.opened import OpenedDay
from tasks_pipeline.erasure.archives import Archives
from tasks_pipeline.erasure.lake_rows import DOOMED
from tasks_pipeline.erasure.policy import STATE
from tasks_pipeline.erasure.texts import Texts
from tasks_pipeline.privacy.identity import Identity
from tasks_pipeline.privacy.person import Files, Person
from tasks_pipeline.privacy.raw import envelopes_of
from tasks_pipeline.storage.blobs import BlobMissing
from tasks_pipeline.storage.lake.tables import LAKE_TABLES, RECEIVED_TABLES
from tasks_pipeline.storage.state.tables import metadata
from tasks_pipeline.stores import Stores

ROWS = 200
"""Read at once: with payloads they are some megabytes."""
_UNSAFE = re.compile(r"[^0-9A-Za-z._-]+")


class ExportError(ValueError):
    """The archive cannot be written there; the message says why and what is allowed."""


def export_person(
    stores: Stores, identity: Identity, path: Path, on_unseen: Callable[[str], None] = lambda _why: None
) -> dict[str, int]:
    """Write an archive (zip), readable by its owner only; gives rows and files by where. Raises ExportError. `on_unseen` hears what of
    archived days could not be looked at, and why; the index says it too.

    The index names no more than kinds of identifiers: the rows say whose they are.
    """
    counts: dict[str, int] = {}
    with _new_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        person = Person(identity)
        archives = Archives(stores, person)
        with person.selected(stores) as selection, archives.doomed(selection) as conditions:
            for name in RECEIVED_TABLES:
                counts[f"lake.{name}"] = _lines(
                    archive, f"lake/{name}.jsonl", _rows(stores, name, conditions.get(name, "false"))
                )
            counts["files"] = _files(stores, archive, conditions["attachments"])
            texts = selection.texts
            alone = _raw_alone(stores, person.identity)
            counts["spool"] = _lines(archive, "spool/envelopes.jsonl", alone)
            archives.each_day(lambda day, wanted: _archived(archive, day, wanted, counts))
        for place in STATE:
            if place.columns and texts:
                found = _of_state(stores, place.name, texts, identity.project_id)
                counts[f"state.{place.name}"] = _lines(archive, f"state/{place.name}.jsonl", found)
        counts = {where: n for where, n in counts.items() if n}
        index = {"made_at": datetime.now(UTC).isoformat(), "identifiers": identity.kinds, "found": counts}
        if archives.problems:
            index["not_looked_at"] = archives.problems
        archive.writestr("index.json", json.dumps(index, indent=1))
    for why in archives.problems:
        on_unseen(why)
    return counts


def refuse_home(stores: Stores, path: Path) -> None:
    """Raise ExportError for a place within the home: it would be in backups, and stay."""
    if path.resolve().is_relative_to(stores.home.root.resolve()):
        raise ExportError(
            f"{path} is within the home of the installation: choose another folder, or give --into-home"
        )


def _new_file(path: Path) -> IO[bytes]:
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")
    except FileExistsError:
        raise ExportError(f"{path} is there already, and is not overwritten") from None
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error.strerror}") from error


def _lines(archive: zipfile.ZipFile, name: str, rows: Iterable[dict[str, Any]]) -> int:
    """Write rows as JSON lines; no file for none."""
    first = next(found := iter(rows), None)
    if first is None:
        return 0
    count = 0
    with archive.open(name, "w", force_zip64=True) as file:
        for row in _chained(first, found):
            file.write(msgspec.json.encode(row, enc_hook=str) + b"\n")
            count += 1
    return count


def _chained(first: dict[str, Any], rest: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield first
    yield from rest


def _archived(
    archive: zipfile.ZipFile, day: OpenedDay, wanted: Mapping[str, str], counts: dict[str, int]
) -> None:
    """Write what is the person's of an archived day, with the bytes of attachments."""
    folder = f"archive/{day.project_id}/{day.day}"
    for name, condition in wanted.items():
        pieces = day.pieces(
            f"SELECT {LAKE_TABLES[name].selected} FROM lake.{name} WHERE {condition}", rows=ROWS
        )
        rows = (row for piece in pieces for row in piece.to_pylist(maps_as_pydicts="lossy"))
        counts[f"archive.{name}"] = counts.get(f"archive.{name}", 0) + _lines(
            archive, f"{folder}/{name}.jsonl", rows
        )
    if "attachments" in wanted:
        files = day.query(
            f"SELECT name, digest FROM lake.attachments WHERE {wanted['attachments']} ORDER BY ALL"
        )
        count = sum(_file(day, archive, f"{folder}/files", n, row) for n, row in enumerate(files, start=1))
        counts["archive.files"] = counts.get("archive.files", 0) + count


def _rows(stores: Stores, name: str, condition: str) -> Iterator[dict[str, Any]]:
    """Rows of a table that are the person's, some at a time, in the order of their places."""
    place, last = "day, part, position, item", ""
    columns = LAKE_TABLES[name].selected
    while True:
        places = stores.lake.query(
            f"SELECT DISTINCT {place} FROM {DOOMED} WHERE name = '{name}' {last} ORDER BY {place} LIMIT {ROWS}"
        )
        if not places:
            return
        these = f"({place}) IN ({', '.join(map(_tuple, places))})"
        days = f"day BETWEEN DATE '{places[0]['day']}' AND DATE '{places[-1]['day']}'"
        yield from stores.lake.query(
            f"SELECT {columns} FROM lake.{name} WHERE {days} AND {these} AND ({condition}) ORDER BY {place}",
            payloads=name == "event_payloads",
        )
        last = f"AND ({place}) > {_tuple(places[-1])}"


def _tuple(row: dict[str, Any]) -> str:
    part = row["part"].replace("'", "''")
    return f"(DATE '{row['day']}', '{part}', {int(row['position'])}, {int(row['item'])})"


def _files(stores: Stores, archive: zipfile.ZipFile, condition: str) -> int:
    count = 0
    for row in _rows(stores, "attachments", condition):
        count += _file(stores.blobs, archive, "files", count + 1, row)
    return count


def _file(files: Files, archive: zipfile.ZipFile, folder: str, number: int, row: dict[str, Any]) -> bool:
    """Write the bytes of an attachment; gives whether they are there."""
    name = _UNSAFE.sub("_", row["name"])[-80:].lstrip(".") or "unnamed"
    try:
        with (
            files.open(row["digest"]) as blob,
            archive.open(f"{folder}/{number:05}-{name}", "w", force_zip64=True) as file,
        ):
            while piece := blob.read(1 << 20):
                file.write(piece)
    except BlobMissing:
        return False
    return True


def _raw_alone(stores: Stores, identity: Identity) -> Iterator[dict[str, Any]]:
    """Raw envelopes from which no row came: of others the rows say more."""
    for day, part, position, spooled, body in envelopes_of(stores, identity):
        (row,) = stores.lake.query(
            f"SELECT count(*) AS rows FROM {DOOMED} WHERE day = ? AND part = ? AND position = ?",
            [day, part, position],
        )
        if not row["rows"]:
            receipt = spooled.receipt
            yield {
                "received_at": receipt.received_at, "project_id": receipt.project_id, "meta": dict(receipt.meta),
                "body": body.decode("utf-8", "replace"),
            }  # fmt: skip


def _of_state(stores: Stores, name: str, texts: Texts, project_id: int | None) -> Iterator[dict[str, Any]]:
    table = metadata.tables[name]
    query = select(table)
    if project_id is not None and "project_id" in table.c:
        query = query.where(table.c.project_id == project_id)
    with stores.state.read() as connection:
        for row in connection.execute(query.execution_options(stream_results=True)):
            told = dict(row._mapping)
            if texts.are_in(msgspec.json.encode(told, enc_hook=str).decode()):
                yield told
