"""watch_pipeline: read the probes, remember them, tell the operators, and find another way out when that one is broken."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from tasks_pipeline.alerts.fire import fire
from tasks_pipeline.alerts.firing import Firing
from tasks_pipeline.config import Config
from tasks_pipeline.config.projects import PIPELINE
from tasks_pipeline.config.watch import Watch
from tasks_pipeline.facts.configuration import note_configuration
from tasks_pipeline.home import Home
from tasks_pipeline.notifications.channels import open_channel
from tasks_pipeline.notifications.errors import SendFailure
from tasks_pipeline.notifications.message import Message
from tasks_pipeline.notifications.what_to_do import about_pipeline
from tasks_pipeline.storage.ledger.failures import reason_of
from tasks_pipeline.storage.state.facts import all_probes, probe, set_probe
from tasks_pipeline.stores import Stores
from tasks_pipeline.texts import clean
from tasks_pipeline.watch.facts import DagsterFacts
from tasks_pipeline.watch.probes import BROKEN, CRITICAL, DESCRIPTIONS, OK, WARNING, Reading, readings

log = logging.getLogger(__name__)

RULE = "pipeline"
OF_THE_WAY_OUT = frozenset({"outbox", "channels", "dead_notifications", "daemons", "workers"})
"""Probes of what messages to the operators need: when they are bad, messages may not arrive."""
_FALLBACK = "fallback_message"
_SAID = {
    OK: "well again",
    WARNING: "needs a look",
    CRITICAL: "critical",
    BROKEN: "cannot be read",
}


@dataclass
class WatchReport:
    """What was read, what it is worth, and what was told."""

    readings: list[Reading] = field(default_factory=list)
    statuses: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    fallback: str = ""

    @property
    def worst(self) -> str:
        """The worst status."""
        return max(self.statuses.values(), key=(OK, WARNING, CRITICAL, BROKEN).index, default=OK)

    @property
    def well(self) -> bool:
        """Whether the pipeline does what it is for, so that it may say so outside."""
        return self.worst in (OK, WARNING)


def watch_pipeline(stores: Stores, facts: DagsterFacts, now: datetime) -> WatchReport:
    """Read all probes; a status changes after `consecutive_readings` that say so. Changes are told to the operators through the
    outbox; bad ones are told again every `repeat_minutes`.

    Never raises for what it is there to notice: a probe that cannot be read is `broken`, a database that cannot be written
    is told by the other way.
    """
    report = WatchReport()
    try:
        report.readings = list(readings(stores, facts, now))
        changed = _remember(stores, report, now)
    except Exception as error:  # nobody else would tell of it
        report.statuses = {reading.name: reading.status for reading in report.readings}
        report.statuses["watch"] = CRITICAL
        broken = f"the pipeline cannot watch itself: {type(error).__name__}: {error}"
        log.exception("the pipeline cannot watch itself")
        report.fallback = tell_directly(stores.config, stores.home, broken, now)
        return report
    for reading in report.readings:
        if reading.name in changed:
            status = report.statuses[reading.name]
            log.log(
                logging.INFO if status == OK else logging.ERROR,
                "probe %s is %s: %s", reading.name, status, reading.detail,
            )  # fmt: skip
    _note_configuration(stores, now)
    broken = _broken(report)
    if broken:
        told = _told_already(stores, broken, now)
        report.fallback = "told already" if told else tell_directly(stores.config, stores.home, broken, now)
    return report


def _note_configuration(stores: Stores, now: datetime) -> None:
    try:
        note_configuration(stores.state, stores.config, now)
    except SQLAlchemyError:
        log.exception("it could not be noted that the configuration changed")


def _remember(stores: Stores, report: WatchReport, now: datetime) -> set[str]:
    """Note what was read and tell the operators; gives the probes whose status changed."""
    watch = stores.config.watch
    firings, changed = [], set()
    with stores.state.write() as connection:
        stores.state.serialise(connection, "watch", "alerts")
        known = all_probes(connection)
        for reading in report.readings:
            before = known.get(reading.name)
            row = settled(before, reading, watch, now)
            set_probe(stores.state, connection, reading.name, now, value=reading.value, **row)
            report.statuses[reading.name] = row["status"]
            if row["status"] != (before["status"] if before else OK):
                changed.add(reading.name)
            firing = _firing(reading, row, before, watch, now)
            if firing is not None and watch.operators:
                firings.append(firing)
        fire(stores.state, connection, stores.config, firings, now)
    report.told = [f"{f.data['probe']}: {f.status} {f.severity}" for f in firings]
    return changed


def _broken(report: WatchReport) -> str:
    """Why messages to the operators may not arrive, or probes are not read; empty when all is well with both."""
    return "; ".join(
        r.detail if r.status != BROKEN else f"{r.name} {r.detail}"
        for r in report.readings
        if report.statuses[r.name] == BROKEN
        or (r.name in OF_THE_WAY_OUT and report.statuses[r.name] == CRITICAL)
    )


def settled(
    before: Mapping[str, Any] | None, reading: Reading, watch: Watch, now: datetime
) -> dict[str, Any]:
    """The row of a probe after a reading: its status changes when the last `consecutive_readings` agree that it is another,
    and at once when it cannot be read.

    `failures` counts the readings in a row that were not the status.
    """
    if before is None:
        wait = watch.consecutive_readings > 1 and reading.status not in (OK, BROKEN)
        status, failures, since = (OK, 1, now) if wait else (reading.status, 0, now)
    elif reading.status == before["status"]:
        status, failures, since = before["status"], 0, before["since"]
    elif reading.status == BROKEN or before["failures"] + 1 >= watch.consecutive_readings:
        status, failures, since = reading.status, 0, now
    else:
        status, failures, since = before["status"], before["failures"] + 1, before["since"]
    said = (
        reading.detail
        if status == reading.status
        else f"{reading.status} in {failures} of {watch.consecutive_readings} readings: {reading.detail}"
    )
    return {"status": status, "detail": said, "failures": failures, "since": since}


def _firing(
    reading: Reading, row: Mapping[str, Any], before: Mapping[str, Any] | None, watch: Watch, now: datetime
) -> Firing | None:
    """What is told of a probe: that its status changed, or again that it is bad."""
    was = before["status"] if before else OK
    status = row["status"]
    if status == was == OK:
        return None
    repeat = int((now - row["since"]).total_seconds() // (watch.repeat_minutes * 60))
    return Firing(
        key=f"probe:{reading.name}:{status}:{row['since'].isoformat()}:{repeat}",
        project_id=PIPELINE,
        rule=RULE,
        kind="pipeline",
        thread=f"probe:{reading.name}",
        targets=("operators",),
        at=now,
        status="recovered" if status == OK else "firing",
        severity={OK: "info", BROKEN: CRITICAL}.get(status, status),
        data={
            "probe": reading.name,
            "title": f"{reading.name.replace('_', ' ').capitalize()}: {_SAID[status]}",
            "category": "pipeline",
            "changed": DESCRIPTIONS[reading.name],
            "detail": reading.detail,
            "since": row["since"].isoformat(),
            "value": reading.value,
        },
    )


def tell_directly(config: Config, home: Home, detail: str, now: datetime) -> str:
    """One message on the fallback channel, without the outbox; gives what came of it."""
    name = config.watch.fallback_channel
    channel = config.channel(name) if name else None
    if channel is None:
        return "no fallback channel is configured"
    message = Message(
        key=f"fallback:{now.isoformat()}",
        thread="pipeline",
        type="alert",
        status="firing",
        severity=CRITICAL,
        subject="[pipeline] The usual way of notifications is broken",
        title=clean(detail, 300),
        project="pipeline",
        rule=RULE,
        facts=(("Noticed", f"{now:%Y-%m-%d %H:%M:%S} UTC"),),
        commands=about_pipeline(home, "outbox"),
    )
    try:
        with closing(open_channel(channel, config)) as sender:
            receipt = sender.send(message, address="", idempotency_key=message.key)
    except Exception as failure:  # a channel that is broken in its own way costs the message, not the watch
        why = failure.detail if isinstance(failure, SendFailure) else reason_of(failure)
        log.exception("the fallback channel %s failed too: %s", channel.name, why)
        return f"{channel.name} failed too: {why}"
    return f"told on {channel.name}: {receipt.detail}"


def _told_already(stores: Stores, detail: str, now: datetime) -> bool:
    """Whether the fallback channel was used lately; if not, it is noted that it is now."""
    if not stores.config.watch.fallback_channel:
        return False
    try:
        with stores.state.write() as connection:
            last = probe(connection, _FALLBACK)
            wait = stores.config.watch.repeat_minutes * 60
            if last is not None and (now - last["measured_at"]).total_seconds() < wait:
                return True
            set_probe(stores.state, connection, _FALLBACK, now, status=OK, detail=detail[:500])
    except (SQLAlchemyError, OSError):  # better told twice than not at all
        log.exception("it cannot be noted that the fallback channel was used")
    return False
