"""ship_releases: do what waits for releases and deploys, and linger for more: a pipeline says a thing after the other."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tasks_pipeline.groups.fixing import SaidFixes
from tasks_pipeline.releases.due import (
    Due,
    note_processed,
    note_updated,
    releases_due,
    to_update,
    unprocessed,
)
from tasks_pipeline.releases.figures import count_releases
from tasks_pipeline.shipping.commits import Shipped, read_commits
from tasks_pipeline.shipping.process_new_release import note_without_commits, process_new_release
from tasks_pipeline.shipping.tell_deploys import Told, tell_deploys
from tasks_pipeline.shipping.update_release_data import update_release_data
from tasks_pipeline.storage.state.passed_over import is_own_fault, note_passed_over
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)

LINGER_SECONDS = 20.0
MAX_RUN_SECONDS = 600.0
POLL_SECONDS = 0.5
NEW_AT_ONCE = 500
CHANGED_AT_ONCE = 50


@dataclass
class ShippingReport:
    """What a run did."""

    new_releases: int = 0
    updated_releases: int = 0
    shipped: Shipped = field(default_factory=Shipped)
    told: Told = field(default_factory=Told)
    counted_releases: int = 0
    passed_over: int = 0
    ended_because: str = ""

    def figures(self) -> dict[str, Any]:
        """For the UI."""
        return {
            "new_releases": self.new_releases,
            "updated_releases": self.updated_releases,
            "commits_linked": self.shipped.commits,
            "groups_resolved": self.shipped.groups_resolved,
            "deploys": self.told.deploys,
            "mails_planned": self.told.mails,
            "counted_releases": self.counted_releases,
            "passed_over": self.passed_over,
            "ended": self.ended_because,
        }


def ship_releases(
    stores: Stores, *, linger_seconds: float | None = None, max_run_seconds: float = MAX_RUN_SECONDS
) -> ShippingReport:
    """Do what waits until nothing came for `linger_seconds` (20 when absent), or the run is old.

    A release that cannot be processed costs itself alone, and so does a deploy that cannot be told.
    """
    linger = LINGER_SECONDS if linger_seconds is None else linger_seconds
    report = ShippingReport()
    started = last = time.monotonic()
    while not report.ended_because:
        now = time.monotonic()
        if now - started >= max_run_seconds:
            report.ended_because = f"it ran for {max_run_seconds:g} s"
        elif linger > 0 and (why := stores.why_end):
            report.ended_because = why
        elif releases_due(stores.state, datetime.now(UTC)):
            _round(stores, report)
            last = time.monotonic()
        elif now - last >= linger:
            report.ended_because = f"nothing came for {linger:g} s"
        else:
            time.sleep(POLL_SECONDS)
    return report


def _round(stores: Stores, report: ShippingReport) -> None:
    """Some of all that waits; commits before the deploys that tell of them."""
    _process(stores, report)
    _update(stores, report)
    told = tell_deploys(stores, datetime.now(UTC))
    report.told.add(told)
    report.passed_over += told.failed
    report.counted_releases += count_releases(stores.state, stores.lake, datetime.now(UTC))


def _process(stores: Stores, report: ShippingReport) -> None:
    with stores.state.read() as connection:
        due = unprocessed(connection, NEW_AT_ONCE)
    report.new_releases += len(due)
    failed = _each(stores, note_without_commits(stores, due), process_new_release, report) if due else []
    if failed:
        with stores.state.write() as connection:
            note_processed(connection, failed, datetime.now(UTC))


def _update(stores: Stores, report: ShippingReport) -> None:
    with stores.state.read() as connection:
        due = to_update(connection, CHANGED_AT_ONCE)
    report.updated_releases += len(due)
    failed = _each(stores, sorted(due, key=lambda each: each.version), _reading_once(), report)
    if failed:
        with stores.state.write() as connection:
            for each in failed:
                note_updated(connection, each)


def _reading_once() -> Callable[[Stores, int, str], Shipped]:
    """update_release_data for releases in the order of their versions: what the commits of one say is the same in all projects."""
    of_version: dict[str, SaidFixes] = {}

    def update(stores: Stores, project_id: int, version: str) -> Shipped:
        if version not in of_version:
            of_version.clear()
            of_version[version] = read_commits(stores, version)
        return update_release_data(stores, project_id, version, of_version[version])

    return update


def _each(
    stores: Stores,
    due: Sequence[Due],
    work: Callable[[Stores, int, str], Shipped],
    report: ShippingReport,
) -> list[Due]:
    """Work on each release by itself; gives those that raised for a reason of their own, which are passed over."""
    failed: list[tuple[Due, Exception]] = []
    for each in due:
        try:
            report.shipped.add(work(stores, each.project_id, each.version))
        except Exception as error:
            if not is_own_fault(error):
                raise
            failed.append((each, error))
    if failed:
        report.passed_over += len(failed)
        named = [(f"release {each.version} of project {each.project_id}", error) for each, error in failed]
        with stores.state.write() as connection:
            note_passed_over(stores.state, connection, "releases", named, datetime.now(UTC))
    return [each for each, _ in failed]
