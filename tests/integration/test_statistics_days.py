"""Days of statistics: when they are due, what versions there are and why, and what a kill leaves of them."""

from __future__ import annotations

import signal
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from tasks_pipeline.analytics.statistics import compute
from tasks_pipeline.analytics.statistics.compute import DaysFailed, compute_statistics
from tasks_pipeline.analytics.statistics.days import (
    MOST,
    causes_after,
    closed_due,
    put_version,
    recent_due,
    versions_of,
)
from tasks_pipeline.analytics.statistics.digests import TableDigest
from tasks_pipeline.analytics.statistics.verdicts import judge
from tasks_pipeline.analytics.statistics.work import Work
from tasks_pipeline.commands import backfill
from tasks_pipeline.groups.decisions import (
    resolve_groups,
)
from tasks_pipeline.groups.merging import discard_groups, merge_groups
from tasks_pipeline.home import Home
from tasks_pipeline.processing.reprocess import reprocess_events
from tasks_pipeline.storage.lake.files import DayFiles
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.tables import STATISTICS_TABLES
from tasks_pipeline.storage.ledger.backlog import backlogs
from tasks_pipeline.storage.state.removals import ALL_PROJECTS, note_removals
from tasks_pipeline.stores import open_stores
from tests.integration.test_reprocess import KEY, again, misses, symbolicate
from tests.support.crash import Moment, at, die, event_step, run_in_process
from tests.support.day import Day, damage
from tests.support.events import event
from tests.support.figures import (
    LATER,
    assert_proved,
    count,
    decided_at,
    due,
    ids,
    log_of,
    regroup,
    rows,
    version,
)

# ── when a day is due, and its versions


def test_a_batch_makes_its_day_due_until_it_is_computed(alone: Day) -> None:
    assert due(alone.stores) == []
    alone.send(event("A"))
    alone.drain()
    assert due(alone.stores) == [alone.date]
    report = count(alone)
    assert (report.version, report.changed, report.closed) == (1, True, True)
    assert due(alone.stores) == []
    assert not count(alone).changed
    assert version(alone).version == 1


def test_a_day_that_waits_says_so_and_is_computed_when_all_of_it_is_stored(own_day: Day) -> None:
    stores = own_day.stores
    own_day.send(event("A"))
    own_day.drain()
    own_day.send(event("B"), event("B"))
    with stores.state.read() as connection:
        found = closed_due(connection, backlogs(stores.state, stores.spool), datetime(2020, 2, 1, tzinfo=UTC))
    assert list(found.days) == []
    assert list(found.waiting) == [f"{own_day.date}: 2 envelopes still wait"]
    assert not count(own_day).closed
    own_day.drain()
    assert due(stores) == [own_day.date]
    report = count(own_day, everything=False)
    assert (report.closed, report.version, report.causes) == (True, 2, ("batch",))


def test_days_of_which_nothing_is_stored_yet_are_waited_for_by_name(alone: Day) -> None:
    stores = alone.stores
    alone.send(event("A"))
    with stores.state.read() as connection:
        found = closed_due(connection, backlogs(stores.state, stores.spool), datetime(2020, 2, 1, tzinfo=UTC))
    assert (list(found.days), list(found.waiting)) == ([], [f"{alone.date}: 1 envelope still waits"])


def test_a_late_batch_makes_a_new_version_of_its_day_alone(alone: Day) -> None:
    after = alone.next()
    for each in (alone, after):
        each.send(event("A"))
        each.drain()
        count(each)
    alone.spool(alone.receipt(event("A"), seconds=100))
    alone.drain()
    assert due(alone.stores) == [alone.date]
    report = count(alone, everything=False)
    assert (report.version, report.causes, report.errors) == (2, ("batch",), 2)
    with alone.stores.state.read() as connection:
        assert causes_after(connection, alone.date, 1) == ["batch"]
        assert causes_after(connection, alone.date, 2) == []
    assert version(after).version == 1


def test_recomputing_a_day_changes_nothing(alone: Day) -> None:
    alone.send(*(event("AB"[n % 2], user={"id": str(n)}) for n in range(5)))
    alone.drain()
    before = count(alone)
    shown = {name: rows(alone, name) for name in STATISTICS_TABLES}
    alone.recompute()
    assert due(alone.stores) == [alone.date]
    report = count(alone, everything=False)
    assert (report.changed, report.version, report.digest) == (False, 1, before.digest)
    assert {name: rows(alone, name) for name in STATISTICS_TABLES} == shown
    assert due(alone.stores) == []


