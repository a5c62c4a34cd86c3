"""compute_reports: the reports of many keys, of all scopes, one key after the other. How one is computed and stored is in
compute.py."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime

from tasks_pipeline.reports.compute import Computing, FiguresGone, Result
from tasks_pipeline.reports.due import waits_for
from tasks_pipeline.reports.periods import Kind, Period
from tasks_pipeline.reports.possible import computable, periods_named, why_no_report
from tasks_pipeline.reports.store import is_stored
from tasks_pipeline.storage.ledger.backlog import first_day
from tasks_pipeline.storage.state.passed_over import is_own_fault
from tasks_pipeline.stores import Stores
from tasks_pipeline.texts import error_text

log = logging.getLogger(__name__)

AHEAD = 14
"""Figures of so many keys are read at once."""


@dataclass(slots=True)
class OfKey:
    """What became of a key: its reports with their periods; of which scopes there can be none yet, and which reports were not
    computed, since figures are gone or they raised, all with the reason; what those wait for that were computed all the same; how
    long it took."""

    key: date
    results: list[tuple[Period, Result]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def new_revisions(self) -> int:
        """Reports that came out otherwise than they were stored."""
        return sum(result.is_new for _, result in self.results)

    @property
    def why_not(self) -> str:
        """Why it has not all reports that it can have; empty where it has."""
        if self.failed:
            return "; ".join(self.failed[:5])
        return "" if self.results else self.left_out[0]


def compute_reports(
    stores: Stores, kind: Kind, keys: Sequence[date], now: datetime, *, only_due: bool = False
) -> Iterator[OfKey]:
    """Compute and store the reports of keys, in their order: the oldest should come first. One that raises costs itself alone.
    With `only_due` first reports of periods that wait for something are left out: of several zones that have a key, one may be
    due before another. Raises PeriodError."""
    first = first_day(stores.state, stores.spool)
    with closing(Computing(stores, now)) as computing:
        for number, key in enumerate(keys):
            if number % AHEAD == 0:
                near = (computable(stores.config, kind, k, first, now) for k in keys[number : number + AHEAD])
                _read_ahead(computing, {period for found in near for period, _ in found})
            yield _compute(stores, computing, kind, key, first, now, only_due)
            computing.forget(key)


def _read_ahead(computing: Computing, periods: Collection[Period]) -> None:
    """Read what several keys need. Where that fails each reads for itself, and only those fail that need what cannot be read."""
    try:
        computing.generator.read_ahead(periods)
    except Exception as error:
        if not is_own_fault(error):
            raise


def _compute(
    stores: Stores,
    computing: Computing,
    kind: Kind,
    key: date,
    first: date | None,
    now: datetime,
    only_due: bool,
) -> OfKey:
    began = time.monotonic()
    found = OfKey(key)
    waits: dict[Period, str] = {}
    for period, scope in periods_named(stores.config, kind, key):
        if why := why_no_report(period, first, now):
            found.left_out.append(f"{scope.name}: {why}")
            continue
        if period not in waits:
            with stores.state.read() as connection:
                waits[period] = waits_for(connection, stores.state, stores.spool, stores.config, period, now)
        if only_due and waits[period] and not is_stored(stores.state, period, scope):
            found.left_out.append(f"{scope.name}: {waits[period]}")
            continue
        try:
            found.results.append((period, computing.compute(period, scope)))
        except FiguresGone as gone:
            found.failed.append(str(gone))
        except Exception as error:
            if not is_own_fault(error):
                raise
            named = f"report {period.kind} {key} of {scope.name}"
            log.exception("%s could not be computed", named)
            found.failed.append(f"{named}: {error_text(error)}")
    found.early = [why for period, why in waits.items() if why and any(p == period for p, _ in found.results)]
    found.seconds = time.monotonic() - began
    return found
