"""Migrations: every database comes to the newest revision, and there its schema is what the code says."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import tasks_pipeline.storage.state
from tasks_pipeline.home import Home
from tasks_pipeline.storage.state.database import HEAD, StateDatabase
from tasks_pipeline.storage.state.tables import metadata


def _revision(home: Home) -> str | None:
    with closing(StateDatabase(home)) as state:
        return state.revision()


def test_the_code_knows_the_newest_revision() -> None:
    config = Config()
    config.set_main_option(
        "script_location", str(Path(tasks_pipeline.storage.state.__file__).with_name("migrations"))
    )
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_the_migrated_schema_is_that_of_the_code(any_home: Home) -> None:
    with closing(StateDatabase(any_home)) as state:
        assert state.revision() == HEAD
        with state.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []


def test_several_processes_may_open_an_empty_database_at_once(any_home: Home) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(_revision, [any_home] * 3)) == [HEAD] * 3
