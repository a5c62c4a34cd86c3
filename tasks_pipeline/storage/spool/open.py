"""Opens the spool that fits an installation."""

from __future__ import annotations

from tasks_pipeline.home import Home
from tasks_pipeline.storage.spool.interface import Spool


def open_spool(home: Home) -> Spool:
    """The spool of an installation: SQLite files below its root, or Postgres."""
    if home.embedded:
        from tasks_pipeline.storage.spool.sqlite import SqliteSpool

        return SqliteSpool(home.spool_dir)
    from tasks_pipeline.storage.spool.postgres import PostgresSpool

    return PostgresSpool(home.postgres_url, home.raw_url, makes=home.migrates)
