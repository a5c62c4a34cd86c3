"""Many small events, written straight as files of the lake, for benchmarks of what is done with stored ones."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from tasks_pipeline.groups.lifecycle import Status
from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.tables import LAKE_TABLES
from tasks_pipeline.storage.state.tables import event_ids, group_days, groups
from tasks_pipeline.stores import Stores, open_stores

TODAY = date(2026, 11, 30)
PIECE = 50_000
GROUPS = 997
FILES_OF_DAY = 40

# `$first` + range is the number of an event within its day. 32 hex digits of md5 are an id; a digest does not compress.
_EVENTS = """
SELECT $day::DATE AS day, 'bench' AS part, n + 1 AS position, 0 AS item, 2 + n % 5 AS project_id, 1 + n % {groups} AS group_id,
  md5($day || n) AS event_id, ($day::DATE + to_seconds(n % 86400)) AT TIME ZONE 'UTC' AS received_at, received_at AS timestamp, 'error' AS type,
  'error' AS level, 'python' AS platform, 'PaymentFailed: order ' || n % {groups} AS title, 'shop.orders in pay' AS culprit,
  'user-' || hash(n) % 1000000 AS user_key, 400 AS payload_bytes
FROM (SELECT unnest(range($first, $last)) AS n)
"""
_PAYLOADS = """
SELECT day, part, position, item, project_id, event_id, '{"event_id":"' || event_id || '","message":"payment of order ' || position ||
  ' failed","extra":{"digest":"' || sha256(event_id) || '","trace":"' || sha256('a' || event_id) || '"}}' AS payload FROM events
"""


def fill(root: Path, events: int, days: int) -> None:
    """So many events over so many days, the newest of which is yesterday."""
    a_day = events // days
    made = duckdb.connect()
    made.execute("SET threads = 1; SET TimeZone = 'UTC'")
    with open_stores(Home(root)) as stores:
        _put_groups(stores, a_day, days)
        for n in range(days):
            day = TODAY - timedelta(days=days - n)
            _put_events(stores, made, day, 0, a_day)
            if n % 10 == 9:
                print(f"{day}: {(n + 1) * a_day:,} events", file=sys.stderr, flush=True)


def _put_events(stores: Stores, made: duckdb.DuckDBPyConnection, day: date, first: int, last: int) -> None:
    with stores.lake.writing(day, "bench") as files:
        for start in range(first, last, PIECE):
            asked = {"day": day.isoformat(), "first": start, "last": min(start + PIECE, last)}
            events = made.execute(_EVENTS.replace("{groups}", str(GROUPS)), asked).to_arrow_table()
            made.register("events", events)
            payloads = made.execute(_PAYLOADS).to_arrow_table()
            files.add(
                {"events": _whole("events", events), "event_payloads": _whole("event_payloads", payloads)}
            )
            _own(stores, events)
        files.finish()
        with stores.lake.lock():
            stores.lake.register(files.finished)


def _whole(table: str, rows: pa.Table) -> pa.Table:
    """Rows in the schema of a table of the lake, null where they lack a column."""
    names = set(rows.column_names)
    columns = [
        rows[field.name].combine_chunks().cast(field.type) if field.name in names else pa.nulls(rows.num_rows, field.type)
        for field in LAKE_TABLES[table].arrow
    ]  # fmt: skip
    return pa.Table.from_arrays(columns, schema=LAKE_TABLES[table].arrow)


def _own(stores: Stores, events: pa.Table) -> None:
    rows = events.select(["project_id", "event_id", "day", "part", "position", "item"]).to_pylist()
    owned = [row | {"event_id": bytes.fromhex(row["event_id"])} for row in rows]
    with stores.state.write() as connection:
        connection.execute(event_ids.insert(), owned)


def _put_groups(stores: Stores, a_day: int, days: int) -> None:
    made = [(n + 1, TODAY - timedelta(days=days - d)) for n in range(GROUPS) for d in range(days)]
    new = [
        {
            "id": n + 1, "project_id": 2 + n % 5, "short_id": 1 + n // 5, "title": f"PaymentFailed: order {n}", "culprit": "shop.orders in pay", "level": "error",
            "platform": "python", "type": "error", "metadata": {}, "algorithm": "bench", "status": Status.UNRESOLVED, "times_seen": a_day * days // GROUPS,
            "first_seen": noon(TODAY - timedelta(days=days)), "last_seen": noon(TODAY), "created_at": noon(TODAY),
        }
        for n in range(GROUPS)
    ]  # fmt: skip
    counted = [
        {"group_id": group, "day": day, "times_seen": max(a_day // GROUPS, 1), "first_seen": noon(day), "last_seen": noon(day)}
        for group, day in made
    ]  # fmt: skip
    with stores.state.write() as connection:
        connection.execute(groups.insert(), new)
        connection.execute(group_days.insert(), counted)


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def fill_day(root: Path, payloads: int) -> None:
    """A day of so many events in many files, after those that are there."""
    made = duckdb.connect()
    made.execute("SET threads = 1; SET TimeZone = 'UTC'")
    with open_stores(Home(root)) as stores:
        for n in range(FILES_OF_DAY):
            _put_events(stores, made, TODAY, payloads * n // FILES_OF_DAY, payloads * (n + 1) // FILES_OF_DAY)
