"""Days of release health: when they are due, what a kill, a late update, a replaced day and a lost one do to them."""

from __future__ import annotations

import signal
from datetime import date, timedelta
from typing import Any

import pytest

from tasks_pipeline.alerts import counts
from tasks_pipeline.alerts.counts import Sessions, sessions_in_window
from tasks_pipeline.releases import health, proofs
from tasks_pipeline.releases.health import SessionsGone
from tasks_pipeline.releases.health_days import days_received_on, due_tonight, receipt_days
from tasks_pipeline.releases.proofs import prove
from tasks_pipeline.releases.spans import is_final
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tests.support.crash import (
    HEALTH_MOMENTS,
    HEALTH_REPLACED,
    Moment,
    at,
    compute_health_and_die,
    run_in_process,
)
from tests.support.day import Day, damage
from tests.support.sessions import buckets, compute, due, known, later, receive, session, tables


def crashed(day: Day) -> tuple[int, int]:
    """(sessions, those that crashed) as the tables have them."""
    totals = tables(day).totals()
    return totals["sessions"], totals["crashed"]


# ── when a day is due


def test_a_batch_makes_due_the_days_on_which_its_sessions_began(own_day: Day) -> None:
    assert due(own_day) == []
    receive(own_day, session(own_day, 1), session(own_day, 2, began=-86_400))
    assert due(own_day) == [own_day.date, own_day.date - timedelta(days=1)]
    report = compute(own_day)
    assert (report.sessions, report.rows, report.late, report.final) == (1, 1, 1, True)
    assert due(own_day) == [own_day.date - timedelta(days=1)]
    assert known(own_day).rows_read == 1


def test_a_late_update_changes_the_day_on_which_its_session_began(own_day: Day) -> None:
    receive(own_day, session(own_day, 1, init=True), session(own_day, 2, init=True))
    compute(own_day)
    assert crashed(own_day) == (2, 0)
    after = later(own_day, 4)
    receive(after, session(own_day, 1, status="crashed"))
    assert due(own_day) == [own_day.date]
    assert compute(own_day).late == 1
    assert crashed(own_day) == (2, 1)
    assert due(own_day) == []


def test_a_crash_that_tells_another_day_than_its_session_is_found_at_night(own_day: Day) -> None:
    """By clocks that are corrected: the first update began a second before midnight, the last one a second behind."""
    receive(own_day, session(own_day, 1, began=43_199, init=True), seconds=43_199)
    compute(own_day)
    receive(own_day.next(), session(own_day, 1, began=43_201, status="crashed"), seconds=-43_100)
    compute(own_day.next())
    assert due(own_day) == []

    def tonight(days: int) -> list[date]:
        with own_day.stores.state.read() as connection:
            return due_tonight(connection, own_day.date + timedelta(days=days))

    assert tonight(1) == tonight(6) == [own_day.date]
    assert tonight(7) == [], "of a day that was final yesterday nothing can come"
    compute(own_day)
    assert crashed(own_day) == (1, 1)
    assert tonight(1) == []


def test_computing_again_changes_nothing(own_day: Day) -> None:
    receive(
        own_day,
        session(own_day, 1, did="a", status="exited", duration=0.1),
        buckets({"started": own_day.at().isoformat(), "exited": 3, "did": "b"}),
    )
    compute(own_day)
    before, files = tables(own_day), own_day.stores.lake.live_files()
    assert compute(own_day).late == 0
    assert tables(own_day) == before
    assert len(own_day.stores.lake.live_files()) == len(files)


