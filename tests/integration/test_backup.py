"""Backups: what was taken while events came is back row by row, on either engine, and goes on; nothing is half there."""

from __future__ import annotations

import errno
import json
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine, text

from tasks_pipeline import schedules
from tasks_pipeline.assets.maintenance import back_up
from tasks_pipeline.backup import history, restore, tables
from tasks_pipeline.backup.create import create_backup
from tasks_pipeline.backup.manifest import BackupError, Manifest, encode
from tasks_pipeline.backup.restore import restore_backup
from tasks_pipeline.backup.target import Target
from tasks_pipeline.backup.verify import verify_backup
from tasks_pipeline.cli import main
from tasks_pipeline.definitions import build_defs
from tasks_pipeline.home import Home
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.schedules import backup_schedule
from tasks_pipeline.storage.blobs import BlobDraft
from tasks_pipeline.storage.lake.compaction import tidy
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.lake.lake import BACKUP
from tasks_pipeline.storage.state.database import HEAD, HalfRestored, StateDatabase
from tasks_pipeline.storage.state.locks import is_locked, process_lock
from tasks_pipeline.storage.state.refill import filling, mark
from tasks_pipeline.stores import open_stores
from tests.support.backups import (
    CREATE_MOMENTS,
    RESTORE_MOMENTS,
    create_and_die,
    everything,
    fill,
    restore_and_die,
)
from tests.support.crash import run_in_process
from tests.support.day import Day
from tests.support.events import event

PROJECT, DAY = 1000, date(2020, 1, 1)
CONFIG = """\
projects: [{id: 1, slug: shop, name: Shop, keys: [{public_key: abcd1234}]}]
# channels: [{name: hook, type: webhook, url: "${env:SHOP_TOKEN}"}]
"""
RUNS, CAPTURED = "history/runs.db", "storage/a run/compute_logs/step.err"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with something of everything, which no test changes."""
    home = Home(root=tmp_path_factory.mktemp("source") / "home")
    home.make_root()
    with open_stores(home) as stores:
        fill(stores, Day(stores, DAY, PROJECT))
        stores.spool.erase(DAY, "r0", 1, 2)
    home.config_path.write_text(CONFIG)
    home.note_archive("/mnt/archive")
    home.certificates_dir.mkdir()
    (home.certificates_dir / "a.json").write_text("{}")
    for name in (RUNS, CAPTURED):
        (home.dagster_home / name).parent.mkdir(parents=True)
    with closing(sqlite3.connect(home.dagster_home / RUNS)) as database, database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE runs (run_id TEXT)")
        database.execute("INSERT INTO runs VALUES ('a run')")
    (home.dagster_home / CAPTURED).write_text("what a step said")
    return home


@pytest.fixture(scope="module")
def taken(source: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a backup of it, which no test changes."""
    to = tmp_path_factory.mktemp("taken") / "to"
    with open_stores(source) as stores:
        assert create_backup(stores, str(to)).ok
    return to


@pytest.fixture
def to(taken: Path, tmp_path: Path) -> Path:
    """A copy of that folder, to be damaged."""
    import shutil

    return Path(shutil.copytree(taken, tmp_path / "to"))


@pytest.fixture
def new(tmp_path: Path) -> Home:
    """An empty home."""
    return Home(root=tmp_path / "new")


def command(home: Home, *words: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(home.root), "backup", *words])


def newest(to: Path) -> tuple[str, Manifest]:
    return Target(str(to)).choose(None)


def files_in(to: Path) -> set[str]:
    return set(Target(str(to)).files.digests())


def wanted_by(to: Path) -> set[str]:
    target = Target(str(to))
    return {file.sha256 for name in target.names() for file in target.manifest(name).files}


# ── there and back


