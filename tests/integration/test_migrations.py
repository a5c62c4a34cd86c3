"""Migrations: every database comes to the newest revision, and there its schema is what the code says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import delete, select, text

from tasks_pipeline.groups.explanations import group_explanation
from tasks_pipeline.home import Home
from tasks_pipeline.releases.known import latest_release
from tasks_pipeline.storage.state import database
from tasks_pipeline.storage.state.database import HEAD, NewerSchema, OlderSchema, StateDatabase
from tasks_pipeline.storage.state.tables import (
    batches,
    drains,
    group_explanations,
    metadata,
    releases,
    report_deliveries,
)
from tasks_pipeline.stores import open_stores
from tests.support.crash import warm_processes
from tests.support.day import Day
from tests.support.events import event


@pytest.fixture(params=["sqlite", "postgres"])
def any_home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """Each kind of home in turn, before its first process: without a schema."""
    (root := tmp_path / "empty").mkdir(mode=0o700)
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    return Home(root=root) if url is None else Home(root=root, database_url=url)


def _revision(home: Home) -> str | None:
    with closing(StateDatabase(home)) as state:
        return state.revision()


def _at(home: Home, revision: str, statements: Sequence[str]) -> None:
    """A database of an earlier version of the code, with rows in it."""
    engine, config = database.open_engine(home), database.migrations()
    if not home.embedded:
        database.create_schema(engine)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def test_the_code_knows_the_newest_revision() -> None:
    assert ScriptDirectory.from_config(database.migrations()).get_heads() == [HEAD]


def test_the_migrated_schema_is_that_of_the_code(any_home: Home) -> None:
    with closing(StateDatabase(any_home)) as state:
        assert state.revision() == HEAD
        with state.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []


def _revisions() -> list[Script]:
    return list(ScriptDirectory.from_config(database.migrations()).walk_revisions())[::-1]


def test_each_migration_says_which_programs_may_go_on() -> None:
    """None goes back behind one that said that older programs must stop."""
    said = [(s.revision, s.module.compatible_from) for s in _revisions() if s.revision >= "0018"]
    assert said
    assert all(oldest <= revision for revision, oldest in said)
    assert [oldest for _, oldest in said] == sorted(oldest for _, oldest in said)


FUTURE = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "9001", "{head}", None, None
compatible_from = "{compatible_from}"
def upgrade():
    op.add_column("batches", sa.Column("mood", sa.Text(), nullable=True))
    op.create_table("moods", sa.Column("name", sa.Text(), primary_key=True))
"""


@contextmanager
def _of_the_future(home: Home, folder: Path, compatible_from: str) -> Iterator[None]:
    """A database that the next version has migrated; its migrations are known within the block only."""
    folder.mkdir()
    (folder / "9001_future.py").write_text(FUTURE.format(head=HEAD, compatible_from=compatible_from))
    config = database.migrations()
    location = f"{config.get_main_option('script_location')}/versions"
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", f"{location}\n{folder}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "migrations", lambda: config)
        patch.setattr(database, "HEAD", "9001")
        patch.setattr(database, "_at_head", set())
        StateDatabase(home).close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_at_head", set())
        yield


def test_a_program_goes_on_with_a_newer_database_that_is_compatible(any_home: Home, tmp_path: Path) -> None:
    """What the former version does in a rolling upgrade: it stores what comes, beside tables and columns that it does not know."""
    with (
        _of_the_future(any_home, tmp_path / "future", compatible_from=HEAD),
        open_stores(any_home) as stores,
    ):
        day = Day(stores, date(2026, 11, 22), 1)
        day.send(event(), event())
        assert day.drain().counts["stored"] == 2
        assert len(day.ids()) == 2
        assert stores.state.revision() == "9001"


def test_a_program_refuses_a_newer_database_that_is_not(any_home: Home, tmp_path: Path) -> None:
    with _of_the_future(any_home, tmp_path / "future", compatible_from="9001"):
        said = rf"schema '9001', and this version knows those up to {HEAD}"
        with pytest.raises(NewerSchema, match=said):
            StateDatabase(any_home)


def test_a_process_that_serves_leaves_an_older_database_as_it_is(any_home: Home) -> None:
    home = replace(any_home, migrates=False)
    said = f"is empty, and this version needs {HEAD}: run `tasks-pipeline migrate`"
    with pytest.raises(OlderSchema, match=said):
        StateDatabase(home)
    _at(any_home, "0016", [])
    with pytest.raises(OlderSchema, match=rf"has schema 0016, and this version needs {HEAD}"):
        StateDatabase(home)
    with closing(StateDatabase(any_home)) as state:
        assert state.revision() == HEAD
    with closing(StateDatabase(home)) as state:
        assert state.revision() == HEAD


