"""kill -9 of a cleanup at every step: nothing kept is lost, nothing that went comes back, and the next one finishes the work."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks_pipeline.analytics.statistics.compute import compute_statistics
from tasks_pipeline.config import ProjectRetention
from tasks_pipeline.groups import forgetting
from tasks_pipeline.home import Home
from tasks_pipeline.retention import lake as retention_lake
from tasks_pipeline.retention.blobs import delete_old_file_attachments
from tasks_pipeline.retention.cleanup import cleanup_old_events, plan_cleanup
from tasks_pipeline.retention.plan import Asked
from tasks_pipeline.storage.blobs import BlobStore
from tasks_pipeline.storage.lake.arrow import to_arrow
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.stores import Stores, open_stores
from tests.support.crash import Moment, left_at, run_in_process
from tests.support.day import Day
from tests.support.events import event, item

FIRST = date(2020, 1, 1)
PROJECT, OTHER = 1000, 1001
NOW = datetime(2021, 6, 1, 2, tzinfo=UTC)
MOMENTS = {
    "noted, not removed": Moment(retention_lake, "note_going"),
    "a day is out of the catalog": Moment(Lake, "drop"),
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


def clean_and_leave(home: Home, into: Path) -> None:
    """For a process of its own."""
    with open_stores(home) as stores, left_at(MOMENTS, home.root, into):
        clean(stores)


@pytest.fixture(scope="module")
def filled(new_home: Callable[[Path], Home], tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Three days of two projects, with attachments, and their figures."""
    home = new_home(tmp_path_factory.mktemp("filled") / "home")
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


@pytest.fixture(scope="module")
def left(filled: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a cleanup leaves that is killed at each moment."""
    into = tmp_path_factory.mktemp("left")
    assert run_in_process(clean_and_leave, filled, into) == 0
    return into


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_cleanup_killed_at_any_step_is_finished_by_the_next(left: Path, moment: str) -> None:
    with open_stores(Home(root=left / moment)) as stores:
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


TABLES = {"events": 90, "transactions": 30, "dead_letters": 90, "user_reports": 90}
"""Tables of the test, and the days that the installation keeps them."""
Row = tuple[str, int, int]
"""Table, age in days, project."""


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([*TABLES]), st.sampled_from([0, 12, 13, 90, 91, 200, 201, 500]), st.integers(1, 3)),
        min_size=1, max_size=12,
    ),
    own_days=st.sampled_from([12, 200]),
)  # fmt: skip
def test_what_is_kept_stays_and_what_is_over_goes(alone: Day, rows: list[Row], own_days: int) -> None:
    """Of any rows, with a project that keeps its things for shorter or longer: exactly those within their retention are left."""
    today = date(2026, 12, 31)
    put(alone.stores, today, rows)
    own = {name.removesuffix("s") + "_days": own_days for name in TABLES}
    project = alone.stores.config.projects[0].model_copy(
        update={"id": 2, "retention": ProjectRetention(**own)}
    )
    config = alone.stores.config.model_copy(update={"projects": (project,)})
    stores, night = replace(alone.stores, config=config), datetime(2026, 12, 31, 2, tzinfo=UTC)
    before = found(stores)
    cleanup_old_events(stores, night)
    assert found(stores) == [
        (name, day, project_id)
        for name, day, project_id in before
        if (today - day).days <= (own_days if project_id == 2 else TABLES[name])
        or (name == "transactions" and day >= date(2026, 12, 1))
    ]
    assert plan_cleanup(stores, night).removals == []


def put(stores: Stores, today: date, rows: list[Row]) -> None:
    """Write rows as files of the lake, a file each."""
    for number, (name, age, project_id) in enumerate(rows):
        day = today - timedelta(days=age)
        row = {
            "day": day,
            "part": "1",
            "position": number,
            "item": 0,
            "project_id": project_id,
            "event_id": f"{number:032x}",
        }
        with stores.lake.writing(day, "test") as files:
            files.add(to_arrow({name: [row]}))
            files.finish()
            with stores.lake.lock():
                stores.lake.register(files.finished)


def found(stores: Stores) -> list[tuple[str, date, int]]:
    """Table, day and project of each row."""
    union = " UNION ALL ".join(
        f"SELECT '{name}' AS name, day, project_id FROM lake.{name}" for name in TABLES
    )
    rows = stores.lake.query(f"SELECT * FROM ({union}) ORDER BY ALL")
    return [(row["name"], row["day"], row["project_id"]) for row in rows]
