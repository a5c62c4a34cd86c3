"""cleanup_old_events: everything that is older than its retention goes, in small steps, the lake first. Each step may be the last of a
process: the next cleanup plans anew, and goes on."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from tasks_pipeline.archive.write import Archived, Archiver, archiver_of
from tasks_pipeline.retention.lake import remove_planned
from tasks_pipeline.retention.limits import beyond_disk, sample_events
from tasks_pipeline.retention.plan import Asked, Plan, Reason, Removal, plan_lake
from tasks_pipeline.retention.policy import EVENTS
from tasks_pipeline.retention.rows import planned, rows_over
from tasks_pipeline.retention.waiting import waiting_days
from tasks_pipeline.storage.lake.compaction import tidy
from tasks_pipeline.stores import Stores
from tasks_pipeline.upkeep.findings import EARLY, UNARCHIVED_FILES, UNARCHIVED_ROWS, finding, note_finding
from tasks_pipeline.words import counted

log = logging.getLogger(__name__)

ALL = Asked()


@dataclass(slots=True)
class Cleanup:
    """What went: `removed`, what of it is archived, and the days that have to stay for now, with the reason."""

    removed: list[Removal] = field(default_factory=list)
    waiting: dict[date, str] = field(default_factory=dict)
    archived: list[Archived] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows that went."""
        return sum(each.rows for each in self.removed)

    @property
    def size(self) -> int:
        """Bytes of files that went."""
        return sum(each.size for each in self.removed)

    @property
    def days(self) -> int:
        """Days of the lake of which something went."""
        return len({each.day for each in self.removed if each.day is not None})


def plan_cleanup(stores: Stores, now: datetime, asked: Asked = ALL) -> Plan:
    """What a cleanup would remove; nothing is changed."""
    plan = plan_lake(stores, now.date(), asked)
    for over in rows_over(stores, now, asked, plan.waiting):
        found = planned(stores, over, _reason(asked))
        if found is not None:
            plan.removals.append(found)
    return plan


def cleanup_old_events(
    stores: Stores,
    now: datetime | None = None,
    asked: Asked = ALL,
    on_removed: Callable[[Removal], None] = lambda _removal: None,
) -> Cleanup:
    """Remove what is older than its retention, or than what was asked for; attachments and files of symbols are removed by
    `delete_old_file_attachments`. `on_removed` hears of each step.

    Files of the lake go with the last snapshot that holds them: what was removed before is forgotten here, the rest by whoever
    looks after the lake next.
    """
    now = now or datetime.now(UTC)
    archiver = archiver_of(stores)
    report = remove(stores, now, asked.among(EVENTS), on_removed, archiver)
    if asked == ALL:
        for some in _beyond_limits(stores, now.date(), archiver):
            report.removed += some
            for removal in some:
                on_removed(removal)
        tell_of_archive(stores, report, archiver, UNARCHIVED_ROWS, now)
    return report


def _beyond_limits(stores: Stores, today: date, archiver: Archiver | None) -> Iterator[list[Removal]]:
    waiting = waiting_days(stores, today)
    yield from sample_events(stores, today, waiting, archiver)
    early = beyond_disk(stores, today, waiting)
    note_finding(stores.state, EARLY, _said(early), datetime.now(UTC))
    yield from remove_planned(stores, early, archiver)


def _said(early: Sequence[Removal]) -> list[str]:
    """A sentence for each day that goes before its time."""
    rows: Counter[date] = Counter()
    for each in early:
        if each.day is not None:
            rows[each.day] += each.rows
    return [f"{day} went with {counted(rows[day], 'row')}" for day in sorted(rows)]


def tell_of_archive(
    stores: Stores, report: Cleanup, archiver: Archiver | None, name: str, now: datetime
) -> None:
    """Have a report, and the watch, say of a whole night what could not be archived."""
    problems = []
    if archiver is not None:
        report.waiting |= archiver.waiting
        problems = [f"{day} stays: {why}" for day, why in sorted(archiver.waiting.items())]
    note_finding(stores.state, name, problems, now)


def remove(
    stores: Stores,
    now: datetime,
    asked: Asked,
    on_removed: Callable[[Removal], None],
    archiver: Archiver | None,
) -> Cleanup:
    """Remove what is over of the categories that are asked for, and archive it before where that is wanted."""
    plan = plan_lake(stores, now.date(), asked)
    report = Cleanup(waiting=plan.waiting, archived=[] if archiver is None else archiver.archived)

    def went(removal: Removal) -> None:
        report.removed.append(removal)
        on_removed(removal)

    for some in remove_planned(stores, plan.removals, archiver):
        for removal in some:
            went(removal)
    if archiver is not None:  # what belongs to rows that stay has to stay with them
        report.waiting |= archiver.waiting
    for over in rows_over(stores, now, asked, report.waiting):
        if dropped := over.drop():
            went(
                Removal(over.category, over.table.name, over.project_id, None, dropped, 0, 0, _reason(asked))
            )
    tidy(stores.lake)
    stores.lake.scrub_catalog()
    return report


def left_over(stores: Stores, now: datetime) -> list[Removal]:
    """What is older than its retention by more than a day, and nothing makes it wait: a night did not do its work."""
    return plan_cleanup(stores, now - timedelta(days=1)).removals


def unarchived_days(stores: Stores) -> list[str]:
    """Days that stay since the last cleanup could not archive them, and why."""
    with stores.state.read() as connection:
        found = [finding(connection, name) for name in (UNARCHIVED_ROWS, UNARCHIVED_FILES)]
    return [each.detail for each in found if each is not None and each.count]


def _reason(asked: Asked) -> Reason:
    return "age" if asked.before is None else "before"
