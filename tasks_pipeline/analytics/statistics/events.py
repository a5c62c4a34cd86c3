"""event_stats, event_users, group_stats: stored error events and whom they affected, by the slot in which they were received."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlalchemy import func, select

from tasks_pipeline.analytics.statistics.visible import VISIBLE
from tasks_pipeline.analytics.statistics.work import Work, ordered, slot_sql
from tasks_pipeline.protocol.sessions import user_hash
from tasks_pipeline.storage.state.facts import user_key
from tasks_pipeline.storage.state.tables import groups

if TYPE_CHECKING:
    from tasks_pipeline.storage.lake.lake import Lake

TABLES = ("event_stats", "event_users", "group_stats")
USERS_OF_A_GROUP = 10_000
"""Of a group with more of them on a day, users are counted and not named."""
_HASHED_AT_ONCE = 1_000_000  # events whose users are hashed together; of these each may have one of its own
_USERS_AT_ONCE = 250_000  # of all that are told apart, with releases and environments
_PAIRS_AT_ONCE = 100_000  # of groups with their users and slots
_GROUPS_AT_ONCE = 2_000  # rows of group_stats; a row may name USERS_OF_A_GROUP users
_MADE = pa.schema(
    [("project_id", pa.int64()), ("received_at", pa.timestamp("us", "UTC")), ("groups", pa.int64())]
)
_HASHES = pa.schema([("project_id", pa.int64()), ("user_key", pa.string()), ("user_hash", pa.int64())])
_NAMES = "coalesce(release, '') AS release, coalesce(environment, '') AS environment"


def write(work: Work, wanted: Collection[str]) -> None:
    """Add the rows of those of the tables that are wanted."""
    lake = work.stores.lake
    if "event_stats" in wanted:
        with lake.given("made_groups", _made_groups(work)):
            work.add_query("event_stats", _event_stats(work))
    if "event_users" not in wanted and "group_stats" not in wanted:
        return
    with lake.given("user_hashes", _user_hashes(work)):
        if "event_users" in wanted:
            for some in _ranges(lake):
                work.add_query("event_users", _event_users(work, some))
        if "group_stats" in wanted:
            with (
                lake.kept("group_users", _group_users(work), [{}]),
                lake.kept("group_slots", _group_slots(work), [{}]),
            ):
                for first, last in _together(lake):
                    work.add_query("group_stats", _group_stats(work, first, last), rows=_GROUPS_AT_ONCE)


def _made_groups(work: Work) -> Iterator[pa.Table]:
    """How many groups were made by what a project received at a moment of the day: by their events they are found in the lake."""
    g = groups.c
    query = (
        select(g.project_id, g.created_at, func.count())
        .where(g.created_at >= work.begin, g.created_at < work.end, VISIBLE)
        .group_by(g.project_id, g.created_at)
    )
    with work.stores.state.read() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    columns: list[Any] = [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], []]
    yield pa.table(dict(zip(_MADE.names, columns, strict=True)), _MADE)


def _event_stats(work: Work) -> str:
    of_day = f"SELECT * FROM lake.events WHERE {work.of_day}"
    number = (
        "row_number() OVER (PARTITION BY e.project_id, e.received_at ORDER BY e.part, e.position, e.item)"
    )
    first = (
        f"SELECT e.part, e.position, e.item, {number} AS number, m.groups FROM ({of_day}) e "
        "JOIN made_groups m ON m.project_id = e.project_id AND m.received_at = e.received_at QUALIFY number <= m.groups"
    )
    return (
        f"SELECT {work.day_sql} AS day, {slot_sql('received_at')} AS slot, project_id, {_NAMES}, level, handled, "
        "count(*) AS events, count(f.number) AS new_groups, coalesce(sum(payload_bytes), 0)::BIGINT AS payload_bytes "
        f"FROM ({of_day}) e LEFT JOIN ({first}) f ON f.part = e.part AND f.position = e.position AND f.item = e.item "
        f"GROUP BY ALL {ordered('event_stats')}"
    )


def _user_hashes(work: Work) -> Iterator[pa.Table]:
    """The hash of each user of the day's events, so many at a time that they may be held in memory."""
    lake, key = work.stores.lake, user_key(work.stores.state)
    (counted,) = lake.query(f"SELECT count(*) AS events FROM lake.events WHERE {work.of_day}")
    slices = 1 + counted["events"] // _HASHED_AT_ONCE
    for number in range(slices):
        found = lake.arrow(
            f"SELECT DISTINCT project_id, user_key FROM lake.events WHERE {work.of_day} "
            f"AND coalesce(user_key, '') <> '' AND hash(user_key) % {slices} = {number}"
        )
        projects, users = (found.column(name).to_pylist() for name in ("project_id", "user_key"))
        hashes = [user_hash(key, *pair) for pair in zip(projects, users, strict=True)]
        yield found.append_column("user_hash", pa.array(hashes, pa.int64())).cast(_HASHES)


