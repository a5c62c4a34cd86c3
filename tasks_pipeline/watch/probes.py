"""Probes: one reading each of how the pipeline is doing. Plain functions, which change nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, text

from tasks_pipeline.config.watch import Limits
from tasks_pipeline.lanes import LANES
from tasks_pipeline.notifications.outbox import channel_figures, waiting_notifications
from tasks_pipeline.storage.lake.place import reach
from tasks_pipeline.storage.ledger.backlog import DayBacklog, backlogs
from tasks_pipeline.storage.ledger.failures import reason_of
from tasks_pipeline.storage.sizes import disk_of
from tasks_pipeline.storage.state.erasures import open_since
from tasks_pipeline.storage.state.passed_over import passed_over
from tasks_pipeline.storage.state.proofs import failed_checks
from tasks_pipeline.storage.state.tables import batches, notifications
from tasks_pipeline.storage.state.workers import living_workers
from tasks_pipeline.stores import Stores
from tasks_pipeline.upkeep import findings
from tasks_pipeline.upkeep.forecast import MOST_DAYS, days_until_full
from tasks_pipeline.watch.facts import DagsterFacts
from tasks_pipeline.words import counted

log = logging.getLogger(__name__)

OK, WARNING, CRITICAL, BROKEN = "ok", "warning", "critical", "broken"
"""How a figure is doing, best first; `broken` is a probe that could not be read at all."""
LOOKED_BACK = timedelta(days=31)
"""What failed longer ago is told nobody any more: its figures may be gone."""
A_NIGHT = timedelta(days=1)
"""So long an open deletion may wait for the nightly cleanup."""
STORAGE_SECONDS = 10.0
"""A tick has other probes to read."""
LEAST_ITEMS = 100  # of fewer items a share says little


@dataclass(frozen=True, slots=True)
class Reading:
    """What a probe read: `status` by its limits, `value` in the unit of its name, and a sentence for people."""

    name: str
    status: str
    value: float | None
    detail: str


DESCRIPTIONS = {
    "lag": "Age of the oldest envelope that waits to be processed, in seconds.",
    "spool": "Days of the spool that cannot be read, or miss envelopes that were there.",
    "failed_attempts": "Attempts that failed at what still waits to be processed.",
    "invalid_items": "Share of today's items that could not be processed, in percent.",
    "dead_letters": "Items of today that could not be processed.",
    "passed_over": "Changes of groups, check-ins, monitors and rules that failed by themselves within the last hour, and releases that were too many.",
    "outbox": "How late the oldest message is that should have been sent, in seconds.",
    "dead_notifications": "Messages that were given up within the last hour.",
    "channels": "Channels that are left alone because they fail.",
    "disk": "Free space where the data lies, in bytes.",
    "disk_days": "For how many days the free disk will do, if it goes on as in the last weeks.",
    "object_storage": "How long it takes object storage to keep something and give it back, in seconds.",
    "lake_files": "Files of the lake that its catalog names and that are not there, or not as it says.",
    "damage": "What could not be read as it was written, when it was looked at last night.",
    "early_removals": "Days that the last cleanup removed before their time, since the stores take more than `retention.max_disk`.",
    "archive": "Days that last night's cleanup could not archive: they stay, though their retention is over.",
    "deletions": "Deletions that were asked for more than a day ago and are not finished.",
    "figures": "Checks of figures and reports that failed within a month and do not hold yet: what is built on them is held up.",
    "clock": "Difference between this machine's clock and the database's, in seconds.",
    "failed_runs": "Runs of a job that failed in a row.",
    "failed_ticks": "Ticks of a sensor or schedule that failed in a row.",
    "daemons": "Daemons of Dagster without a heartbeat.",
    "workers": "Lanes that no worker serves, where runs wait in the queues of a broker.",
    "configuration": "Mistakes in the configuration file; what it held before stays in force.",
}


UNITS = {
    "lag": ("seconds", 1),
    "invalid_items": ("percent", 1),
    "outbox": ("seconds", 1),
    "disk": ("GiB", 1024**3),
    "disk_days": ("days", 1),
    "clock": ("seconds", 1),
    "object_storage": ("seconds", 1),
}
"""What people are shown a value in, and how much of it that is; the others are counts."""


def measured(reading: Reading) -> tuple[str, float]:
    """The unit and the value that people are shown; 0 for a probe that could not be read."""
    unit, size = UNITS.get(reading.name, ("count", 1))
    return unit, round((reading.value or 0) / size, 3)


def above(value: float, limits: Limits) -> str:
    """The status of a value that is bad when it is large."""
    return CRITICAL if value >= limits.critical else WARNING if value >= limits.warning else OK


def below(value: float, limits: Limits) -> str:
    """The status of a value that is bad when it is small."""
    return CRITICAL if value <= limits.critical else WARNING if value <= limits.warning else OK


def readings(stores: Stores, facts: DagsterFacts, now: datetime) -> Iterator[Reading]:
    """All probes. One that raises costs itself alone: then it is `broken`, and its reason is what it read."""
    probes: tuple[tuple[tuple[str, ...], Callable[[], Iterable[Reading]]], ...] = (
        (("lag", "spool", "failed_attempts"), lambda: spool(stores, now)),
        (("dead_letters", "invalid_items"), lambda: items(stores, now)),
        (("passed_over",), lambda: [of_passed_over(stores, now)]),
        (("outbox",), lambda: [outbox(stores, now)]),
        (("dead_notifications",), lambda: [dead_notifications(stores, now)]),
        (("channels",), lambda: [channels(stores, now)]),
        (("disk",), lambda: [disk(stores)]),
        (("disk_days",), lambda: [disk_days(stores)]),
        (("object_storage",), lambda: [object_storage(stores)]),
        (("lake_files",), lambda: [lake_files(stores)]),
        (("damage",), lambda: [damage(stores)]),
        (("early_removals",), lambda: [early_removals(stores)]),
        (("archive",), lambda: [archive(stores)]),
        (("deletions",), lambda: [deletions(stores, now)]),
        (("figures",), lambda: [figures(stores, now)]),
        (("clock",), lambda: [clock(stores)]),
        (("failed_runs", "failed_ticks", "daemons"), lambda: dagster(stores, facts)),
        (("workers",), lambda: [unserved_lanes(stores, now)]),
        (("configuration",), lambda: [configuration(stores)]),
    )
    for names, read in probes:
        try:
            found = list(read())
        except Exception as error:  # whatever it is, it is what there is to tell
            log.exception("the probes %s cannot be read", ", ".join(names))
            found = [Reading(name, BROKEN, None, f"cannot be read: {reason_of(error)}") for name in names]
        yield from found


def spool(stores: Stores, now: datetime) -> Iterator[Reading]:
    """What waits, what of it keeps failing, and what cannot be read."""
    days = backlogs(stores.state, stores.spool)
    yield lag(stores, days, now)
    broken = [day for day in days if day.broken]
    said = "; ".join(f"{day.day}: {day.broken}" for day in broken[:3])
    detail = (
        f"{counted(len(broken), 'day')} cannot be read in full: {said}" if broken else "all days can be read"
    )
    yield Reading("spool", CRITICAL if broken else OK, len(broken), detail)
    yield failed_attempts(stores, days)


def failed_attempts(stores: Stores, days: Sequence[DayBacklog]) -> Reading:
    """Attempts at what still waits."""
    count = sum(day.failed_attempts for day in days)
    said = "; ".join(
        f"{day.day}: {day.failed_attempts} attempts failed, the last with {day.error or 'its process'}"
        for day in days
        if day.failed_attempts
    )
    status = above(count, stores.config.watch.failed_attempts)
    return Reading("failed_attempts", status, count, said[:300] or "no attempt failed")


def lag(stores: Stores, waiting: Sequence[DayBacklog], now: datetime) -> Reading:
    """How long the oldest envelope has waited."""
    oldest = min((b.oldest for b in waiting if b.oldest is not None), default=None)
    seconds = max(0.0, (now - oldest).total_seconds()) if oldest else 0.0
    count = sum(b.envelopes for b in waiting)
    detail = (
        f"{counted(count, 'envelope')} waiting, the oldest for {seconds:,.0f} s" if count else "nothing waits"
    )
    return Reading("lag", above(seconds, stores.config.watch.lag_seconds), seconds, detail)


def items(stores: Stores, now: datetime) -> Iterator[Reading]:
    """How many of today's items could not be processed."""
    query = select(func.sum(batches.c["items"]), func.sum(batches.c.invalid)).where(
        batches.c.day == now.date()
    )
    with stores.state.read() as connection:
        total, invalid = (int(value or 0) for value in connection.execute(query).one())
    share = 100 * invalid / total if total else 0.0
    watch = stores.config.watch
    said = f"{invalid:,} of {counted(total, 'item')} of today could not be processed"
    yield Reading("dead_letters", above(invalid, watch.dead_letters), invalid, said)
    status = above(share, watch.invalid_percent) if total >= LEAST_ITEMS else OK
    yield Reading(
        "invalid_items", status, round(share, 3), f"{share:.2f} percent: {said}" if invalid else said
    )


