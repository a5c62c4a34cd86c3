"""A home with very many events and groups for `benchmarks/pages.py`: copies of real processed ones, written straight as files and rows.

A few hundred events of the sample shop go through the product's own drain; every other event is one of these with an id, a time, a
user and a group of its own. The few first groups have most of the events, as it is with real ones.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
from sqlalchemy import bindparam, insert, select, update

from benchmarks.drain import CONFIG, Traffic, drained_cpu_ms
from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.tables import LAKE_TABLES
from tasks_pipeline.storage.state.tables import (
    batches,
    event_ids,
    group_days,
    group_hours,
    group_texts,
    group_values,
    groups,
)
from tasks_pipeline.stores import Stores, open_stores

TEMPLATES = 400
PIECE = 25_000
WHOLE_DAYS, SPARSE = 2, 20
"""Of the newest days every event has its payload; of older ones, which no page here shows, one in so many: they are most of the disk."""
HOURS_KEPT = 30
"""Days of which `group_hours` has rows."""
STATUSES = ("unresolved", "resolved", "ignored", "unresolved")
_ROWS = 20_000

# n is the number of an event within its day. The cube of a number between 0 and 1 is small mostly: the first groups get most events.
_EVENTS = """
SELECT t.* REPLACE ($day::DATE AS day, 'bench' AS part, n + 1 AS position, 0 AS item,
  $first_group + floor(power(hash(n, $day) % 1000003 / 1000003.0, 3) * $groups)::BIGINT AS group_id, md5($day || n) AS event_id,
  happened AS received_at, happened AS timestamp,
  CASE WHEN n % 10 = 0 THEN 'id:' || hash(n, 7) % 1000000 END AS user_key, hash(n, 3) % 3 = 0 AS handled,
  ['production', 'staging', 'development'][1 + (hash(n, 5) % 20 // 16 + hash(n, 5) % 20 // 19)::INTEGER] AS environment,
  'shop@1.' || ($age // 7) || '.' || n % 3 AS release) , t.event_id AS template
FROM (
  SELECT n, ($day::DATE + to_milliseconds(n * 86400000 // $a_day)) AT TIME ZONE 'UTC' AS happened FROM (SELECT unnest(range($first, $last)) AS n)
) JOIN templates t ON t.template_number = n % $templates
"""
_PAYLOADS = f"""
SELECT e.day, e.part, e.position, e.item, e.project_id, e.event_id, replace(p.payload, e.template, e.event_id) AS payload
FROM made e JOIN payloads p ON p.event_id = e.template WHERE $age <= {WHOLE_DAYS} OR e.position % {SPARSE} = 1
"""
_COUNTS = """
SELECT group_id, day, count(*) AS times_seen, min(timestamp) AS first_seen, max(timestamp) AS last_seen,
  arg_min(release, timestamp) AS first_release, arg_max(release, timestamp) AS last_release, max(timestamp) AS last_release_at
FROM made GROUP BY group_id, day
"""
_HOURS = "SELECT group_id, date_trunc('hour', timestamp) AS hour, day, count(*) AS times_seen FROM made GROUP BY ALL"
_VALUES = """
SELECT group_id, kind, value, day, count(*) AS times_seen FROM (
  SELECT group_id, day, unnest(['environment', 'release', 'user']) AS kind, unnest([environment, release, user_key]) AS value FROM made
) WHERE value IS NOT NULL GROUP BY ALL
"""
_ALL_DAYS = """
SELECT group_id, day, sum(times_seen)::BIGINT AS times_seen, min(first_seen) AS first_seen, max(last_seen) AS last_seen,
  arg_min(first_release, first_seen) AS first_release, arg_max(last_release, last_seen) AS last_release, max(last_release_at) AS last_release_at
FROM days GROUP BY group_id, day ORDER BY group_id, day
"""
_ALL_HOURS = "SELECT group_id, hour, day, sum(times_seen)::BIGINT AS times_seen FROM hours GROUP BY ALL ORDER BY group_id, hour, day"
_ALL_VALUES = "SELECT group_id, kind, value, day, sum(times_seen)::BIGINT AS times_seen FROM vals GROUP BY ALL ORDER BY group_id, kind, value, day"
_TOTALS = """
SELECT group_id AS number, sum(times_seen)::BIGINT AS n, sum(times_seen)::BIGINT // 12 AS u, min(first_seen) AS a, max(last_seen) AS b,
  arg_min(first_release, first_seen) AS r, arg_max(last_release, last_seen) AS s
FROM days GROUP BY group_id
"""


def fill(home: Home, events: int, number_of_groups: int, days: int) -> None:
    """So many events of so many groups over so many days, the last of which is yesterday; and those of today that they are made of."""
    home.root.mkdir(mode=0o700, exist_ok=True)
    home.config_path.write_text(CONFIG)
    today = datetime.now(UTC).date()
    made = duckdb.connect()
    made.execute("SET threads = 1; SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
    with open_stores(home) as stores:
        drained_cpu_ms(stores, Traffic(TEMPLATES))
        first_group = _put_groups(stores, number_of_groups, today)
        _learn(stores, made)
        a_day = events // days
        numbers = {
            "a_day": a_day,
            "groups": number_of_groups,
            "first_group": first_group,
            "templates": TEMPLATES,
        }
        for age in range(days, 0, -1):
            _put_day(stores, made, today - timedelta(days=age), {**numbers, "age": age})
            if age % 10 == 0 or a_day > 50_000:
                print(
                    f"{today - timedelta(days=age)}: {(days - age + 1) * a_day:,} events",
                    file=sys.stderr,
                    flush=True,
                )
        _count(stores, made)


def _learn(stores: Stores, made: duckdb.DuckDBPyConnection) -> None:
    """The drained events, as templates."""
    for table in ("events", "event_payloads"):
        rows = stores.lake.query(f"SELECT * FROM lake.{table} ORDER BY event_id LIMIT {TEMPLATES}")
        made.register("learnt", pa.Table.from_pylist(rows, LAKE_TABLES[table].arrow))
        if table == "events":
            made.execute(
                "CREATE TABLE templates AS SELECT *, row_number() OVER () - 1 AS template_number FROM learnt"
            )
        else:
            made.execute("CREATE TABLE payloads AS SELECT event_id, payload FROM learnt")
        made.unregister("learnt")
    made.execute("ALTER TABLE templates ALTER template_number TYPE BIGINT")
    for name, like in (("days", _COUNTS), ("hours", _HOURS), ("vals", _VALUES)):
        made.execute("CREATE OR REPLACE TEMP VIEW made AS SELECT * FROM templates")
        made.execute(f"CREATE TABLE {name} AS {like} LIMIT 0")
    made.execute("DROP VIEW made")


def _put_day(stores: Stores, made: duckdb.DuckDBPyConnection, day: date, numbers: dict[str, int]) -> None:
    a_day, columns = numbers["a_day"], LAKE_TABLES["events"].selected
    with stores.lake.writing(day, "bench") as files:
        for first in range(0, a_day, PIECE):
            asked = {**numbers, "day": day.isoformat(), "first": first, "last": min(first + PIECE, a_day)}
            made.execute(f"CREATE OR REPLACE TEMP TABLE made AS {_EVENTS}", asked)
            rows = made.execute(f"SELECT {columns} FROM made").to_arrow_table()
            payloads = made.execute(_PAYLOADS, {"age": numbers["age"]}).to_arrow_table()
            files.add(
                {
                    "events": rows.cast(LAKE_TABLES["events"].arrow),
                    "event_payloads": payloads.cast(LAKE_TABLES["event_payloads"].arrow),
                }
            )
            for name, counting in (("days", _COUNTS), ("hours", _HOURS), ("vals", _VALUES)):
                if name != "hours" or numbers["age"] < HOURS_KEPT:
                    made.execute(f"INSERT INTO {name} {counting}")
            _own(stores, rows)
        files.finish()
        with stores.lake.lock():
            stores.lake.register(files.finished)
    with stores.state.write() as connection:
        connection.execute(insert(batches), [_batch(day, a_day)])


def _batch(day: date, a_day: int) -> dict[str, Any]:
    at = datetime.combine(day, datetime.min.time(), UTC)
    return {
        "day": day, "part": "bench", "first_position": 1, "last_position": a_day, "status": "done", "attempt": 1, "drain_id": "bench",
        "opened_at": at, "received_at": at, "done_at": at, "items": a_day, "stored": a_day,
    }  # fmt: skip


def _own(stores: Stores, events: pa.Table) -> None:
    names = ["project_id", "event_id", "day", "part", "position", "item"]
    rows = [row | {"event_id": bytes.fromhex(row["event_id"])} for row in events.select(names).to_pylist()]
    with stores.state.write() as connection:
        connection.execute(insert(event_ids), rows)


def _put_groups(stores: Stores, number: int, today: date) -> int:
    """Copies of the groups that the drained events made; gives the id of the first."""
    at = datetime.combine(today, datetime.min.time(), UTC)
    with stores.state.write() as connection:
        known = [dict(row) for row in connection.execute(select(groups).order_by(groups.c.id)).mappings()]
        texts = {row.group_id: row for row in connection.execute(select(group_texts))}
        first = max(row["id"] for row in known) + 1
        short = max(row["short_id"] for row in known) + 1

        for begin in range(0, number, _ROWS):
            numbers = range(begin, min(begin + _ROWS, number))
            ones = [(n, known[n % len(known)]) for n in numbers]
            made = [
                one | {
                    "id": first + n, "short_id": short + n, "title": f"{one['title'][:150]} (of {n})", "status": STATUSES[n % 7 % 4],
                    "times_seen": 0, "users": 0, "first_seen": None, "last_seen": None, "created_at": at, "assignee": None,
                }
                for n, one in ones
            ]  # fmt: skip
            said = [
                {
                    "group_id": first + n,
                    "said": f"{texts[one['id']].said} {n}",
                    "stack": texts[one["id"]].stack,
                }
                for n, one in ones
                if one["id"] in texts
            ]
            connection.execute(insert(groups), made)
            connection.execute(insert(group_texts), said)
    return first


def _count(stores: Stores, made: duckdb.DuckDBPyConnection) -> None:
    """What the drain would have counted: days, hours, values, and the groups' own numbers."""
    with stores.state.write() as connection:
        for table, sql in ((group_days, _ALL_DAYS), (group_hours, _ALL_HOURS), (group_values, _ALL_VALUES)):
            for rows in _pieces(made, sql):
                connection.execute(insert(table), rows)
        g = groups.c
        seen = {
            g.times_seen: bindparam("n"), g.users: bindparam("u"), g.first_seen: bindparam("a"), g.last_seen: bindparam("b"),
            g.first_release: bindparam("r"), g.last_release: bindparam("s"), g.last_release_at: bindparam("b"),
        }  # fmt: skip
        for rows in _pieces(made, _TOTALS):
            connection.execute(update(groups).where(g.id == bindparam("number")).values(seen), rows)


def _pieces(made: duckdb.DuckDBPyConnection, sql: str) -> Iterator[list[dict[str, Any]]]:
    """Rows, some at a time."""
    for some in made.execute(sql).to_arrow_reader(_ROWS):
        yield some.to_pylist()
