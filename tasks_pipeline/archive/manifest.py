"""Manifests: what an archived part of a day says of itself, a JSON file each. Where it lies is in store.py."""

from __future__ import annotations

import hashlib
import re
from datetime import date, datetime

import msgspec
import pyarrow as pa
from msgspec.structs import replace

FORMAT = 1
LAKE, STATE = "lake", "state"
_FILE = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,99}")
_WORD = re.compile(r"[A-Za-z_][0-9A-Za-z_]{0,99}")
_TYPES = {
    "text": pa.types.is_string, "bytes": pa.types.is_binary, "int64": pa.types.is_int64, "int32": pa.types.is_int32,
    "double": pa.types.is_float64, "bool": pa.types.is_boolean, "date": pa.types.is_date, "timestamp": pa.types.is_timestamp,
}  # fmt: skip


class ArchiveError(Exception):
    """An archive cannot be written, read or restored; the message says why and what to do. Nothing was touched."""


class Column(msgspec.Struct, frozen=True):
    """A column and its type."""

    name: str
    type: str


class Stored(msgspec.Struct, frozen=True):
    """A Parquet file: its name beside the manifest, the rows in it, the number and the sha256 of its bytes."""

    name: str
    rows: int
    size: int
    sha256: str


class Table(msgspec.Struct, frozen=True):
    """A table: `of` says whether it is one of the lake or of the state database, `files` together hold its rows."""

    name: str
    of: str
    columns: tuple[Column, ...]
    rows: int
    files: tuple[Stored, ...]


class Taken(msgspec.Struct, frozen=True):
    """Rows of a table that were deleted on purpose since they were archived, and why: `privacy` or `deleted`."""

    table: str
    reason: str
    rows: int


class Manifest(msgspec.Struct, frozen=True):
    """What was archived of a day, a project and a category of the policy at once.

    `whole` is false when rows of the same were removed before and are in no archive. `blobs` are files beside it, by the sha256 of their
    bytes; `missing` are those that were gone already. `taken` says what was deleted on purpose since. `proof` is the sha256 of all the rest.
    """

    format: int
    made_by: str
    archived_at: datetime
    project_id: int
    project: str
    day: date
    category: str
    reason: str
    whole: bool
    tables: tuple[Table, ...]
    blobs: tuple[Stored, ...] = ()
    missing: tuple[str, ...] = ()
    taken: tuple[Taken, ...] = ()
    proof: str = ""

    def table(self, name: str) -> Table | None:
        """A table by its name."""
        return next((each for each in self.tables if each.name == name), None)

    @property
    def of_lake(self) -> tuple[Table, ...]:
        """The tables of the lake."""
        return tuple(each for each in self.tables if each.of == LAKE)

    @property
    def rows(self) -> int:
        """Rows of the lake in it."""
        return sum(each.rows for each in self.of_lake)

    @property
    def files(self) -> tuple[Stored, ...]:
        """All files of tables."""
        return tuple(file for each in self.tables for file in each.files)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in (*self.files, *self.blobs))


def columns_of(schema: pa.Schema) -> tuple[Column, ...]:
    """Columns as a manifest has them."""
    return tuple(Column(each.name, _type_of(each.type)) for each in schema)


def _type_of(kind: pa.DataType) -> str:
    """A type in words of our own: those of Arrow change with its versions, and with a way through a file."""
    if pa.types.is_map(kind):
        return f"map({_type_of(kind.key_type)}, {_type_of(kind.item_type)})"
    if pa.types.is_list(kind):
        return f"list({_type_of(kind.value_type)})"
    return next((name for name, is_it in _TYPES.items() if is_it(kind)), str(kind))


def encode(manifest: Manifest) -> bytes:
    """The text of a manifest, with its proof."""
    return msgspec.json.format(msgspec.json.encode(replace(manifest, proof=_proof(manifest))), indent=1)


def decode(path: str, text: bytes) -> Manifest:
    """A manifest from its text. Raises ArchiveError when it is damaged or of a newer format."""
    try:
        known: object = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged(path) from error
    version = known.get("format") if isinstance(known, dict) else None
    if isinstance(version, int) and version > FORMAT:
        made_by = str(known.get("made_by"))[:80] if isinstance(known, dict) else ""
        raise ArchiveError(
            f"{path} is of format {version} (made by {made_by}), and this version reads those up to {FORMAT}: "
            "install the version that made it, or a newer one"
        )
    try:
        manifest = msgspec.convert(known, Manifest)
    except msgspec.ValidationError as error:
        raise _damaged(path) from error
    if manifest.proof != _proof(manifest) or not _is_plain(manifest):
        raise _damaged(path)
    return manifest


def _is_plain(manifest: Manifest) -> bool:
    """Whether files lie beside the manifest, and names are such as we give: they become paths, and words of SQL."""
    files = (file.name for file in (*manifest.files, *manifest.blobs))
    words = [table.name for table in manifest.tables]
    words += [column.name for table in manifest.tables for column in table.columns]
    return all(map(_FILE.fullmatch, files)) and all(map(_WORD.fullmatch, words))


def _proof(manifest: Manifest) -> str:
    return hashlib.sha256(msgspec.json.encode(replace(manifest, proof=""))).hexdigest()


def _damaged(path: str) -> ArchiveError:
    return ArchiveError(f"{path} is damaged: bring it back from a copy of the archive")