def of_passed_over(stores: Stores, now: datetime) -> Reading:
    """What failed by itself and was passed over, so that the rest went on."""
    with stores.state.read() as connection:
        rows = passed_over(connection, now)
    count = sum(row["count"] for row in rows)
    said = "; ".join(
        f"{row['count']:,} {row['kind']} since {row['since']:%Y-%m-%d %H:%M:%S} UTC, the last: {row['detail']}"
        for row in rows
    )
    return Reading("passed_over", WARNING if count else OK, count, said or "nothing was passed over")


def outbox(stores: Stores, now: datetime) -> Reading:
    """How late messages are."""
    backlog = waiting_notifications(stores.state, now)
    seconds = max(0.0, (now - backlog.oldest).total_seconds()) if backlog.oldest else 0.0
    detail = (
        f"{counted(backlog.count, 'message')} due, the oldest for {seconds:,.0f} s"
        if backlog.count
        else "nothing is due"
    )
    return Reading("outbox", above(seconds, stores.config.watch.outbox_seconds), seconds, detail)


def dead_notifications(stores: Stores, now: datetime) -> Reading:
    """Messages given up in the last hour."""
    n = notifications.c
    query = select(func.count()).where(n.status == "dead", n.not_before >= now - timedelta(hours=1))
    with stores.state.read() as connection:
        count = int(connection.execute(query).scalar_one())
    detail = f"{counted(count, 'message')} given up in the last hour"
    return Reading("dead_notifications", above(count, stores.config.watch.dead_notifications), count, detail)


