"""The plan: what of the lake is older than its retention, by table, project and day. Nothing is removed here, and nothing is kept of a
plan: whoever removes makes one anew, so a process may die at any time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Literal

from tasks_pipeline.config import Config
from tasks_pipeline.retention.policy import CATEGORIES, POLICY, Category, oldest_kept
from tasks_pipeline.retention.waiting import waiting_days
from tasks_pipeline.storage.lake.catalog import DayTotals
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.storage.lake.tail import tail_totals
from tasks_pipeline.storage.state.removals import ALL_PROJECTS
from tasks_pipeline.stores import Stores

Reason = Literal["age", "before", "max_disk", "max_events", "unreferenced"]
REPORTED = frozenset(
    {
        "events",
        "transactions",
        "sessions",
        "outcomes",
        "check_ins",
        "dead_letters",
        "attachments",
        "user_reports",
    }
)
"""Categories of what was received: a day of theirs goes when nothing of it waits and its figures are final."""


@dataclass(frozen=True, slots=True)
class Removal:
    """Rows that go, or went. `project_id` 0: of all projects, `day` None: of many. `files` and `size` (bytes) are what that frees; of
    a part of a file `size` is a share, and the rest of the file is written again."""

    category: str
    table: str
    project_id: int
    day: date | None
    rows: int
    files: int
    size: int
    reason: Reason

    def as_dict(self, slugs: Mapping[int, str]) -> dict[str, Any]:
        """For programs: table, project (null for all), day, rows, files, bytes, reason."""
        project = (
            None if self.project_id == ALL_PROJECTS else slugs.get(self.project_id, str(self.project_id))
        )
        return {
            "table": self.table, "project": project, "day": self.day, "rows": self.rows, "files": self.files, "bytes": self.size,
            "reason": self.reason,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """What a cleanup is about: these categories; one project, or all; what is older than `before`, or than its retention."""

    categories: Collection[str] = frozenset(CATEGORIES)
    project_id: int | None = None
    before: date | None = None

    def wants(self, category: str) -> bool:
        """Whether a category is asked for."""
        return category in self.categories

    def among(self, by: str) -> Asked:
        """The same of what one of the assets removes."""
        return replace(self, categories={name for name in self.categories if CATEGORIES[name].by == by})

    def first_kept(self, config: Config, category: Category, today: date, project_id: int | None) -> date:
        """The first day that stays; never later than today."""
        if self.before is not None:
            return min(self.before, today)
        return oldest_kept(config, category, today, project_id)


@dataclass(slots=True)
class Plan:
    """What is to go, the oldest days first, and the days that have to stay for now, with the reason."""

    removals: list[Removal] = field(default_factory=list)
    waiting: dict[date, str] = field(default_factory=dict)


def plan_lake(stores: Stores, today: date, asked: Asked) -> Plan:
    """What of the lake is over."""
    totals = lake_totals(stores)
    waiting = waiting_days(stores, today)
    plan = Plan()
    if asked.before is not None and asked.before > today:
        plan.waiting[today] = "it is not over yet, and nothing of today is removed by age"
    for category in POLICY:
        if category.lake and category.setting and asked.wants(category.name):
            cuts = _Cuts.of(stores.config, category, today, asked)
            of_category = [each for each in totals if each.table in category.lake and each.day < cuts.last]
            held = waiting if category.name in REPORTED else {}
            plan.waiting |= {each.day: held[each.day] for each in of_category if each.day in held}
            free = [each for each in of_category if each.day not in held]
            plan.removals += _of_category(stores, category, free, cuts, asked)
    # As they are removed: what belongs together at once.
    plan.removals.sort(key=lambda each: (each.day or date.min, each.category, each.table, each.project_id))
    return plan


def lake_totals(stores: Stores) -> list[DayTotals]:
    """What each table holds of each day, in files and in the tail."""
    found = {(each.table, each.day): each for each in stores.lake.day_totals()}
    with stores.state.read() as connection:
        tail = tail_totals(connection, stores.lake.flushed_through())
    for (table, day), rows in tail.items():
        known = found.get((table, day), DayTotals(table, day, 0, 0, 0))
        found[table, day] = replace(known, rows=known.rows + rows)
    return [found[key] for key in sorted(found, key=lambda key: (key[1], key[0]))]


@dataclass(frozen=True, slots=True)
class _Cuts:
    """The first day that stays: of these projects, and of all others (None: they are not asked about)."""

    projects: Mapping[int, date]
    others: date | None

    @classmethod
    def of(cls, config: Config, category: Category, today: date, asked: Asked) -> _Cuts:
        def first(project_id: int | None) -> date:
            return asked.first_kept(config, category, today, project_id)

        if asked.project_id is not None:
            return cls({asked.project_id: first(asked.project_id)}, None)
        others = first(None)
        found = {project.id: first(project.id) for project in config.projects}
        return cls({project_id: cut for project_id, cut in found.items() if cut != others}, others)

    @property
    def first(self) -> date:
        """Days before it go whole."""
        return date.min if self.others is None else min([self.others, *self.projects.values()])

    @property
    def last(self) -> date:
        """From here on nothing goes."""
        return max([*self.projects.values(), *([] if self.others is None else [self.others])])

    def is_over(self, project_id: int, day: date) -> bool:
        cut = self.projects.get(project_id, self.others)
        return cut is not None and day < cut


def _of_category(
    stores: Stores, category: Category, totals: Sequence[DayTotals], cuts: _Cuts, asked: Asked
) -> Iterator[Removal]:
    reason: Reason = "age" if asked.before is None else "before"
    parts = [each for each in totals if each.day >= cuts.first and each.table in RECEIVED_TABLES]
    for each in totals:
        if each.day < cuts.first:
            yield whole(category.name, each, reason)
    for each in parts:
        rows = stores.lake.query(
            f"SELECT project_id, count(*) AS rows FROM lake.{each.table} WHERE day = ? GROUP BY ALL",
            [each.day],
        )
        over = {row["project_id"]: row["rows"] for row in rows if cuts.is_over(row["project_id"], each.day)}
        if (
            over
            and sum(over.values()) == each.rows == sum(row["rows"] for row in rows)
            and cuts.others is not None
        ):
            yield whole(category.name, each, reason)
            continue
        for project_id, count in sorted(over.items()):
            share = each.size * count // max(each.rows, 1)
            yield Removal(category.name, each.table, project_id, each.day, count, 0, share, reason)


def whole(category: str, totals: DayTotals, reason: Reason) -> Removal:
    """All that a table holds of a day."""
    return Removal(
        category, totals.table, ALL_PROJECTS, totals.day, totals.rows, totals.files, totals.size, reason
    )