def test_a_home_restored_from_object_storage_is_the_same_and_goes_on(source: Home, new: Home) -> None:
    url = "memory://backups/of-a-shop"
    with open_stores(source) as stores:
        assert create_backup(stores, url).stored > 0
        assert create_backup(stores, url, keep=1).stored == 0
        before = everything(stores)
    assert len(Target(url).names()) == 1
    assert verify_backup(Target(url)).ok
    restored = restore_backup(new, Target(url))
    assert [said for said in restored.left_out if said.endswith(": SHOP_TOKEN")]
    assert new.config_path.read_text() == source.config_path.read_text()
    assert new.archives() == ["/mnt/archive"]
    assert (new.certificates_dir / "a.json").read_text() == "{}"
    with closing(sqlite3.connect(new.dagster_home / RUNS)) as database:
        assert database.execute("SELECT run_id FROM runs").fetchall() == [("a run",)]
    assert (new.dagster_home / CAPTURED).read_text() == "what a step said"
    with open_stores(new) as stores:
        assert everything(stores) == before
        day = Day(stores, DAY, PROJECT)
        stored = len(day.ids())
        day.drain()
        day.send(event("A"))
        day.drain()
        flush(stores.state, stores.lake)
        assert len(set(day.ids())) == stored + 2


def test_a_move_to_postgres_and_back_changes_nothing(
    source: Home, taken: Path, postgres_url: str, tmp_path: Path, new: Home
) -> None:
    assert any("-without-" in file.path for file in newest(taken)[1].files)  # a row was deleted of a file
    moved = Home(root=tmp_path / "moved", database_url=postgres_url)
    assert [
        said for said in restore_backup(moved, Target(str(taken))).left_out if "marks of partitions" in said
    ]
    assert not moved.dagster_home.exists()
    with open_stores(source) as before, open_stores(moved) as after, after.state.read() as connection:
        assert everything(after) == (all_of_it := everything(before))
        assert tables.last_numbers(connection)["tail_rows.seq"] == last_number(before.state)
        number = connection.execute(text("SELECT nextval('groups_id_seq')")).scalar()
        assert number == connection.execute(text("SELECT max(id) + 1 FROM groups")).scalar()
    with process_lock(moved, BACKUP):
        assert is_locked(moved, BACKUP)
    assert not is_locked(moved, BACKUP)
    with open_stores(moved) as stores:
        assert create_backup(stores, str(tmp_path / "to")).ok
        with pytest.raises(BackupError, match=r"table state\.\w+ and \d+ more\): restore into another home"):
            restore_backup(Home(root=tmp_path / "other", database_url=postgres_url), Target(str(taken)))
        day = Day(stores, DAY, PROJECT)
        stored = len(day.ids())
        day.drain()
        day.send(event("A"))
        day.drain()
        assert len(day.ids()) == stored + 2
    restore_backup(new, Target(str(tmp_path / "to")))
    with open_stores(new) as back:
        assert everything(back) == all_of_it
        with open_stores(source) as before:
            assert last_number(back.state) == last_number(before.state)


def last_number(state: StateDatabase) -> int:
    with state.read() as connection:
        return tables.last_numbers(connection)["tail_rows.seq"]


def test_what_was_accepted_is_there_once_however_much_comes_meanwhile(
    any_home: Home, tmp_path: Path, new: Home
) -> None:
    accepted: list[str] = []
    ended = threading.Event()

    def come() -> None:
        with open_stores(any_home) as own:
            day = Day(own, DAY, PROJECT)
            while not ended.is_set():
                accepted.extend(day.send(event("A"), event("B")))
                day.drain()
                if len(accepted) % 3 == 0:
                    flush(own.state, own.lake)

    comer = threading.Thread(target=come)
    comer.start()
    try:
        with open_stores(any_home) as stores:
            while len(accepted) < 6:
                ended.wait(0.01)
            before = list(accepted)
            assert create_backup(stores, str(tmp_path / "to")).ok
    finally:
        ended.set()
        comer.join()
    restore_backup(new, Target(str(tmp_path / "to")))
    with open_stores(new) as stores:
        day = Day(stores, DAY, PROJECT)
        day.assert_balanced()
        day.drain()
        there = day.ids()
        assert set(before) <= set(there) <= set(accepted)
        day.assert_stored_once(there)
        again = day.send(event("C"))
        day.drain()
        day.assert_stored_once([*there, *again])


