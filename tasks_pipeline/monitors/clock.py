"""The clock of monitors: when this service was at work, so that its own downtime is not taken for the silence of others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.facts import probe, set_probe

NAME = "monitor_clock"
BEAT = timedelta(seconds=30)
DOWN = timedelta(minutes=3)
"""After so long without a beat the service counts as having been down."""


@dataclass(frozen=True, slots=True)
class Downtime:
    """The last time that the service was down."""

    start: datetime
    end: datetime


def beat_clock(state: StateDatabase, now: datetime) -> None:
    """Say that the service is at work; called every few seconds, written every half minute."""
    with state.read() as connection:
        row = probe(connection, NAME)
    if row is not None and now - row["measured_at"] < BEAT:
        return
    down = row is not None and now - row["measured_at"] >= DOWN
    with state.write() as connection:
        set_probe(
            state,
            connection,
            NAME,
            now,
            status="ok",
            detail=row["measured_at"].isoformat() if row and down else (row or {}).get("detail", ""),
            since=now if down or row is None else row["since"],
        )


def last_downtime(state: StateDatabase) -> Downtime | None:
    """The last downtime that was noticed; None when there was none."""
    with state.read() as connection:
        row = probe(connection, NAME)
    if row is None or not row["detail"]:
        return None
    return Downtime(datetime.fromisoformat(row["detail"]), row["since"])