def _of_users(work: Work, *columns: str, where: str = "true") -> str:
    """A row for each user, what is named, and each slot in which an event of the user was received."""
    named = ", ".join(columns)
    return (
        f"SELECT e.project_id, {named}, h.user_hash, {work.number_of_slot('e.received_at')} AS slot FROM lake.events e "
        "JOIN user_hashes h ON h.project_id = e.project_id AND h.user_key = e.user_key "
        f"WHERE e.{work.of_day} AND {where} GROUP BY ALL"
    )


def _ranges(lake: Lake) -> Iterator[str]:
    """Conditions on hashes, in their order, each met by not more users than may be told apart in memory."""
    (counted,) = lake.query("SELECT count(*) AS users FROM user_hashes")
    parts = 1 + counted["users"] // _USERS_AT_ONCE
    bounds = [n * 2**64 // parts - 2**63 for n in range(parts)]
    for first, following in zip(bounds, [*bounds[1:], None], strict=True):
        until = "" if following is None else f" AND h.user_hash < ({following})"
        yield f"h.user_hash >= ({first}){until}" if parts > 1 else "true"


def _event_users(work: Work, some: str) -> str:
    names = (
        "coalesce(e.release, '') AS release",
        "coalesce(e.environment, '') AS environment",
    )
    return (
        f"SELECT {work.day_sql} AS day, project_id, release, environment, user_hash, list_sort(list(slot)) AS slots "
        f"FROM ({_of_users(work, *names, where=some)}) GROUP BY ALL {ordered('event_users')}"
    )


def _group_users(work: Work) -> str:
    return f"SELECT group_id, user_hash, slot FROM ({_of_users(work, 'e.group_id')})"


def _group_slots(work: Work) -> str:
    return (
        f"SELECT project_id, group_id, {work.number_of_slot('received_at')} AS slot, count(*) AS n "
        f"FROM lake.events WHERE {work.of_day} GROUP BY ALL"
    )


def _together(lake: Lake) -> Iterator[tuple[int, int]]:
    """First and last of groups that are looked at together, in order: so many as fit into memory with their users."""
    rows = lake.query(
        "SELECT group_id, sum(n) AS n FROM (SELECT group_id, count(*) AS n FROM group_slots GROUP BY group_id UNION ALL "
        "SELECT group_id, count(*) FROM group_users GROUP BY group_id) GROUP BY group_id ORDER BY group_id"
    )
    some: list[int] = []
    size = 0
    for row in rows:
        if some and size + row["n"] > _PAIRS_AT_ONCE:
            yield some[0], some[-1]
            some, size = [], 0
        some.append(row["group_id"])
        size += row["n"]
    if some:
        yield some[0], some[-1]


def _group_stats(work: Work, first: int, last: int) -> str:
    these = f"group_id BETWEEN {first} AND {last}"
    counted = (
        "SELECT project_id, group_id, sum(n)::BIGINT AS events, map(list(slot ORDER BY slot), list(n ORDER BY slot)) AS slots "
        f"FROM group_slots WHERE {these} GROUP BY ALL"
    )
    many = f"SELECT group_id, count(DISTINCT user_hash) AS user_count FROM group_users WHERE {these} GROUP BY group_id"
    users = (
        f"SELECT group_id, user_hash, list_sort(list(slot)) AS slots FROM group_users WHERE {these} AND group_id IN "
        f"(SELECT group_id FROM ({many}) WHERE user_count <= {USERS_OF_A_GROUP}) GROUP BY ALL"
    )
    few = (
        "SELECT group_id, map(list(user_hash ORDER BY user_hash), list(slots ORDER BY user_hash)) AS users "
        f"FROM ({users}) GROUP BY group_id"
    )
    return (
        f"SELECT {work.day_sql} AS day, c.project_id, c.group_id, c.events, coalesce(m.user_count, 0) AS user_count, c.slots, "
        "CASE WHEN m.user_count IS NULL THEN MAP {}::MAP(BIGINT, INTEGER[]) ELSE f.users END AS users "
        f"FROM ({counted}) c LEFT JOIN ({many}) m ON m.group_id = c.group_id LEFT JOIN ({few}) f ON f.group_id = c.group_id "
        "ORDER BY c.group_id"
    )
