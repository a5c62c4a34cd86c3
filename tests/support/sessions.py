"""Sessions of one day and project: sent, and read from the tables of release health."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from tasks_pipeline.protocol.envelope import Item
from tasks_pipeline.releases.health import HealthReport, compute_health
from tasks_pipeline.releases.health_days import HealthDay, due_days, health_day
from tests.support.day import Day
from tests.support.events import item
from tests.support.session_cases import Tables


def session(day: Day, number: int, *, began: float = 0, **fields: Any) -> Item:
    """The update of a session that began so many seconds after noon of the day."""
    payload = {
        "sid": f"{number:032x}",
        "started": day.at(began).isoformat(),
        "attrs": {"release": fields.pop("release", "shop@1"), "environment": "production"},
        **fields,
    }
    return item("session", payload)


def buckets(*counts: dict[str, Any], release: str = "shop@1") -> Item:
    """Sessions in buckets."""
    return item("sessions", {"aggregates": list(counts), "attrs": {"release": release}})


def receive(day: Day, *items: Item, seconds: float = 60) -> None:
    """Take items in an envelope each, so many seconds after noon, and process them."""
    day.spool(*(day.receipt(each, seconds=seconds) for each in items))
    day.drain()


def later(day: Day, days: int) -> Day:
    """The same project so many days later."""
    for _ in range(days):
        day = day.next()
    return day


def compute(day: Day) -> HealthReport:
    """Count the sessions that began on the day."""
    return compute_health(day.stores.lake, day.stores.state, day.date)


def tables(day: Day) -> Tables:
    """What is counted of the project's sessions that began on the day."""
    return Tables.read(day.stores, [day.project]).where(day=day.date)


def due(day: Day) -> list[date]:
    """The days that are due."""
    with day.stores.state.read() as connection:
        return due_days(connection)


def known(day: Day, days: int = 0) -> HealthDay:
    """What is noted of the day."""
    with day.stores.state.read() as connection:
        return health_day(connection, day.date + timedelta(days=days))
