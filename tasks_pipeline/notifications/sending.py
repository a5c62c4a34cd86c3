"""send_alert_notification: empty the outbox, all channels side by side with one message in flight on each, and linger for more."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import Connection
from sqlalchemy.exc import MultipleResultsFound, NoResultFound

from tasks_pipeline.config.channels import AnyChannel
from tasks_pipeline.facts.actors import hashed
from tasks_pipeline.facts.record import record
from tasks_pipeline.facts.types import Fact, NotificationFailed, NotificationSent, ReportDelivered
from tasks_pipeline.notifications.breaker import note_failure, note_success, open_until
from tasks_pipeline.notifications.channels import Sender, open_channel
from tasks_pipeline.notifications.composing import message_of, stored_story
from tasks_pipeline.notifications.errors import (
    HICCUPS,
    OwnFailure,
    PermanentFailure,
    SendFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from tasks_pipeline.notifications.limits import take_token
from tasks_pipeline.notifications.message import Message
from tasks_pipeline.notifications.outbox import (
    Limited,
    bury_unconfigured,
    claim_next,
    due_channels,
    finish_delivery,
)
from tasks_pipeline.storage.ledger.drains import active_drains
from tasks_pipeline.stores import Stores
from tasks_pipeline.texts import clean

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 3600.0
ERROR_PAUSE_SECONDS = 1.0
PATIENCE_SECONDS = 30.0  # with stores that cannot be used, before a step of the sender is given up
LEASE_MARGIN_SECONDS = (
    60.0  # for making a message and recording its end, beside the time that sending may take
)
OWN_FAILURES_END = timedelta(days=1)  # until this age no message is dead for what our own stores could not do
STORIES_REMEMBERED = 500  # events of so many alerts, at most 10 KB each

T = TypeVar("T")

OnSent = Callable[[Mapping[str, Any], str], None]
"""Told of each attempt that ended: the row of the outbox and the outcome."""


@dataclass
class SendReport:
    """What a sender did. `seconds` holds the time from an alert to its message, for those sent at the first attempt."""

    started: datetime
    ended: datetime | None = None
    ended_because: str = ""
    outcomes: Counter[str] = field(default_factory=Counter)
    by_channel: dict[str, Counter[str]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    buried: int = 0

    @property
    def sent(self) -> int:
        """Messages handed over."""
        return self.outcomes["sent"]

    @property
    def retried(self) -> int:
        """Attempts that failed, and are made again."""
        return self.outcomes["retry"] + self.outcomes["unknown"]

    @property
    def dead(self) -> int:
        """Messages given up."""
        return self.outcomes["dead"] + self.buried


def send_alert_notification(
    stores: Stores,
    *,
    run_id: str | None = None,
    linger_seconds: float | None = None,
    max_run_seconds: float | None = None,
    alert_id: int | None = None,
    on_sent: OnSent = lambda _row, _outcome: None,
) -> SendReport:
    """Send what is due until nothing came for `linger_seconds` or the run is old; both as configured when absent.

    While a drain is at work the end of lingering is put off: what it stores may become messages.

    With `alert_id` only the messages of that alert. Failures of channels are recorded, not raised.
    """
    settings = stores.config.notifications
    linger = settings.linger_seconds if linger_seconds is None else linger_seconds
    longest = settings.max_run_seconds if max_run_seconds is None else max_run_seconds
    work = _Work(stores, run_id, alert_id, on_sent, SendReport(datetime.now(UTC)))
    names = {channel.name for channel in stores.config.channels}
    work.report.buried = _patiently(lambda: bury_unconfigured(stores.state, names, datetime.now(UTC)))
    lanes = {channel.name: _Lane(work, channel) for channel in stores.config.channels}
    started = time.monotonic()
    try:
        while not work.report.ended_because:
            if time.monotonic() - started >= longest:
                work.report.ended_because = f"it ran for {longest:g} s"
            elif ended := _patiently(lambda: _looked(work, lanes, linger)):
                work.report.ended_because = ended
            else:
                time.sleep(POLL_SECONDS)
    finally:
        for lane in lanes.values():
            lane.stop()
        for lane in lanes.values():
            lane.join()
    work.report.ended = datetime.now(UTC)
    return work.report


def _looked(work: _Work, lanes: Mapping[str, _Lane], linger: float) -> str:
    """Wake the lanes that have something to do; gives why the sender ends, empty when it goes on."""
    stores = work.stores
    due = due_channels(stores.state, datetime.now(UTC), lanes.keys())
    for name in due:
        lanes[name].wake()
    idle = time.monotonic() - work.last_active
    busy = any(lane.busy for lane in lanes.values())
    if linger > 0 and (why := stores.why_end):
        return why
    if not busy and idle >= linger and (linger > 0 or not work.may_go_on(due)):
        if not (linger > 0 and active_drains(stores.state)):
            return f"nothing came for {linger:g} s"
        work.last_active = time.monotonic()  # events come in: their messages must not wait for a start
    return ""


def _patiently(step: Callable[[], T]) -> T:
    """What a step gives. While our stores have a hiccup it is tried again; raises what they raise when that goes on."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return step()
        except HICCUPS:
            if time.monotonic() >= until:
                raise
            log.warning("the stores cannot be used, trying again", exc_info=True)
            time.sleep(ERROR_PAUSE_SECONDS)


