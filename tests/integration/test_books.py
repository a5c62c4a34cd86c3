"""The books: balanced in every state of a day, and off as soon as a row is lost."""

from __future__ import annotations

import pytest

from tasks_pipeline.processing import books as books_module
from tasks_pipeline.processing.books import (
    books_of_lake,
    books_of_state,
    group_figures,
    odd_timestamps,
    repeated_event_ids,
    row_counts,
)
from tasks_pipeline.storage.ledger.drains import end_drain, start_drain
from tests.support.crash import DRAIN_MOMENTS, at
from tests.support.day import Day, damage
from tests.support.events import event, item


class Crash(Exception):
    """Raised in the middle of a batch."""


def crash() -> None:
    raise Crash


def test_every_accepted_item_is_in_one_column(day: Day) -> None:
    sent = event()
    day.spool(
        day.receipt(sent, item("attachment", b"x", filename="a")),
        day.receipt(sent),
        day.receipt(item("event", b"{"), event_id="1" * 32),
        day.receipt(body=b"junk"),
        day.receipt(item("span", b"{}")),
    )
    waiting = books_of_lake(day.stores, day.date)
    assert (waiting.accepted, waiting.waiting, waiting.oldest_waiting) == (5, 5, day.at())
    day.drain()
    for books in (books_of_lake(day.stores, day.date), books_of_state(day.stores, day.date)):
        assert (books.accepted, books.stored, books.duplicate, books.invalid) == (5, 2, 1, 2)
        assert (books.waiting, books.oldest_waiting, books.difference) == (0, None, 0)


@pytest.mark.parametrize("moment", ["after the claim", "lake committed"])
def test_a_batch_that_is_not_done_waits_whether_its_rows_are_in_the_lake_or_not(
    day: Day, moment: str
) -> None:
    day.send(event(), event())
    with at(DRAIN_MOMENTS[moment], crash), pytest.raises(Crash):
        day.drain()
    books = books_of_lake(day.stores, day.date)
    assert (books.waiting, books.stored, books.difference) == (2, 0, 0)


@pytest.mark.parametrize("table", ["outcomes", "batches"])
def test_a_lost_row_is_noticed(day: Day, table: str) -> None:
    day.send(event(), event())
    day.drain()
    if table == "outcomes":
        damage(day.stores, "DELETE FROM stored.outcomes WHERE day = ?", [day.date])
        assert books_of_lake(day.stores, day.date).difference == 2
        assert books_of_state(day.stores, day.date).difference == 0
    else:
        with day.stores.state.write() as connection:
            connection.exec_driver_sql(f"UPDATE batches SET stored = 1 WHERE day = '{day.date}'")
        assert books_of_state(day.stores, day.date).difference == 1


def test_the_books_of_a_day_whose_raw_envelopes_are_gone_still_balance(day: Day) -> None:
    day.send(event(), event())
    day.drain()
    day.stores.spool.drop_day(day.date)
    for books in (books_of_lake(day.stores, day.date), books_of_state(day.stores, day.date)):
        assert (books.accepted, books.stored, books.difference) == (2, 2, 0)


def test_reading_the_books_waits_for_nobody(day: Day) -> None:
    """A drain that is alive and holds nothing changes nothing."""
    drain_id = start_drain(day.stores.state, day.date, None)
    assert books_of_lake(day.stores, day.date).difference == 0
    end_drain(day.stores.state, drain_id)


def test_figures_of_a_day(day: Day) -> None:
    tomorrow = day.next()
    day.send(event("A"), event("B", timestamp=day.at(-3 * 86_400).timestamp()))
    tomorrow.send(event("A"), event("C", timestamp=tomorrow.at(50).timestamp()))
    for each in (day, tomorrow):
        each.drain()
    assert row_counts(day.stores, day.date)["events"] == 2
    assert group_figures(day.stores, day.date) == {"groups": 2, "new_groups": 2}
    assert group_figures(day.stores, tomorrow.date) == {"groups": 2, "new_groups": 1}
    assert odd_timestamps(day.stores, day.date) == {"future": 0, "late": 1, "events": 2}
    assert odd_timestamps(day.stores, day.date, late_days=5)["late"] == 0


def test_repeated_event_ids_are_named(day: Day) -> None:
    (event_id,) = day.send(event())
    day.drain()
    assert repeated_event_ids(day.stores, day.date) == []
    damage(
        day.stores,
        "INSERT INTO stored.events BY NAME SELECT * FROM stored.events WHERE day = ?",
        [day.date],
    )
    assert repeated_event_ids(day.stores, day.date) == [
        {"project_id": day.project, "event_id": event_id, "times": 2}
    ]


def test_they_balance_while_envelopes_come_in_all_the_time(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting the lake takes longer than a receiver needs for the next envelope."""
    day.send(event())
    day.drain()
    counted = books_module._lake_counts

    def counted_under_load(*args: object) -> dict[str, int]:
        found = counted(*args)  # type: ignore[arg-type]
        day.send(event())
        return found

    monkeypatch.setattr(books_module, "_lake_counts", counted_under_load)
    books = books_of_lake(day.stores, day.date)
    assert books.difference == 0
    assert (books.stored, books.waiting) == (1, 1)
