"""watch_monitors: look at everything that is due, again and again, while something is due soon."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tasks_pipeline.monitors.check import CheckReport, check_monitors, cron_due
from tasks_pipeline.monitors.clock import beat_clock
from tasks_pipeline.monitors.registry import sync_monitors
from tasks_pipeline.monitors.uptime import UptimeChecks, UptimeReport, next_uptime, uptime_due
from tasks_pipeline.stores import Stores

LINGER_SECONDS = (
    150.0  # a job of every minute keeps one run at work; starting one each time would cost Dagster 140 kB
)
MAX_RUN_SECONDS = 600.0
POLL_SECONDS = 1.0


@dataclass
class MonitorsReport:
    """What a run of check_monitors did."""

    cron: CheckReport = field(default_factory=CheckReport)
    uptime: UptimeReport = field(default_factory=UptimeReport)
    rounds: int = 0
    ended_because: str = ""

    def figures(self) -> dict[str, Any]:
        """For the UI."""
        return {
            **self.cron.figures(),
            **self.uptime.figures(),
            "rounds": self.rounds,
            "ended": self.ended_because,
        }


def monitors_due(stores: Stores, now: datetime) -> int:
    """How many monitors have to be looked at. Called every few seconds, which is what the clock of monitors goes by."""
    beat_clock(stores.state, now)
    sync_monitors(stores.state, stores.config, now)
    return cron_due(stores.state, now) + uptime_due(stores.state, now)


def watch_monitors(
    stores: Stores,
    *,
    linger_seconds: float | None = None,
    max_run_seconds: float = MAX_RUN_SECONDS,
) -> MonitorsReport:
    """Look at monitors until nothing is due within `linger_seconds` (150 when absent), or the run is old.

    With addresses to ask it goes on for its whole time: starting a run for each check would cost more than the checks.
    At its end it leaves addresses that have not answered yet to the next run; without lingering it waits for them, which their
    time limits bound, and looks at check-ins meanwhile.
    """
    linger = LINGER_SECONDS if linger_seconds is None else linger_seconds
    report = MonitorsReport()
    started = last = time.monotonic()
    with UptimeChecks(stores) as uptime:
        while not report.ended_because or (linger == 0 and uptime.busy):
            now = datetime.now(UTC)
            if monitors_due(stores, now):
                report.cron.add(check_monitors(stores, now))
                # An address that is slow to answer keeps neither the others waiting nor a missed check-in from being found.
                if not report.ended_because:
                    uptime.begin(now)
                report.rounds += 1
                last = time.monotonic()
            report.uptime.add(uptime.collect())
            if not report.ended_because:
                old = time.monotonic() - started >= max_run_seconds
                report.ended_because = (
                    f"it ran for {max_run_seconds:g} s"
                    if old
                    else _ended_because(stores, linger, time.monotonic() - last, now)
                )
            if not report.ended_because:
                time.sleep(POLL_SECONDS)
            elif linger == 0:
                uptime.wait(POLL_SECONDS)
        uptime.give_back(datetime.now(UTC))
    return report


def _ended_because(stores: Stores, linger: float, idle: float, now: datetime) -> str:
    """Why a run that has been idle for so many seconds ends; empty when it goes on."""
    following = next_uptime(stores.state)
    soon = following is not None and (linger > 0 or following <= now)
    if linger > 0 and (why := stores.why_end):
        return why
    if not soon and idle >= linger:
        return f"nothing was due for {linger:g} s"
    return ""
