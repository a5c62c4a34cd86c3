"""Manifests: what a backup says of itself, a JSON file each. How the files that it names are kept is in target.py."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from tasks_pipeline.storage.state.database import HEAD

FORMAT = 1
_HASH_DIGITS = 16


class BackupError(Exception):
    """A backup cannot be made, read or restored; the message says why and what to do."""


class File(msgspec.Struct, frozen=True):
    """A file of a backup: what it is (`state/groups/0000.parquet`), the sha256 of its bytes, which it is stored by, how many they
    are, and how many rows it holds."""

    path: str
    sha256: str
    size: int
    rows: int = 0

    @property
    def store(self) -> str:
        """Which store it is of."""
        return self.path.partition("/")[0]

    @property
    def counted_as(self) -> str:
        """What its rows are counted as: `state/groups`, `lake/events`, `spool/2026-11-30/r0`."""
        words = self.path.split("/")
        return "/".join(words[:3] if words[0] == "spool" else words[:2])


class Manifest(msgspec.Struct, frozen=True):
    """A backup. `engine` is that of the databases, `revision` the schema of the state database, `sequences` the last numbers that
    were given by table and column, `flushed` the last segment of the tail that is in files. `left_out` and `problems` are for people."""

    format: int
    made_by: str
    dagster: str
    created_at: datetime
    engine: str
    revision: str
    sequences: dict[str, int]
    flushed: int
    tables: tuple[str, ...]
    rows: dict[str, int]
    left_out: tuple[str, ...]
    problems: tuple[str, ...]
    files: tuple[File, ...]

    def of(self, store: str) -> list[File]:
        """The files of a store, in order."""
        return [file for file in self.files if file.store == store]


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a backup: files, their bytes and rows, how long it took, and what is wrong. `stored` are the bytes that were not
    in the target before."""

    name: str
    files: int
    bytes: int
    rows: int
    seconds: float
    problems: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    stored: int = 0
    ok: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ok", not self.problems)


def counted_rows(files: tuple[File, ...]) -> dict[str, int]:
    """Rows by table and part."""
    rows: Counter[str] = Counter()
    for file in files:
        if file.store in ("state", "lake", "spool"):
            rows[file.counted_as] += file.rows
    return dict(sorted(rows.items()))


def encode(manifest: Manifest) -> tuple[str, bytes]:
    """The name of a manifest, which holds the time and proves the content, and its text."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    return f"{manifest.created_at:%Y%m%dT%H%M%SZ}-{_hash(text)}", text


def decode(name: str, text: bytes) -> Manifest:
    """A manifest from its text. Raises BackupError when it is damaged or of a newer version."""
    try:
        known: Mapping[str, object] = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _damaged(name) from error
    version = known.get("format") if isinstance(known, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise BackupError(
            f"backup {name} is of format {version} (made by {known.get('made_by')}), and this version reads those up to {FORMAT}:"
            " install the version that made it, or a newer one"
        )
    if name.rpartition("-")[2] != _hash(text):
        raise _damaged(name)
    try:
        manifest = msgspec.convert(known, Manifest)
    except msgspec.ValidationError as error:
        raise _damaged(name) from error
    if any(file.path.startswith("/") or ".." in file.path.split("/") for file in manifest.files):
        raise _damaged(name)  # a restore would write outside of the home
    return manifest


def check_version(name: str, manifest: Manifest) -> None:
    """Raises BackupError when the databases in it are of a newer version than this one."""
    if int(manifest.revision) > int(HEAD):
        raise BackupError(
            f"backup {name} was made by {manifest.made_by}: its state database has schema {manifest.revision}, and this version knows"
            f" those up to {HEAD}; install the version that made it, or a newer one"
        )


def _damaged(name: str) -> BackupError:
    return BackupError(f"the manifest of backup {name} is damaged: take another backup (`backup list`)")


def _hash(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:_HASH_DIGITS]
