"""Rows of the lake that go: which they are, and their removal by writing files of their days again without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date

from tasks_pipeline.erasure.selection import Selection
from tasks_pipeline.retention.lake import write_again
from tasks_pipeline.retention.notes import Going
from tasks_pipeline.retention.witnesses import PLACE
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.tables import LAKE_TABLES, RECEIVED_TABLES

DOOMED = "erased_rows"
"""The temporary table of rows of what was received that go: name (of their table), day, part, position, item, project_id, event_id,
group_id. What comes in meanwhile is not among them, whatever conditions say."""
OWNERS = "erased_events"
ARCHIVED = "archived_events"
"""The temporary table of archived events and transactions that go, with what they say; made where archives are asked (archives.py)."""
OWNING = ("events", "transactions")
_PLACE = "day, part, position, item"
_OWN = f"name, {_PLACE}, project_id, event_id, group_id"
_BY_ID = f"IN (SELECT (project_id, event_id) FROM {OWNERS})"
_FOLLOWS = {
    "event_payloads": f"({_PLACE}) IN (SELECT ({_PLACE}) FROM {OWNERS} WHERE name = 'events')",
    "attachments": f"(project_id, event_id) {_BY_ID}",
    "user_reports": f"(project_id, associated_event_id) {_BY_ID}",
    "dead_letters": f"(project_id, event_id) {_BY_ID}",
}
"""What goes with an event or a transaction."""


@contextmanager
def doomed_rows(lake: Lake, selection: Selection) -> Iterator[Mapping[str, str]]:
    """Have the rows that go as the table DOOMED within the block; gives the condition of each table of the lake of which some may go:
    those of the selection, and what follows, also of events in archives (the table ARCHIVED)."""
    if unknown := set(selection.rows) - set(LAKE_TABLES):
        raise ValueError(f"no tables of the lake: {', '.join(sorted(unknown))}")
    # What is in the lake too, since it was restored, is decided there: it may be of another group now.
    there = " OR ".join(
        f"EXISTS (SELECT 1 FROM lake.{name} t WHERE t.day = a.day AND t.project_id = a.project_id AND t.event_id = a.event_id)"
        for name in OWNING
    )
    owners = [*owners_of(selection.rows), f"SELECT {_OWN} FROM {ARCHIVED} a WHERE NOT ({there})"]
    with lake.kept(OWNERS, _union(owners), [{}]):
        wanted = with_followers(selection.rows)
        received = [name for name in wanted if name in RECEIVED_TABLES]
        with lake.kept(DOOMED, _union([_rows(name, wanted[name]) for name in received]), [{}]):
            # A place may hold several rows, those of aggregated sessions: so it is the condition too that decides.
            listed = {name: f"({wanted[name]}) AND {is_doomed(name)}" for name in received}
            yield wanted | listed


def owners_of(rows: Mapping[str, str]) -> list[str]:
    """Queries of the events and transactions that go, which others follow."""
    return [_rows(name, rows[name]) for name in OWNING if name in rows]


def with_followers(rows: Mapping[str, str]) -> dict[str, str]:
    """Conditions of a selection with those of what follows events and transactions that are in the table OWNERS."""
    wanted = dict(rows)
    for name, condition in _FOLLOWS.items() if set(OWNING) & set(rows) else ():
        wanted[name] = f"({wanted[name]}) OR {condition}" if name in wanted else condition
    return wanted


def is_doomed(name: str, alias: str = "") -> str:
    """A condition on rows of a table of what was received: that they go."""
    place = ", ".join(f"{alias}{column}" for column in ("day", "part", "position", "item"))
    return f"({place}) IN (SELECT ({_PLACE}) FROM {DOOMED} WHERE name = '{name}')"


def _union(parts: list[str]) -> str:
    return " UNION ALL ".join(parts) or _rows("events", "false")


def _rows(name: str, condition: str) -> str:
    columns = {column.name for column in LAKE_TABLES[name].columns}
    event_id = "event_id" if "event_id" in columns else "NULL::VARCHAR"
    group_id = "group_id" if "group_id" in columns else "NULL::BIGINT"
    return (
        f"SELECT '{name}' AS name, {_PLACE}, project_id, {event_id} AS event_id, {group_id} AS group_id "
        f"FROM lake.{name} WHERE {condition}"
    )


def count_going(lake: Lake, conditions: Mapping[str, str]) -> list[Going]:
    """How many rows go, by table, day and project."""
    rows = lake.query(
        f"SELECT name, day, project_id, count(*) AS rows, min({PLACE}) AS witness FROM {DOOMED} "
        "GROUP BY ALL ORDER BY name, day, project_id"
    )
    found = [Going(row["name"], row["day"], row["project_id"], row["rows"], row["witness"]) for row in rows]
    for name in sorted(set(conditions) - set(RECEIVED_TABLES)):
        project = "project_id" if "project_id" in (c.name for c in LAKE_TABLES[name].columns) else "0"
        query = (
            f"SELECT day, {project} AS project_id, count(*) AS rows FROM lake.{name} WHERE {conditions[name]}"
        )
        rows = lake.query(f"{query} GROUP BY ALL ORDER BY ALL")
        found += [Going(name, row["day"], row["project_id"], row["rows"], "") for row in rows]
    return found


def remove_rows(lake: Lake, conditions: Mapping[str, str], going: list[Going]) -> None:
    """Write the files of days again without the rows that go, all tables of a day at once. The tail was flushed. Raises DayChanging."""
    tables: dict[date, set[str]] = {}
    for each in going:
        tables.setdefault(each.day, set()).add(each.table)
    for day, names in sorted(tables.items(), reverse=True):  # what follows an event came with it or later
        write_again(lake, day, {name: f"({conditions[name]}) IS NOT TRUE" for name in sorted(names)})


def doomed_groups(lake: Lake) -> list[int]:
    """Groups of events that go."""
    both = f"SELECT group_id FROM {DOOMED} UNION SELECT group_id FROM {ARCHIVED}"
    rows = lake.query(f"SELECT group_id FROM ({both}) WHERE group_id IS NOT NULL ORDER BY group_id")
    return [row["group_id"] for row in rows]


def doomed_envelopes(lake: Lake) -> Iterator[tuple[date, list[tuple[str, int]]]]:
    """(part, position) of the envelopes that rows which go came in, day by day. Outcomes are of many envelopes."""
    days = lake.query(f"SELECT DISTINCT day FROM {DOOMED} WHERE name <> 'outcomes' ORDER BY day")
    for row in days:
        places = lake.query(
            f"SELECT DISTINCT part, position FROM {DOOMED} WHERE day = ? AND name <> 'outcomes' ORDER BY ALL",
            [row["day"]],
        )
        yield row["day"], [(place["part"], place["position"]) for place in places]
