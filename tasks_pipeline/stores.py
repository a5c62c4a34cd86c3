"""All stores of an installation, opened together and handed around as one.

`python -m tasks_pipeline.stores` says whether the databases can be used, and prepares files of earlier versions: the service asks
before it starts.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import duckdb
from sqlalchemy.exc import SQLAlchemyError

from tasks_pipeline.config import Config
from tasks_pipeline.home import Home, InForce, Stamp
from tasks_pipeline.stopping import told_to_stop
from tasks_pipeline.storage import sqlite_space
from tasks_pipeline.storage.blobs import BlobStore
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.place import trouble_with
from tasks_pipeline.storage.spool.interface import Spool
from tasks_pipeline.storage.spool.open import open_spool
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.facts import user_key
from tasks_pipeline.storage.state.stones import note_deleted_projects
from tasks_pipeline.symbolication.symbolicator import Symbolicator
from tasks_pipeline.tools import Tools
from tasks_pipeline.uploads.symbol_source import StateSymbolSource


@dataclass(frozen=True, slots=True)
class Stores:
    """Open stores, the configuration they are used with, and the tools that steps make of it.

    `config_mistakes` says why that is not what the configuration file holds; else it is empty.
    """

    home: Home
    config: Config
    spool: Spool
    state: StateDatabase
    lake: Lake
    blobs: BlobStore
    tools: Tools
    config_mistakes: str = ""
    config_stamp: Stamp | None = None

    @property
    def slugs(self) -> dict[int, str]:
        """Slug of each configured project by its number."""
        return {p.id: p.slug for p in self.config.projects}

    @property
    def config_changed(self) -> bool:
        """Whether the configuration file was changed since the stores were opened."""
        return self.home.config_stamp() != self.config_stamp

    @property
    def why_end(self) -> str:
        """Why whoever lingers with these stores should end now, in words; empty while nothing speaks against going on."""
        if told_to_stop():
            return "its worker was told to stop"
        return "the configuration changed" if self.config_changed else ""


@contextmanager
def open_stores(home: Home, in_force: InForce | None = None) -> Iterator[Stores]:
    """Open the stores and close them again, with the configuration in force unless another is given. Raises ConfigError when it
    cannot be used and never could."""
    in_force = in_force or home.config_in_force()
    config = in_force.config
    state, blobs = StateDatabase(home), BlobStore(home.blobs_url)
    source = StateSymbolSource(state, blobs, home.cache_dir / "symbol-files")
    symbolicator = Symbolicator(source, home.cache_dir / "symbols", config.symbols)
    stores = Stores(
        home=home,
        config=config,
        spool=open_spool(home),
        state=state,
        lake=Lake(home, state),
        blobs=blobs,
        tools=Tools(config, symbolicator, partial(user_key, state)),
        config_mistakes=in_force.mistakes,
        config_stamp=in_force.stamp,
    )
    try:
        yield stores
    finally:
        symbolicator.close()
        stores.lake.close()
        stores.state.close()
        stores.spool.close()


def unusable(home: Home) -> str:
    """Why the databases of a home cannot be used, in a line; empty when they can. What is missing of them is made, and numbers of
    projects that were deleted are noted for the configuration."""
    what = f"the state database ({home.root / 'state.sqlite' if home.embedded else 'in PostgreSQL'})"
    try:
        with closing(StateDatabase(home)) as state:
            note_deleted_projects(home, state)
            what = f"the lake's catalog ({home.lake_catalog if home.embedded else 'in PostgreSQL'})"
            if trouble := trouble_with(home):
                return trouble
            with closing(Lake(home, state)) as lake:
                lake.flushed_through()
    except (SQLAlchemyError, duckdb.Error, OSError) as error:
        return f"{what} cannot be used: {str(error).strip().partition(chr(10))[0]}"
    return ""


def prepare(home: Home) -> None:
    """Have the SQLite files of an earlier version give space back from now on. Before a service starts, and in a process that has
    none of them open. One that is damaged or in use stays as it is: whoever opens it says so."""
    if home.embedded:
        for path in (home.root / "state.sqlite", home.lake_catalog):
            with suppress(sqlite3.Error):
                sqlite_space.prepare(path)


if __name__ == "__main__":
    prepare(Home.resolve())
    sys.exit(unusable(Home.resolve()) or None)
