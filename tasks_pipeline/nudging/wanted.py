"""What is to be started now, and how: the one answer that sensors and the nudge share. No Dagster here, and nothing is started."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any

from sqlalchemy import select

from tasks_pipeline.alerts.rules import rules_of
from tasks_pipeline.config import Config
from tasks_pipeline.lanes import DRAIN_TAG, EVENTS, INTEGRATIONS, MONITORING, NOTIFICATIONS, RELEASES
from tasks_pipeline.monitors.clock import beat_clock
from tasks_pipeline.notifications.outbox import waiting_notifications
from tasks_pipeline.releases.due import releases_due
from tasks_pipeline.storage.ledger.backlog import DayBacklog, backlogs, day_may_run
from tasks_pipeline.storage.ledger.drains import active_drains
from tasks_pipeline.storage.spool.interface import Spool
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import monitors

_UNTIL_IT_IS_QUIET = {"config": {"linger_seconds": None}}


@dataclass(frozen=True, slots=True)
class Start:
    """A run to be started: its job, its sensor, its tags and its configuration, for a drain the day."""

    job: str
    sensor: str
    tags: Mapping[str, str]
    config: Mapping[str, Any]
    day: date | None = None

    @property
    def key(self) -> str:
        """What there should be one of."""
        return f"{self.job} {self.day}" if self.day else self.job


def drain_of(day: date) -> Start:
    """A drain of a day."""
    return Start(
        "process_events",
        "new_envelopes_sensor",
        {**EVENTS.tags, DRAIN_TAG: day.isoformat()},
        {"ops": {"process_event": {"config": {"mode": "drain"}}}},
        day,
    )


SENDER = Start(
    "send_alert_notification",
    "alert_notifications_sensor",
    NOTIFICATIONS.tags,
    {"ops": {"notifications": _UNTIL_IT_IS_QUIET}},
)
MONITORS = Start(
    "check_monitors", "monitors_sensor", MONITORING.tags, {"ops": {"monitor_incidents": _UNTIL_IT_IS_QUIET}}
)
SHIPPING = Start(
    "process_releases", "new_release_sensor", RELEASES.tags, {"ops": {"releases": _UNTIL_IT_IS_QUIET}}
)
SYNC = Start(
    "sync_integrations",
    "integrations_sensor",
    INTEGRATIONS.tags,
    {"ops": {"external_issues": _UNTIL_IT_IS_QUIET}},
)
CHECKS = Start("check_integrations", "integrations_sensor", INTEGRATIONS.tags, {})
DIGESTS = Start("send_digest", "digests_sensor", NOTIFICATIONS.tags, {})


def may_alert(config: Config) -> bool:
    """Whether an event can become a message."""
    return bool(config.channels) and any(rules_of(config, project.id) for project in config.projects)


def days_without_drain(
    waiting: Collection[DayBacklog], drained: Collection[date], now: datetime
) -> list[date]:
    """Days on which something waits that may be tried now, and no drain is alive."""
    return [backlog.day for backlog in waiting if backlog.day not in drained and day_may_run(backlog, now)]


def wanted(
    state: StateDatabase, spool: Spool, config: Config, now: datetime, *, by_the_clock: bool
) -> Iterator[Callable[[], list[Start]]]:
    """Questions that give what should be at work now, if it is not; runs that are on their way are not known here.

    Each is a question of its own, so that one store that cannot be read silences one of them. `by_the_clock` asks also
    for what becomes due without anybody writing anything.
    """
    yield partial(_of_events, state, spool, config, now)
    yield partial(_of_messages, state, now)
    yield partial(_of_releases, state, now)
    yield partial(_of_integrations, state, config, now)
    if by_the_clock:
        yield partial(_of_monitors, state, config, now)
        yield partial(_of_checks, state, config, now)
        yield partial(_of_digests, state, config, now)


def _of_events(state: StateDatabase, spool: Spool, config: Config, now: datetime) -> list[Start]:
    """Drains, and a sender that stands by: starting it after the events would cost the seconds that people wait."""
    waiting, working = backlogs(state, spool), {drain.day for drain in active_drains(state)}
    drains = [drain_of(day) for day in days_without_drain(waiting, working, now)]
    return [*drains, SENDER] if (waiting or working) and may_alert(config) else drains


def _of_messages(state: StateDatabase, now: datetime) -> list[Start]:
    return [SENDER] if waiting_notifications(state, now).oldest is not None else []


def _of_releases(state: StateDatabase, now: datetime) -> list[Start]:
    """Suspects alone are in no hurry: a run for them is started by the sensor, which asks for them too, within a minute."""
    return [SHIPPING] if releases_due(state, now) else []


def _of_integrations(state: StateDatabase, config: Config, now: datetime) -> list[Start]:
    if not config.integrations:
        return []
    from tasks_pipeline.integrations.due import work_due

    return [SYNC] if work_due(state, config, now) else []


def _of_checks(state: StateDatabase, config: Config, now: datetime) -> list[Start]:
    if not config.integrations:
        return []
    from tasks_pipeline.integrations.checking import checks_due

    return [CHECKS] if checks_due(state, config.integrations, now) else []


def _of_monitors(state: StateDatabase, config: Config, now: datetime) -> list[Start]:
    beat_clock(state, now)
    if not _has_monitors(state, config):
        return []
    # Imported only where needed: it brings DuckDB along, 25 MB.
    from tasks_pipeline.monitors.check import cron_due
    from tasks_pipeline.monitors.registry import sync_monitors
    from tasks_pipeline.monitors.uptime import uptime_due

    sync_monitors(state, config, now)
    return [MONITORS] if cron_due(state, now) + uptime_due(state, now) else []


def _has_monitors(state: StateDatabase, config: Config) -> bool:
    if any(project.monitors or project.uptime for project in config.projects):
        return True
    with state.read() as connection:
        return connection.execute(select(monitors.c.id).limit(1)).first() is not None


def _of_digests(state: StateDatabase, config: Config, now: datetime) -> list[Start]:
    if not config.members:
        return []
    from tasks_pipeline.notifications.digests import digests_due

    return [DIGESTS] if digests_due(state, config, now) else []
