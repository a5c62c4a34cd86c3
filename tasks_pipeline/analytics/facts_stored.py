"""Facts that are stored: of a day for the UI and for proofs, and the newest for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from tasks_pipeline.facts.outbox import newest_waiting, open_batches, stored_by_batch
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.tables import ANALYTICS_EVENTS
from tasks_pipeline.storage.state.database import StateDatabase

TABLE = ANALYTICS_EVENTS.name


@dataclass(frozen=True, slots=True)
class DayOfFacts:
    """Facts of a UTC day: how many of each type, and in each of its hours."""

    types: Mapping[str, int]
    hours: Sequence[int]

    @property
    def rows(self) -> int:
        """All of them."""
        return sum(self.types.values())


def day_of_facts(lake: Lake, day: date) -> DayOfFacts:
    """What the lake holds of a day."""
    rows = lake.query(
        f"SELECT type, hour(\"at\" AT TIME ZONE 'UTC') AS hour, count(*) AS n FROM lake.{TABLE} WHERE day = ? GROUP BY ALL",
        [day],
    )
    types: dict[str, int] = {}
    hours = [0] * 24
    for row in rows:
        types[row["type"]] = types.get(row["type"], 0) + row["n"]
        hours[row["hour"]] += row["n"]
    return DayOfFacts(dict(sorted(types.items())), hours)


@dataclass(frozen=True, slots=True)
class FactsProof:
    """Facts of a day by batch, as the outbox and as the lake has them; `doubled` are ids that are there more than once."""

    sent: Mapping[int, int]
    stored: Mapping[int, int]
    doubled: int

    @property
    def differing(self) -> list[int]:
        """Batches of which the lake has more or fewer rows than were sent."""
        both = self.sent.keys() | self.stored.keys()
        return sorted(batch for batch in both if self.sent.get(batch) != self.stored.get(batch))


def prove_facts(state: StateDatabase, lake: Lake, day: date) -> FactsProof:
    """Count the facts of a day in both places. Batches that are on their way meanwhile are left out."""
    begin = datetime.combine(day, time(), UTC)
    end = begin + timedelta(days=1)
    with state.read() as connection:
        sent = stored_by_batch(connection, begin, end)
    rows = lake.query(
        f"SELECT batch, count(*) AS n FROM lake.{TABLE} WHERE day = ? GROUP BY batch",
        [day],
    )
    with state.read() as connection:
        moving = (stored_by_batch(connection, begin, end).keys() - sent.keys()) | open_batches(connection)
    (ids,) = lake.query(
        f"SELECT count(*) - count(DISTINCT id) AS twice FROM lake.{TABLE} WHERE day = ?", [day]
    )
    stored = {row["batch"]: row["n"] for row in rows if row["batch"] not in moving}
    return FactsProof(sent, stored, ids["twice"])


def newest_facts(
    state: StateDatabase,
    lake: Lake,
    *,
    types: Sequence[str] = (),
    project_id: int | None = None,
    since: datetime,
    limit: int,
) -> list[dict[str, Any]]:
    """The newest facts, in the lake or on their way there: id, type, version, at, project_id, actor_kind, actor, source, run_id,
    and `data`, its attributes."""
    with state.read() as connection:  # before the lake: what is stored meanwhile is seen twice, and not never
        waiting = newest_waiting(connection, types=types, project_id=project_id, since=since, limit=limit)
    conditions, parameters = ["day >= $day", '"at" >= $since'], {"day": since.date(), "since": since}
    if types:
        conditions.append("list_contains($types, type)")
        parameters["types"] = list(types)  # type: ignore[assignment]
    if project_id is not None:
        conditions.append("project_id = $project")
        parameters["project"] = project_id  # type: ignore[assignment]
    stored = lake.query(
        f'SELECT * FROM lake.{TABLE} WHERE {" AND ".join(conditions)} ORDER BY "at" DESC, id LIMIT {int(limit)}',
        parameters,
    )
    found = {row["id"]: _shown(row, json.loads(row["data"])) for row in stored}
    for row in waiting:
        number = bytes(row["fact"]).hex()
        found.setdefault(number, _shown({**row, "id": number}, row["data"]))
    return sorted(found.values(), key=lambda row: (row["at"], row["id"]), reverse=True)[:limit]


def _shown(row: Mapping[str, Any], data: Any) -> dict[str, Any]:
    names = ("id", "type", "version", "at", "project_id", "actor_kind", "actor", "source", "run_id")
    return {name: row[name] for name in names} | {"data": data}
