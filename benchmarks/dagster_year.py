"""`python -m benchmarks dagster_year`: what Dagster's own store comes to after a year of runs every five minutes, with its nightly cleanup.

One real run of an asset with a check is copied, under new ids and times, into each of its places: a simulated day takes a second instead
of minutes. Every run writes the partition of its day, so that one run a day has to stay for ever. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import tempfile
import time
import uuid
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg

from tasks_pipeline.home import Home
from tasks_pipeline.old_runs import prune
from tasks_pipeline.service.dagster_home import dagster_environment, write_dagster_home
from tasks_pipeline.storage.sizes import folder_size

FIRST = date(2025, 1, 1)
DAYS = dg.DailyPartitionsDefinition(start_date=FIRST.isoformat())
EVENTS = 28
"""Of a run, as runs of this project leave them."""


@dg.asset(partitions_def=DAYS, check_specs=[dg.AssetCheckSpec("sound", asset="events")])
def events() -> dg.MaterializeResult:  # type: ignore[type-arg]
    """A table by day with a check."""
    return dg.MaterializeResult(
        metadata={f"figure_{n}": n for n in range(20)},
        check_results=[dg.AssetCheckResult(check_name="sound", passed=True)],
    )


def main() -> None:
    """Simulate, and print what it came to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks dagster_year", description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--minutes", type=int, default=5, help="between two runs")
    parser.add_argument("--keep", type=int, default=7, help="retention.dagster_days")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(
            json.dumps(
                simulate(Home(root=Path(folder)), options.days, options.minutes, options.keep), indent=1
            )
        )


def simulate(home: Home, days: int, minutes: int, keep: int) -> dict[str, float]:
    """Runs of so many days, cleaned up each night; gives MB at the end and at most, seconds of a cleanup, and what stayed."""
    write_dagster_home(home)
    os.environ.update(dagster_environment(home))
    most = slowest = 0.0
    with dg.DagsterInstance.from_config(str(home.dagster_home)) as instance:
        first = dg.materialize([events], instance=instance, partition_key=FIRST.isoformat()).run_id
        template = _Template(home.dagster_home / "history", first)
        for number in range(days):
            day = FIRST + timedelta(days=number)
            midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
            template.copy_day(day, [midnight + timedelta(minutes=n) for n in range(0, 24 * 60, minutes)])
            night = midnight + timedelta(days=1)
            most = max(most, folder_size(home.dagster_home) / 1e6)
            began = time.monotonic()
            prune(instance, night - timedelta(days=keep), night)
            slowest = max(slowest, time.monotonic() - began)
        partitions = instance.get_materialized_partitions(events.key)
        results = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [dg.AssetCheckKey(events.key, "sound")]
        )
        return {
            "days": days,
            "runs": days * 24 * 60 // minutes,
            "mb": round(folder_size(home.dagster_home) / 1e6, 1),
            "mb_at_most": round(most, 1),
            "runs_left": instance.get_runs_count(),
            "partitions_materialised": len(partitions),
            "checks_with_a_result": len(results),
            "cleanup_seconds_at_most": round(slowest, 1),
        }


class _Template:
    """The rows and the file of one run, to be copied."""

    def __init__(self, history: Path, run_id: str) -> None:
        self._run_id = run_id
        self._rows: dict[str, list[dict[str, object]]] = {}
        self._folder = history / "runs"
        self._runs, self._index = history / "runs.db", history / "runs" / "index.db"
        self._shard = history / "template.db"
        shutil.copy(self._folder / f"{run_id}.db", self._shard)
        self._enlarge()

    def _enlarge(self) -> None:
        """As many events as a run of this project has."""
        with closing(sqlite3.connect(self._shard)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM event_logs").fetchone()
            columns = "run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition"
            connection.execute(
                f"INSERT INTO event_logs ({columns}) SELECT {columns} FROM event_logs LIMIT {max(0, EVENTS - count)}"
            )
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def copy_day(self, day: date, moments: list[datetime]) -> None:
        """A run of the day's partition at each of the moments."""
        ids = [(str(uuid.uuid4()), moment) for moment in moments]
        with closing(sqlite3.connect(self._runs)) as connection:
            for table in ("runs", "run_tags"):
                self._copy(connection, table, ids, day)
        with closing(sqlite3.connect(self._index)) as connection:
            for table in ("event_logs", "asset_check_executions"):
                self._copy(connection, table, ids, day)
            connection.execute(
                "UPDATE asset_keys SET last_run_id = ?, last_materialization = replace(last_materialization, "
                "substr(last_materialization, instr(last_materialization, ?), 36), ?)",
                [ids[-1][0], self._last_id(connection), ids[-1][0]],
            )
            connection.commit()
        for run_id, _ in ids:
            shutil.copy(self._shard, self._folder / f"{run_id}.db")

    def _last_id(self, connection: sqlite3.Connection) -> str:
        (last,) = connection.execute("SELECT last_run_id FROM asset_keys").fetchone()
        return str(last)

    def _copy(
        self, connection: sqlite3.Connection, table: str, ids: list[tuple[str, datetime]], day: date
    ) -> None:
        rows = self._rows.get(table) or self._read(connection, table)
        self._rows[table] = rows
        names = [name for name in rows[0] if name != "id"] if rows else []
        if not names:
            return
        made = [
            [self._value(name, row[name], run_id, moment, day) for name in names]
            for run_id, moment in ids
            for row in rows
        ]
        marks = ", ".join("?" * len(names))
        quoted = ", ".join(f'"{name}"' for name in names)
        connection.executemany(f"INSERT INTO {table} ({quoted}) VALUES ({marks})", made)
        connection.commit()

    def _read(self, connection: sqlite3.Connection, table: str) -> list[dict[str, object]]:
        cursor = connection.execute(f"SELECT * FROM {table} WHERE run_id = ?", [self._run_id])
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _value(self, name: str, value: object, run_id: str, moment: datetime, day: date) -> object:
        if name.endswith("timestamp"):
            return moment.strftime("%Y-%m-%d %H:%M:%S.%f")
        if name in ("start_time", "end_time"):
            return moment.timestamp()
        if name == "partition":
            return day.isoformat() if value else value
        return value.replace(self._run_id, run_id) if isinstance(value, str) else value


if __name__ == "__main__":
    main()
