"""Crashes on purpose: where a drain or a recomputation can be interrupted, and processes that die there."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import tasks_pipeline.groups.derived
import tasks_pipeline.processing.drain
import tasks_pipeline.processing.process_batch
import tasks_pipeline.processing.recompute
import tasks_pipeline.processing.replacements
import tasks_pipeline.processing.settle
from tasks_pipeline.analytics import process_analytics_event
from tasks_pipeline.facts import outbox
from tasks_pipeline.home import Home
from tasks_pipeline.processing.base import Invalid, Staged
from tasks_pipeline.processing.event import STEPS as EVENT_STEPS
from tasks_pipeline.processing.event import Work, process_event
from tasks_pipeline.processing.settle import Settled
from tasks_pipeline.releases import health
from tasks_pipeline.storage.lake import compaction, flush, tail
from tasks_pipeline.storage.lake.catalog import LiveFile
from tasks_pipeline.storage.lake.files import DayFiles
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.stores import open_stores
from tests.support.day import Day

RUN = "the-run-that-dies"
KILLER = "killer"
BAD = "bad"
_processing = tasks_pipeline.processing
_derived = tasks_pipeline.groups.derived


@dataclass(frozen=True)
class Moment:
    """Before or after the first call of a function; `large`: while no batch is small enough for the tail."""

    owner: Any
    function: str
    after: bool = True
    large: bool = False


DRAIN_MOMENTS = {
    "after the claim": Moment(_processing.drain, "claim_batch"),
    "event ids taken, not committed": Moment(_processing.settle, "own_event_ids"),
    "groups made, not committed": Moment(_processing.settle, "assign_groups"),
    "event ids and groups committed": Moment(_processing.process_batch, "settle"),
    "in the tail, not committed": Moment(_processing.process_batch, "add_rows"),
    "counted, not committed": Moment(_processing.process_batch, "count_events"),
    "done, not committed": Moment(_processing.process_batch, "finish_batch"),
    "done": Moment(_processing.drain, "process_batch"),
    "half of the files written": Moment(DayFiles, "_finish_one", large=True),
    "all files written": Moment(Lake, "register", after=False, large=True),
    "lake committed": Moment(Lake, "register", large=True),
    "counted after the lake, not committed": Moment(_processing.process_batch, "count_events", large=True),
    "done after the lake, not committed": Moment(_processing.process_batch, "finish_batch", large=True),
    "done in files": Moment(_processing.drain, "process_batch", large=True),
}
FLUSH_MOMENTS = {
    "nothing sealed": Moment(flush, "seal", after=False),
    "sealed": Moment(flush, "seal"),
    "rows read": Moment(flush, "_rows"),
    "half of the files written": Moment(DayFiles, "_finish_one"),
    "all files written": Moment(flush, "_written"),
    "lake committed": Moment(Lake, "register"),
    "rows removed": Moment(flush, "drop_segments"),
}
MERGE_MOMENTS = {
    "merged file written": Moment(DayFiles, "_finish_one"),
    "old files found": Moment(Lake, "exchange", after=False),
    "exchanged": Moment(Lake, "exchange"),
    "snapshots forgotten": Moment(Lake, "forget_before"),
}
RECOMPUTE_MOMENTS = {
    "files written": Moment(_processing.recompute, "_flush"),
    "replacement noted": Moment(_processing.recompute, "open_replacement"),
    "lake replaced": Moment(Lake, "replace"),
    "days counted": Moment(_derived, "_put"),
    "values counted": Moment(_derived, "_remove"),
    "totals not written": Moment(_derived, "_totals"),
    "batches not counted": Moment(tasks_pipeline.processing.replacements, "_batch_counts"),
    "counters derived": Moment(_processing.recompute, "finish_replacements"),
}
HEALTH_MOMENTS = {
    "rows counted": Moment(health, "_rows_of"),
    "first table written": Moment(DayFiles, "_finish_one"),
    "all files written": Moment(Lake, "replace_derived", after=False),
    "tables replaced": Moment(Lake, "replace_derived"),
    "noted, not committed": Moment(health, "note_computed"),
    "done": Moment(health, "figures_of_day"),
}
FACTS_MOMENTS = {
    "batch chosen": Moment(process_analytics_event, "take_batch"),
    "files written": Moment(Lake, "register", after=False),
    "lake committed": Moment(Lake, "register"),
    "done, not committed": Moment(outbox, "note_day_changes"),
    "done": Moment(process_analytics_event, "finish_batch"),
}
HEALTH_REPLACED = frozenset({"tables replaced", "noted, not committed", "done"})
LAKE_REPLACED = frozenset(RECOMPUTE_MOMENTS) - {"files written", "replacement noted"}
"""Moments at which readers see the new day."""


@contextmanager
def at(moment: Moment, do: Callable[[], object]) -> Iterator[None]:
    """Do something at the moment, once."""
    original = getattr(moment.owner, moment.function)
    done: list[bool] = []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if done:
            return original(*args, **kwargs)
        done.append(True)
        if not moment.after:
            do()
        result = original(*args, **kwargs)
        if moment.after:
            do()
        return result

    with ExitStack() as stack:
        stack.enter_context(patch.object(moment.owner, moment.function, interrupted))
        if moment.large:
            stack.enter_context(nothing_is_small())
        yield
    assert done, f"{moment} never came"


@contextmanager
def left_at(moments: Mapping[str, Moment], folder: Path, into: Path) -> Iterator[None]:
    """Copy a folder whenever one of these moments comes first: what a process that is killed there leaves is what it had given to the
    kernel by then. So one process shows what many would leave, each of which had to be killed at its moment.

    Its locks are not in the copy, as they would be gone; for a process of its own, whose files nobody else changes meanwhile.
    """

    def copy(name: str) -> Callable[[], object]:
        # By a program: to close a file of SQLite's would let go of the locks that this process holds on it.
        return lambda: subprocess.run(["cp", "-a", folder, into / name], check=True)

    with ExitStack() as stack:
        for name, moment in moments.items():
            stack.enter_context(at(moment, copy(name)))
        yield


@contextmanager
def nothing_is_small() -> Iterator[None]:
    """Every batch makes files of its own."""
    with patch.object(tail, "SMALL", tail.Small(events=-1)):
        yield


@contextmanager
def event_step(step: Callable[[Work], None]) -> Iterator[None]:
    """Process events with one step more."""
    with patch.object(process_event, "__defaults__", ((*EVENT_STEPS, step),)):
        yield


def kill_if_killer(work: Work) -> None:
    """A step that an event of logger `killer` does not survive."""
    if work.event.get("logger") == KILLER:
        die()


def refuse_if_bad(work: Work) -> None:
    """A step that finds events of logger `bad` invalid."""
    if work.event.get("logger") == BAD:
        raise Invalid("bad", "found bad", "refuse_if_bad")


def die() -> None:
    """End this process as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)


