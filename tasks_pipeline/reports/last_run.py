"""What the last run of deliver_reports leaves to the sensor: what failed, and which revisions were considered. Who gets what does
not lie here, but in the rows of report_deliveries."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import Connection

from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.facts import probe, set_probe

PAUSE = timedelta(minutes=30)
"""So long no run is started for what one failed at: another a minute later would fail at it too."""
_NAME = "report_deliveries"


class LastRun(msgspec.Struct, frozen=True):
    """`failed`: names of what could not be composed. `considered`: the digest of the revisions that nobody had to be told of."""

    at: datetime = datetime.min.replace(tzinfo=UTC)
    failed: frozenset[str] = frozenset()
    considered: str = ""

    @property
    def again_at(self) -> datetime:
        """When a run is started again for what failed."""
        return self.at + PAUSE

    def paused(self, now: datetime) -> frozenset[str]:
        """Names of what failed so lately that no run is started for it."""
        return self.failed if now < self.again_at else frozenset()


def note_run(state: StateDatabase, now: datetime, failed: Iterable[str], considered: str) -> None:
    """Note that a run went through all that was due. One that died on its way notes nothing, so that all is looked at again."""
    left = LastRun(now, frozenset(failed), considered)
    status = "critical" if left.failed else "ok"
    with state.write() as connection:
        written = msgspec.json.encode(left).decode()
        set_probe(state, connection, _NAME, now, status=status, value=len(left.failed), detail=written)


def last_run(connection: Connection) -> LastRun:
    """The last run that went through; an empty one before the first."""
    row = probe(connection, _NAME)
    return LastRun() if row is None else msgspec.json.decode(row["detail"], type=LastRun)
