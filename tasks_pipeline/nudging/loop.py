"""The loop of the nudge: looks at stores when something was written to them, and now and then when nothing was.

What it costs at rest is a few looks at the times of files, or at what Postgres has told; an open database answers in a millisecond, where the tick of
a sensor opens Dagster's own stores each time.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from tasks_pipeline.home import Home
from tasks_pipeline.nudging.dagster import DagsterLauncher
from tasks_pipeline.nudging.nudge import Nudge
from tasks_pipeline.nudging.wanted import Start, wanted
from tasks_pipeline.outages import Outage
from tasks_pipeline.service.dagster_client import DagsterError
from tasks_pipeline.storage.spool.interface import Spool, SpoolError
from tasks_pipeline.storage.spool.open import open_spool
from tasks_pipeline.storage.state.database import StateDatabase

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
LOOK_SECONDS = 1.0
"""The least time between two looks: while a drain is at work something is written all the time."""
CLOCK_SECONDS = 10.0
"""Between two looks at what becomes due by itself: messages to be tried again, monitors, digests."""
UNREACHABLE_SECONDS = 5.0
"""Until Dagster is asked again after it did not answer."""
AWAY = (SpoolError, SQLAlchemyError)
"""What is raised while a database is away."""
TROUBLE_SECONDS = 10.0
"""Until everything is opened afresh after something went wrong."""


def nudge_forever(home: Home, ui_url: str, over: threading.Event) -> None:
    """Nudge until `over` is set. Whatever goes wrong is logged and tried again: without it the sensors start everything."""
    trouble = Outage(
        log, f"no nudge, which is tried every {TROUBLE_SECONDS:g} s; sensors go on starting runs"
    )
    while not over.is_set():
        try:
            state, spool = StateDatabase(home), open_spool(home)
            try:
                _nudge(home, state, spool, Nudge(DagsterLauncher(ui_url, state)), over, trouble)
            finally:
                state.close()
                spool.close()
        except Exception as error:  # noqa: BLE001 - the outage tells it
            trouble.failed(error, expected=isinstance(error, AWAY))
            over.wait(TROUBLE_SECONDS)


def _nudge(
    home: Home, state: StateDatabase, spool: Spool, nudge: Nudge, over: threading.Event, trouble: Outage
) -> None:
    seen: object = None
    looked = clock = float("-inf")
    unanswered = Outage(log, "a question has no answer; its sensor asks again")
    while not over.wait(POLL_SECONDS):
        now = time.monotonic()
        by_the_clock = now - clock >= CLOCK_SECONDS
        written = _written(home, spool) if now - looked >= LOOK_SECONDS else seen
        trouble.over()
        if written == seen and not by_the_clock:
            continue
        # What is seen was read before the look, so that what comes in between leads to another.
        seen, looked = written, now
        clock = now if by_the_clock else clock
        starts = _starts(home, state, spool, by_the_clock, unanswered)
        try:
            nudge.give(starts, now)
        except DagsterError as error:
            log.warning("could not start %s: %s", ", ".join(start.key for start in starts), error)
            over.wait(UNREACHABLE_SECONDS)
        if starts:
            seen = None  # it may have to be started again, or could not be started yet


def _starts(
    home: Home, state: StateDatabase, spool: Spool, by_the_clock: bool, unanswered: Outage
) -> list[Start]:
    """All that is wanted; a question that cannot be answered is logged and leaves the others alone."""
    config = home.config_in_force().config
    found: list[Start] = []
    failed = False
    for question in wanted(state, spool, config, datetime.now(UTC), by_the_clock=by_the_clock):
        try:
            found += question()
        except Exception as error:  # noqa: BLE001 - the outage tells it
            unanswered.failed(error, expected=isinstance(error, AWAY))
            failed = True
    if not failed:
        unanswered.over()
    return found


def _written(home: Home, spool: Spool) -> object:
    """Changes when something is written to spool or state: times and sizes of their files, or on Postgres the size
    of today's spool, which its writers tell. What other hosts write into the state there is seen by the clock."""
    if not home.embedded:
        return spool.await_growth(datetime.now(UTC).date(), 0, 0, 0.0)
    return _changes(home.spool_dir) | _changes(home.root)


def _changes(folder: Path) -> frozenset[tuple[str, int, int]]:
    """Name, time and size of the SQLite files of a folder; not of what readers write, too."""
    found = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if ".sqlite" in entry.name and not entry.name.endswith("-shm"):
                    stat = entry.stat()
                    found.add((entry.name, stat.st_mtime_ns, stat.st_size))
    except FileNotFoundError:  # no spool yet, or a write-ahead log that was folded in just now
        found.add(("", 0, 0))
    return frozenset(found)
