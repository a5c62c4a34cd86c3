"""storage_health: what each store takes, whether the files of the lake are those of its catalog, and when the disk will be full."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tasks_pipeline.storage.lake.catalog import StoredFile
from tasks_pipeline.storage.lake.compaction import ORPHANS_AFTER
from tasks_pipeline.storage.lake.files import LyingFile, lying_files
from tasks_pipeline.storage.sizes import disk_of
from tasks_pipeline.stores import Stores
from tasks_pipeline.upkeep import findings
from tasks_pipeline.upkeep.forecast import days_until_full
from tasks_pipeline.upkeep.volumes import Volume, bytes_by_store, volumes


@dataclass(frozen=True, slots=True)
class LakeFiles:
    """Files of the lake against its catalog: in sentences what is `missing` or of another size than it should be, and the `orphans`,
    which the catalog does not name, though nobody can be about to register them any more."""

    named: int
    missing: list[str]
    orphans: list[LyingFile]


@dataclass(frozen=True, slots=True)
class StorageHealth:
    """Bytes by store, the volumes they are made of, free and whole disk in bytes, days until it is full (None: not known yet)."""

    stores: dict[str, int]
    volumes: list[Volume]
    files: LakeFiles
    free: int
    total: int
    days_until_full: float | None


def look_at_storage(stores: Stores, now: datetime) -> StorageHealth:
    """Look at all stores, and remember what the watch has to tell of."""
    files = look_at_lake_files(stores, now)
    findings.note_finding(stores.state, findings.FILES, files.missing, now)
    free, total = disk_of(stores.home)
    readings = findings.note_free_disk(stores.state, free, now)
    found = volumes(stores)
    return StorageHealth(bytes_by_store(found), found, files, free, total, days_until_full(readings))


def look_at_lake_files(stores: Stores, now: datetime) -> LakeFiles:
    """Compare the files that lie there with those that the catalog names, while others write and remove some."""
    before = stores.lake.stored_files()
    lying = {file.path: file for file in lying_files(stores.home)}
    after = {file.path: file for file in stores.lake.stored_files()}
    named = {file.path for file in before} | after.keys()
    # What is named before and after has to be there all the time; what only one of them names comes or goes just now.
    missing = [
        f"{_short(file)}: {wrong}"
        for file in before
        if file.path in after and (wrong := _wrong(after[file.path], lying.get(file.path)))
    ]
    old = now - ORPHANS_AFTER
    orphans = [
        file for path, file in lying.items() if path not in named and file.at is not None and file.at < old
    ]
    return LakeFiles(len(named), missing, orphans)


def _wrong(file: StoredFile, there: LyingFile | None) -> str:
    if not file.table:
        return ""  # to be removed, and perhaps it is
    if there is None:
        return "is not there"
    return "" if there.size == file.size else f"has {there.size:,} bytes, and the catalog says {file.size:,}"


def _short(file: StoredFile) -> str:
    return "/".join(Path(file.path).parts[-3:])
