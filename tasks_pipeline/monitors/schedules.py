"""Schedules: when a job is due next, in its time zone, across daylight saving."""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from tasks_pipeline.words import counted

MARGIN_MINUTES = 1
MAX_RUNTIME_MINUTES = 30
EARLY = timedelta(seconds=30)  # clocks differ: a check-in so long before its time is the one of that time
_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EXACT = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1)}
_FAR = timedelta(days=366 * 60)


def next_time(config: Mapping[str, Any], after: datetime) -> datetime:
    """When a monitor is due next after a moment, in UTC. `config` as in a client's `monitor_config`.

    A crontab time that the clocks skip runs right after the gap, one that comes twice runs once, as cron does it. Days and
    longer units of intervals keep their time of day. A schedule that never comes (30 February), or later, is due in 60 years.
    """
    schedule, zone = config["schedule"], config.get("timezone") or "UTC"
    if schedule["type"] == "crontab":
        return _next_of_crontab(schedule["value"], zone, after)
    # Far years leave no room for a margin behind them.
    return min(_after_interval(schedule["value"], schedule["unit"], zone, after), after + _FAR)


def following(config: Mapping[str, Any], check_in: datetime) -> datetime:
    """When a monitor is due next after a check-in, which may have come a little before the time that it is of."""
    crontab = config["schedule"]["type"] == "crontab"
    return next_time(config, check_in + EARLY if crontab else check_in)


@lru_cache(maxsize=20_000)
def _next_of_crontab(expression: str, zone: str, after: datetime) -> datetime:
    local = after.astimezone(ZoneInfo(zone))
    try:
        found = next(CronSim(_MACROS.get(expression.lower(), expression), local), None)
    except CronSimError:  # 30 February and the like
        found = None
    return found.astimezone(UTC) if found is not None else after + _FAR


def _after_interval(value: int, unit: str, zone: str, after: datetime) -> datetime:
    try:
        if unit in _EXACT:
            return after + value * _EXACT[unit]
        local = after.astimezone(ZoneInfo(zone))
        if unit in ("day", "week"):
            moved = local + timedelta(days=value * (7 if unit == "week" else 1))
        else:
            months = local.year * 12 + local.month - 1 + value * (12 if unit == "year" else 1)
            year, month = divmod(months, 12)
            day = min(local.day, calendar.monthrange(year, month + 1)[1])
            moved = local.replace(year=year, month=month + 1, day=day)
        return moved.astimezone(UTC)
    except (OverflowError, ValueError, calendar.IllegalMonthError):
        return after + _FAR


def margin(config: Mapping[str, Any]) -> timedelta:
    """How late a check-in may be."""
    return timedelta(minutes=config.get("checkin_margin", MARGIN_MINUTES))


def max_runtime(config: Mapping[str, Any]) -> timedelta:
    """How long a run may take."""
    return timedelta(minutes=config.get("max_runtime") or MAX_RUNTIME_MINUTES)


def described(config: Mapping[str, Any]) -> str:
    """A schedule for people, or why there is none."""
    if config.get("mistake"):
        return f"cannot be used: {config['mistake']}"
    schedule = config.get("schedule") or {}
    zone = config.get("timezone") or "UTC"
    if schedule.get("type") == "crontab":
        return f"{schedule['value']} ({zone})"
    if schedule.get("type") == "interval":
        return f"every {counted(schedule['value'], schedule['unit'])}"
    return ""