def channels(stores: Stores, now: datetime) -> Reading:
    """Channels that failed so often in a row that they are left alone, until a message gets through."""
    limit = stores.config.notifications.breaker_failures
    failing = [
        row["channel"] for row in channel_figures(stores.state, now) if (row["failures"] or 0) >= limit
    ]
    detail = f"left alone because they fail: {', '.join(failing)}" if failing else "all channels work"
    return Reading("channels", WARNING if failing else OK, len(failing), detail)


def disk(stores: Stores) -> Reading:
    """Free space; of the home and, when the lake lies elsewhere on this machine, of that."""
    free, _ = disk_of(stores.home)
    limits = stores.config.watch.disk_free_bytes
    return Reading("disk", below(free, limits), free, f"{free / 1024**3:,.1f} GiB are free")


def disk_days(stores: Stores) -> Reading:
    """How long the disk will do, as the asset `storage_health` measured it over the last weeks."""
    with stores.state.read() as connection:
        days = days_until_full(findings.free_disk(connection))
    if days is None:
        return Reading("disk_days", OK, None, "it is not known for long enough how much disk is free")
    said = (
        "the disk does not fill"
        if days >= MOST_DAYS
        else f"the disk will be full in {counted(int(days), 'day')}"
    )
    return Reading("disk_days", below(days, stores.config.watch.disk_days), round(days, 1), said)


def object_storage(stores: Stores) -> Reading:
    """Whether it can be used, by using it. Raises OSError when it cannot: nothing is stored meanwhile."""
    if not stores.home.far:
        return Reading("object_storage", OK, None, "lake and blobs lie in folders")
    began = time.monotonic()
    reach(stores.home, STORAGE_SECONDS, kept="watch")
    taken = round(time.monotonic() - began, 3)
    return Reading("object_storage", OK, taken, "object storage keeps what it is given")


def lake_files(stores: Stores) -> Reading:
    """Files of the lake that are missing, as the asset `storage_health` found them."""
    return _found(stores, "lake_files", findings.FILES, "all files that the catalog names are there")


def damage(stores: Stores) -> Reading:
    """What is damaged, as the asset `optimize_database` found it."""
    return _found(stores, "damage", findings.DAMAGE, "all that was read is as it was written")


def early_removals(stores: Stores) -> Reading:
    """What the last cleanup removed before its time. Nothing is broken, and what people asked to be kept is not."""
    return _found(stores, "early_removals", findings.EARLY, "nothing went before its time", WARNING)


def _found(stores: Stores, name: str, kind: str, well: str, bad: str = CRITICAL) -> Reading:
    with stores.state.read() as connection:
        found = findings.finding(connection, kind)
    if found is None:
        return Reading(name, OK, 0, "nobody has looked yet")
    seen = f"{found.at:%Y-%m-%d %H:%M} UTC: {found.detail or well}"
    return Reading(name, bad if found.count else OK, found.count, seen)


