"""Lake, blobs and uploads in object storage: what holds in folders holds there, registering asks nothing of it, and bad weather costs time."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psycopg2
import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from tasks_pipeline.cli import main
from tasks_pipeline.home import Home
from tasks_pipeline.processing import process_batch
from tasks_pipeline.storage.lake import lake as lake_module
from tasks_pipeline.storage.lake.compaction import compact, drop_orphans, of_past_days, tidy
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.remote import Pace
from tasks_pipeline.storage.state.locks import process_lock
from tasks_pipeline.storage.targets import Tree
from tasks_pipeline.stores import Stores, open_stores, unusable
from tasks_pipeline.upkeep.integrity import damage_of_file
from tasks_pipeline.watch.facts import DagsterFacts
from tasks_pipeline.watch.probes import Reading, readings
from tests.integration.test_recompute import test_a_recomputed_day_is_the_same_row_for_row  # noqa: F401
from tests.support.day import Day
from tests.support.events import event
from tests.support.postgres import PostgresServer
from tests.support.s3 import BUCKET, SECRET, Fault, FaultyProxy, forget_clients, reached_s3

WITHOUT_PROBE = re.compile(r"probe-\w+")
PUT, GET = frozenset({"PUT"}), frozenset({"GET"})


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyProxy]:
    """An S3 server behind a proxy, and the variables by which everybody finds it."""
    with reached_s3(tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def stores(
    request: pytest.FixtureRequest,
    proxy: FaultyProxy,
    tmp_path_factory: pytest.TempPathFactory,
    new_home: Callable[[Path], Home],
) -> Iterator[Stores]:
    """Stores whose files are in object storage, with each kind of catalog in turn."""
    root, url = tmp_path_factory.mktemp("home"), f"s3://{BUCKET}/{request.param}"
    home = replace(new_home(root), data_url=url)
    with ExitStack() as stack:
        if request.param == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            home = stack.enter_context(server.home(root, request.getfixturevalue("_new_database"), url))
        assert not unusable(home)
        yield stack.enter_context(open_stores(home))


@pytest.fixture
def in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch makes files of its own, as those of a flood do."""
    monkeypatch.setattr(process_batch, "fits", lambda _rows: False)


def objects(proxy: FaultyProxy, begin: int = 0) -> Counter[tuple[str, str]]:
    """Requests for files of the lake by method and name since there were so many."""
    return Counter((m, path.rpartition("/")[2]) for m, path, _ in proxy.log[begin:] if ".parquet" in path)


# ── as in folders


def test_small_batches_files_merging_and_forgetting(day: Day, proxy: FaultyProxy) -> None:
    lake = day.stores.lake
    sent = day.send(event("A"))
    day.drain()
    flush(day.stores.state, lake)
    for n in range(2):
        sent += day.send(event(f"B{n}"), event("A"))
        day.drain()
        flush(day.stores.state, lake)
    before = day.lake()
    groups = of_past_days(lake, day.date + timedelta(days=1))
    assert compact(lake, [files for files in groups if files[0].day == day.date]) >= 4
    tidy(lake, datetime.now(UTC) + timedelta(hours=1))
    assert day.lake() == before
    day.assert_stored_once(sent)
    named = {file.path.rpartition("/")[2] for file in lake.stored_files()}
    tree = Tree(lake.home.lake_files)
    assert {name.rpartition("/")[2] for name in tree.find()} == named  # what no snapshot holds is gone


def test_orphans_go_and_what_is_registered_stays(day: Day) -> None:
    lake, tree = day.stores.lake, Tree(day.stores.home.lake_files)
    day.send(event("A"))
    day.drain()
    flush(day.stores.state, lake)
    before = day.lake()
    orphan = f"main/events/day={day.date}/batch-1-0123456789ab.parquet"
    tree.publish(orphan, b"of a process that died")
    assert drop_orphans(lake) == 0  # it may be registered yet
    assert tree.exists(orphan)
    assert drop_orphans(lake, datetime.now(UTC) + timedelta(days=2)) == 1
    assert not tree.exists(orphan)
    lake.close()  # what DuckDB remembers of files
    assert day.lake() == before


