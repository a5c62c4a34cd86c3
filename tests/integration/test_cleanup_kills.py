"""kill -9 of a cleanup at every step: nothing kept is lost, nothing that went comes back, and the next one finishes the work."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks_pipeline.analytics.statistics.compute import compute_statistics
from tasks_pipeline.groups import forgetting
from tasks_pipeline.home import Home
from tasks_pipeline.retention import lake as retention_lake
from tasks_pipeline.retention.blobs import delete_old_file_attachments
from tasks_pipeline.retention.cleanup import cleanup_old_events, plan_cleanup
from tasks_pipeline.retention.plan import Asked
from tasks_pipeline.storage.blobs import BlobStore
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.stores import Stores, open_stores
from tests.support.crash import Moment, at, die, run_in_process
from tests.support.day import Day
from tests.support.events import event, item
from tests.support.figures import count

FIRST = date(2020, 1, 1)
PROJECT, OTHER = 1000, 1001
NOW = datetime(2021, 6, 1, 2, tzinfo=UTC)
MOMENTS = {
    "noted, not removed": Moment(retention_lake, "note"),
    "a day is out of the catalog": Moment(Lake, "drop_days"),
    "rest of a day written": Moment(Lake, "exchange", after=False),
    "rest of a day exchanged": Moment(Lake, "exchange"),
    "half of the values": Moment(forgetting, "_count_users"),
    "keys of groups gone": Moment(forgetting, "_forget_own", after=False),
    "catalog not written anew": Moment(Lake, "scrub_catalog", after=False),
    "all but blobs": Moment(BlobStore, "settle", after=False),
    "a blob swept": Moment(BlobStore, "sweep"),
}


def clean(stores: Stores) -> None:
    """Project OTHER keeps its last day for good, and of PROJECT all goes."""
    cleanup_old_events(stores, NOW, Asked(project_id=PROJECT))
    cleanup_old_events(stores, NOW, Asked(before=date(2020, 1, 2), categories={"events", "attachments"}))
    delete_old_file_attachments(stores, NOW, Asked(before=date(2020, 1, 2), categories={"attachments"}))


def clean_and_die(home: Home, moment: str) -> None:
    """For a process of its own."""
    with open_stores(home) as stores, at(MOMENTS[moment], die):
        clean(stores)


@pytest.fixture(scope="module")
def filled(_new_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Three days of two projects, with attachments, and their figures."""
    home = Home(root=tmp_path_factory.mktemp("filled") / "home")
    shutil.copytree(_new_home.root, home.root, symlinks=True, ignore=shutil.ignore_patterns("run"))
    with open_stores(home) as stores:
        days = [FIRST + timedelta(days=n) for n in range(3)]
        for on, project in zip(days, (PROJECT, OTHER, OTHER), strict=True):
            day, sent = Day(stores, on, project), event("A", user={"id": "1"})
            day.spool(day.receipt(sent, item("attachment", f"of {on}".encode(), filename="core")))
            replace(day, project=PROJECT).send(event("B", user={"id": "1"}))
            day.drain()
        compute_statistics(stores, days, datetime(2020, 2, 1, tzinfo=UTC), everything=True)
        for digest in stores.blobs.digests():
            os.utime(stores.blobs.local_path(digest) or "", (0, 0))
    return home


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_cleanup_killed_at_any_step_is_finished_by_the_next(
    filled: Home, tmp_path: Path, moment: str
) -> None:
    home = Home(root=tmp_path / "home")
    shutil.copytree(filled.root, home.root, symlinks=True, ignore=shutil.ignore_patterns("run"))
    assert run_in_process(clean_and_die, home, moment) == -signal.SIGKILL
    with open_stores(home) as stores:
        clean(stores)
        day = Day(stores, FIRST + timedelta(days=1), OTHER)
        first, last = replace(day, date=FIRST), day.next()
        assert [row["project_id"] for row in day.rows("events")] == [OTHER]
        assert day.ids("event_payloads") == day.ids()
        assert first.rows("events") == first.rows("attachments") == []
        other = replace(day, project=PROJECT)
        assert (other.state()["event_ids"], other.groups()) == ([], [])
        assert [(g["times_seen"], g["users"]) for g in day.groups()] == [(2, 1)]
        digests = {row["digest"] for each in (day, last) for row in each.rows("attachments")}
        assert set(stores.blobs.digests()) == digests
        day.assert_balanced()


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ages=st.lists(st.sampled_from([0, 1, 29, 30, 31, 60, 90, 91, 92, 400]), min_size=1, max_size=4),
    data=st.data(),
)
def test_what_is_kept_stays_and_what_is_over_goes(alone: Day, ages: list[int], data: st.DataObject) -> None:
    """Days of any age: of each category exactly the days within its retention are there, whatever was cleaned before."""
    today = data.draw(st.dates(date(2020, 6, 1), date(2025, 1, 1)))
    stores = alone.stores
    for age in sorted(set(ages)):
        day = replace(alone, date=date.fromordinal(today.toordinal() - age))
        day.send(event("A"))
        day.drain()
        count(day, now=datetime(2026, 1, 1, tzinfo=UTC))
    before = {name: rows(stores, name) for name in RECEIVED_TABLES}
    at_night = datetime(today.year, today.month, today.day, 2, tzinfo=UTC)
    cleanup_old_events(stores, at_night)
    kept_days = {"events": 90, "event_payloads": 90, "outcomes": 90}
    for name, found in before.items():
        oldest = date.fromordinal(today.toordinal() - kept_days.get(name, 90))
        assert rows(stores, name) == [row for row in found if row[0] >= oldest], name
    assert plan_cleanup(stores, at_night).removals == []


def rows(stores: Stores, table: str) -> list[tuple[date, int]]:
    found = stores.lake.query(f"SELECT day, project_id FROM lake.{table} ORDER BY ALL")
    return [(row["day"], row["project_id"]) for row in found]
