"""A home that was moved, copied or restored elsewhere goes on there; half of one is refused."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from tasks_pipeline.cli import main
from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.lake.place import LakeElsewhere
from tasks_pipeline.storage.lake.reader import open_reader
from tasks_pipeline.stores import open_stores, unusable
from tests.support.day import Day
from tests.support.events import event

PROJECT, DAY = 1000, date(2020, 1, 1)


def store(home: Home, *kinds: str) -> None:
    """Store events in files and, the last of them, in the tail."""
    with open_stores(home) as stores:
        day = Day(stores, DAY, PROJECT)
        for number, kind in enumerate(kinds, 1):
            day.send(event(kind))
            day.drain()
            if number < len(kinds):
                flush(stores.state, stores.lake)


def titles(home: Home) -> list[str]:
    with open_stores(home) as stores:
        rows = stores.lake.query(
            "SELECT title FROM lake.events WHERE project_id = ? ORDER BY title", [PROJECT]
        )
    return [row["title"].partition(":")[0] for row in rows]


def elsewhere(home: Home, name: str = "elsewhere") -> Home:
    return replace(home, root=home.root.parent / name)


def test_a_moved_home_goes_on_where_it_is(any_home: Home) -> None:
    store(any_home, "A", "B", "C")
    moved = elsewhere(any_home, "Größe of 'quoted' homes")
    any_home.root.rename(moved.root)
    assert titles(moved) == ["A", "B", "C"]
    store(moved, "D", "E")
    with open_reader(moved) as reader:
        assert reader.execute("SELECT count(*) FROM events").fetchall() == [(5,)]
    moved.root.rename(any_home.root)
    assert titles(any_home) == ["A", "B", "C", "D", "E"]


def test_a_copy_beside_the_original_is_a_home_of_its_own(home: Home) -> None:
    store(home, "A", "B")
    copy = elsewhere(home)
    shutil.copytree(home.root, copy.root)
    store(copy, "C", "D")
    store(home, "E", "F")
    with open_stores(copy) as stores:
        flush(stores.state, stores.lake)
        with stores.lake.lock():
            stores.lake.forget_before(Day(stores, DAY, PROJECT).at(10**8))
    assert titles(home) == ["A", "B", "E", "F"]
    assert titles(copy) == ["A", "B", "C", "D"]


def test_a_home_is_the_same_through_a_link(home: Home) -> None:
    store(home, "A", "B")
    link = home.root.parent / "link"
    link.symlink_to(home.root)
    assert titles(Home.resolve(link)) == ["A", "B"]
    copy = elsewhere(home)
    shutil.copytree(home.root, copy.root)
    link.unlink()
    link.symlink_to(copy.root)
    store(Home.resolve(link), "C")
    assert titles(copy) == ["A", "B", "C"]
    assert titles(home) == ["A", "B"]


def test_a_catalog_without_its_files_is_refused_before_anything_is_written(any_home: Home) -> None:
    store(any_home, "A", "B", "C")
    moved = elsewhere(any_home)
    shutil.copytree(any_home.root, moved.root, ignore=lambda _, names: [n for n in names if n == "files"])
    with open_stores(moved) as stores, pytest.raises(LakeElsewhere, match="moved together"):
        stores.lake.query("SELECT 1")
    said = unusable(moved)
    assert said.startswith("the lake's catalog (")
    assert str(moved.root / "lake" / "files") in said
    assert titles(any_home) == ["A", "B", "C"]  # nothing was noted in a catalog that both share


def damaged(home: Home, how: str) -> None:
    """A home whose databases were once good."""
    assert not unusable(home)
    match how:
        case "newer":
            with closing(sqlite3.connect(home.root / "state.sqlite")) as database, database:
                database.execute(
                    "UPDATE alembic_version SET version_num = '9999_future', compatible_from = '9999_future'"
                )
            shutil.copy(home.root / "state.sqlite", home.root / "restored")
            (home.root / "restored").replace(
                home.root / "state.sqlite"
            )  # another file: this process knew the old one
        case "no database":
            overwrite(home.root / "state.sqlite")
        case "no catalog":
            overwrite(home.lake_catalog)


def overwrite(path: Path) -> None:
    for left in path.parent.glob(f"{path.name}*"):
        left.unlink()
    path.write_text("this is no database " * 100)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("newer", ("state.sqlite", "'9999_future'", "install the version that wrote it")),
        ("no database", ("state.sqlite", "file is not a database")),
        ("no catalog", ("catalog.sqlite", "file is not a database")),
    ],
)
def test_the_service_refuses_databases_that_no_run_could_use(
    how: str, words: tuple[str, ...], home: Home
) -> None:
    damaged(home, how)
    asked = ["--home", str(home.root), "run", "--port", "0", "--ui-port", "0"]
    refused = CliRunner().invoke(main, asked)
    assert refused.exit_code == 1
    assert "ready" not in refused.output
    last = refused.output.splitlines()[-1]
    assert last.startswith("Error: ")
    assert all(word in last for word in words), last


@pytest.mark.parametrize("how", ["newer", "no database"])
@pytest.mark.parametrize(
    "command",
    ["groups list", "groups show SHOP-1", "groups merge SHOP-1 SHOP-2", "status", "watch", "events list", "sql SELECT(1)",
     "monitors list", "monitors check", "notifications log", "notifications send", "alerts list", "token list",
     "debug-files list", "backfill --day 2020-01-01"],
)  # fmt: skip
def test_commands_say_in_a_line_that_the_database_cannot_be_used(how: str, command: str, home: Home) -> None:
    damaged(home, how)
    said = CliRunner().invoke(main, ["--home", str(home.root), *command.split()])
    assert said.exit_code == 1
    (line,) = said.output.splitlines()
    assert line.startswith("Error: ")
    assert ("9999_future" if how == "newer" else "not a database") in line


def test_commands_say_in_a_line_that_the_catalog_cannot_be_used(home: Home) -> None:
    store(home, "A", "B")
    damaged(home, "no catalog")
    for command in ("events list", "sql SELECT(1)", "status", "backfill --day 2020-01-01"):
        said = CliRunner().invoke(main, ["--home", str(home.root), *command.split()])
        assert said.exit_code == 1, command
        (line,) = said.output.splitlines()
        assert line.startswith("Error: ")
        assert "not a database" in line