def drain_and_die(home: Home, day: date, moment: str) -> None:
    """Drain a day in batches of three and die at the moment."""
    with open_stores(home) as stores, at(DRAIN_MOMENTS[moment], die):
        Day(stores, day, 0).configured(batch_envelopes=3).drain(run_id=RUN)


def drain_with_killer(home: Home, day: date) -> None:
    """Drain a day; die when an event is a killer."""
    with open_stores(home) as stores, event_step(kill_if_killer):
        Day(stores, day, 0).drain(run_id=RUN)


def flush_and_die(home: Home, moment: str) -> None:
    """Flush the tail and die at the moment."""
    with open_stores(home) as stores, at(FLUSH_MOMENTS[moment], die):
        flush.flush(stores.state, stores.lake)


def compact_and_die(home: Home, day: date, moment: str) -> None:
    """Merge the files of a day, forget all old snapshots, and die at the moment."""
    with open_stores(home) as stores, at(MERGE_MOMENTS[moment], die):
        files = [f for f in stores.lake.live_files() if f.day == day]
        compact_tables(stores.lake, files)
        compaction.tidy(stores.lake, datetime.now(UTC) + compaction.SNAPSHOTS_FOR)


def compact_tables(lake: Lake, files: list[LiveFile]) -> int:
    """Merge these files of one day, table by table; gives how many were merged."""
    by_table = groupby(sorted(files, key=lambda f: f.table), key=lambda f: f.table)
    return compaction.compact(lake, [list(found) for _, found in by_table])


def drain_with_killer_of_settling(home: Home, day: date) -> None:
    """Drain a day; die when the rows of a killer are settled."""
    original = _processing.settle.add_rows

    def add_rows(into: Settled, kept: Sequence[Staged]) -> None:
        if any(staged.row.get("logger") == KILLER for staged in kept):
            die()
        original(into, kept)

    with open_stores(home) as stores, patch.object(_processing.settle, "add_rows", add_rows):
        Day(stores, day, 0).drain(run_id=RUN)


def recompute_and_die(home: Home, day: date, moment: str) -> None:
    """Recompute a day with code that refuses bad events and die at the moment."""
    with (
        open_stores(home) as stores,
        event_step(refuse_if_bad),
        at(RECOMPUTE_MOMENTS[moment], die),
    ):
        Day(stores, day, 0).recompute()


def compute_health_and_die(home: Home, day: date, moment: str) -> None:
    """Compute the health of a day and die at the moment."""
    with open_stores(home) as stores, at(HEALTH_MOMENTS[moment], die):
        health.compute_health(stores.lake, stores.state, day)


def store_facts_and_die(home: Home, moment: str) -> None:
    """Take what waits to the lake, two facts at a time, and die at the moment."""
    with (
        open_stores(home) as stores,
        at(FACTS_MOMENTS[moment], die),
        patch.object(process_analytics_event, "BATCH_ROWS", 2),
    ):
        process_analytics_event.store_facts(stores)


def warm_processes() -> ForkServerContext:
    """Processes of their own that need not import everything anew."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.warm"])
    return context


def run_in_process(target: Callable[..., None], *arguments: object) -> int:
    """Run a function of this module in a process of its own; gives its exit code (-9: killed)."""
    process = warm_processes().Process(target=target, args=arguments)
    process.start()
    process.join(240)
    if process.is_alive():
        process.kill()
        process.join()
        raise TimeoutError(f"{target.__name__} went on for four minutes")
    assert process.exitcode is not None
    return process.exitcode
