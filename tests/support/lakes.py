"""A lake that tests can ask cheaply."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks_pipeline.storage.lake.catalog import FLUSHED
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.tables import LAKE_TABLES


def had_rows(lake: Lake) -> None:
    """Have each table be one that held a row and is empty again, as in an installation that is in use.

    Of a table that never held any DuckLake has no statistics, and asks the catalog for them once for each of its columns in each
    statement: four times the price of the statement.
    """
    with lake.lock():
        for statement in ("INSERT INTO stored.{} (day) VALUES (DATE '2000-01-01')", "DELETE FROM stored.{}"):
            with lake._transaction() as connection:
                for name in LAKE_TABLES:
                    connection.execute(statement.format(name))
        for statement in ("INSERT INTO stored.{} VALUES (0)", "DELETE FROM stored.{}"):
            lake._stored.execute(statement.format(FLUSHED))
        lake.forget_before(datetime.now(UTC) + timedelta(days=1))
    if not lake.home.far:
        for folder in Path(lake.home.lake_files).iterdir():
            shutil.rmtree(folder)
