"""How a database finds the rows of a query: statements as they were sent, and which of them read a table from end to end."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from tasks_pipeline.storage.state.database import StateDatabase

GROWING = frozenset({
    "alerts", "analytics_dead", "analytics_outbox", "artifact_bundles", "artifacts", "batches", "commit_authors", "commit_files", "commits",
    "day_changes", "debug_files", "deliveries",
    "deploys", "drains", "erasures", "event_ids", "group_actions", "group_commits", "group_days", "group_explanations", "group_hashes", "group_hours",
    "group_signatures", "group_texts", "group_values", "groups", "health_days", "incidents", "monitor_check_ins", "monitor_environments", "monitors",
    "notifications", "regroupings", "release_commits", "release_environments", "release_heads", "release_stages", "releases", "replacements",
    "report_deliveries", "report_revisions", "reports", "repositories", "retention_removals", "rule_states", "similar_groups", "statistics_days", "suspect_commits",
    "symbol_arrivals", "upload_chunks",
})  # fmt: skip
"""Tables without a bound: reading all of one is a fault that shows itself after weeks."""
OPEN = frozenset({
    "analytics_waiting", "day_changes_due", "deploys_to_tell", "erasures_open", "group_days_without_place", "groups_suspects_due", "health_days_due",
    "incidents_open",
    "monitor_environments_in_trouble", "notifications_for_digests", "regroupings_open", "releases_to_count", "releases_to_update",
    "releases_unprocessed", "replacements_open",
    "report_deliveries_due",
})  # fmt: skip
"""Indexes on what is not finished yet: that may be read whole."""
BY_DESIGN = re.compile(
    # Monitors by state, for Prometheus, and those that the file described: as many as people made.
    r"JOIN monitors .*GROUP BY monitors\.type|FROM monitors\s+WHERE monitors\.source",
    re.DOTALL,
)
Statements = dict[str, Any]
"""Parameters by statement; of one that was sent for many rows, those of the first."""


@contextmanager
def recorded(state: StateDatabase) -> Iterator[Statements]:
    """Every statement that the state database is sent while the block runs."""
    found: Statements = {}

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.lstrip().split(None, 1)[0].upper() in {"SELECT", "WITH", "UPDATE", "DELETE", "INSERT"}:
            found.setdefault(
                statement, parameters[0] if many and not isinstance(parameters, Mapping) else parameters
            )

    event.listen(state.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(state.engine, "before_cursor_execute", note)


def scans(state: StateDatabase, statements: Mapping[str, Any]) -> list[str]:
    """What of these statements reads a growing table from end to end, a line each; empty when nothing does."""
    if state.is_sqlite:
        with state.read() as connection:
            cursor = connection.connection.cursor()
            return sqlite_scans(lambda sql, given: cursor.execute(sql, given).fetchall(), statements)
    return _postgres_scans(state, statements)


def schema(state: StateDatabase) -> str:
    """The SQL that makes an empty SQLite database like this one, for another version of it."""
    with state.read() as connection:
        cursor = connection.connection.cursor()
        rows = cursor.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY type DESC"
        )
        return ";\n".join(sql for (sql,) in rows.fetchall())


def sqlite_scans(
    explain: Callable[[str, Any], Iterable[tuple[Any, ...]]], statements: Mapping[str, Any]
) -> list[str]:
    """The same by a connection of any version of SQLite; `explain` runs a statement with its parameters."""
    found = []
    for statement, parameters in statements.items():
        steps = [str(row[3]) for row in explain(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        sorts = any("TEMP B-TREE FOR ORDER BY" in step for step in steps)
        bounded = " LIMIT " in statement and "ORDER BY" in statement and not sorts
        for step in steps:
            read = re.match(r"SCAN (?:TABLE )?(\w+)(?: AS (\w+))?(?: USING (?:COVERING )?INDEX (\w+))?", step)
            if read is None:
                continue
            name, _, index = read.groups()
            table = _tables(statement).get(name, name)
            if table not in GROWING or index in OPEN or bounded or BY_DESIGN.search(statement):
                continue
            found.append(f"{step}: {statement}")
    return found


def _tables(statement: str) -> dict[str, str]:
    """The table that each alias stands for."""
    return {alias: table for table, alias in re.findall(r"(\w+) AS (\w+)", statement)}


def _postgres_scans(state: StateDatabase, statements: Mapping[str, Any]) -> list[str]:
    """By its statistics of now, and with sequential scans forbidden where anything else will do."""
    found = []
    with state.engine.connect() as connection, connection.begin():
        cursor = connection.connection.cursor()
        cursor.execute("ANALYZE")
        cursor.execute("SET LOCAL enable_seqscan = off")
        for statement, parameters in statements.items():
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
            row = cursor.fetchone()
            assert row is not None
            if not BY_DESIGN.search(statement):
                found += [f"{said}: {statement}" for said in _unbounded(row[0][0]["Plan"])]
    return found


def _unbounded(node: Mapping[str, Any], limited: bool = False) -> Iterator[str]:
    """Reads of a growing table that neither a condition on an index nor a limit over its order bounds."""
    kind, table, index = node["Node Type"], node.get("Relation Name"), node.get("Index Name")
    limited = kind == "Limit" or (
        limited and kind not in {"Sort", "Aggregate", "Hash", "Unique", "WindowAgg"}
    )
    if kind == "Bitmap Index Scan" or (
        table in GROWING and kind in {"Seq Scan", "Index Scan", "Index Only Scan"}
    ):
        by_index = bool(index) and ("Index Cond" in node or index in OPEN or limited)
        if not by_index:
            yield f"{kind} of {table or index}"
    for inner in node.get("Plans", ()):
        yield from _unbounded(inner, limited)


@contextmanager
def counted_steps(state: StateDatabase) -> Iterator[Callable[[], int]]:
    """How much SQLite did while the block runs, in hundreds of steps of its machine: the same for the same work, whatever
    else the computer does. Gives a function that says how many, and begins anew."""
    steps = [0]

    def count() -> int:
        steps[0] += 1
        return 0

    def watch(connection: Any, _record: Any, _proxy: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.set_progress_handler(count, 100)

    def so_far() -> int:
        found, steps[0] = steps[0], 0
        return found

    event.listen(state.engine, "checkout", watch)
    try:
        yield so_far
    finally:
        event.remove(state.engine, "checkout", watch)
        state.engine.dispose()
