"""SQLite files give their space back in steps, whoever is killed when; statistics and damage."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tasks_pipeline.home import Home
from tasks_pipeline.storage import sqlite_space
from tasks_pipeline.storage.lake.space import give_catalog_back
from tasks_pipeline.storage.sqlite_space import give_space_back
from tasks_pipeline.storage.state.locks import process_lock
from tasks_pipeline.stores import open_stores, prepare

MEGABYTE = 1_000_000
KEPT = "SELECT count(*), sum(length(bytes)) FROM things"
NO_PAUSE = lambda _seconds: None  # noqa: E731
_DIES = """
import os, signal, sys
from pathlib import Path
from tasks_pipeline.storage import sqlite_space
steps = int(sys.argv[2])
def pause(seconds):
    global steps
    steps -= 1
    if steps == 0:
        os.kill(os.getpid(), signal.SIGKILL)
sqlite_space.FIRST_PAGES = 20
sqlite_space.give_space_back(Path(sys.argv[1]), pause=pause)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that can be shortened, of which two thirds are free, in its log too."""
    path = tmp_path / "things.sqlite"
    fill(path, incremental=True)
    return path


def fill(path: Path, *, incremental: bool) -> None:
    with closing(sqlite3.connect(path)) as connection:
        if incremental:
            connection.execute(f"PRAGMA auto_vacuum = {sqlite_space.INCREMENTAL}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE things (id INTEGER PRIMARY KEY, bytes BLOB)")
        random_bytes = random.Random(1).randbytes
        connection.executemany(
            "INSERT INTO things (bytes) VALUES (?)", [(random_bytes(900),) for _ in range(6000)]
        )
        connection.execute("DELETE FROM things WHERE id % 3 > 0")
        connection.commit()


def kept(path: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(path)) as connection:
        found: tuple[int, int] = connection.execute(KEPT).fetchone()
        return found


def test_the_disk_has_the_space_again(file: Path) -> None:
    before = kept(file)
    space = give_space_back(file, pause=NO_PAUSE)
    assert space.before > 5 * MEGABYTE
    assert space.after < 2.4 * MEGABYTE
    assert sqlite_space.free_bytes(file) == 0
    assert kept(file) == before
    assert not sqlite_space.damage(file)


def test_a_file_of_before_is_written_afresh_once_while_it_is_small(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    fill(path, incremental=False)
    assert give_space_back(path, afresh_up_to=MEGABYTE).after > 5 * MEGABYTE, "too large for that"
    assert not sqlite_space.can_be_shortened(path)
    assert give_space_back(path, afresh_up_to=20 * MEGABYTE).after < 2.4 * MEGABYTE
    assert sqlite_space.can_be_shortened(path)


def test_a_kill_between_steps_loses_nothing_and_the_next_goes_on(file: Path) -> None:
    before, free = kept(file), sqlite_space.free_bytes(file)
    for steps in (1, 3):
        died = subprocess.run([sys.executable, "-c", _DIES, str(file), str(steps)], check=False)
        assert died.returncode == -signal.SIGKILL
        assert not sqlite_space.damage(file)
        assert kept(file) == before
        assert 0 < sqlite_space.free_bytes(file) < free
        free = sqlite_space.free_bytes(file)
    assert give_space_back(file, pause=NO_PAUSE).after < 2.4 * MEGABYTE
    assert kept(file) == before


def test_between_two_steps_a_writer_gets_its_turn(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_space, "FIRST_PAGES", 20)
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as writer:
        turns = []

        def pause(seconds: float) -> None:
            assert seconds > 0.1, "SQLite looks every 100 ms whether it may write"
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("COMMIT")
            turns.append(seconds)

        give_space_back(file, pause=pause)
    assert len(turns) > 3


def test_whoever_writes_for_long_is_not_waited_for(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        give_space_back(file, pause=NO_PAUSE)
        writer.execute("ROLLBACK")
    assert sqlite_space.free_bytes(file) > MEGABYTE


def test_new_homes_give_space_back_and_those_of_before_are_prepared(home: Home, tmp_path: Path) -> None:
    state, catalog = home.root / "state.sqlite", home.lake_catalog
    assert sqlite_space.can_be_shortened(state)
    assert sqlite_space.can_be_shortened(catalog)
    for path in (state, catalog):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA auto_vacuum = 0")
            connection.execute("VACUUM")
        assert not sqlite_space.can_be_shortened(path)
    prepare(home)
    assert sqlite_space.can_be_shortened(state)
    assert sqlite_space.can_be_shortened(catalog)


def test_the_catalog_gives_space_back_while_the_lake_is_open(home: Home) -> None:
    with open_stores(home) as stores:
        lake = stores.lake._stored
        lake.execute("CREATE TABLE stored.large (n BIGINT)")
        for _ in range(3):
            lake.execute("ALTER TABLE stored.large ADD COLUMN IF NOT EXISTS m BIGINT")
        lake.execute("DROP TABLE stored.large")
        before = stores.lake.catalog_rows()
        space = give_catalog_back(home)
        assert space.after <= space.before
        assert stores.lake.catalog_rows() == before
        assert not stores.lake.damage_of_catalog()
        lake.execute("CREATE TABLE stored.another (n BIGINT)")


def test_steps_on_the_catalog_hold_the_lock_of_the_lake(file: Path, home: Home) -> None:
    held = []

    def pause(_seconds: float) -> None:
        with process_lock(home, "lake"):
            held.append(True)

    give_space_back(file, partial(process_lock, home, "lake"), pause)
    assert held, "and it is free between two steps"


def test_statistics_are_of_large_tables_alone(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sqlite_space.take_statistics(file, NO_PAUSE) == 0
    monkeypatch.setattr(sqlite_space, "WORTH_STATISTICS", 1_000)
    assert sqlite_space.take_statistics(file, NO_PAUSE) == 1


def test_a_damaged_page_is_found(file: Path) -> None:
    give_space_back(file, pause=NO_PAUSE)
    assert not sqlite_space.damage(file)
    with file.open("r+b") as opened:
        opened.seek(4096 * 20)
        opened.write(os.urandom(64))
    assert sqlite_space.damage(file)
