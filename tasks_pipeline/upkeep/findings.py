"""What upkeep found, for the watch to tell of: a few facts in the state database, beside the probes that read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.facts import probe, set_probe

DAMAGE = "found_damage"
"""What cannot be read as it was written: pages of SQLite, Parquet files, blobs, indexes of Postgres."""
FILES = "found_files"
"""Files that the catalog of the lake names and that are not there, or are not what it says."""
EARLY = "found_early"
"""Days that went before their time, since the stores took more than `retention.max_disk`."""
UNARCHIVED_ROWS, UNARCHIVED_FILES = "found_unarchived_rows", "found_unarchived_files"
"""Days that the last cleanup could not archive, and left as they are: of what was received, and of attachments."""
OPEN_DELETIONS = "found_open_deletions"
"""Why deletions that people asked for could not be finished last night."""
FREE_DISK = "free_disk"
"""How much disk was free, over time."""
_SHOWN = 5
READINGS_KEPT = 120
"""A month of them, four a day."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How many things are wrong, the first of them in a sentence, and when that was looked at."""

    count: int
    detail: str
    at: datetime


class FreeDisk(msgspec.Struct, array_like=True, frozen=True):
    """Bytes of disk that were free at a moment."""

    at: datetime
    free: int


def note_finding(state: StateDatabase, name: str, problems: Sequence[str], now: datetime) -> None:
    """Remember what was found, in place of what was found before."""
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    said = "; ".join(problem[:200] for problem in problems[:_SHOWN]) + more
    with state.write() as connection:
        status = "critical" if problems else "ok"
        set_probe(state, connection, name, now, status=status, value=len(problems), detail=said)


def finding(connection: Connection, name: str) -> Finding | None:
    """What was found last; None when nobody looked yet."""
    row = probe(connection, name)
    return None if row is None else Finding(int(row["value"] or 0), row["detail"], row["measured_at"])


def note_free_disk(state: StateDatabase, free: int, now: datetime) -> list[FreeDisk]:
    """Add a reading to those that are remembered, and give them, the oldest first."""
    with state.write() as connection:
        readings = [*free_disk(connection), FreeDisk(now, free)][-READINGS_KEPT:]
        written = msgspec.json.encode(readings).decode()
        set_probe(state, connection, FREE_DISK, now, status="ok", value=free, detail=written)
    return readings


def free_disk(connection: Connection) -> list[FreeDisk]:
    """How much disk was free over the last month, the oldest first."""
    row = probe(connection, FREE_DISK)
    return [] if row is None else msgspec.json.decode(row["detail"], type=list[FreeDisk])