def archive(stores: Stores) -> Reading:
    """Days that could not be archived, as the assets of the cleanup found them."""
    if stores.config.retention.archive_url is None:
        return Reading("archive", OK, 0, "nothing is archived")
    names = findings.UNARCHIVED_ROWS, findings.UNARCHIVED_FILES
    with stores.state.read() as connection:
        found = [findings.finding(connection, name) for name in names]
    failed = [each for each in found if each is not None and each.count]
    said = "; ".join(each.detail for each in failed) or "what went was archived before"
    return Reading("archive", CRITICAL if failed else OK, sum(each.count for each in failed), said)


def deletions(stores: Stores, now: datetime) -> Reading:
    """Deletions that were asked for before the last night, and what the cleanup found in their way."""
    with stores.state.read() as connection:
        late = [each for each in open_since(connection) if each < now - A_NIGHT]
        why = findings.finding(connection, findings.OPEN_DELETIONS)
    if not late:
        return Reading("deletions", OK, 0, "none is open for longer than a night")
    said = f"{counted(len(late), 'deletion')} open since {late[0]:%Y-%m-%d}: "
    said += why.detail if why is not None and why.count else "no cleanup has come to it yet"
    return Reading("deletions", CRITICAL, len(late), said)


def figures(stores: Stores, now: datetime) -> Reading:
    """Figures and reports that are known to be wrong, by the checks that hold up what is built on them."""
    with stores.state.read() as connection:
        failed = failed_checks(connection, now - LOOKED_BACK)
    said = "; ".join(map(str, failed[:3])) + (f"; and {len(failed) - 3} more" if len(failed) > 3 else "")
    status = CRITICAL if failed else OK
    return Reading("figures", status, len(failed), said or "no check of figures fails")


def clock(stores: Stores) -> Reading:
    """This machine's clock against the database's; an embedded database has the same one."""
    if stores.state.is_sqlite:
        return Reading("clock", OK, 0.0, "the database is on this machine")
    with stores.state.read() as connection:
        before = time.time()
        theirs = float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
        middle = (before + time.time()) / 2
    skew = abs(theirs - middle)
    limits = stores.config.watch.clock_skew_seconds
    return Reading(
        "clock", above(skew, limits), round(skew, 3), f"the database's clock differs by {skew:.3f} s"
    )


def dagster(stores: Stores, facts: DagsterFacts) -> Iterator[Reading]:
    """Runs, ticks and daemons. Raises LookupError when Dagster did not say."""
    if facts.error:
        raise LookupError(facts.error)
    watch = stores.config.watch
    for name, found, limits in (
        ("failed_runs", facts.jobs, watch.failed_runs),
        ("failed_ticks", facts.ticks, watch.failed_ticks),
    ):
        most = max((each.failures for each in found), default=0)
        said = "; ".join(
            f"{each.name} failed {counted(each.failures, 'time')} in a row"
            + (f": {each.error[:200]}" if each.error else "")
            for each in found[:5]
        )
        yield Reading(name, above(most, limits) if most else OK, most, said or "none fails")
    count = len(facts.daemons)
    said = f"no heartbeat of {', '.join(facts.daemons)}" if count else "all daemons are well"
    yield Reading("daemons", CRITICAL if count else OK, count, said)


def unserved_lanes(stores: Stores, now: datetime) -> Reading:
    """Lanes whose runs wait in vain."""
    if not stores.home.queued:
        return Reading("workers", OK, 0, "no broker is configured, and none are needed")
    with stores.state.read() as connection:
        working = living_workers(connection, now)
    unserved = [lane for lane in LANES if not any(lane in worker.lanes for worker in working)]
    return Reading(
        "workers",
        CRITICAL if unserved else OK,
        len(unserved),
        f"no worker serves {', '.join(unserved)}"
        if unserved
        else f"{counted(len(working), 'worker')} serve all lanes",
    )


def configuration(stores: Stores) -> Reading:
    """Whether the configuration file can be used. What was found in it is not repeated: it may be a secret."""
    mistakes = [line.partition(" (found ")[0] for line in stores.config_mistakes.splitlines()]
    said = (
        f"what the file held before stays in force: {'; '.join(mistakes[:3])}"
        if mistakes
        else "the file is good"
    )
    return Reading("configuration", WARNING if mistakes else OK, len(mistakes), said)
