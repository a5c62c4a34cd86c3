"""What people see of groups: of events that stay from now on, and nothing of those that go; and alerts about events that go."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from tasks_pipeline.erasure.lake_rows import ARCHIVED, DOOMED, is_doomed
from tasks_pipeline.erasure.selection import Erased
from tasks_pipeline.erasure.texts import REMOVED, Texts
from tasks_pipeline.groups.derived import lake_newest
from tasks_pipeline.groups.forgetting import forget_users
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import alerts, group_explanations, group_texts, groups
from tasks_pipeline.stores import Stores

_WORD = re.compile(r"[^\s\d@]*|\d{4}-\d\d(-\d\d)?|[^\W_]*")
GROUPS = 500
"""Groups that are looked at together."""
_TEXTS = ("title", "culprit", "exception_value", "transaction")
"""Columns of events that say something in people's words."""
KEPT_FACTS = frozenset(
    {"level", "platform", "type", "environment", "release", "short_id", "assignee", "happened_at", "first_seen", "last_seen", "event"}
)  # fmt: skip
"""Texts of an alert that are none of the event's own words; numbers stay too."""


def texts_of_doomed(lake: Lake, most: int = 2_000) -> Texts:
    """What events that go say of themselves and no event that stays says: people saw it as a title, it was told in alerts and
    reports, and it may stand in logs."""
    return _telling(_said_alone(lake, f"lake.events WHERE {is_doomed('events')}", most))


def texts_of_archived(
    lake: Lake, said_by_others: Callable[[Iterable[str]], set[str]], most: int = 2_000
) -> Texts:
    """The same of events in archives; which texts others in these say has to be asked there."""
    said = _said_alone(lake, f"{ARCHIVED} WHERE name = 'events'", most)
    return _telling(set(said) - said_by_others(said))


def _said_alone(lake: Lake, doomed: str, most: int) -> list[str]:
    said = f"SELECT DISTINCT unnest([{', '.join(_TEXTS)}]) AS said FROM"
    rows = lake.query(
        f"SELECT said FROM ({said} {doomed}) WHERE strlen(said) >= 6 EXCEPT "
        f"SELECT said FROM ({said} lake.events WHERE NOT {is_doomed('events')}) ORDER BY said LIMIT {int(most)}"
    )
    return [row["said"] for row in rows]


def _telling(said: Iterable[str]) -> Texts:
    """Texts but those of one word (ValueError, event_id, dagster/partition, 2020-01-01), which say nothing of anybody, and stand in what
    programs write too: whoever chose such a title would have all of that overwritten. A word with digits may be a number of somebody's."""
    return Texts.of(each for each in said if not _WORD.fullmatch(each.strip()))


def show_others(stores: Stores, group_ids: Sequence[int]) -> list[Erased]:
    """Have groups show what their newest event that stays says, or that it was removed; and no explanation and no
    texts that are of an event that goes."""
    changed = explained = told = 0
    for some in _pieces(group_ids, GROUPS):
        among = f"group_id IN ({', '.join(map(str, some))})"
        staying = lake_newest(stores.lake, f"NOT {is_doomed('events')} AND {among}")
        said = said_of(stores.lake, among)
        founders = founders_of(stores.lake, among)
        with stores.state.write() as connection:
            rows = _shown(connection, some, staying, said)
            if rows:
                connection.execute(_show, rows)
            of_founders = _founded_by(connection, founders)
            explanations = delete(group_explanations).where(group_explanations.c.group_id.in_(of_founders))
            explained += connection.execute(explanations).rowcount
            texts = delete(group_texts).where(group_texts.c.group_id.in_(of_founders))
            told += connection.execute(texts).rowcount
        changed += len(rows)
    found = [
        Erased("state.groups", changed, "another event"),
        Erased("state.group_explanations", explained, "deleted"),
        Erased("state.group_texts", told, "deleted"),
    ]
    return [each for each in found if each.rows]


_show = (
    update(groups)
    .where(groups.c.id == bindparam("group"))
    .values({name: bindparam(f"new_{name}") for name in ("title", "culprit", "metadata")})
)


def said_of(lake: Lake, among: str) -> dict[int, set[str]]:
    """What events that go say, of the lake and of archives, by group."""
    rows = lake.query(
        "SELECT group_id, list(DISTINCT title) AS titles, list(DISTINCT culprit) AS culprits, list(DISTINCT exception_value) AS said, "
        f"list(DISTINCT exception_type) AS types FROM ({_doomed_events(among)}) GROUP BY group_id"
    )
    names = ("titles", "culprits", "said", "types")
    return {row["group_id"]: {text for name in names for text in row[name] or () if text} for row in rows}


def _doomed_events(among: str) -> str:
    """A query of the events that go, of the lake and of archives."""
    columns = "group_id, received_at, title, culprit, exception_value, exception_type"
    return (
        f"SELECT {columns} FROM lake.events WHERE {among} AND {is_doomed('events')} "
        f"UNION ALL SELECT {columns} FROM {ARCHIVED} WHERE name = 'events' AND {among}"
    )


