"""Notes of what went: each row is counted once, whoever died between the note and the removal, and for its own reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from tasks_pipeline.privacy.delete import delete_person
from tasks_pipeline.privacy.identity import Identity
from tasks_pipeline.retention import lake as retention_lake
from tasks_pipeline.retention.cleanup import cleanup_old_events
from tasks_pipeline.retention.plan import Asked
from tasks_pipeline.storage.lake import compaction
from tasks_pipeline.storage.state.tables import day_changes, retention_removals
from tests.support.crash import Moment, at, nothing_is_small
from tests.support.day import Day
from tests.support.events import event

NOW = datetime(2021, 6, 1, 2, tzinfo=UTC)
OF_EVENTS = Asked(categories={"events"}, before=date(2020, 1, 2))


class Died(Exception):
    """In the place of a kill."""


def die() -> None:
    raise Died


def noted(day: Day) -> dict[tuple[str, int, str], int]:
    """Rows by table, project and reason."""
    with day.stores.state.read() as connection:
        rows = connection.execute(select(retention_removals).where(retention_removals.c.day == day.date))
        return {(row.name, row.project_id, row.reason): row.rows for row in rows}


def filled(day: Day) -> None:
    """Two files of each table."""
    with nothing_is_small():
        for user in ("1", "2"):
            send(day, event("A", user={"id": user}), event("B", user={"id": user}))


def send(day: Day, *events: dict[str, Any]) -> None:
    """Events, as if their figures were computed: else the day would have to stay."""
    day.send(*events)
    day.drain()
    with day.stores.state.write() as connection:
        connection.execute(update(day_changes).values(computed=day_changes.c.changes))


def test_rows_that_did_not_go_are_not_counted_twice(own_day: Day) -> None:
    stores = own_day.stores
    filled(own_day)
    with at(Moment(retention_lake, "note_going"), die), pytest.raises(Died):
        cleanup_old_events(stores, NOW, OF_EVENTS)
    assert noted(own_day) == {("event_payloads", 0, "before"): 4, ("events", 0, "before"): 4}
    # Merging changes the files and not the rows; and more of them may come.
    compaction.compact(stores.lake, compaction.of_past_days(stores.lake, NOW.date()))
    send(own_day, event("A"))
    cleanup_old_events(stores, NOW, OF_EVENTS)
    assert noted(own_day) == {("event_payloads", 0, "before"): 5, ("events", 0, "before"): 5}


def test_files_whose_snapshots_a_killed_process_forgot_go_with_the_next(own_day: Day) -> None:
    filled(own_day)
    lake, later = own_day.stores.lake, datetime.now(UTC) + timedelta(hours=1)
    files = [Path(file.path) for file in lake.live_files()]
    with lake.lock():
        lake.drop(lake.live_files())
        snapshots = lake.query(
            "SELECT list(snapshot_id ORDER BY snapshot_id) AS all FROM ducklake_snapshots('stored')"
        )
        old = ", ".join(map(str, snapshots[0]["all"][:-1]))
        lake._stored.execute(f"CALL ducklake_expire_snapshots('stored', versions => [{old}])")
    files[0].unlink()  # it died while it removed them
    with lake.lock():
        assert lake.forget_before(later) == 0
    assert not any(path.exists() for path in files)


def test_rows_that_went_are_counted_with_those_before_and_by_their_reason(own_day: Day) -> None:
    stores = own_day.stores
    filled(own_day)
    own = replace(OF_EVENTS, project_id=own_day.project)
    delete_person(stores, Identity.of(["1"], [], []), "anna")
    assert noted(own_day)["events", own_day.project, "privacy"] == 2
    for _ in range(2):  # and again with what came since
        cleanup_old_events(stores, NOW, own)
        send(own_day, event("A"))
    cleanup_old_events(stores, NOW, own)
    of_events = {key: rows for key, rows in noted(own_day).items() if key[0] == "events"}
    assert of_events == {("events", own_day.project, "privacy"): 2, ("events", own_day.project, "before"): 4}
    own_day.assert_balanced()
