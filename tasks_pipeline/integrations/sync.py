"""sync_integrations: carry over what changed on either side, all integrations side by side with one call in flight on each, and linger
for more."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from tasks_pipeline.config.integrations import AnyIntegration, Tracker
from tasks_pipeline.integrations.commenting import send_comment
from tasks_pipeline.integrations.creating import make_issue
from tasks_pipeline.integrations.due import Due, is_poll_due, sync_due
from tasks_pipeline.integrations.gate import open_gate
from tasks_pipeline.integrations.looking import look, look_later
from tasks_pipeline.integrations.outcomes import MOST_ATTEMPTS, retry_seconds
from tasks_pipeline.integrations.polling import (
    begin_full_pass,
    full_pass,
    has_links,
    poll,
    polled,
    put_off_full_pass,
    save,
)
from tasks_pipeline.integrations.pushing import send_change
from tasks_pipeline.integrations.work import LEASE, SyncReport, Work, work_for
from tasks_pipeline.links.intents import DEAD, MAKING, Claimed, claim, finish, put_back
from tasks_pipeline.links.making import promote_orphans
from tasks_pipeline.links.rows import HELD, LINKED, links_to_look_at, update_link
from tasks_pipeline.links.waiting import bury_unconfigured
from tasks_pipeline.stores import Stores
from tasks_pipeline.trackers.answers import TrackerError
from tasks_pipeline.trackers.calls import Gate
from tasks_pipeline.trackers.provider import Provider, open_provider

log = logging.getLogger(__name__)

LINGER_SECONDS = 60.0  # people decide about several groups, one after the other
MAX_RUN_SECONDS = 600.0
POLL_SECONDS = 0.25
ERROR_PAUSE_SECONDS = 1.0
LOOKS_AT_ONCE = 10
"""After so many looks what is to be sent goes first again."""

Open = Callable[[AnyIntegration, Gate], AbstractContextManager[Provider]]
"""How the far side of an integration is opened."""


def sync_integrations(
    stores: Stores,
    *,
    tracker: str | None = None,
    full: bool = False,
    run_id: str | None = None,
    linger_seconds: float = LINGER_SECONDS,
    max_run_seconds: float = MAX_RUN_SECONDS,
    opened: Open = open_provider,
) -> SyncReport:
    """Make what has to be made in trackers, look at what changed there, and pass over links until nothing was due for
    `linger_seconds`, or the run is old.

    `tracker`: of this one alone, which is polled at once; `full`: all links are looked at, whenever that was done last. What fails
    is recorded where it belongs and costs that integration, tracker or link alone.
    """
    report, config = SyncReport(), stores.config
    with stores.state.write() as connection:
        promote_orphans(stores.state, connection, report.started)
        bury_unconfigured(connection, [each.name for each in config.integrations], report.started)
    chosen = [each for each in config.trackers if tracker in (None, each.name)]
    if full or tracker is not None:
        for each in chosen:
            _ask_at_once(stores, each, full=full)
    by_hand = None if tracker is None else frozenset(each.name for each in chosen)
    workers = {
        each.name: _Worker(stores, each, report, run_id or uuid4().hex, by_hand, opened)
        for each in config.integrations
        if each.enabled and (by_hand is None or any(one.integration == each.name for one in chosen))
    }
    try:
        _until_quiet(stores, workers, report, linger_seconds, max_run_seconds)
    finally:
        for worker in workers.values():
            worker.stop()
        for worker in workers.values():
            worker.join()
    report.ended = datetime.now(UTC)
    return report


def _ask_at_once(stores: Stores, tracker: Tracker, *, full: bool) -> None:
    if full:
        begin_full_pass(stores.state, tracker.name)
        return
    with stores.state.write() as connection:
        save(stores.state, connection, tracker.name, polled_at=None)


def _until_quiet(
    stores: Stores, workers: Mapping[str, _Worker], report: SyncReport, linger: float, longest: float
) -> None:
    """Wake whoever has something to do, until nobody had for so long. To poll a tracker once more is nothing of that kind: else a run would
    go on for as long as polls come soon after each other."""
    started = last = time.monotonic()
    while not report.ended_because:
        due = sync_due(stores, datetime.now(UTC))
        lingers = time.monotonic() - last < linger
        for name in due.keys() & workers.keys():
            workers[name].wake(due[name], again=lingers)
        now = time.monotonic()
        if any(worker.busy and worker.has_news for worker in workers.values()):
            last = now
        if now - started >= longest:
            report.ended_because = f"it ran for {longest:g} s"
        elif linger > 0 and (why := stores.why_end):
            report.ended_because = why
        elif not any(worker.busy for worker in workers.values()) and now - last >= linger:
            report.ended_because = f"nothing was due for {linger:g} s"
        else:
            time.sleep(POLL_SECONDS if linger > 0 else POLL_SECONDS / 5)


class _Worker:
    """The thread of one integration; it is started when that first has something to do."""

    def __init__(
        self,
        stores: Stores,
        integration: AnyIntegration,
        report: SyncReport,
        claimed_by: str,
        trackers: frozenset[str] | None,
        opened: Open,
    ) -> None:
        self._stores, self._integration, self._report = stores, integration, report
        self._claimed_by, self._only, self._opened = claimed_by, trackers, opened
        self._wanted, self._over = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._paused_until = 0.0
        self._polled: set[str] = set()
        self.busy = self.has_news = False

    def wake(self, due: Due, *, again: bool) -> None:
        """Something is due; a tracker that this run polled already is so only if `again`."""
        if self._only is not None and not (
            due.intents or self._only & {*due.looks, *due.polls, *due.full_passes}
        ):
            return
        if time.monotonic() < self._paused_until or self._wanted.is_set():
            return
        has_news = bool(due.intents or due.looks or due.full_passes or set(due.polls) - self._polled)
        if not has_news and not again:
            return
        self._polled |= set(due.polls)
        self.busy, self.has_news = True, has_news
        self._wanted.set()
        if self._thread is None:
            name = f"integration-{self._integration.name}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End after the call in flight."""
        self._over.set()
        self._wanted.set()

    def join(self) -> None:
        """Wait for the end."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with (
                    open_gate(self._stores.state, self._integration) as gate,
                    self._opened(self._integration, gate) as provider,
                ):
                    work = work_for(self._stores, self._integration, provider, self._report, self._claimed_by)
                    self._work(work)
            except Exception as error:
                # It goes on: a worker that dies would keep its integration silent for as long as the run lives.
                log.exception("integration %s cannot be worked for", self._integration.name)
                self._report.count(self._integration.name, "errors")
                with self._report.lock:
                    self._report.errors[self._integration.name] = f"{type(error).__name__}: {error}"[:500]
                self._paused_until = time.monotonic() + ERROR_PAUSE_SECONDS * 30
                self._rest()
                self._wanted.wait()

    def _work(self, work: Work) -> None:
        """Do one thing after the other while the provider is open."""
        while not self._over.is_set():
            self._wanted.wait()
            work.polled.clear()
            while not self._over.is_set() and not work.is_paused and step(work, self._only):
                pass
            self._paused_until = work.paused_until
            self._rest()

    def _rest(self) -> None:
        self.busy = False
        if not self._over.is_set():
            self._wanted.clear()


def step(work: Work, only: frozenset[str] | None = None) -> bool:
    """Do what comes first: send one change, read one page of changes, look at some links, or at a page of all. False when nothing is
    due. `only`: trackers, all when None."""
    trackers = [each for each in work.trackers if only is None or each.name in only]
    return (
        _send_next(work, trackers)
        or _poll_next(work, trackers)
        or _look_next(work, trackers)
        or _full_pass_next(work, trackers)
    )


def _send_next(work: Work, trackers: Sequence[Tracker]) -> bool:
    now = datetime.now(UTC)
    mine = {each.name for each in trackers}
    others = [each.name for each in work.stores.config.trackers if each.name not in mine]
    claimed = claim(
        work.state, work.integration.name, now, claimed_by=work.claimed_by, lease_until=now + LEASE,
        passed_over=others,
    )  # fmt: skip
    if claimed is None:
        return False
    try:
        _send(work, claimed)
    except TrackerError as error:  # of a creation, which is put back already
        work.pause(error.verdict)
        work.fail(claimed.tracker, f"{claimed.key}: {error}")
    except Exception as error:
        log.exception("intent %s", claimed.key)
        work.fail(claimed.tracker, f"{claimed.key}: {type(error).__name__}")
        _after_bug(work, claimed, f"{type(error).__name__}: see the log of the run")
    return True


def _send(work: Work, claimed: Claimed) -> None:
    if claimed.kind == "create":
        make_issue(work, claimed)
    elif claimed.kind in ("state", "assignee"):
        send_change(work, claimed)
    else:
        send_comment(work, claimed)


def _after_bug(work: Work, claimed: Claimed, why: str) -> None:
    """What raised is no reason to try at once again, nor for ever. Where something may have been made, its lease ends first, so that
    it is looked for."""
    now = datetime.now(UTC)
    with work.state.write() as connection:
        if claimed.attempts >= MOST_ATTEMPTS:
            finish(connection, claimed, DEAD, now=now, reason=why)
        elif claimed.kind not in MAKING:
            put_back(connection, claimed, now + timedelta(seconds=retry_seconds(claimed.attempts)), why)


def _poll_next(work: Work, trackers: Sequence[Tracker]) -> bool:
    for tracker in trackers:
        if tracker.name in work.polled:
            continue
        now = datetime.now(UTC)
        with work.state.read() as connection:
            due = is_poll_due(polled(connection, tracker.name), tracker, now) and has_links(
                connection, tracker.name
            )
        if due:
            more = False
            with work.costing(tracker.name, "poll"):
                more = poll(work, tracker)
            if not more:
                work.polled.add(tracker.name)
            return True
    return False


def _look_next(work: Work, trackers: Sequence[Tracker]) -> bool:
    for tracker in trackers:
        with work.state.read() as connection:
            links = links_to_look_at(connection, tracker.name, datetime.now(UTC), LOOKS_AT_ONCE)
        for link in links:
            if work.is_paused:
                return False
            if link.state in (LINKED, HELD) and link.external_id is not None:
                looked = False
                with work.costing(tracker.name, link.shown_key):
                    look(work, tracker, link)
                    looked = True
                if not looked:
                    look_later(work, link, datetime.now(UTC))
            else:
                with work.state.write() as connection:
                    update_link(connection, link.id, look_at=None)
        if links:
            return True
    return False


def _full_pass_next(work: Work, trackers: Sequence[Tracker]) -> bool:
    for tracker in trackers:
        now = datetime.now(UTC)
        with work.state.read() as connection:
            due = polled(connection, tracker.name).is_full_pass_due(now) and has_links(
                connection, tracker.name
            )
        if due:
            done = False
            with work.costing(tracker.name, "full pass"):
                full_pass(work, tracker)
                done = True
            if not done:
                put_off_full_pass(work.state, tracker.name, now)
            return True
    return False
