"""Which tests run on PostgreSQL besides SQLite: all where the two differ, a sixth of the others; `--databases=all` takes all."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import pytest

STORAGE = frozenset(
    {
        "test_archive",
        "test_batches",
        "test_counting",
        "test_dagster_edge",
        "test_erasure",
        "test_facts_stored",
        "test_lake",
        "test_leaks",
        "test_lock_order",
        "test_locks",
        "test_migrations",
        "test_nudging",
        "test_old_runs",
        "test_plans",
        "test_privacy",
        "test_removals",
        "test_report_plans",
        "test_retention",
        "test_spool",
        "test_state",
        "test_statistics_days",
        "test_tail",
        "test_wanted",
    }
)
"""Modules about what databases do differently: locks, transactions, plans, storage, growth. All of them run on both."""
ONE_OF = 6
"""Of the rest, whose SQL is SQLAlchemy's, so many run on PostgreSQL: always the same, told by their names."""


def left_out(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The tests on PostgreSQL that are not worth their time in each run: those on SQLite say nearly the same."""
    return [item for item in items if _on_postgres(item) and not _chosen(item)]


def _on_postgres(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and "postgres" in item.name.partition("[")[2].rstrip("]").split(
        "-"
    )


def _chosen(item: pytest.Item) -> bool:
    module, _, name = item.nodeid.rpartition("/")[2].partition(".py::")
    return module in STORAGE or crc32(f"{module} {name}".encode()) % ONE_OF == 0