def test_days_without_anything_are_closed_too(alone: Day) -> None:
    alone.send(event("A"))
    alone.drain()
    count(alone)
    now = alone.at() + LATER
    with alone.stores.state.read() as connection:
        missing = closed_due(connection, [], now).days
    assert list(missing) == [alone.date + timedelta(days=n) for n in (2, 1)]
    compute_statistics(alone.stores, missing, now)
    with alone.stores.state.read() as connection:
        assert list(closed_due(connection, [], now).days) == []
    assert sum(r["groups"] for r in rows(alone.next(), "group_levels")) == 1


def test_after_a_long_standstill_all_of_its_days_are_due_some_at_a_time(alone: Day) -> None:
    alone.send(event("A"))
    alone.drain()
    count(alone)
    state, now = alone.stores.state, alone.at() + timedelta(days=40)
    asked: list[date] = []
    with state.write() as connection:
        known = versions_of(connection, [alone.date])[alone.date]
        while days := closed_due(connection, [], now).days:
            for day in days[:MOST]:
                put_version(state, connection, None, replace(known, day=day))
            asked += days[:MOST]
    assert asked == [alone.date + timedelta(days=n) for n in range(39, 0, -1)]


def test_a_day_that_raises_costs_itself_alone(alone: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    after = alone.next()
    for each in (alone, after):
        each.send(event("A"))
        each.drain()
    write = compute.groups.write

    def raising(work: Work, wanted: set[str]) -> None:
        if work.day == alone.date:
            raise ZeroDivisionError("division by zero")
        write(work, wanted)

    monkeypatch.setattr(compute.groups, "write", raising)
    with pytest.raises(DaysFailed, match=f"{alone.date}: ZeroDivisionError: division by zero") as failure:
        compute_statistics(alone.stores, [alone.date, after.date], alone.at() + LATER)
    assert [report.day for report in failure.value.reports] == [after.date]
    assert version(after).version == 1
    assert due(alone.stores) == [alone.date]
    failed = [backfill.Result(each.date, "failure: not computed") for each in (alone, after)]
    told = backfill._counted_all_the_same(alone.stores, failed, alone.at())
    assert [each.good for each in told] == [False, True]


def test_figures_are_of_when_they_were_committed(alone: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what they have is as of the begin."""
    alone.send(event("A"))
    alone.drain()
    clock = iter([0.0, 600.0])
    monkeypatch.setattr(compute.time, "monotonic", lambda: next(clock, 600.0))
    count(alone)
    begun = alone.at() + LATER
    assert (version(alone).checked_at, version(alone).computed_at) == (begun, begun + timedelta(minutes=10))


@pytest.mark.parametrize("how", ["merge", "discard"])
def test_regrouping_makes_due_the_days_whose_events_it_touches(alone: Day, how: str) -> None:
    """A and B on the first day, A alone on the second, C on the third."""
    days = [alone, alone.next(), alone.next().next()]
    for each, problems in zip(days, ("AB", "A", "C"), strict=True):
        each.send(*map(event, problems))
        each.drain()
        count(each)
    group, state = ids(alone), alone.stores.state
    if how == "merge":
        merge_groups(state, group["A"], [group["B"]], "ann")
    else:
        discard_groups(state, [group["B"]], "ann")
    regroup(alone)
    assert due(alone.stores) == [alone.date]
    report = count(alone, everything=False)
    assert (report.version, report.causes) == (2, ("regrouped",))
    assert report.errors == (2 if how == "merge" else 1)
    assert_proved(alone)


@pytest.mark.parametrize("how", ["merge", "discard"])
def test_a_death_between_lake_and_state_forgets_no_day(alone: Day, how: str) -> None:
    """Whoever finishes the regrouping finds nothing left that would move."""
    alone.send(event("A"), event("B"))
    alone.drain()
    count(alone)
    group, state = ids(alone), alone.stores.state
    if how == "merge":
        merge_groups(state, group["A"], [group["B"]], "ann")
    else:
        discard_groups(state, [group["B"]], "ann")
    moment = Moment(Lake, "regroup" if how == "merge" else "drop_groups")
    with at(moment, _crash), pytest.raises(Crash):
        regroup(alone)
    assert due(alone.stores) == []
    regroup(alone)
    assert due(alone.stores) == [alone.date]
    assert count(alone, everything=False).causes == ("regrouped",)
    assert_proved(alone)


class Crash(Exception):
    """Raised in the middle of something."""


def _crash() -> None:
    raise Crash


def test_late_symbols_make_a_new_version_that_says_why(own_day: Day) -> None:
    own_day.send(event("A", logger="native"), event("A"))
    with event_step(misses):
        own_day.drain()
    first = count(own_day)
    with again(symbolicate):
        reprocess_events(own_day.stores, own_day.date, wanted={(own_day.project, KEY)})
    assert due(own_day.stores) == [own_day.date]
    report = count(own_day, everything=False)
    assert (report.version, report.causes, report.errors) == (2, ("reprocessed",), first.errors)
    assert_proved(own_day)


def test_a_group_that_late_symbols_emptied_never_was_there(alone: Day) -> None:
    """Nor what was decided about it, on whatever day; and it always was, once it has events again."""
    after = alone.next()
    alone.send(event("A", logger="native"))
    with event_step(misses):
        alone.drain()
    resolve_groups(alone.stores.state, [ids(alone)["A"]], "ann")
    decided_at(alone, {log_of(alone)[-1].id: after.at()})
    for each in (alone, after):
        count(each)
    with again(symbolicate):
        reprocess_events(alone.stores, alone.date, wanted={(alone.project, KEY)})
    assert due(alone.stores) == [alone.date, after.date]
    for each in (alone, after):
        assert count(each, everything=False).causes == ("reprocessed",)
        assert_proved(each)
    (made,) = rows(alone, "group_moves")
    assert (made["group_id"], made["move"]) == (ids(alone)["Symbolicated"], "created")
    assert rows(after, "group_moves") == []
    later = after.next()
    later.send(event("A"))
    later.drain()
    assert due(alone.stores) == [alone.date, after.date, later.date]


def test_a_day_that_is_not_over_keeps_one_version(alone: Day) -> None:
    for number in range(3):
        alone.send(event("A"))
        alone.drain()
        report = count(alone, now=alone.at(3600 + number))
        assert (report.version, report.changed, report.closed) == (1, True, False)
    assert count(alone, now=alone.at(90_000)).closed


def test_today_and_yesterday_are_due_when_something_happened(alone: Day) -> None:
    now, own = datetime.now(UTC), alone.stores
    today = Day(own, now.date(), 1)

    def recent() -> list[date]:
        with own.state.read() as connection:
            return recent_due(connection, now)

    assert recent() == []
    today.send(event("A"))
    today.drain()
    assert recent() == [today.date]
    compute_statistics(own, [today.date], now, everything=False)
    assert recent() == []
    resolve_groups(own.state, [today.group()["id"]], "ann")
    assert recent() == [today.date]
    (report,) = compute_statistics(own, [today.date], now + timedelta(seconds=5), everything=False)
    assert report.computed == (
        "group_levels",
        "group_moves",
        "monitor_stats",
        "notification_stats",
        "release_moves",
    )
    assert recent() == []


def test_sessions_are_part_of_a_day(alone: Day) -> None:
    from tests.support.sessions import compute as compute_health_of
    from tests.support.sessions import receive, session

    receive(alone, session(alone, 1))
    compute_health_of(alone)
    first = count(alone)
    receive(alone.next(), session(alone, 1, status="crashed"))
    compute_health_of(alone)
    report = count(alone, everything=False)
    assert report.digest != first.digest
    assert report.causes == ("sessions",)
    assert {"event_stats", "release_health"} & set(report.computed) == {"release_health"}


def test_retention_takes_nothing_from_figures(alone: Day) -> None:
    from tasks_pipeline.storage.state.day_changes import note_day_changes

    alone.send(event("A"))
    alone.drain()
    before = count(alone)
    damage(alone.stores, "DELETE FROM stored.events")
    with alone.stores.state.write() as connection:
        note_day_changes(alone.stores.state, connection, [alone.date], "retention", datetime.now(UTC))
        row = {"day": alone.date, "name": "events", "project_id": ALL_PROJECTS, "rows": 1, "reason": "test"}
        note_removals(alone.stores.state, connection, [row], datetime.now(UTC))
    report = count(alone)
    assert (report.errors, report.digest) == (1, before.digest)
    found = judge(alone.stores, [alone.date], datetime.now(UTC))
    assert all(holds for verdicts in found.values() for _, (holds, _, _) in verdicts), found


# ── kills


MOMENTS = {
    "first table written": Moment(DayFiles, "add_piece"),
    "all files written": Moment(DayFiles, "finish"),
    "tables replaced": Moment(Lake, "replace_days"),
    "noted, not committed": Moment(compute, "note_computed"),
    "done": Moment(compute, "event_figures", after=False),
}


def compute_and_die(home: Home, moment: str) -> None:
    """For a process of its own."""
    with open_stores(home) as stores, at(MOMENTS[moment], die):
        compute_statistics(stores, [date(2020, 1, 1)], datetime(2020, 1, 4, tzinfo=UTC), everything=False)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_leaves_the_old_figures_or_the_new_ones(alone: Day, moment: str) -> None:
    alone.send(event("A"))
    alone.drain()
    count(alone)
    alone.send(event("A"), event("B"))
    alone.drain()
    assert run_in_process(compute_and_die, alone.stores.home, moment) == -signal.SIGKILL
    replaced = moment in ("tables replaced", "noted, not committed", "done")
    assert sum(r["events"] for r in rows(alone, "event_stats")) == (3 if replaced else 1)
    assert sum(r["events"] for r in rows(alone, "group_stats")) == (3 if replaced else 1)
    assert due(alone.stores) == ([] if moment == "done" else [alone.date])
    report = count(alone, everything=False)
    assert (report.version, report.errors) == (2, 3)
    with alone.stores.state.read() as connection:
        assert causes_after(connection, alone.date, 1) == ["batch"]
    assert_proved(alone)


def test_what_comes_while_a_day_is_computed_leaves_it_due(alone: Day) -> None:
    alone.send(event("A"))
    alone.drain()

    def come() -> None:
        alone.send(event("A"))
        alone.drain()

    with at(Moment(compute, "backlogs"), come):
        count(alone)
    assert sum(r["events"] for r in rows(alone, "event_stats")) == 2


def test_what_comes_while_it_is_read_is_not_half_there(alone: Day) -> None:
    """All tables of a day are of one moment."""
    alone.send(event("A"))
    alone.drain()

    def come() -> None:
        with open_stores(alone.stores.home) as other:
            also = Day(other, alone.date, alone.project)
            also.send(event("A", user={"id": "1"}))
            also.drain()

    with at(Moment(compute.outcomes, "write", after=False), come):
        count(alone)
    for table, column in (
        ("event_stats", "events"),
        ("group_stats", "events"),
        ("outcome_stats", "quantity"),
    ):
        assert sum(r[column] for r in rows(alone, table)) == 1
    assert due(alone.stores) == [alone.date]
    count(alone, everything=False)
    assert_proved(alone)


def test_a_digest_does_not_depend_on_pieces() -> None:
    schema = pa.schema([
        ("a", pa.string()), ("b", pa.map_(pa.int64(), pa.list_(pa.int32()))), ("c", pa.float64()), ("d", pa.bool_()),
        ("e", pa.timestamp("us", "UTC")),
    ])  # fmt: skip
    found = [
        {"a": "x" * n, "b": None if n == 2 else [(k, [k, n]) for k in range(n)], "c": None if n == 3 else n / 3, "d": n % 2 == 0, "e": datetime(2020, 1, 1, n, tzinfo=UTC)}
        for n in range(7)
    ]  # fmt: skip

    def digest(*cuts: int) -> str:
        made = TableDigest()
        for start, end in zip((0, *cuts), (*cuts, 7), strict=True):
            made.add(pa.Table.from_pylist(found, schema)[start:end])
        return made.digest

    before = digest()
    assert before == digest(1) == digest(2, 3, 6)
    found[5]["b"] = [(k, [k, 6]) for k in range(5)]
    assert digest() != before
