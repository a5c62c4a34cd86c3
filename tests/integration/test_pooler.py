"""Sessions of Dagster's storage on Postgres are few: a process keeps its own, and so does PgBouncer as deploy/ has it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import psycopg2
import pytest
from dagster import DagsterInstance

from tasks_pipeline.home import DAGSTER_DATABASE_VARIABLE, DATABASE_VARIABLE, Home
from tasks_pipeline.service.dagster_home import dagster_environment, write_dagster_home
from tests.support.pooler import PoolerMissing, running_pooler
from tests.support.postgres import PostgresServer

QUESTIONS = 20


@pytest.fixture
def pooled(tmp_path: Path, postgres_server: PostgresServer) -> Iterator[Home]:
    """A home whose Dagster has its storage behind a pooler."""
    with postgres_server.database() as url:
        home = Home(root=tmp_path, database_url=url)
        try:
            with running_pooler(url) as through:
                yield replace(home, dagster_database_url=through)
        except PoolerMissing as missing:
            pytest.skip(str(missing))


def asked(url: str, query: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def sessions(url: str) -> int:
    """Sessions that were ever opened in the database; what a session has done is counted when it ends, or after a second."""
    [(count,)] = asked(url, "SELECT sessions FROM pg_stat_database WHERE datname = current_database()")
    assert isinstance(count, int)
    return count


def test_dagster_behind_the_pooler_opens_no_session_for_each_question(pooled: Home) -> None:
    write_dagster_home(pooled)
    environment = dagster_environment(pooled)
    assert environment[DAGSTER_DATABASE_VARIABLE] == pooled.dagster_database_url
    with (
        patch.dict(os.environ, environment),
        DagsterInstance.from_config(str(pooled.dagster_home)) as instance,
    ):
        instance.get_runs_count()
        before = sessions(pooled.database_url)
        for _ in range(QUESTIONS):
            assert instance.get_runs_count() == 0
        assert sessions(pooled.database_url) - before <= 3, "ours are among them"
    tables = asked(
        pooled.database_url,
        "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename IN ('runs', 'event_logs', 'job_ticks')",
    )
    assert tables == [("dagster",)]
    owners = asked(
        pooled.database_url, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'dagster'"
    )
    assert owners == [("postgres",)], "the role of the service, which reads them for backups"


def test_a_process_of_dagster_keeps_its_sessions(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """Without any pooler. In a process of its own, since Dagster's modules are changed."""
    program = (
        "import tasks_pipeline.dagster_process as p; p.spare()\n"
        "from dagster import DagsterInstance\n"
        f"for _ in range({QUESTIONS}):\n"
        "    with DagsterInstance.get() as instance:\n"
        "        assert (instance.get_runs_count(), instance.all_instigator_state()) == (0, [])\n"
    )
    with postgres_server.database() as url:
        home = Home(root=tmp_path, database_url=url)
        write_dagster_home(home)
        before = sessions(url)
        environment = {**os.environ, **dagster_environment(home)}
        subprocess.run([sys.executable, "-c", program], env=environment, check=True)
        # Those that made the tables are among them; one for each question would be 40.
        assert sessions(url) - before < QUESTIONS


def test_the_variable_of_dagster_s_storage_is_the_operator_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_VARIABLE, "postgresql://one@127.0.0.1/app")
    assert "search_path" in dagster_environment(Home.resolve(tmp_path))[DAGSTER_DATABASE_VARIABLE]
    monkeypatch.setenv(DAGSTER_DATABASE_VARIABLE, "postgresql://two@127.0.0.1:6432/app_dagster")
    assert (
        dagster_environment(Home.resolve(tmp_path))[DAGSTER_DATABASE_VARIABLE]
        == "postgresql://two@127.0.0.1:6432/app_dagster"
    )
