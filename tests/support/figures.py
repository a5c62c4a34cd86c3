"""Figures of days in tests: computed, read from the tables, and what is known of the day."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from tasks_pipeline.analytics.statistics.compute import StatisticsReport, compute_statistics
from tasks_pipeline.analytics.statistics.days import (
    DayVersion,
    versions_of,
)
from tasks_pipeline.analytics.statistics.proofs import prove
from tasks_pipeline.groups.regrouping import finish_regroupings
from tasks_pipeline.storage.state import tables as t
from tasks_pipeline.stores import Stores
from tests.support.day import Day
from tests.support.events import item

LATER = timedelta(days=3)
"""So long after a day it is computed, unless a test says otherwise."""


def count(day: Day, *, everything: bool = True, now: datetime | None = None) -> StatisticsReport:
    """Compute the day, some days after it."""
    moment = now or day.at() + LATER
    (report,) = compute_statistics(day.stores, [day.date], moment, everything=everything)
    return report


def rows(day: Day, table: str) -> list[dict[str, Any]]:
    """Rows of the day's project in a table of figures, without day and project."""
    of_project = "" if table == "pipeline_stats" else f"AND project_id = {day.project}"
    found = day.stores.lake.query(
        f"SELECT * EXCLUDE (day) FROM lake.{table} WHERE day = DATE '{day.date.isoformat()}' {of_project} ORDER BY ALL"
    )
    return [{name: value for name, value in row.items() if name != "project_id"} for row in found]


def transaction(day: Day, number: int, milliseconds: float, **fields: Any) -> Any:
    trace = {"op": "http", "trace_id": "b" * 32, "span_id": "c" * 16, "status": fields.pop("status", "ok")}
    return item(
        "transaction",
        {
            "type": "transaction", "event_id": f"{number:032x}", "transaction": fields.pop("name", "/cart"),
            "start_timestamp": day.at().isoformat(), "timestamp": day.at(milliseconds / 1000).isoformat(),
            "contexts": {"trace": trace}, **fields,
        },
    )  # fmt: skip


def regroup(day: Day) -> None:
    with day.stores.lake.lock():
        finish_regroupings(day.stores.state, day.stores.lake)


def ids(day: Day) -> dict[str, int]:
    """Group by type of its exception."""
    return {g["title"].partition(":")[0]: g["id"] for g in day.groups()}


def due(stores: Stores) -> list[date]:
    """Days to whose rows something happened that is not in their figures."""
    c = t.day_changes.c
    with stores.state.read() as connection:
        return list(
            connection.execute(
                select(c.day).where(c.changes > c.computed).distinct().order_by(c.day)
            ).scalars()
        )


def version(day: Day) -> DayVersion:
    with day.stores.state.read() as connection:
        return versions_of(connection, [day.date])[day.date]


def decided_at(day: Day, moments: dict[int, datetime]) -> None:
    """Entries of the log, by number, were made at these moments."""
    with day.stores.state.write() as connection:
        for number, moment in moments.items():
            connection.execute(
                update(t.group_actions).where(t.group_actions.c.id == number).values(at=moment)
            )


def log_of(day: Day) -> list[Any]:
    with day.stores.state.read() as connection:
        query = select(t.group_actions).where(t.group_actions.c.project_id == day.project)
        return list(connection.execute(query.order_by(t.group_actions.c.id)))


def assert_proved(day: Day) -> None:
    """All that the checks look at holds."""
    proof = prove(day.stores, day.date)
    assert not proof.due
    assert proof.events == proof.rows
    assert {name: pair for name, pair in proof.sums.items() if pair[0] != pair[1]} == {}
    assert (proof.astray, proof.balance.holds) == (0, True), proof
