"""Which SQL people may run over the stores: one statement, and only one that reads.

The connection of `open_reader` is read-only already, but DuckDB could still write files, attach databases, or call
functions that remove files behind the catalog's back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import duckdb
import msgspec

_EXPLAIN = re.compile(r"\s*EXPLAIN\b(\s+ANALYZE\b)?(\s*\([^()]*\))?", re.IGNORECASE)
_TABLE_FUNCTIONS = re.compile(
    r"range|generate_series|unnest|repeat|repeat_row|glob|summary|sniff_csv|pg_timezone_names|"
    r"read_(parquet|csv|csv_auto|json|json_auto|ndjson|xlsx)|parquet_\w+|json_each|json_tree|duckdb_\w+|pragma_\w+|"
    r"(ducklake_)?(snapshots|current_snapshot|last_committed_snapshot|table_info|table_changes|table_insertions|"
    r"table_deletions|list_files|options|settings)"
)
_WRITING_FUNCTIONS = frozenset({"write_log", "nextval"})
SECRET = frozenset({"installation_keys"})
"""Tables of the state database that nobody reads: who knows these keys can make links of others, and look users up."""


class NotReadOnly(Exception):
    """The SQL is not one statement that only reads; the message says what is wrong with it."""


def check_reads(sql: str) -> None:
    """Return when the SQL is one statement that only reads: SELECT, FROM, DESCRIBE, SHOW, SUMMARIZE, or EXPLAIN of one.

    Raises NotReadOnly, and duckdb.Error for SQL that cannot be parsed.
    """
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1:
        raise NotReadOnly(f"one statement at a time; found {len(statements)}")
    kind = statements[0].type
    if kind == duckdb.StatementType.EXPLAIN:
        explained = _EXPLAIN.match(sql)
        if explained is None:
            raise NotReadOnly("EXPLAIN must come first, before any comment")
        check_reads(sql[explained.end() :])  # EXPLAIN ANALYZE runs what it explains
    elif kind != duckdb.StatementType.SELECT:
        raise NotReadOnly(f"only statements that read are allowed; found {kind.name}")
    else:
        _check_functions(_syntax_tree(sql))


def _syntax_tree(sql: str) -> Any:
    row = duckdb.connect().execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    assert row is not None
    tree = msgspec.json.decode(row[0])
    if tree["error"]:
        raise NotReadOnly("only SELECT, FROM, DESCRIBE, SHOW, SUMMARIZE and EXPLAIN are allowed")
    return tree


def _check_functions(tree: Any) -> None:
    for node in _nodes(tree):
        name = node.get("function_name")
        if isinstance(name, str) and name in _WRITING_FUNCTIONS:
            raise NotReadOnly(f"the function {name} is not allowed here, for it writes")
        table = node.get("table_name")
        if isinstance(table, str) and table.lower() in SECRET:
            raise NotReadOnly(f"{table.lower()} is not shown: its keys are to be kept secret")
        if node.get("type") == "TABLE_FUNCTION":
            name = node["function"].get("function_name", "")
            if not _TABLE_FUNCTIONS.fullmatch(name):
                raise NotReadOnly(f"the table function {name} is not allowed here, for it may write")


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