def test_a_program_makes_no_backup_of_tables_that_it_does_not_know(home: Home, tmp_path: Path) -> None:
    """It may go on with a database that a newer one migrated, and would leave out what is new in it."""
    with open_stores(home) as stores:
        with stores.state.write() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9001'"))
        with pytest.raises(BackupError, match=f"has schema 9001, and this version knows those up to {HEAD}"):
            create_backup(stores, str(tmp_path / "to"))


def test_a_backup_of_an_earlier_schema_is_brought_up_to_date(new: Home) -> None:
    new.make_root()
    mark(new)
    with filling(new, "0001") as connection:
        tables.clear(connection, ["projects", "groups"])
    with closing(StateDatabase(new)) as state:
        assert state.revision() == HEAD


# ── what is stored, and how long


def test_what_never_changes_is_stored_once_and_goes_with_the_last_backup(home: Home, tmp_path: Path) -> None:
    to = tmp_path / "to"
    with open_stores(home) as stores:
        day = Day(stores, DAY, PROJECT)
        fill(stores, day)
        first = create_backup(stores, str(to))
        assert create_backup(stores, str(to)).stored == 0
        lake = newest(to)[1].of("lake")
        day.drain()
        second = create_backup(stores, str(to), keep=2)
        assert 0 < second.stored < first.stored
        assert newest(to)[1].of("lake") == lake
        assert files_in(to) == wanted_by(to)
        create_backup(stores, str(to), keep=1)
    assert len(Target(str(to)).names()) == 1
    assert files_in(to) == wanted_by(to)
    assert verify_backup(Target(str(to))).ok


def test_files_that_a_backup_copies_are_kept_until_it_ends(home: Home) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    with open_stores(home) as stores:
        day = Day(stores, DAY, PROJECT)
        day.send(event("A"))
        day.drain()
        flush(stores.state, stores.lake)
        (file,) = [file for file in stores.lake.live_files() if file.table == "events"]
        with stores.lake.lock():
            stores.lake.replace(DAY, {"r0": 9}, [])
        with process_lock(home, BACKUP):
            tidy(stores.lake, later)
            assert Path(file.path).exists()
        tidy(stores.lake, later)
        assert not Path(file.path).exists()


def test_what_cannot_be_read_costs_itself_and_is_told(home: Home, tmp_path: Path) -> None:
    to = tmp_path / "to"
    with open_stores(home) as stores:
        day = Day(stores, DAY, PROJECT)
        day.send(event("A"))
        day.drain()
        flush(stores.state, stores.lake)
        cut = next(file.path for file in stores.lake.live_files() if file.table == "events")
        _cut(Path(cut))
        broken = home.spool_dir / "2020-01-02-r0.sqlite"
        broken.write_bytes(b"this is no database " * 100)
        digest = stores.blobs.put(b"a core dump")
        Path(stores.blobs.local_path(digest) or "").write_bytes(b"something else")
        report = create_backup(stores, str(to), keep=1)
    assert not report.ok
    for place, problem in zip(("2020-01-02-r0", cut, digest), report.problems, strict=True):
        assert place in problem
    said = json.loads(command(home, "verify", "--from", str(to), "--json").stdout)
    assert (said["ok"], len(said["problems"])) == (False, 3)
    assert newest(to)[1].rows[f"spool/{DAY}/r0"] == 1


# ── Dagster's own


