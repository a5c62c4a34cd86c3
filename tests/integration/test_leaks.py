"""Stores are opened every second for months: what they take they give back, and opening them asks for little."""

from __future__ import annotations

import gc
import os
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import pytest

from tasks_pipeline.home import Home
from tasks_pipeline.storage.ledger.backlog import backlogs
from tasks_pipeline.storage.ledger.drains import active_drains
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.stores import open_stores
from tests.support.day import Day
from tests.support.events import event
from tests.support.waiting import wait_for

ROUNDS = 50


def opened_and_closed(home: Home, *, lake: bool = True) -> None:
    """What a sensor does: it looks at what waits, some in the lake too."""
    with open_stores(home) as stores:
        assert backlogs(stores.state, stores.spool) == []
        assert active_drains(stores.state) == []
        assert not lake or stores.lake.query("SELECT count(*) AS n FROM lake.events") == [{"n": 1}]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def sessions(home: Home) -> int:
    """Sessions of others on the database."""
    if home.embedded:
        return 0
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    query += "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    with closing(psycopg2.connect(home.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        (count,) = cursor.fetchone() or (0,)
        return int(count)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc here")
def test_opening_and_closing_leaves_nothing_behind(any_home: Home) -> None:
    with open_stores(any_home) as stores:
        day = Day(stores, datetime.now(UTC).date(), 1)
        day.send(event())
        day.drain()
    opened_and_closed(any_home)
    gc.collect()
    before = descriptors(), threading.active_count()
    for number in range(ROUNDS):
        opened_and_closed(any_home, lake=number % 5 == 0)  # which takes a while to open
    gc.collect()
    assert (descriptors(), threading.active_count()) <= before
    wait_for("sessions end", lambda: sessions(any_home) == 0)


def test_a_role_that_may_not_create_schemas_works_where_they_are(postgres_home: Home) -> None:
    StateDatabase(postgres_home).close()
    with closing(psycopg2.connect(postgres_home.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE ROLE modest LOGIN")
        try:
            cursor.execute("GRANT USAGE ON SCHEMA state TO modest")
            cursor.execute("GRANT ALL ON ALL TABLES IN SCHEMA state TO modest")
            connection.commit()
            url = postgres_home.database_url.replace("//postgres@", "//modest@")
            assert url != postgres_home.database_url
            with closing(StateDatabase(Home(postgres_home.root, database_url=url))) as state:
                assert active_drains(state) == []
                with pytest.raises(Exception, match="permission denied"), state.write() as opened:
                    opened.exec_driver_sql("CREATE SCHEMA another")
        finally:
            connection.rollback()
            cursor.execute("DROP OWNED BY modest")
            cursor.execute("DROP ROLE modest")
            connection.commit()


def test_looking_at_what_waits_takes_two_sessions(postgres_home: Home) -> None:
    """One session of the state database and one of the spool; the first opening of a process alone looks at schemas."""
    with open_stores(postgres_home):
        pass

    with open_stores(postgres_home) as stores:
        wait_for("sessions of the first opening end", lambda: sessions(postgres_home) == 0)
        assert backlogs(stores.state, stores.spool) == []
        assert active_drains(stores.state) == []
        assert sessions(postgres_home) == 2
