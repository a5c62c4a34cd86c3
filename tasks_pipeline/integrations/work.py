"""What everybody who works for an integration has at hand, and what is counted of the work."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from tasks_pipeline.config.integrations import AnyIntegration, Tracker
from tasks_pipeline.links.assignees import Accounts, accounts_of
from tasks_pipeline.links.intents import KINDS
from tasks_pipeline.links.waiting import put_off_intents, put_off_looks
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import integration_states
from tasks_pipeline.stores import Stores
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.issue import Person
from tasks_pipeline.trackers.provider import Provider
from tasks_pipeline.trackers.verdicts import LESS

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=120)
"""How long a change that is being made belongs to whoever makes it: longer than all its calls may take."""
PAUSE_SECONDS = 30.0
SHORT_SECONDS = 5.0
"""After an answer that nobody can use: the gate's breaker sees to a far side that goes on so."""
LONGEST_PAUSE_SECONDS = 3600.0
MOVED_SHOWN = 200
_SCOPES = {"writes of the integration": KINDS, "comments of the integration": ("comment", "edit", "delete")}
"""What a limit is about: kinds of intents that wait for it."""
_OF_THE_INTEGRATION = (Do.AUTH_FAILED, Do.UNREACHABLE)


@dataclass
class SyncReport:
    """What a run of sync_integrations did. `moved`: what was carried from one side to the other, at most MOVED_SHOWN of it."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended: datetime | None = None
    ended_because: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    by_tracker: dict[str, Counter[str]] = field(default_factory=dict)
    moved: list[dict[str, Any]] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, tracker: str, what: str, many: int = 1) -> None:
        """Count something of a tracker. Names: polls, issues, looks, passes, pushed, pulled, assigned, comments_sent,
        comments_taken, created, held, gone, errors."""
        if many:
            with self.lock:
                self.counts[what] += many
                self.by_tracker.setdefault(tracker, Counter())[what] += many

    def move(self, tracker: str, key: str, what: str, url: str = "") -> None:
        """Note that something was carried over."""
        with self.lock:
            if len(self.moved) < MOVED_SHOWN:
                self.moved.append({"tracker": tracker, "issue": key, "what": what, "url": url})

    def figures(self) -> dict[str, Any]:
        """For the UI: counts, and why it ended."""
        return {**dict(sorted(self.counts.items())), "ended": self.ended_because}


@dataclass
class Work:
    """The work for one integration in one thread: its provider, its trackers, the stores, and the report of the run."""

    stores: Stores
    integration: AnyIntegration
    provider: Provider
    report: SyncReport
    claimed_by: str
    accounts: Accounts
    paused_until: float = 0.0
    """By the monotonic clock: nothing of the integration is asked before."""
    why: str = ""
    lists_comments: dict[str, bool] = field(default_factory=dict)
    """By tracker, once it was polled: whether polls bring the comments of a whole place, so that no issue is asked for its own."""
    polled: set[str] = field(default_factory=set)
    """Trackers whose changes were read to their end since there was something to do: once is enough, however short `poll_seconds` is."""
    _us: str | None = None

    @property
    def state(self) -> StateDatabase:
        """The state database."""
        return self.stores.state

    def tracker(self, name: str) -> Tracker | None:
        """A tracker of this integration, as configured now."""
        found = self.stores.config.tracker(name)
        return found if found is not None and found.integration == self.integration.name else None

    @property
    def trackers(self) -> list[Tracker]:
        """All trackers of this integration."""
        return [each for each in self.stores.config.trackers if each.integration == self.integration.name]

    def us(self) -> str:
        """Our account there, in one case of letters. Asked once."""
        if self._us is None:
            self._us = self.provider.who().person.login.casefold()
        return self._us

    def is_us(self, person: Person | None) -> bool:
        """Whether somebody there is our account. Nobody is not: an account that is gone wrote that."""
        return person is not None and person.login.casefold() == self.us()

    def skew(self, connection: Connection) -> float:
        """Seconds that their clock is ahead of ours, as far as it is known."""
        c = integration_states.c
        query = select(c.clock_skew_seconds).where(c.integration == self.integration.name, c.tracker == "")
        return float(connection.execute(query).scalar() or 0.0)

    def pause(self, verdict: Verdict) -> None:
        """Ask nothing for a while when an answer says so of the whole integration, or make nothing there when it says so of writes. What
        is due is put off: else somebody would start a run for it again and again. One issue, or one answer that is too long, is no reason."""
        if verdict.then == LESS or verdict.scope == "issue":
            return
        limited = verdict.do is Do.RATE_LIMITED
        seconds = verdict.wait or (SHORT_SECONDS if verdict.do is Do.UNREACHABLE else PAUSE_SECONDS)
        seconds = min(max(seconds, 1.0), LONGEST_PAUSE_SECONDS)
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        whole = verdict.do in _OF_THE_INTEGRATION or (limited and verdict.scope in ("", "integration"))
        kinds = KINDS if whole else _SCOPES.get(verdict.scope, ()) if limited else ()
        if whole:
            self.paused_until, self.why = time.monotonic() + seconds, verdict.said
        if kinds:
            with self.state.write() as connection:
                put_off_intents(connection, self.integration.name, until, kinds)
                if whole:
                    put_off_looks(connection, self.integration.name, until)

    @property
    def is_paused(self) -> bool:
        """Whether nothing is asked just now."""
        return time.monotonic() < self.paused_until

    @contextmanager
    def costing(self, tracker: str, what: str) -> Iterator[None]:
        """What goes wrong in here costs itself alone: it is logged and counted. An answer that cannot be used pauses, where it
        says so, the whole integration."""
        try:
            yield
        except TrackerError as error:
            self.pause(error.verdict)
            self.fail(tracker, f"{what}: {error}")
        except Exception as error:
            log.exception("%s of %s", what, tracker)
            self.fail(tracker, f"{what}: {type(error).__name__}")

    def fail(self, tracker: str, said: str) -> None:
        """Count an error and keep its words."""
        self.report.count(tracker, "errors")
        with self.report.lock:
            self.report.errors[tracker] = said[:500]


def work_for(
    stores: Stores, integration: AnyIntegration, provider: Provider, report: SyncReport, claimed_by: str
) -> Work:
    """The work for an integration whose provider is open."""
    accounts = accounts_of(stores.config, integration.name)
    return Work(stores, integration, provider, report, claimed_by, accounts)