@dataclass
class _Work:
    """What the lanes of a sender share."""

    stores: Stores
    run_id: str | None
    alert_id: int | None
    on_sent: OnSent
    report: SendReport
    claimed_by: str = field(default_factory=lambda: uuid4().hex)
    lock: threading.Lock = field(default_factory=threading.Lock)
    last_active: float = field(default_factory=time.monotonic)
    passed_over: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # An alert has a message for each of its targets, and they lie close together.
        self._stories = lru_cache(maxsize=STORIES_REMEMBERED)(partial(stored_story, self.stores))

    def may_go_on(self, due: set[str]) -> bool:
        """Whether a due channel has something that was not just passed over for its limits or its breaker."""
        now = time.monotonic()
        return any(self.passed_over.get(name, 0.0) <= now for name in due)

    def message(self, row: Mapping[str, Any]) -> Message:
        """The message of a row. One at a time: the lake's connection is not shared."""
        with self.lock:
            return message_of(self.stores, row, self._stories)

    def ended(self, channel: str, row: Mapping[str, Any], outcome: str, now: datetime) -> None:
        """Count an attempt."""
        with self.lock:
            self.last_active = time.monotonic()
            self.report.outcomes[outcome] += 1
            self.report.by_channel.setdefault(channel, Counter())[outcome] += 1
            if outcome == "sent" and row["attempts"] == 1 and row["type"] == "alert":
                self.report.seconds.append((now - row["created_at"]).total_seconds())
        self.on_sent(row, outcome)


