"""A plan of weeks lived through: envelopes into a real spool at their time of receipt, real drains, decisions, checks of monitors.

Time is simulated (`clock.py`): what is stored is stored as it would have been then. Nobody waits.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from benchmarks.clock import simulated
from benchmarks.weeks import BEN, HOUR, MONITOR, Decided, Plan, Sent
from tasks_pipeline.groups.decisions import assign_groups_to, ignore_groups, resolve_groups
from tasks_pipeline.monitors.check import check_monitors
from tasks_pipeline.monitors.registry import sync_monitors
from tasks_pipeline.notifications.sending import send_alert_notification
from tasks_pipeline.processing.drain import drain
from tasks_pipeline.protocol.decode import encode_json
from tasks_pipeline.protocol.envelope import Envelope, Item, write_envelope
from tasks_pipeline.releases.adoption import tell_stages
from tasks_pipeline.releases.commits import set_commits
from tasks_pipeline.releases.deploys import add_deploy
from tasks_pipeline.releases.health import compute_health
from tasks_pipeline.releases.health_days import due_days
from tasks_pipeline.releases.known import save_release
from tasks_pipeline.releases.sent_commits import SentCommit
from tasks_pipeline.storage.lake.compaction import compact, of_past_days
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.spool.interface import Receipt, SpoolWriter
from tasks_pipeline.storage.state.tables import groups
from tasks_pipeline.stores import Stores

Watch = Callable[[datetime], None]


def live(
    stores: Stores,
    plan: Plan,
    *,
    step: timedelta = HOUR,
    deliver: bool = False,
    on_step: Watch = lambda _now: None,
) -> int:
    """Live through a plan in steps that divide a day; gives how many envelopes were received. With `deliver` messages are sent
    after each step. `on_step` is called at the end of each, with the time that it is then."""
    life = _Life(stores, plan, deliver)
    with simulated(plan.at(0)) as clock, closing(stores.spool.writer()) as writer:
        sync_monitors(stores.state, stores.config, plan.at(0))
        for happening in _happenings(plan, step):
            if isinstance(happening, Sent):
                life.waiting.append(happening)
                continue
            at = happening if isinstance(happening, datetime) else happening.at
            clock.moment = at
            life.drain(writer)
            if isinstance(happening, Decided):
                life.decide(happening)
            else:
                life.step(at)
                on_step(at)
    return life.received


def _happenings(plan: Plan, step: timedelta) -> Iterator[Sent | Decided | datetime]:
    """All that happens in order; a time is the end of a step."""
    decided = iter([*plan.decided(), None])
    sent = iter(plan.sent())
    decision, item, tick = next(decided), next(sent, None), plan.at(0) + step
    while tick <= plan.end:
        if item is not None and item.at < tick and (decision is None or item.at < decision.at):
            yield item
            item = next(sent, None)
        elif decision is not None and decision.at < tick:
            yield decision
            decision = next(decided)
        else:
            yield tick
            tick += step


class _Life:
    """What waits to be received, and what becomes of it."""

    def __init__(self, stores: Stores, plan: Plan, deliver: bool) -> None:
        self.stores, self.plan, self.deliver = stores, plan, deliver
        self.waiting: list[Sent] = []
        self.received = 0

    def drain(self, writer: SpoolWriter) -> None:
        """Receive what waits, all of one day, and process it."""
        if self.waiting:
            writer.append([receipt_of(one) for one in self.waiting])
            drain(self.stores, self.waiting[0].at.date(), linger_seconds=0)
            self.received += len(self.waiting)
            self.waiting.clear()

    def step(self, now: datetime) -> None:
        """What sensors and schedules do meanwhile."""
        check_monitors(self.stores, now)
        if self.deliver:
            send_alert_notification(self.stores, linger_seconds=0, max_run_seconds=60)
        if now == now.replace(hour=0, minute=0):
            self.night(now)

    def night(self, now: datetime) -> None:
        """Health of the days that are due; files of past days become one."""
        stores = self.stores
        flush(stores.state, stores.lake)
        compact(stores.lake, of_past_days(stores.lake, now.date()))
        with stores.state.read() as connection:
            days = due_days(connection)
        for day in days:
            compute_health(stores.lake, stores.state, day)
        tell_stages(stores.state, stores.lake, now)

    def decide(self, decided: Decided) -> None:
        """Do what somebody decided."""
        state = self.stores.state
        match decided.what:
            case "release":
                save_release(state, [decided.project.id], decided.version, {})
                with state.write() as connection:
                    set_commits(state, connection, decided.version, list(commits_of(decided)))
            case "deploy":
                deploy = {"environment": "production", "started_at": decided.at, "finished_at": decided.at}
                add_deploy(state, [decided.project.id], decided.version, deploy)
            case "resolve":
                resolve_groups(state, [self.group(decided)], decided.by)
            case "ignore":
                ignore_groups(state, [self.group(decided)], decided.by)
            case "assign":
                assign_groups_to(state, [self.group(decided)], decided.by, decided.to)

    def group(self, decided: Decided) -> int:
        """The group of a problem."""
        return group_ids(self.stores, self.plan)[decided.project.id, decided.problem]


def group_ids(stores: Stores, plan: Plan) -> dict[tuple[int, str], int]:
    """Groups by project and problem, as their titles say; that of the nightly job by its name."""
    problems = {(project.id, each.title): each.name for project in plan.projects for each in project.problems}
    with stores.state.read() as connection:
        rows = connection.execute(select(groups.c.id, groups.c.project_id, groups.c.title))
        return {(row.project_id, problems.get((row.project_id, row.title), MONITOR)): row.id for row in rows}


def commits_of(decided: Decided) -> Iterator[SentCommit]:
    """Two commits of a release, of the days before it."""
    for number in (1, 2):
        sha = f"{abs(hash_of(decided.version)):x}{number}".rjust(40, "a")[-40:]
        yield SentCommit(
            sha, f"acme/{decided.project.slug}", f"{decided.version}: part {number}", "Ben", BEN, decided.at - number * 20 * HOUR,
            ((f"{decided.project.slug}/work.py", "M"),),
        )  # fmt: skip


def hash_of(text: str) -> int:
    """The same number for a text in every process."""
    return int.from_bytes(text.encode()[-15:], "big")


def receipt_of(one: Sent) -> Receipt:
    """The envelope of an item, as it lies in the spool."""
    headers: dict[str, Any] = {"sent_at": one.at.isoformat()}
    event_id = one.payload.get("event_id")
    if event_id is not None:
        headers["event_id"] = event_id
    body = write_envelope(Envelope(headers, [Item({"type": one.kind}, encode_json(one.payload))]))
    return Receipt(
        one.at, one.project.id, one.project.key, event_id, "gzip", 1, gzip.compress(body, 1, mtime=0)
    )
