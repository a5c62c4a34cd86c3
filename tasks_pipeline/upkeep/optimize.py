"""optimize_database: the files of the lake are few and sorted, databases take no more disk than they need and know how they are made,
and what cannot be read is found before somebody needs it. In steps that can be killed at any moment and done again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from tasks_pipeline.storage import sqlite_space
from tasks_pipeline.storage.lake import compaction
from tasks_pipeline.storage.lake.catalog import LiveFile
from tasks_pipeline.storage.lake.space import give_catalog_back
from tasks_pipeline.storage.ledger.failures import reason_of
from tasks_pipeline.stores import Stores
from tasks_pipeline.upkeep import findings, integrity
from tasks_pipeline.upkeep.pace import Pace, Postponed

log = logging.getLogger(__name__)

Figures = dict[str, float]
TURN_SECONDS = 0.02
"""Long enough for whoever waits for the lock of the lake to be given it."""
_STALE_TABLES = text(
    "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid "
    "WHERE n.nspname IN ('spool', 'state', 'lake', 'dagster') AND NOT c.relispartition AND ("
    # Nobody analyses a table of partitions by itself.
    "c.relkind = 'p' OR c.relkind = 'r' AND s.n_live_tup > 1000 AND s.last_analyze IS NULL AND s.last_autoanalyze IS NULL) "
    "ORDER BY 1"
)


@dataclass
class Optimized:
    """What came of it: figures by their names, what is damaged, which steps failed and why, and why it ended early, if so."""

    figures: Figures = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    postponed: str = ""


def optimize_database(
    stores: Stores,
    now: datetime,
    steps: Sequence[str] | None = None,
    pace: Pace | None = None,
) -> Optimized:
    """Do all steps, or those named, in their order. One that fails keeps none of the others from being done."""
    pace = pace or Pace(stores)
    found = Optimized()
    for name in [name for name in STEPS if steps is None or name in steps]:
        began = time.monotonic()
        try:
            pace()
            found.figures |= STEPS[name](stores, now, pace)
        except Postponed as why:
            found.postponed = f"{name}: {why}"
            break
        except integrity.Damaged as damaged:
            found.figures |= damaged.figures
            found.damage = damaged.problems
        except Exception as error:
            log.exception("%s failed", name)
            found.failed[name] = reason_of(error)
        found.figures[f"{name}_seconds"] = round(time.monotonic() - began, 3)
    found.figures["paused_seconds"] = pace.paused_seconds
    return found


def merge_small_files(stores: Stores, now: datetime, pace: Pace) -> Figures:
    """Merge small files of today and of days that are over, each group in a transaction of its own."""
    lake, today = stores.lake, now.date()
    before = lake.live_files()
    merged = 0
    for files in (*compaction.of_today(lake, today), *compaction.of_past_days(lake, today)):
        pace()
        merged += compaction.compact(lake, [files])
    return {"files_merged": merged, **_of_files("before", before), **_of_files("after", lake.live_files())}


def _of_files(when: str, files: Sequence[LiveFile]) -> Figures:
    return {f"lake_files_{when}": len(files), f"lake_bytes_{when}": sum(file.size for file in files)}


def trim_catalog(stores: Stores, now: datetime, _pace: Pace) -> Figures:
    """Forget old snapshots with the files that only they held, and remove files that dead processes left."""
    rows = stores.lake.catalog_rows()
    forgotten = compaction.tidy(stores.lake, now, partial(time.sleep, TURN_SECONDS))
    orphans = compaction.drop_orphans(stores.lake, now)
    return {
        "snapshots_forgotten": forgotten,
        "orphans_removed": orphans,
        "catalog_rows_before": rows,
        "catalog_rows_after": stores.lake.catalog_rows(),
    }


def give_space_back(stores: Stores, _now: datetime, _pace: Pace) -> Figures:
    """Give what embedded databases do not need back to the disk, and empty their logs. Postgres has autovacuum, which is left alone."""
    if not stores.home.embedded:
        return {}
    found = {
        "state": sqlite_space.give_space_back(stores.home.root / "state.sqlite"),
        "catalog": give_catalog_back(stores.home),
    }
    return {
        f"{name}_bytes_{when}": size
        for name, space in found.items()
        for when, size in (("before", space.before), ("after", space.after))
    }


def take_statistics(stores: Stores, _now: datetime, pace: Pace) -> Figures:
    """Have the databases know how large tables are made: on Postgres those that autovacuum passes by."""
    if stores.home.embedded:
        return {"tables_analysed": sqlite_space.take_statistics(stores.home.root / "state.sqlite")}
    with stores.state.read() as connection:
        names = [row.name for row in connection.execute(_STALE_TABLES)]
    analysed = 0
    for name in names:
        pace()
        try:
            with stores.state.write() as connection:
                connection.execute(text("SET LOCAL lock_timeout = '100ms'"))
                connection.execute(text(f"ANALYZE {name}"))
        except OperationalError:  # somebody changes the table just now: the next night
            continue
        analysed += 1
    return {"tables_analysed": analysed}


def check_integrity(stores: Stores, now: datetime, pace: Pace) -> Figures:
    """Look for what cannot be read as it was written, and let the watch tell of it. Raises Damaged."""
    figures, problems = integrity.look(stores, now, pace)
    findings.note_finding(stores.state, findings.DAMAGE, problems, now)
    if problems:
        raise integrity.Damaged(figures, problems)
    return figures


STEPS: Mapping[str, Callable[[Stores, datetime, Pace], Figures]] = {
    "merge_small_files": merge_small_files,
    "trim_catalog": trim_catalog,
    "give_space_back": give_space_back,
    "take_statistics": take_statistics,
    "check_integrity": check_integrity,
}
"""By name, in their order."""
BY_DAY = ("merge_small_files",)
"""What is done every quarter of an hour; all of it is done at night."""