def test_sessions_with_long_names_are_folded_in_smaller_slices(
    own_day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of releases are held for each session: of a million with the longest ones there is no memory for all at once."""
    monkeypatch.setattr(health, "SLICE_ROWS", 10)
    folded: list[int] = []
    kept = Lake.kept

    def counting(lake: Lake, name: str, sql: str, slices: Any) -> Any:
        each = [*slices]
        folded.append(len(each))
        return kept(lake, name, sql, each)

    monkeypatch.setattr(Lake, "kept", counting)
    receive(own_day, *(session(own_day, n) for n in range(1, 11)))
    compute(own_day)
    receive(own_day, *(session(own_day, n, release="\U0001f4a5" * 200) for n in range(11, 21)))
    compute(own_day)
    assert folded == [1, 14]
    assert crashed(own_day) == (20, 0)


def test_what_comes_while_a_day_is_computed_leaves_it_due(own_day: Day) -> None:
    receive(own_day, session(own_day, 1))
    with at(Moment(health, "_rows_of"), lambda: receive(own_day, session(own_day, 2))):
        compute(own_day)
    assert due(own_day) == [own_day.date]
    compute(own_day)
    assert crashed(own_day) == (2, 0)
    assert due(own_day) == []


def test_a_day_that_is_stored_again_makes_its_days_of_health_due(own_day: Day) -> None:
    receive(own_day, session(own_day, 1), session(own_day, 2, began=-86_400))
    before = own_day.date - timedelta(days=1)
    for day in (own_day.date, before):
        health.compute_health(own_day.stores.lake, own_day.stores.state, day)
    assert due(own_day) == []
    own_day.recompute()
    assert due(own_day) == [own_day.date, before]


def test_sessions_that_a_rule_keeps_out_today_are_gone_from_their_days(
    own_day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks_pipeline.processing import items

    receive(own_day, session(own_day, 1))
    compute(own_day)
    taken = items.session_rows

    def refuse(*_: Any, **__: Any) -> Any:
        raise items.PayloadError("not today")

    monkeypatch.setattr(items, "session_rows", refuse)
    own_day.recompute()
    assert due(own_day) == [own_day.date]
    compute(own_day)
    assert crashed(own_day) == (0, 0)
    monkeypatch.setattr(items, "session_rows", taken)
    own_day.recompute()
    compute(own_day)
    assert crashed(own_day) == (1, 0)


def test_days_of_receipt_and_of_health() -> None:
    day = date(2026, 11, 20)
    assert receipt_days(day) == (date(2026, 11, 19), date(2026, 11, 25))
    first, last = days_received_on(day)
    assert (last - first).days == 6
    each = [first + timedelta(days=n) for n in range(7)]
    assert all(receipt_days(d)[0] <= day <= receipt_days(d)[1] for d in each)
    assert [is_final(day, date(2026, 11, 20 + n)) for n in (0, 5, 6)] == [False, False, True]


# ── kills and losses


@pytest.mark.slow
@pytest.mark.parametrize("moment", HEALTH_MOMENTS)
def test_a_day_killed_at_any_step_is_the_former_or_the_new_one(own_day: Day, moment: str) -> None:
    receive(own_day, session(own_day, 1, did="a"))
    compute(own_day)
    receive(own_day, session(own_day, 1, status="crashed"), session(own_day, 2, did="b"))

    exit_code = run_in_process(compute_health_and_die, own_day.stores.home, own_day.date, moment)

    assert exit_code == -signal.SIGKILL
    assert crashed(own_day) == ((2, 1) if moment in HEALTH_REPLACED else (1, 0))
    assert due(own_day) == ([] if moment == "done" else [own_day.date])
    compute(own_day)
    assert crashed(own_day) == (2, 1)
    assert tables(own_day).totals()["users"] == 2
    assert due(own_day) == []


def test_what_raises_leaves_the_former_day_and_no_files(own_day: Day) -> None:
    receive(own_day, session(own_day, 1))
    compute(own_day)
    receive(own_day, session(own_day, 2))
    files = own_day.stores.lake.live_files()

    def fail() -> None:
        raise OSError("the disk is full")

    for moment in HEALTH_MOMENTS.values():
        if moment.function != "figures_of_day":
            with pytest.raises(OSError, match="full"), at(moment, fail):
                compute(own_day)
        if moment.function == "_finish_one":
            assert own_day.stores.lake.live_files() == files
    compute(own_day)
    assert crashed(own_day) == (2, 0)


def test_a_day_whose_rows_are_gone_stays(own_day: Day) -> None:
    receive(own_day, session(own_day, 1))
    compute(own_day)
    own_day.recompute()  # makes it due
    damage(own_day.stores, "DELETE FROM stored.sessions WHERE day = ?", [own_day.date])
    with pytest.raises(SessionsGone, match=f"{own_day.date}.*retention is over.*stays as it is"):
        compute(own_day)
    assert crashed(own_day) == (1, 0)
    assert due(own_day) == []  # or it would fail every night
    proof = prove(own_day.stores.lake, own_day.stores.state, own_day.date)
    assert not proof.provable
    for table in RECEIVED_TABLES:
        damage(own_day.stores, f"DELETE FROM stored.{table} WHERE day = ?", [own_day.date])
    with pytest.raises(SessionsGone):
        compute(own_day)
    assert crashed(own_day) == (1, 0)


def test_items_without_sessions_are_no_loss(own_day: Day) -> None:
    receive(own_day, buckets(), buckets({"started": own_day.at().isoformat(), "exited": 0}))
    assert own_day.outcomes() == {("stored", "empty"): 2}
    own_day.assert_balanced()
    assert compute(own_day).sessions == 0


# ── strangers


def test_what_cannot_be_a_session_costs_its_neighbours_nothing(own_day: Day) -> None:
    started = own_day.at().isoformat()
    good = {"started": started, "exited": 7, "crashed": 1}
    bad_buckets: list[Any] = [
        {**good, "exited": 10**9}, {**good, "exited": -1}, {**good, "exited": "7"}, {**good, "started": own_day.at(200).isoformat()},
        {**good, "started": own_day.at(-400 * 86_400).isoformat()}, {"exited": 1}, None, [],
    ]  # fmt: skip
    receive(
        own_day,
        buckets(*bad_buckets, good),
        buckets(bad_buckets[0]),
        session(own_day, 1, began=200),
        session(own_day, 2, began=-366 * 86_400),
        session(own_day, 3, status="exploded"),
        session(own_day, 4, errors=2**40),
        session(own_day, 5, status="exited", duration=1e300),
    )
    compute(own_day)
    totals = tables(own_day).totals()
    assert (totals["sessions"], totals["healthy"], totals["crashed"]) == (9, 8, 1)
    assert tables(own_day).histogram == {}
    assert own_day.outcomes() == {
        ("stored", ""): 2, ("invalid_part", "bucket"): len(bad_buckets), ("invalid", "invalid_payload"): 5,
    }  # fmt: skip
    own_day.assert_balanced()


def test_sums_of_huge_buckets_do_not_overflow(own_day: Day) -> None:
    most = {"started": own_day.at().isoformat(), "exited": 10_000_000, "crashed": 10_000_000}
    receive(own_day, *[buckets(*[most] * 100)] * 3)
    compute(own_day)
    assert crashed(own_day) == (6_000_000_000, 3_000_000_000)


# ── alerts


def test_an_alert_and_the_tables_say_the_same(own_day: Day) -> None:
    receive(
        own_day,
        *(session(own_day, n, began=60 * n, init=True, did=f"u{n % 3}") for n in range(1, 30)),
        seconds=1800,
    )
    receive(
        own_day, *(session(own_day, n, began=60 * n, status="crashed") for n in range(3, 30, 4)), seconds=1900
    )
    receive(
        own_day,
        session(own_day, 50, began=14 * 60, release="shop@2", status="crashed", did="u9"),
        seconds=2000,
    )
    receive(
        own_day,
        buckets({"started": own_day.at(899).isoformat(), "did": "u7", "exited": 5, "crashed": 2}),
        seconds=2100,
    )
    receive(later(own_day, 2), session(own_day, 4, began=240, status="crashed"))
    compute(own_day)
    for slot in range(2):
        since = own_day.at(slot * 900)
        seen = sessions_in_window(own_day.stores, own_day.project, since, since + timedelta(minutes=15))
        found = tables(own_day)
        health_rows = [row for row in found.health if row["slot"] == since]
        number = (since.hour * 60 + since.minute) // 15
        worst: dict[int, int] = {}
        for row in found.users:
            for state in row["states"]:
                if state // 8 == number:
                    worst[row["user_hash"]] = max(worst.get(row["user_hash"], 0), state % 8)
        assert seen == Sessions(
            sum(row["sessions"] for row in health_rows),
            sum(row["crashed"] for row in health_rows),
            len(worst),
            sum(rank == 5 for rank in worst.values()),
        )
        assert seen.sessions > 10
        assert seen.crashed


def test_a_window_as_it_was_at_the_time(own_day: Day) -> None:
    receive(own_day, session(own_day, 1, init=True))
    receive(own_day, session(own_day, 1, status="crashed"), seconds=600)
    window = own_day.stores, own_day.project, own_day.at(), own_day.at(60)
    assert sessions_in_window(*window).crashed == 1
    assert sessions_in_window(*window, as_of=own_day.at(300)) == Sessions(1, 0, 0, 0)
    assert sessions_in_window(*window, "production").sessions == 1
    assert sessions_in_window(*window, "staging").sessions == 0


# ── proofs


def test_proofs_hold_and_notice_what_is_lost(own_day: Day) -> None:
    receive(
        own_day,
        session(own_day, 1, did="a"),
        session(own_day, 2, did="b", release="shop@2", status="crashed"),
    )
    receive(own_day, buckets({"started": own_day.at().isoformat(), "exited": 5}))
    compute(own_day)
    stores, project = own_day.stores, own_day.project
    proof = prove(stores.lake, stores.state, own_day.date)
    assert (proof.uneven, proof.impossible, proof.between_slots, proof.doubled) == (0, 0, 0, 0)
    assert proof.sessions == proof.in_hours == 7
    assert proof.stored == proof.recounted == {project: 7}
    assert (proof.users, proof.of_a_release, proof.with_user) == ({project: 2}, {project: 1}, {project: 2})
    assert (proof.due, proof.provable) == (False, True)
    damage(stores, "DELETE FROM stored.release_health WHERE release = 'shop@2'")
    assert prove(stores.lake, stores.state, own_day.date).stored == {project: 6}


@pytest.mark.parametrize("computed", [False, True], ids=["received", "received and computed"])
def test_what_comes_while_it_is_proved_is_no_failure(
    own_day: Day, monkeypatch: pytest.MonkeyPatch, computed: bool
) -> None:
    receive(own_day, session(own_day, 1))
    compute(own_day)
    stores, query = own_day.stores, Lake.query

    def meanwhile(self: Lake, sql: str, *more: Any) -> Any:
        if sql == proofs._RECOUNT:
            monkeypatch.setattr(Lake, "query", query)
            receive(own_day, session(own_day, 2))
            if computed:
                compute(own_day)
        return query(self, sql, *more)

    monkeypatch.setattr(Lake, "query", meanwhile)
    proof = prove(stores.lake, stores.state, own_day.date)
    assert (proof.stored, proof.recounted) == ({own_day.project: 1}, {own_day.project: 2})
    assert proof.due


def test_a_window_is_counted_the_same_in_however_many_slices(
    own_day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folded at once, a million sessions end the rules that ask for them, out of memory."""
    monkeypatch.setattr(counts, "SLICE_ROWS", 3)
    folded: list[int] = []
    kept = Lake.kept

    def counting(lake: Lake, name: str, sql: str, slices: Any) -> Any:
        each = [*slices]
        folded.append(len(each))
        return kept(lake, name, sql, each)

    monkeypatch.setattr(Lake, "kept", counting)
    receive(
        own_day,
        *(session(own_day, n, did=f"{n % 4}") for n in range(1, 11)),
        *(session(own_day, n, did=f"{n % 4}", status="crashed", seq=2) for n in (4, 8)),
        buckets({"started": own_day.at().isoformat(), "exited": 5, "crashed": 2, "did": "b"}),
    )
    window = own_day.stores, own_day.project, own_day.at(), own_day.at(600)
    assert sessions_in_window(*window) == Sessions(17, 4, 5, 2)
    assert sessions_in_window(own_day.stores, own_day.project, own_day.at(-600), own_day.at()) == Sessions(
        0, 0, 0, 0
    )
    assert folded == [5, 5]
