"""The state database's promises: transactions, snapshots, locks that die with their process, times in UTC."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import func, select

from tasks_pipeline.groups.assign import NewGroup, assign_groups
from tasks_pipeline.groups.counting import GroupCounts, count_events
from tasks_pipeline.home import Home
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.locks import process_lock
from tasks_pipeline.storage.state.tables import condemned_envelopes, drains, group_hashes
from tasks_pipeline.stores import Stores
from tests.support.day import Day
from tests.support.events import event


def row(day: Day, position: int = 1) -> dict[str, object]:
    return {"day": day.date, "part": "r0", "position": position, "reason": "x"}


def count(state: StateDatabase, day: Day) -> int:
    with state.read() as connection:
        query = select(func.count()).where(condemned_envelopes.c.day == day.date)
        return int(connection.execute(query).scalar_one())


def test_a_transaction_that_raises_leaves_nothing(day: Day) -> None:
    state = day.stores.state

    def fail_after_writing() -> None:
        with state.write() as connection:
            connection.execute(condemned_envelopes.insert(), [row(day)])
            raise LookupError

    with pytest.raises(LookupError):
        fail_after_writing()
    assert count(state, day) == 0
    with state.write() as connection:
        connection.execute(condemned_envelopes.insert(), [row(day)])
    assert count(state, day) == 1


def test_a_reader_sees_one_state_while_others_write(day: Day) -> None:
    state = day.stores.state
    query = select(func.count()).where(condemned_envelopes.c.day == day.date)
    with state.read() as reader:
        assert reader.execute(query).scalar_one() == 0
        with state.write() as writer:
            writer.execute(condemned_envelopes.insert(), [row(day)])
        assert reader.execute(query).scalar_one() == 0
    assert count(state, day) == 1


def test_times_come_back_in_utc(day: Day) -> None:
    at = datetime(2026, 11, 22, 1, 2, 3, 456789, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    values = {
        "id": f"t{day.project}",
        "day": day.date,
        "host": "h",
        "pid": 1,
        "started_at": at,
        "heartbeat_at": at,
    }
    state = day.stores.state
    with state.write() as connection:
        connection.execute(drains.insert().values(**values, ended_at=at))
    with state.read() as connection:
        found = connection.execute(
            select(drains.c.started_at).where(drains.c.id == values["id"])
        ).scalar_one()
    assert found == at
    assert found.tzinfo == UTC


def test_the_file_is_for_its_owner_alone(home: Home) -> None:
    StateDatabase(home).close()
    assert stat.S_IMODE((home.root / "state.sqlite").stat().st_mode) == 0o600


HOLDER = """
import sys, pathlib
from tasks_pipeline.home import Home
from tasks_pipeline.storage.state.locks import process_lock
with process_lock(Home(pathlib.Path(sys.argv[1]), database_url=sys.argv[2]), "test"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_held_against_other_processes_and_dies_with_its_own(stores: Stores) -> None:
    home = stores.home
    got = threading.Event()

    def take() -> None:
        with process_lock(home, "test"):
            got.set()

    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home.root), home.database_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        taker = threading.Thread(target=take)
        taker.start()
        assert not got.wait(0.3)
        holder.kill()
        assert got.wait(120)
        taker.join()


def new_group(day: Day, *keys: str) -> NewGroup:
    return NewGroup(day.project, keys, "t", "c", "error", "python", "error", {}, "a")


@pytest.mark.parametrize("stores", ["postgres"], indirect=True)
def test_counting_a_group_does_not_wait_for_keys_being_attached_to_it(day: Day) -> None:
    """Two batches that wait for each other would be a deadlock: one attaches keys, the other counts."""
    state = day.stores.state
    slugs = {day.project: "shop"}
    counts = GroupCounts()
    counts.add(day.at(), ("r0", 1, 0), [], {"title": "t"})
    with state.write() as connection:
        (group_id,) = assign_groups(state, connection, [new_group(day, "a")], slugs)
    counted = threading.Event()

    def count_it() -> None:
        with state.write() as connection:
            count_events(state, connection, day.date, {group_id: counts})
        counted.set()

    with state.write() as connection:
        assert assign_groups(state, connection, [new_group(day, "a", "b")], slugs) == [group_id]
        counter = threading.Thread(target=count_it)
        counter.start()
        assert counted.wait(120)
    counter.join()


def test_a_group_stays_the_same_for_its_keys(day: Day) -> None:
    state, slugs = day.stores.state, {day.project: "shop"}
    wanted = [new_group(day, "a"), new_group(day, "b", "a"), new_group(day, "c"), new_group(day, "b")]
    with state.write() as connection:
        first = assign_groups(state, connection, wanted, slugs)
    with state.write() as connection:
        again = assign_groups(state, connection, wanted, slugs)
        keys = connection.execute(
            select(func.count()).where(group_hashes.c.project_id == day.project)
        ).scalar_one()
    assert first == again
    assert first[0] == first[1] == first[3] != first[2]
    assert keys == 3


def test_events_without_a_group_to_count_are_no_error(day: Day) -> None:
    with day.stores.state.write() as connection:
        count_events(day.stores.state, connection, day.date, {})
    day.send(event())
    day.drain()
    assert day.group()["times_seen"] == 1
