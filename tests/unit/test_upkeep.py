"""When the disk will be full, and caches that are bounded."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks_pipeline.config import parse_config
from tasks_pipeline.home import Home
from tasks_pipeline.upkeep import caches
from tasks_pipeline.upkeep.caches import clear_expired_caches, duckdb_folder
from tasks_pipeline.upkeep.findings import FreeDisk
from tasks_pipeline.upkeep.forecast import MOST_DAYS, days_until_full

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
GB = 10**9


def readings(*free: float) -> list[FreeDisk]:
    """Four a day, in GB."""
    return [FreeDisk(NOW + timedelta(hours=6 * n), int(each * GB)) for n, each in enumerate(free)]


def test_a_disk_that_fills_steadily() -> None:
    days = days_until_full(readings(*(100 - n for n in range(41))))
    assert days == pytest.approx(60 / 4)


def test_one_cleanup_does_not_change_the_forecast_much() -> None:
    falling = [100 - n for n in range(20)] + [110 - n for n in range(20, 40)]
    days = days_until_full(readings(*falling))
    assert days is not None
    assert days == pytest.approx(71 / 4, rel=0.5)


def test_a_disk_that_does_not_fill() -> None:
    assert days_until_full(readings(*([50.0] * 20))) == MOST_DAYS
    assert days_until_full(readings(*(50 + n for n in range(20)))) == MOST_DAYS


def test_too_little_is_known() -> None:
    assert days_until_full([]) is None
    assert days_until_full(readings(100, 90, 80)) is None, "within a day everything may be"


@pytest.fixture
def stores(tmp_path: Path) -> Any:
    config = parse_config(
        'projects: [{id: 1, slug: shop, keys: [{public_key: "abcdef0123456789"}]}]\nsymbols: {cache_bytes: 16777216}',
        "f",
    )
    return SimpleNamespace(home=Home(root=tmp_path), config=config)


def entry(folder: Path, name: str, size: int, used: timedelta) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    at = (NOW - used).timestamp()
    os.utime(path, (at, at))
    return path


def test_what_nobody_used_for_long_goes(stores: Any) -> None:
    symbols, files = stores.home.cache_dir / "symbols", stores.home.cache_dir / "symbol-files"
    old = [
        entry(symbols, "ab/one", 100, timedelta(days=31)),
        entry(files, "two", 100, timedelta(days=40)),
        entry(duckdb_folder(stores.home), "duckdb_temp_block.tmp", 100, timedelta(days=2)),
        entry(stores.home.cache_dir / "of-tomorrow", "three", 100, timedelta(days=31)),
    ]
    kept = [entry(symbols, "ab/four", 100, timedelta(hours=1)), entry(files, "five", 100, timedelta(days=29))]
    cleared = {one.name: one for one in clear_expired_caches(stores, NOW)}
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in kept)
    assert (cleared["symbols"].bytes, cleared["symbols"].used_bytes, cleared["symbols"].removed_bytes) == (
        200,
        100,
        100,
    )
    assert sum(one.removed_files for one in cleared.values()) == 4
    assert sum(one.removed_files for one in clear_expired_caches(stores, NOW)) == 0


def test_of_a_cache_that_is_full_what_was_not_used_longest_goes(stores: Any) -> None:
    symbols, half = stores.home.cache_dir / "symbols", 8 * 1024 * 1024
    oldest, *others = (entry(symbols, f"aa/{n}", half, timedelta(days=3 - n)) for n in range(3))
    clear_expired_caches(stores, NOW)
    assert not oldest.exists()
    assert all(path.exists() for path in others)


def test_what_is_in_use_stays_however_full_it_is(stores: Any) -> None:
    path = entry(stores.home.cache_dir / "symbols", "aa/1", 64 * 1024 * 1024, caches.IN_USE / 2)
    clear_expired_caches(stores, NOW)
    assert path.exists()
