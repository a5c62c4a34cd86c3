"""Roles of several hosts: who migrates, who waits, who runs Dagster, and whether each is well."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psycopg2
import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, inspect

from tasks_pipeline.cli import main
from tasks_pipeline.home import Home
from tasks_pipeline.lost_runs import lost_of
from tasks_pipeline.receiver.app import create_app
from tasks_pipeline.service import leader
from tasks_pipeline.service.leader import Elsewhere, taken
from tasks_pipeline.service.roles import await_schema, role_home
from tasks_pipeline.service.running import service_lock
from tasks_pipeline.service.service import CannotStart
from tasks_pipeline.storage.state import database
from tasks_pipeline.storage.state.database import HEAD, StateDatabase
from tasks_pipeline.storage.state.stones import set_stone
from tasks_pipeline.storage.state.tables import run_beats, workers
from tasks_pipeline.storage.state.workers import beat_worker
from tests.support.receiver import KEY, MemorySpool, configure, serving
from tests.support.waiting import wait_for

COMMAND = [sys.executable, "-P", "-m", "tasks_pipeline.cli"]


@pytest.fixture
def hosts(tmp_path: Path, postgres_url: str) -> tuple[Home, Home]:
    """Two homes with one configuration, on an empty database, that share a place for files of the lake."""
    made = []
    for name in ("a", "b"):
        (root := tmp_path / name).mkdir(mode=0o700)
        home = Home(root=root, database_url=postgres_url, data_url=str(tmp_path / "shared"))
        configure(home)
        made.append(home)
    return made[0], made[1]


@contextmanager
def command(home: Home, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A command of the program in a process of its own; it is killed at the end unless it ended."""
    environment = {**os.environ, **home.environment()}
    with subprocess.Popen(
        [*COMMAND, "--home", str(home.root), *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


# ── migrate


def test_hosts_migrate_at_once_while_a_receiver_waits_for_them(hosts: tuple[Home, Home]) -> None:
    """The receiver makes no tables of its own; `migrate` makes all of them once, and again does nothing."""
    a, b = hosts
    with command(a, "receive", "--port", "0") as receiver:
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == (
            f"waiting: the state database is empty, and this version needs {HEAD}: run `tasks-pipeline migrate` once\n"
        )
        with command(a, "migrate") as first, command(b, "migrate") as second:
            said = sorted(process.communicate(timeout=180) for process in (first, second))
        assert [out for out, _ in said] == [
            f"state database: schema {HEAD}, nothing to do\n",
            f"state database: schema none -> {HEAD}\n",
        ]
        assert all(not err or err.startswith("waiting for the lock 'roles'") for _, err in said)
        assert receiver.stdout.readline().startswith("receiver listens on http://127.0.0.1:")
        receiver.terminate()
        assert receiver.wait(60) == 0
    engine = create_engine(a.postgres_url)
    tables = inspect(engine)
    assert {"runs", "event_logs"} <= set(tables.get_table_names(schema="dagster"))
    assert {"groups", "batches"} <= set(tables.get_table_names(schema="state"))
    assert {"envelopes", "totals"} <= set(tables.get_table_names(schema="spool"))
    assert "ducklake_table" in tables.get_table_names(schema="lake")
    engine.dispose()


def test_a_role_goes_on_at_once_where_the_schema_is_right(postgres_home: Home) -> None:
    said: list[str] = []
    with closing(StateDatabase(postgres_home)) as state, state.write() as connection:
        set_stone(state, connection, 7, datetime(2026, 11, 22, tzinfo=UTC))
    await_schema(replace(postgres_home, migrates=False), said.append)
    assert said == []
    assert postgres_home.deleted_projects() == {7: "2026-11-22"}, "deleted from another host"


def test_a_role_does_not_wait_for_a_schema_that_it_cannot_use(
    postgres_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "HEAD", "0001")
    monkeypatch.setattr(database, "_at_head", set())
    with pytest.raises(CannotStart, match=f"schema '{HEAD}', and this version knows those up to 0001"):
        await_schema(replace(postgres_home, migrates=False), print)


def test_a_receiver_does_without_the_database_and_others_do_not(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql://u:s3cret@127.0.0.1:{nobody.getsockname()[1]}/app"
        away = Home(root=tmp_path, database_url=url, migrates=False)
        await_schema(away, print, unless_away=True)
        with pytest.raises(CannotStart, match="the state database cannot be used: ") as refused:
            await_schema(away, print)
    assert "s3cret" not in str(refused.value)


def test_hosts_share_a_configuration(hosts: tuple[Home, Home]) -> None:
    """Where each home would make a key of its own, half of what clients send would be refused."""
    a, _ = hosts
    assert role_home(a) == replace(a, migrates=False)
    a.config_path.unlink()
    with pytest.raises(CannotStart, match="hosts that share a database need the same one, with keys in it"):
        role_home(a)
    assert not (a.root / "default-key").exists()


def test_an_embedded_home_needs_none_of_it(home: Home) -> None:
    assert role_home(home) == home


# ── a receiver that is told to stop


def test_a_receiver_is_not_ready_before_it_ends(home: Home) -> None:
    """So that a balancer lets go of it first: until then it takes what comes. A second signal ends it at once."""
    configure(home)
    with command(home, "receive", "--port", "0", "--drain-seconds", "300") as receiver:
        assert receiver.stdout is not None
        url = receiver.stdout.readline().removeprefix("receiver listens on ").strip()
        assert httpx.get(f"{url}/health/ready").status_code == 200
        receiver.terminate()
        answer = wait_for("it is not ready", lambda: (a := httpx.get(f"{url}/health/ready")).is_error and a)
        assert (answer.status_code, answer.json()) == (503, {"detail": "stopping"})
        sent = httpx.post(f"{url}/api/1/envelope/?sentry_key={KEY}", content=b'{}\n{"type":"event"}\n{}\n')
        assert sent.status_code == 200, sent.text
        receiver.terminate()
        assert receiver.wait(60) == 0


@pytest.mark.parametrize("text", ["", "9000", "localhost", ":1", "localhost:", "localhost:70000", "a:b:c"])
def test_an_address_that_is_none_is_refused_in_a_line(home: Home, text: str) -> None:
    result = CliRunner().invoke(main, ["--home", str(home.root), "dagster", "--metrics", text])
    assert result.exit_code == 2
    assert result.stderr.endswith(f"found {text!r}, allowed is HOST:PORT, such as 127.0.0.1:9101\n")


# ── one Dagster for a database


def test_one_host_runs_dagster_and_another_stands_by(
    postgres_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leader, "ASK_SECONDS", 0.02)
    other = replace(postgres_home, root=tmp_path / "other")
    said: queue.Queue[str] = queue.Queue()
    took_over, end = threading.Event(), threading.Event()

    def stand_by() -> None:
        with taken(other, standby=said.put):
            took_over.set()
            end.wait(60)

    with service_lock(other):
        assert health(other, "dagster") == (0, "dagster: ok\n"), "one that stands by is well"
    with taken(postgres_home) as lost:
        assert lost() is None
        with (
            pytest.raises(Elsewhere, match=f"^{socket.gethostname()} runs Dagster for this database"),
            taken(other),
        ):
            pass
        waiting = threading.Thread(target=stand_by)
        waiting.start()
        assert said.get(timeout=60) == f"standing by: {socket.gethostname()} runs Dagster for this database"
        assert not took_over.is_set()
    assert took_over.wait(60)
    end.set()
    waiting.join()
    assert said.empty()


def _cut(home: Home) -> None:
    """End the session that holds the place, as an outage does."""
    with closing(psycopg2.connect(home.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tasks-pipeline dagster%'"
        )
        connection.commit()


def test_after_an_outage_the_place_is_taken_again_unless_somebody_was_faster(
    postgres_home: Home, tmp_path: Path
) -> None:
    other = replace(postgres_home, root=tmp_path / "other")
    with taken(postgres_home) as lost:
        _cut(postgres_home)
        assert lost() is None
        with pytest.raises(Elsewhere), taken(other):
            pass
        _cut(postgres_home)
        with taken(other):
            assert lost() == f"{socket.gethostname()} runs Dagster for this database now"


def test_run_is_refused_where_another_host_runs_dagster(hosts: tuple[Home, Home]) -> None:
    """Before it changes anything: neither tables nor runs of the other."""
    a, b = hosts
    with taken(a), command(b, "run", "--port", "0", "--ui-port", "0") as process:
        said, told = process.communicate(timeout=120)
    assert (process.returncode, said) == (1, "")
    assert told == (
        f"Error: {socket.gethostname()} runs Dagster for this database: run `tasks-pipeline receive` or `worker` here, "
        "or `dagster` as standby\n"
    )
    engine = create_engine(a.postgres_url)
    assert inspect(engine).get_schema_names() == ["information_schema", "public"]
    engine.dispose()


# ── runs that were under way


@pytest.fixture
def process_that_ended() -> int:
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


def _beat(state: StateDatabase, run_id: str, *, host: str, pid: int, ago: float = 0) -> None:
    now = datetime.now(UTC) - timedelta(seconds=ago)
    row = {"run_id": run_id, "host": host, "pid": pid, "lane": "events", "started_at": now, "beat_at": now}
    with state.write() as connection:
        connection.execute(run_beats.insert().values(**row))


def test_runs_of_other_hosts_are_left_alone(postgres_home: Home, process_that_ended: int) -> None:
    """A service that was killed and starts again on one host ends its own runs, and nobody else's."""
    here, there = socket.gethostname(), "host-a"
    with closing(StateDatabase(postgres_home)) as state:
        _beat(state, "gone", host=here, pid=process_that_ended)
        _beat(state, "at work", host=here, pid=os.getpid())
        _beat(state, "of another process before", host=here, pid=os.getpid(), ago=7 * 86_400)
        _beat(state, "theirs", host=there, pid=process_that_ended)
        _beat(state, "theirs, silent for a while", host=there, pid=1, ago=30)
    under_way = [
        "gone",
        "at work",
        "of another process before",
        "theirs",
        "theirs, silent for a while",
        "silent",
    ]
    lost = {"gone", "of another process before"}
    assert lost_of(postgres_home, under_way, by_workers=True) == lost
    assert lost_of(postgres_home, under_way, by_workers=False) == lost | {"silent"}


def test_all_runs_of_an_embedded_home_are_its_own(home: Home) -> None:
    assert lost_of(home, ["a", "b"], by_workers=False) == {"a", "b"}


# ── health


def health(home: Home, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["--home", str(home.root), "health", *words])
    return result.exit_code, result.output


def test_health_of_a_receiver(home: Home) -> None:
    configure(home)
    with serving(create_app(home, spool=MemorySpool())) as url:  # type: ignore[arg-type]
        port = url.rpartition(":")[2]
        assert health(home, "receiver", "--port", port) == (0, "receiver: ok\n")
    status, said = health(home, "receiver", "--port", port)
    assert status == 1
    assert said.startswith("Error: receiver: ")
    assert said.count("\n") == 1


def test_health_of_a_worker(home: Home) -> None:
    here, now = socket.gethostname(), datetime.now(UTC)
    silent = (1, f"Error: worker: none on {here} gave a sign of life lately\n")
    others = {"pid": 7, "lanes": "events", "concurrency": 1, "started_at": now}
    with closing(StateDatabase(home)) as state:
        with state.write() as connection:
            rows = [
                {"host": "elsewhere", "beat_at": now},
                {"host": here, "beat_at": now - timedelta(seconds=16)},
            ]
            connection.execute(workers.insert(), [others | row for row in rows])
        assert health(home, "worker") == silent
        beat_worker(state, ["events"], 1, now, now)
        assert health(home, "worker") == (0, "worker: ok\n")


def test_health_of_roles_that_do_not_run(home: Home) -> None:
    assert health(home, "dagster") == (1, f"Error: dagster: none runs in {home.root}\n")
