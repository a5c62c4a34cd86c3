"""Manifests of archives are of whoever can write there: a name in one is no path out of its folder, and no SQL."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from tasks_pipeline.archive.manifest import ArchiveError, Column, Manifest, Stored, Table, decode, encode

SHA = "a" * 64


def manifest(
    file: str = "events.2.parquet", blob: str = SHA, table: str = "events", column: str = "user_id"
) -> Manifest:
    """One with a proof that is right, whatever it says."""
    stored = Table(table, "lake", (Column(column, "text"),), 1, (Stored(file, 1, 1, SHA),))
    blobs = (Stored(blob, 1, 1, SHA),)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Manifest(1, "test", now, 1, "shop", date(2026, 1, 1), "events", "age", True, (stored,), blobs)


@pytest.mark.parametrize(
    "names",
    [
        {"file": ".."}, {"file": "../manifest.json"}, {"file": "a\\..\\b"}, {"file": "*.parquet"}, {"file": "a\0b"}, {"blob": ".."}, {"blob": ""},
        {"table": "events WHERE 1"}, {"column": 'a" FROM read_text(\'/etc/hostname\') --'},
    ],
)  # fmt: skip
def test_a_name_that_we_never_give_is_damage(names: dict[str, str]) -> None:
    with pytest.raises(ArchiveError, match="is damaged"):
        decode("p", encode(manifest(**names)))


def test_our_own_names_are_read() -> None:
    assert decode("p", encode(manifest())).files[0].name == "events.2.parquet"