def test_several_processes_may_open_an_empty_database_at_once(any_home: Home) -> None:
    with ProcessPoolExecutor(3, mp_context=warm_processes()) as pool:
        assert list(pool.map(_revision, [any_home] * 3)) == [HEAD] * 3


def test_explanations_move_into_a_table_of_their_own(any_home: Home) -> None:
    """More of them than one step takes; a group without one, and one whose explanation is a JSON null, have none."""
    explained = {n: {"strategy": "app", "variants": {"é": ["\U0001f600" * n]}} for n in range(1, 450)}
    values = [
        f"({n}, 1, {n}, 't', '', 'error', 'python', 'error', '{{}}', 'a', {told}, 1, '2020-01-01')"
        for n, told in [
            *((n, "'" + json.dumps(tree) + "'") for n, tree in explained.items()), (500, "NULL"), (501, "'null'"),
        ]
    ]  # fmt: skip
    insert = (
        "INSERT INTO groups (id, project_id, short_id, title, culprit, level, platform, type, metadata, algorithm, explanation, "
        f"times_seen, created_at) VALUES {', '.join(values)}"
    )
    _at(any_home, "0003", [insert.replace(":", "\\:")])
    with closing(StateDatabase(any_home)) as state:
        assert {n: group_explanation(state, n) for n in explained} == explained
        assert group_explanation(state, 500) is group_explanation(state, 501) is None
        with state.read() as connection:
            assert len(connection.execute(select(group_explanations.c.group_id)).all()) == len(explained)
            assert connection.execute(text("SELECT count(*) FROM groups")).scalar_one() == 451


def test_batches_outlive_their_drains(any_home: Home) -> None:
    """Rows of the former version too: nothing of them is lost when their table is made anew."""
    drain = "INSERT INTO drains (id, day, host, pid, started_at, heartbeat_at) VALUES ('d', '2020-01-01', 'h', 1, '2020-01-01', '2020-01-01')"
    batch = (
        "INSERT INTO batches (day, part, first_position, last_position, status, attempt, drain_id, opened_at, stored) "
        "VALUES ('2020-01-01', 'r0', 1, 9, 'done', 1, 'd', '2020-01-01', 7)"
    )
    _at(any_home, "0003", [drain, batch])
    with closing(StateDatabase(any_home)) as state:
        with state.write() as connection:
            assert connection.execute(delete(drains)).rowcount == 1
        with state.read() as connection:
            (row,) = connection.execute(select(batches)).all()
        assert (row.id, row.last_position, row.stored, row.drain_id) == (1, 9, 7, "d")


def test_known_releases_get_their_order(any_home: Home) -> None:
    """More of them than one step takes, of two projects."""
    values = [
        *(f"({project}, 'shop@1.{n}', '2026-11-01', NULL)" for n in range(400) for project in (1, 2)),
        "(1, 'c0ffee', '2026-11-03', '2026-11-01')",
        "(1, 'shop@1.2+7', '2026-11-02', NULL)",
    ]
    insert = f"INSERT INTO releases (project_id, version, created_at, released_at) VALUES {', '.join(values)}"
    _at(any_home, "0006", [insert])
    with closing(StateDatabase(any_home)) as state, state.read() as connection:
        latest = latest_release(connection, 1)
        rows = {
            row.version: row for row in connection.execute(select(releases).where(releases.c.project_id == 1))
        }
    assert latest is not None
    assert (latest.version, latest.newest) == ("shop@1.399", "shop@1.2+7")
    assert len(rows) == 402
    assert {row.status for row in rows.values()} == {"open"}
    assert rows["c0ffee"].order_date == rows["c0ffee"].released_at
    assert (rows["c0ffee"].package, rows["c0ffee"].version_key) == (None, None)
    assert rows["shop@1.3"].order_date == rows["shop@1.3"].created_at
    assert rows["shop@1.3"].package == "shop"


def test_addresses_come_in_small_letters(any_home: Home) -> None:
    """And a reader who was written in two ways is one; channels keep their names."""
    due = "INSERT INTO report_deliveries (kind, key, target, due_at, reason) VALUES ('week', '2026-11-16', '{}', '2026-11-23', '{}')"
    rows = {
        "member:Kim@Acme.example": "old",
        "member:kim@acme.example": "kept",
        "member:Ann@acme.example": "one",
        "channel:Ops": "name",
    }
    _at(any_home, "0010", [due.format(target, reason) for target, reason in rows.items()])
    with closing(StateDatabase(any_home)) as state, state.read() as connection:
        found = dict(
            connection.execute(select(report_deliveries.c.target, report_deliveries.c.reason)).tuples().all()
        )
    assert found == {
        "member:kim@acme.example": "kept",
        "member:ann@acme.example": "one",
        "channel:Ops": "name",
    }