class _Lane:
    """The thread of one channel; it is started when the channel first has something to do."""

    def __init__(self, work: _Work, channel: AnyChannel) -> None:
        self._work, self._channel = work, channel
        self._state = work.stores.state
        self._limited: dict[str, datetime] = {}
        self._sender: Sender | None = None
        self._wanted = threading.Event()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.busy = False

    def wake(self) -> None:
        """Something is due."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name=f"channel-{self._channel.name}", daemon=True
            )
            self._thread.start()
        if (
            not self._wanted.is_set()
            and self._work.passed_over.get(self._channel.name, 0.0) <= time.monotonic()
        ):
            self.busy = True
            self._wanted.set()

    def stop(self) -> None:
        """End after the message in flight."""
        self._over.set()
        self._wanted.set()

    def join(self) -> None:
        """Wait for the end."""
        if self._thread is not None:
            self._thread.join()
        if self._sender is not None:
            self._sender.close()

    def _run(self) -> None:
        while not self._over.is_set():
            self._wanted.wait()
            try:
                while not self._over.is_set() and self._send_next():
                    pass
            except Exception:
                # A message in flight is freed by its lease. Whatever it was, the lane goes on: the database may be back in a
                # moment, and a lane that dies would keep its channel silent for as long as the sender lives.
                log.exception("channel %s: a message could not be handled", self._channel.name)
                self._over.wait(ERROR_PAUSE_SECONDS)
            self.busy = False
            if not self._over.is_set():
                self._wanted.clear()

    def _send_next(self) -> bool:
        """Send one message; False when there is nothing to do now."""
        now, name = datetime.now(UTC), self._channel.name
        with self._state.read() as connection:
            shut = open_until(connection, name, now)
        if shut is not None:
            self._pass_over((shut - now).total_seconds())
            return False
        settings = self._work.stores.config.notifications
        # No other sender may take it up while it is still being sent.
        lease = max(settings.lease_seconds, self._channel.timeout_seconds + LEASE_MARGIN_SECONDS)
        try:
            row = claim_next(
                self._state,
                name,
                claimed_by=self._work.claimed_by,
                run_id=self._work.run_id,
                now=now,
                lease_until=now + timedelta(seconds=lease),
                take=self._take,
                limited=self._limited,
                alert_id=self._work.alert_id,
            )
        except Limited as limited:
            if not limited.target:
                self._pass_over(limited.seconds)
                return False
            self._limited[limited.target] = now + timedelta(seconds=limited.seconds)
            return True
        if row is None:
            waits = [(until - now).total_seconds() for until in self._limited.values() if until > now]
            self._pass_over(min(waits, default=0.0))
            return False
        self._deliver(row)
        return True

    def _pass_over(self, seconds: float) -> None:
        self._work.passed_over[self._channel.name] = time.monotonic() + seconds

    def _take(self, connection: Any, target: str) -> float:
        empty, seconds = take_token(self._state, connection, self._channel, target, datetime.now(UTC))
        if seconds and not empty:
            raise Limited("", seconds)
        return seconds

    def _deliver(self, row: Mapping[str, Any]) -> None:
        failure: SendFailure | None = None
        detail = ""
        try:
            message = self._made(row)
            sender = self._opened()
            detail = self._handed_over(sender, message, row)
        except SendFailure as error:
            failure = error
        # What is not recorded is sent again when its lease ends, though the far side has it.
        now, outcome = _patiently(lambda: self._record(row, failure, detail))
        self._work.ended(self._channel.name, row, outcome, now)

    def _made(self, row: Mapping[str, Any]) -> Message:
        """The message of a row. Raises OwnFailure when our stores cannot be used, PermanentFailure for one that cannot be made."""
        try:
            return self._work.message(row)
        except Exception as error:
            log.exception("notification %s cannot be made", row["id"])
            passes = isinstance(error, HICCUPS) and not isinstance(
                error, NoResultFound | MultipleResultsFound
            )
            kind = OwnFailure if passes else PermanentFailure
            raise kind(f"the message cannot be made: {_words(error)}") from error

    def _opened(self) -> Sender:
        """The channel's sender. Raises TemporaryFailure: a channel that cannot be opened is no fault of its messages."""
        if self._sender is None:
            try:
                self._sender = open_channel(self._channel, self._work.stores.config)
            except Exception as error:
                log.exception("channel %s cannot be opened", self._channel.name)
                raise TemporaryFailure(f"the channel cannot be opened: {_words(error)}") from error
        return self._sender

    def _handed_over(self, sender: Sender, message: Message, row: Mapping[str, Any]) -> str:
        """Send; gives what the far side said. Raises SendFailure, whatever else the sender raises."""
        try:
            return sender.send(message, address=row["address"], idempotency_key=row["key"]).detail
        except SendFailure:
            raise
        except HICCUPS as error:  # no sender tells how far it came, so it may have been sent
            log.exception("notification %s failed while it was sent", row["id"])
            raise UnknownOutcome(_words(error)) from error
        except Exception as error:  # such as a text that its service's encoding has no place for
            log.exception("notification %s cannot be sent", row["id"])
            raise PermanentFailure(f"the message cannot be sent: {_words(error)}") from error

    def _record(
        self, row: Mapping[str, Any], failure: SendFailure | None, detail: str
    ) -> tuple[datetime, str]:
        """Record the end of an attempt; gives when, and its outcome. To do it again changes nothing."""
        now = datetime.now(UTC)
        outcome, values = self._verdict(row, failure, now)
        said = failure.detail if failure else detail
        with self._state.write() as connection:
            held = finish_delivery(connection, row, now=now, outcome=outcome, detail=said, values=values)
            for fact in self._facts(connection, row, failure, outcome, now) if held else ():
                record(
                    self._state, connection, fact, at=now, project_id=row["project_id"], source="sender",
                    run_id=self._work.run_id,
                )  # fmt: skip
            if failure is None:
                note_success(self._state, connection, self._channel.name, now)
            elif not isinstance(failure, PermanentFailure | OwnFailure):
                note_failure(
                    self._state,
                    connection,
                    self._channel.name,
                    now,
                    settings=self._work.stores.config.notifications,
                    detail=said,
                    retry_after=failure.retry_after if isinstance(failure, TemporaryFailure) else None,
                )
        if failure is not None:
            log.warning("notification %s on %s: %s: %s", row["id"], self._channel.name, outcome, said)
        return now, outcome

    def _facts(
        self,
        connection: Connection,
        row: Mapping[str, Any],
        failure: SendFailure | None,
        outcome: str,
        now: datetime,
    ) -> Iterator[Fact]:
        """What is recorded of the end of a message, and of what it told of; nothing when it goes on being tried."""
        if (ended := self._fact(row, failure, outcome, now)) is not None:
            yield ended
        if outcome == "sent" and (told := row["data"].get("report")):
            to = hashed(self._state, connection, row["target"].removeprefix("member:"))
            yield ReportDelivered(kind=told["kind"], key=told["key"], to=to, revision=told["revision"])

    def _fact(
        self, row: Mapping[str, Any], failure: SendFailure | None, outcome: str, now: datetime
    ) -> Fact | None:
        """What is recorded of the end of a message; None when it goes on being tried."""
        common: dict[str, Any] = {
            "notification": row["id"], "kind": row["type"], "channel": self._channel.name,
            "channel_type": self._channel.type, "attempts": row["attempts"],
        }  # fmt: skip
        if outcome == "sent":
            seconds = max(0.0, (now - row["created_at"]).total_seconds())
            return NotificationSent(**common, seconds=seconds)
        if outcome == "dead":
            return NotificationFailed(**common, reason=type(failure).__name__)
        return None

    def _verdict(
        self, row: Mapping[str, Any], failure: SendFailure | None, now: datetime
    ) -> tuple[str, dict[str, Any]]:
        """The outcome of an attempt, and what it makes of the message."""
        if failure is None:
            return "sent", {"status": "sent", "sent_at": now, "reason": ""}
        if isinstance(failure, OwnFailure):
            many = row["attempts"] > self._channel.max_attempts // 2
            given_up = many and now - row["created_at"] >= OWN_FAILURES_END
        else:
            given_up = isinstance(failure, PermanentFailure) or row["attempts"] >= self._channel.max_attempts
        if given_up:
            return "dead", {"status": "dead", "reason": failure.detail}
        seconds = retry_seconds(row["attempts"], self._work.stores.config.notifications.retry_seconds)
        values: dict[str, Any] = {"status": "waiting", "reason": failure.detail}
        if isinstance(failure, UnknownOutcome):
            return "unknown", values | {
                "not_before": now + timedelta(seconds=seconds), "ambiguous": row["ambiguous"] + 1,
            }  # fmt: skip
        if isinstance(
            failure, OwnFailure
        ):  # uses up half of the attempts at most: the others are the channel's
            values["attempts"] = min(row["attempts"], self._channel.max_attempts // 2)
        if isinstance(failure, TemporaryFailure) and failure.retry_after is not None:
            seconds = max(seconds, failure.retry_after)
        return "retry", values | {"not_before": now + timedelta(seconds=seconds)}


def _words(error: Exception) -> str:
    """What an exception says, without the statement and the values that a database adds."""
    return f"{type(error).__name__}: {clean(str(error).partition('[SQL:')[0], 300)}"


def retry_seconds(attempts: int, first: float) -> float:
    """Seconds until the next attempt: doubled each time up to an hour, of which half is left to chance."""
    whole = min(LONGEST_RETRY_SECONDS, first * 2.0 ** min(attempts - 1, 20))
    return whole / 2 + random.uniform(0, whole / 2)
