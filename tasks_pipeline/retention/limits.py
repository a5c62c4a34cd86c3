"""What goes before its time: the oldest days while the installation takes more disk than `max_disk`, and of a project with more than
`max_events` all but a sample. Never anything of today, nor of a day on which something waits."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from datetime import date
from itertools import groupby

from tasks_pipeline.archive.write import Archiver
from tasks_pipeline.retention.lake import take_away
from tasks_pipeline.retention.plan import Removal, lake_totals, whole
from tasks_pipeline.retention.policy import POLICY
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.storage.sizes import sizes_beside_lake
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)

SAMPLE = 0.9
"""A sample is so much of `max_events`: so it is taken once for each tenth that comes, and not every night."""
_CATEGORY_OF = {table: category.name for category in POLICY for table in category.lake}
_SAMPLED = ("events", "event_payloads")


def beyond_disk(stores: Stores, today: date, waiting: Collection[date]) -> list[Removal]:
    """The days that have to go, the oldest first, so that all stores together take no more than `retention.max_disk`."""
    most = stores.config.retention.max_disk
    if most is None:
        return []
    totals = lake_totals(stores)
    # Files of the lake that only old snapshots hold are about to go.
    beside = sizes_beside_lake(stores.home, stores.state).values()
    used = sum(each.size for each in totals) + sum(size or 0 for size in beside)
    free = [e for e in totals if e.table in RECEIVED_TABLES and e.day < today and e.day not in waiting]
    found: list[Removal] = []
    for day, of_day in groupby(free, key=lambda each: each.day):
        if used <= most:
            break
        gone = [whole(_CATEGORY_OF[each.table], each, "max_disk") for each in of_day]
        found += gone
        used -= sum(each.size for each in gone)
        log.warning("%s goes before its time: the stores take more than retention.max_disk", day)
    if used > most:
        log.warning(
            "the stores take %d bytes more than retention.max_disk, and nothing else may go", used - most
        )
    return sorted(found, key=lambda each: (each.day or date.min, each.category))


def sample_events(
    stores: Stores, today: date, waiting: Collection[date], archiver: Archiver | None
) -> Iterator[list[Removal]]:
    """Remove events of projects that have more than their `max_events`; gives what went of each day.

    First and newest event of each group and release stay before all others, then one after the other of each in an order that
    their ids decide: so what is rare stays, and of what is loud some.
    """
    for project in stores.config.projects:
        most = project.retention.max_events
        if most is None:
            continue
        (row,) = stores.lake.query(
            "SELECT count(*) AS events FROM lake.events WHERE project_id = ?", [project.id]
        )
        if row["events"] > most:
            flush(stores.state, stores.lake)
            yield from _sample(stores, project.id, int(most * SAMPLE), today, sorted(waiting), archiver)


def _sample(
    stores: Stores,
    project_id: int,
    keep: int,
    today: date,
    waiting: Sequence[date],
    archiver: Archiver | None,
) -> Iterator[list[Removal]]:
    free = "project_id = $project AND day < $today AND NOT list_contains($waiting::DATE[], day)"
    parameters = {"project": project_id, "today": today, "waiting": list(waiting)}
    (row,) = stores.lake.query(
        f"SELECT count(*) FILTER (NOT ({free})) AS held FROM lake.events WHERE project_id = $project",
        parameters,
    )
    cell, place = "PARTITION BY group_id, coalesce(release, '')", "timestamp, day, part, position, item"
    ranked = (
        f"SELECT day, part, position, item, md5(event_id) AS lot, row_number() OVER ({cell} ORDER BY {place}) = 1 AS is_first, "
        f"lead(item) OVER ({cell} ORDER BY {place}) IS NULL AS is_newest, "
        f"row_number() OVER ({cell} ORDER BY md5(event_id)) AS turn FROM lake.events WHERE {free}"
    )
    doomed = (
        f"SELECT day, part, position, item FROM ({ranked}) "
        f"ORDER BY is_first OR is_newest DESC, turn, lot OFFSET {max(keep - row['held'], 0)}"
    )
    with stores.lake.kept("doomed_events", doomed, [parameters]):
        days = stores.lake.query("SELECT day, count(*) AS rows FROM doomed_events GROUP BY day ORDER BY day")
        for each in days:
            day, rows = each["day"], each["rows"]
            removals = [
                Removal("events", table, project_id, day, rows, 0, 0, "max_events") for table in _SAMPLED
            ]
            goes = (
                "(part, position, item) IN (SELECT (part, position, item) FROM doomed_events "
                f"WHERE day = DATE '{day}')"
            )
            if take_away(stores, removals, dict.fromkeys(_SAMPLED, goes), archiver):
                yield removals