def test_people_see_sizes_without_a_listing(
    day: Day, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    day.send(event("A"))
    day.drain()
    flush(day.stores.state, day.stores.lake)
    day.stores.lake.close()
    home = day.stores.home
    for name, value in home.environment().items():
        monkeypatch.setenv(name, value)

    def call(*words: str) -> Any:
        result = CliRunner().invoke(main, ["--home", str(home.root), *words, "--json"])
        assert result.exit_code == 0, result.output
        assert SECRET not in result.output
        return json.loads(result.stdout)

    begin = len(proxy.log)
    assert call("status")["disk"]["lake"]["bytes"] > 0
    assert not [path for _, path, _ in proxy.log[begin:] if "list-type" in path]
    assert sum(one["bytes"] for one in call("storage") if one["store"] == "lake") > 0
    (row,) = call("sql", f"SELECT count(*) AS n FROM events WHERE project_id = {day.project}")
    assert row == {"n": 1}


# ── what is asked of it


def test_registering_asks_nothing_while_the_lock_is_held(
    day: Day, proxy: FaultyProxy, in_files: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_the_lock: list[tuple[str, str, str]] = []
    held = 0

    @contextmanager
    def watched(home: Home, name: str, engine: Engine | None = None) -> Iterator[None]:
        nonlocal held
        with process_lock(home, name, engine):
            held, begin = held + 1, len(proxy.log)
            yield
            under_the_lock.extend(proxy.log[begin:])

    monkeypatch.setattr(lake_module, "process_lock", watched)
    sent = day.send(*(event(f"E{n}") for n in range(20)))
    begin = len(proxy.log)
    day.drain()
    assert held >= 2
    assert under_the_lock == []
    asked = objects(proxy, begin)
    written = {name for method, name in asked if method == "PUT"}
    assert {asked["PUT", name] for name in written} == {1}  # whole, in one request
    assert {asked["HEAD", name] for name in written} == {1}  # DuckDB's, before the lock
    day.assert_stored_once(sent)


# ── bad weather

PASSING = {
    "busy": Fault("503 SlowDown", times=2),
    "answer lost": Fault("lost-answer", PUT, times=1),
    "answer cut": Fault("cut-answer", GET, ".parquet", times=1),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_passes_is_not_noticed(day: Day, proxy: FaultyProxy, in_files: None, fault: Fault) -> None:
    fault.done = 0
    sent = day.send(event("A"), event("B"))
    with proxy.failing(fault):
        day.drain()
    assert fault.done
    day.assert_stored_once(sent)


LASTING = {
    "may not write": Fault("403 AccessDenied", PUT),
    "may not read": Fault("403 AccessDenied", frozenset({"HEAD", "GET"})),
    "some files": Fault("403 AccessDenied", PUT, after=2),
}


@pytest.mark.parametrize("fault", LASTING.values(), ids=LASTING)
def test_what_lasts_fails_the_batch_and_condemns_nobody(
    day: Day, proxy: FaultyProxy, in_files: None, fault: Fault
) -> None:
    fault.done = 0
    sent = day.send(event("A"), event("B"))
    for _ in range(2):
        with proxy.failing(fault), pytest.raises((OSError, duckdb.Error)) as caught:
            day.drain()
        assert SECRET not in str(caught.value)
    assert day.rows("events") == day.rows("dead_letters") == []  # the same connection, after an error
    day.drain()
    day.assert_stored_once(sent)
    assert day.rows("dead_letters") == []


def test_a_query_that_is_cut_is_asked_again(day: Day, proxy: FaultyProxy) -> None:
    day.send(event("A"), event("B"))
    day.drain()
    flush(day.stores.state, day.stores.lake)
    day.stores.lake.close()
    with proxy.failing(Fault("503 SlowDown", GET, times=1), Fault("500 InternalError", GET, times=1)):
        assert len(day.ids("event_payloads")) == 2


def test_the_watch_tells_of_object_storage_that_cannot_be_used(
    stores: Stores, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and until it is back; other probes are read meanwhile."""

    def read() -> dict[str, Reading]:
        return {each.name: each for each in readings(stores, DagsterFacts(), datetime.now(UTC))}

    before = read()["object_storage"]
    assert (before.status, before.value is None) == ("ok", False)
    with proxy.failing(Fault("503 SlowDown", PUT)), monkeypatch.context() as patched:
        patched.setattr("tasks_pipeline.watch.probes.STORAGE_SECONDS", 1.0)
        away = read()
    assert (away["object_storage"].status, away["configuration"].status) == ("broken", "ok")
    assert SECRET not in away["object_storage"].detail
    with proxy.failing(Fault("lost-answer", PUT)), monkeypatch.context() as patched:
        patched.setattr("tasks_pipeline.watch.probes.STORAGE_SECONDS", 1.0)
        assert read()["object_storage"].status == "broken"
    assert read()["object_storage"].status == "ok"
    names = [name for name in Tree(stores.home.data_url).find() if "probe" in name]
    assert len(names) == 1, "however often it was looked, and whatever was lost"


def test_a_file_that_cannot_be_fetched_is_not_called_damaged(day: Day, proxy: FaultyProxy) -> None:
    day.send(event("A"))
    day.drain()
    flush(day.stores.state, day.stores.lake)
    tree = Tree(day.stores.home.lake_files, Pace(1.0))
    file = next(f for f in day.stores.lake.stored_files() if f.live and f.rows is not None)
    assert damage_of_file(tree, file) == ""
    with proxy.failing(Fault("503 SlowDown")):
        assert damage_of_file(tree, file) == ""
    assert damage_of_file(tree, replace(file, size=file.size + 1)).startswith("has ")
    assert damage_of_file(tree, replace(file, path=f"{file.path}.gone")) == "is not there"


# ── places that are not the lake's


def line_of(home: Home, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a receiver says that is not to start: one line, as the service has it."""
    for name, value in home.environment().items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(main, ["--home", str(home.root), "receive", "--port", "0"])
    assert result.exit_code == 1, result.output
    said = result.output.strip().removeprefix("Error: ")
    assert "\n" not in said
    assert WITHOUT_PROBE.sub("", said) == WITHOUT_PROBE.sub("", unusable(home))
    return said


WRONG = {
    "no such bucket": ("s3://nobody-made-it/x", {}, "there is no such bucket: make it, or name another one"),
    "no rights": (
        f"s3://{BUCKET}/x",
        {"AWS_SECRET_ACCESS_KEY": "another-secret"},
        "the credentials are refused",
    ),
    "another scheme": ("gs://bucket/x", {}, "allowed are s3://bucket/prefix and the path of a folder"),
}


@pytest.mark.parametrize(("url", "changed", "said"), WRONG.values(), ids=WRONG)
def test_a_place_that_cannot_be_used_is_told_in_a_line_before_anything_is_made(
    proxy: FaultyProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    changed: dict[str, str],
    said: str,
) -> None:
    home = Home(tmp_path / "home", data_url=url)
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    forget_clients()
    try:
        found = line_of(home, monkeypatch)
    finally:
        forget_clients()
    assert found.startswith(f"object storage (TASKS_PIPELINE_DATA_URL={url}) cannot be used: ")
    assert said in found
    assert "another-secret" not in found
    assert not home.lake_catalog.exists()


def test_hosts_that_would_see_other_files_do_not_start(
    stores: Stores, day: Day, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = stores.home
    if home.embedded:
        pytest.skip("a catalog in a file is of one host")
    day.send(event("A"))
    day.drain()
    flush(stores.state, stores.lake)

    def catalog() -> list[tuple[str, ...]]:
        with psycopg2.connect(home.database_url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT key, value FROM lake.ducklake_metadata ORDER BY 1, 2")
            found = cursor.fetchall()
        connection.close()
        return found

    before = catalog()
    for other in (
        Home(tmp_path / "b", home.database_url),
        Home(tmp_path / "b", home.database_url, f"s3://{BUCKET}/c"),
    ):
        said = line_of(other, monkeypatch)
        assert f"are not in {other.lake_files}: the catalog knew them in {home.lake_files}" in said
        assert "one place that all reach (s3://bucket/prefix)" in said
        monkeypatch.delenv("TASKS_PIPELINE_DATA_URL", raising=False)
    assert catalog() == before


def test_a_new_catalog_takes_no_files_of_another(
    stores: Stores, day: Day, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day.send(event("A"))
    day.drain()
    flush(stores.state, stores.lake)
    stranger = Home(tmp_path / "stranger", data_url=stores.home.data_url)
    assert "there is no catalog that knows them" in line_of(stranger, monkeypatch)
    with open_stores(stranger) as opened, pytest.raises(OSError, match="restore the catalog"):
        opened.lake.flushed_through()
    assert not stranger.lake_catalog.exists()


# ── who asks


def test_keys_that_are_lent_are_renewed(
    proxy: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first ones are over at once, so boto asks for others before the next use."""
    key, secret = "tests", SECRET
    program = tmp_path / "lend.py"
    program.write_text(
        "import datetime, json, pathlib\n"
        f"asked = pathlib.Path({str(tmp_path / 'asked')!r})\n"
        "with asked.open('a') as file: file.write('x')\n"
        "lent = 1 if asked.stat().st_size < 3 else 3600\n"
        "over = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=lent)\n"
        f"print(json.dumps(dict(Version=1, AccessKeyId={key!r}, SecretAccessKey={secret!r}, SessionToken=str(asked.stat().st_size), "
        "Expiration=over.isoformat())))\n"
    )
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {sys.executable} {program}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    home = Home(tmp_path / "home", data_url=f"s3://{BUCKET}/lent")
    forget_clients()
    try:
        with open_stores(home) as stores:
            day = Day(stores, date(2020, 1, 1), 1)
            sent = day.send(event("A"))
            day.drain()
            flush(stores.state, stores.lake)
            assert day.ids() == sent
    finally:
        forget_clients()
    assert (tmp_path / "asked").stat().st_size >= 3