def test_dagsters_tables_are_in_it_where_the_engine_stays(
    postgres_home: Home, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_tables(home: Home) -> None:  # Dagster's own take seconds to make
        run(home, "CREATE SCHEMA IF NOT EXISTS dagster")
        run(home, "CREATE TABLE dagster.runs (id SERIAL PRIMARY KEY, run_id TEXT UNIQUE, body TEXT)")
        run(
            home,
            "CREATE TABLE dagster.a_tag (id SERIAL PRIMARY KEY, run_id TEXT REFERENCES dagster.runs (run_id))",
        )

    def run(home: Home, statement: str) -> list[Any]:
        engine = create_engine(home.postgres_url)
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            rows = [tuple(row) for row in result] if result.returns_rows else []
        engine.dispose()
        return rows

    make_tables(postgres_home)
    run(postgres_home, "INSERT INTO dagster.runs VALUES (7, 'a', 'two\nlines, \"quoted\"'), (8, 'b', NULL)")
    run(postgres_home, "INSERT INTO dagster.a_tag VALUES (3, 'a')")
    with open_stores(postgres_home) as stores:
        create_backup(stores, str(tmp_path / "to"))
    moved = Home(root=tmp_path / "moved", database_url=postgres_url)
    monkeypatch.setattr(history, "migrate_storage", make_tables)
    assert restore_backup(moved, Target(str(tmp_path / "to"))).ok
    rows = "SELECT * FROM dagster.runs LEFT JOIN dagster.a_tag USING (run_id) ORDER BY 1"
    assert run(moved, rows) == run(postgres_home, rows)
    assert run(moved, "INSERT INTO dagster.runs (run_id) VALUES ('c') RETURNING id") == [(9,)]


def test_backups_make_themselves_when_they_are_wanted_and_the_newest_is_old(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = StoresResource(home=str(home.root))
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:

        def tick() -> Any:
            with dg.build_schedule_context(instance=instance, resources={"stores": stores}) as context:
                return backup_schedule(context)

        assert isinstance(tick(), dg.SkipReason)
        home.config_path.write_text(f"{CONFIG}backup: {{to: {tmp_path / 'to'}, every_hours: 6}}\n")
        assert isinstance(tick(), dg.RunRequest)
        made = dg.materialize([back_up], instance=instance, resources={"stores": stores})
        (materialised,) = made.asset_materializations_for_node("backup")
        figures = {name: value.value for name, value in materialised.metadata.items()}
        assert figures["problems"] == 0
        assert figures["bytes"] >= figures["bytes_stored"] > 0
        assert isinstance(tick(), dg.SkipReason)
        with monkeypatch.context() as later:
            later.setattr(schedules, "datetime", _Later)
            assert isinstance(tick(), dg.RunRequest)
        home.config_path.write_text(f"{CONFIG}backup: {{to: {tmp_path / 'other'}, every_hours: 6}}\n")
        assert isinstance(tick(), dg.RunRequest), "there is none yet"
        instance.create_run_for_job(
            build_defs().resolve_job_def("backup_job"), status=dg.DagsterRunStatus.FAILURE
        )
        assert "failed" in str(tick().skip_message)


class _Later(datetime):
    """Six hours later."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(hours=6)


# ── deaths


@pytest.mark.slow
def test_a_backup_killed_at_any_step_leaves_the_others_whole_and_the_next_one_cleans_up(
    source: Home, to: Path
) -> None:
    for moment in CREATE_MOMENTS:
        names = set(Target(str(to)).names())
        assert run_in_process(create_and_die, source, to, moment) == -signal.SIGKILL, moment
        assert names <= set(Target(str(to)).names()) or moment in ("one withdrawn", "swept"), moment
        assert verify_backup(Target(str(to))).ok, moment
    with open_stores(source) as stores:
        create_backup(stores, str(to), keep=1)
    assert len(Target(str(to)).names()) == 1
    assert files_in(to) == wanted_by(to)
    assert list((to / "files" / ".drafts").iterdir()) == []


@pytest.mark.slow
def test_a_restore_killed_at_any_step_is_used_by_nobody_and_done_again(
    source: Home, taken: Path, new: Home
) -> None:
    for moment in RESTORE_MOMENTS:  # each begins with what the one before left
        assert run_in_process(restore_and_die, new, taken, moment) == -signal.SIGKILL, moment
        with pytest.raises(HalfRestored, match="backup restore"):
            StateDatabase(new)
    assert restore_backup(new, Target(str(taken))).ok
    with open_stores(source) as before, open_stores(new) as after:
        assert everything(after) == everything(before)


# ── what cannot be used


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _one_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("store", "how", "words"),
    [("lake", _cut, "bytes instead of"), ("lake", Path.unlink, "is gone"), ("state", _one_byte, "not those that were stored")],
)  # fmt: skip
def test_a_damaged_file_is_named_and_nothing_is_restored(
    to: Path, new: Home, store: str, how: Callable[[Path], None], words: str
) -> None:
    file = newest(to)[1].of(store)[-1]
    how(to / "files" / file.sha256[:2] / file.sha256)
    said = command(new, "verify", "--from", str(to), "--json")
    (problem,) = [problem for problem in json.loads(said.stdout)["problems"] if file.path in problem]
    assert (said.exit_code, words in problem, "the next backup stores it again" in problem) == (1, True, True)
    refused = command(new, "restore", "--from", str(to))
    assert (refused.exit_code, file.sha256 in refused.output) == (1, True)
    assert {path.name for path in new.root.iterdir()} <= {"run"}


def test_a_damaged_manifest_is_refused_and_removes_nothing(source: Home, to: Path, new: Home) -> None:
    name, _ = newest(to)
    path = to / "backups" / f"{name}.json"
    whole = path.read_bytes()
    for how in (_cut, _one_byte):
        path.write_bytes(whole)
        how(path)
        for word in ("verify", "restore"):
            refused = command(new, word, "--from", str(to))
            assert (refused.exit_code, f"manifest of backup {name} is damaged" in refused.output) == (1, True)
    before = files_in(to)
    with open_stores(source) as stores:
        (problem,) = create_backup(stores, str(to), keep=2).problems
    assert "was not removed" in problem
    assert before <= files_in(to)
    assert "is damaged" in command(new, "list", "--from", str(to), "--json").stdout


@pytest.mark.parametrize(("field", "value"), [("format", 2), ("revision", "9999")])
def test_a_backup_of_a_newer_version_is_refused(to: Path, new: Home, field: str, value: object) -> None:
    import msgspec

    name, manifest = newest(to)
    renamed, content = encode(msgspec.structs.replace(manifest, **{field: value}))
    (to / "backups" / f"{name}.json").unlink()
    (to / "backups" / f"{renamed}.json").write_bytes(content)
    for word in ("verify", "restore"):
        refused = command(new, word, "--from", str(to))
        assert (refused.exit_code, "install the version that made it" in refused.output) == (1, True)
    assert list(new.root.iterdir()) == []


def test_a_home_with_anything_in_it_is_refused_and_not_touched(taken: Path, new: Home) -> None:
    new.make_root()
    (new.root / "notes.txt").write_text("mine")
    refused = command(new, "restore", "--from", str(taken))
    assert (refused.exit_code, "is not empty (notes.txt)" in refused.output) == (1, True)
    assert [path.name for path in new.root.iterdir()] == ["notes.txt"]


def test_a_configuration_that_is_there_stays(taken: Path, new: Home) -> None:
    new.make_root()
    new.config_path.write_text("projects: []\n")
    said = json.loads(command(new, "restore", "--from", str(taken), "--json").stdout)
    assert {"files", "bytes", "rows", "seconds", "ok", "problems"} <= set(said)
    assert new.config_path.read_text() == "projects: []\n"


def test_a_target_that_cannot_be_written_is_told_and_shows_nothing(
    source: Home, taken: Path, to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").touch()
    for url in (str(tmp_path / "a file"), "no-such-protocol://x", str(source.root / "within")):
        refused = command(source, "create", "--to", url)
        assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1), url
    names = Target(str(to)).names()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(BlobDraft, "write", full)
    refused = command(source, "create", "--to", str(to))
    assert (refused.exit_code, "No space left on device" in refused.stderr) == (1, True)
    assert Target(str(to)).names() == names
    new = Home(root=tmp_path / "new")
    monkeypatch.setattr(restore, "_write", full)
    refused = command(new, "restore", "--from", str(taken))
    assert (refused.exit_code, "nothing was restored" in refused.stderr) == (1, True)
    assert list(new.root.iterdir()) == []
