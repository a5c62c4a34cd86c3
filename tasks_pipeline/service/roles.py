"""What the roles of an installation on several hosts share: no tables of their own making, one configuration, and `migrate`."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace

from sqlalchemy.exc import OperationalError, SQLAlchemyError

from tasks_pipeline.home import Home
from tasks_pipeline.service.dagster_home import migrate_storage, run_python, write_dagster_home
from tasks_pipeline.service.service import CannotStart
from tasks_pipeline.storage.lake.place import trouble_with
from tasks_pipeline.storage.spool.open import open_spool
from tasks_pipeline.storage.state.database import OlderSchema, StateDatabase, open_engine, revision_of
from tasks_pipeline.storage.state.locks import process_lock
from tasks_pipeline.storage.state.stones import note_deleted_projects

ASK_SECONDS = 2.0
"""Between two looks whether `migrate` ran."""


def role_home(home: Home) -> Home:
    """The home as a role uses it: on PostgreSQL, which hosts share, `migrate` alone changes tables. Raises CannotStart.

    Without a configuration file each home would make a key of its own, and what clients of one host send is refused by the next.
    """
    if home.embedded:
        return home
    if not home.has_config:
        raise CannotStart(
            f"there is no configuration file {home.config_path}: hosts that share a database need the same one, with keys in it"
        )
    return replace(home, migrates=False)


def await_schema(home: Home, say: Callable[[str], None], *, unless_away: bool = False) -> None:
    """Return when the state database can be used; until `migrate` has brought it to this version wait, after a line that says so.

    With `unless_away` also when it cannot be reached: whoever does without it for a while need not wait. Raises CannotStart.
    """
    told = ""
    while not home.migrates:
        try:
            with closing(StateDatabase(home)) as state:
                note_deleted_projects(home, state)
        except OlderSchema as error:
            if str(error) != told:
                say(f"waiting: {error}")
                told = str(error)
            time.sleep(ASK_SECONDS)
        except OperationalError as error:
            if unless_away:
                return
            raise CannotStart(f"the state database cannot be used: {_first_line(error)}") from error
        except SQLAlchemyError as error:
            raise CannotStart(_first_line(error)) from error
        else:
            return


def ensure_place(home: Home) -> None:
    """Refuse a home whose lake files and blobs would lie elsewhere than those of the other hosts, or where nothing can be kept. Raises
    CannotStart. A catalog that cannot be asked refuses nothing: a receiver takes envelopes without it."""
    with suppress(SQLAlchemyError):
        if trouble := trouble_with(home):
            raise CannotStart(trouble)


def migrate(home: Home) -> tuple[str | None, str | None]:
    """Bring all tables to the installed version: state, spool and lake, and Dagster's own. One process at a time, wherever, and
    again as often as one likes. Gives the schema of the state database before and after. Raises CannotStart and DagsterHomeError."""
    home = replace(home, migrates=True)
    write_dagster_home(home)
    with process_lock(home, "roles"):
        before = _revision(home)
        try:
            StateDatabase(home).close()
        except SQLAlchemyError as error:
            raise CannotStart(_first_line(error)) from error
        open_spool(home).close()
        opened = run_python(home, "tasks_pipeline.stores")
        if opened.returncode != 0:
            raise CannotStart(opened.stdout[-2000:].strip())
        migrate_storage(home)
        return before, _revision(home)


def _revision(home: Home) -> str | None:
    engine = open_engine(home)
    try:
        return revision_of(engine)
    finally:
        engine.dispose()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