def _shown(
    connection: Connection,
    group_ids: Sequence[int],
    staying: Mapping[int, Mapping[str, Any]],
    said: Mapping[int, Collection[str]],
) -> list[dict[str, Any]]:
    """New values of groups that show anything which only events that go say."""
    columns = groups.c.id, groups.c.title, groups.c.culprit, groups.c.metadata
    rows = []
    for row in connection.execute(select(*columns).where(groups.c.id.in_(group_ids))):
        new = shown_instead(row.title, row.culprit, row.metadata, said.get(row.id, ()), staying.get(row.id))
        if new is not None:
            title, culprit, data = new
            rows.append({"group": row.id, "new_title": title, "new_culprit": culprit, "new_metadata": data})
    return rows


def shown_instead(
    title: str, culprit: str, metadata: Mapping[str, Any], gone: Collection[str], newest: Mapping[str, Any] | None
) -> tuple[str, str, Mapping[str, Any]] | None:  # fmt: skip
    """Title, culprit and metadata of a group that shows what only events that go say: those of its newest event that stays, else that they
    were removed. None where nothing is to be changed."""
    shows = {title, culprit, *(v for v in metadata.values() if isinstance(v, str))}
    if not shows & set(gone):
        return None
    if newest is None:
        new: tuple[str, str, Mapping[str, Any]] = (REMOVED, "", {})
    else:
        known = {k: v for k, v in metadata.items() if k not in ("type", "value") and v not in gone}
        told = {name: newest[name] for name in ("type", "value") if newest[name] is not None}
        new = (newest["title"] or "", newest["culprit"] or "", {**known, **told})
    return None if new == (title, culprit, metadata) else new


def founders_of(lake: Lake, among: str) -> dict[int, set[Any]]:
    """When events that go were received, by group: one of them may be the first, which the explanation is of."""
    rows = lake.query(
        f"SELECT group_id, list(DISTINCT received_at) AS times FROM ({_doomed_events(among)}) GROUP BY group_id"
    )
    return {row["group_id"]: {each for each in row["times"] if each is not None} for row in rows}


def _founded_by(connection: Connection, founders: Mapping[int, Collection[Any]]) -> list[int]:
    rows = connection.execute(select(groups.c.id, groups.c.created_at).where(groups.c.id.in_(founders)))
    return [row.id for row in rows if row.created_at in founders[row.id]]


def silence_alerts(stores: Stores, group_ids: Sequence[int]) -> list[Erased]:
    """Have alerts about events that go say nothing of them: what stays is that, when and by which rule they fired."""
    silenced = 0
    for some in chunks(group_ids):
        with stores.state.read() as connection:
            query = select(alerts.c.id, alerts.c.data).where(alerts.c.group_id.in_(some))
            about = {row.id: row.data for row in connection.execute(query)}
        events = {number: event for number, data in about.items() if (event := _event_of(data)) is not None}
        gone = _doomed_ids(stores, events.values())
        rows = [
            {"alert": number, "new_data": _silent(about[number])}
            for number, event in sorted(events.items())
            if event in gone
        ]
        rows = [row for row in rows if row["new_data"] != about[row["alert"]]]
        if rows:
            silent = (
                update(alerts).where(alerts.c.id == bindparam("alert")).values(data=bindparam("new_data"))
            )
            with stores.state.write() as connection:
                connection.execute(silent, rows)
        silenced += len(rows)
    return [Erased("state.alerts", silenced, "overwritten")] if silenced else []


def _event_of(data: Mapping[str, Any]) -> str | None:
    place = data.get("event")
    found = place.get("event_id") if isinstance(place, Mapping) else None
    return found if isinstance(found, str) else None


def _doomed_ids(stores: Stores, event_ids: Iterable[str]) -> set[str]:
    wanted = sorted(set(event_ids))
    if not wanted:
        return set()
    rows = stores.lake.query(
        f"SELECT event_id FROM (FROM {DOOMED} SELECT name, event_id UNION FROM {ARCHIVED} SELECT name, event_id) "
        "WHERE name = 'events' AND list_contains(?::VARCHAR[], event_id)",
        [wanted],
    )
    return {row["event_id"] for row in rows}


def _silent(data: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in data.items():
        if name in KEPT_FACTS or value is None or isinstance(value, bool | int | float):
            found[name] = value
        elif isinstance(value, str):
            found[name] = REMOVED if value else value
    return found


def uncount_users(stores: Stores, user_keys: Mapping[int, Collection[str]]) -> list[Erased]:
    """Take users off the groups of projects."""
    gone = sum(
        forget_users(stores.state, project_id, keys) for project_id, keys in sorted(user_keys.items()) if keys
    )
    return [Erased("state.group_values", gone, "deleted")] if gone else []


def _pieces(ids: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
