"""The nudge: one start of each, however often it is given, and slower and slower while its runs fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.nudging.nudge import LONGEST_PAUSE_SECONDS, PAUSE_SECONDS, Nudge
from tasks_pipeline.nudging.wanted import SENDER, Start, drain_of

TODAY = date(2026, 11, 29)


@dataclass
class Runs:
    """A Dagster whose runs take no time to be queued: what was started when, and what is under way."""

    now: float = 0.0
    started: list[tuple[str, float]] = field(default_factory=list)
    working: set[str] = field(default_factory=set)
    fail: bool = False

    def under_way(self, start: Start) -> bool:
        return start.key in self.working

    def launch(self, start: Start) -> str:
        self.started.append((start.key, self.now))
        return f"run-{len(self.started)}"

    def failed(self, run_id: str) -> bool:
        return self.fail


def test_a_storm_starts_one_run_of_each_day() -> None:
    runs = Runs()
    nudge = Nudge(runs)
    days = [TODAY, TODAY - timedelta(days=1)]
    for number in range(1000):
        runs.now = number / 1000
        nudge.give([drain_of(day) for day in days] * 3, runs.now)
    assert [key for key, _ in runs.started] == [drain_of(day).key for day in days]


def test_what_is_under_way_is_not_started_again() -> None:
    runs = Runs(working={drain_of(TODAY).key})
    nudge = Nudge(runs)
    for second in range(100):
        assert nudge.give([drain_of(TODAY), SENDER], second) == (["run-1"] if second == 0 else [])
        runs.working.add(SENDER.key)
    runs.working.clear()
    assert len(nudge.give([drain_of(TODAY), SENDER], 200)) == 2


def test_a_day_whose_runs_fail_at_once_is_started_less_and_less_often() -> None:
    runs = Runs(fail=True)
    nudge = Nudge(runs)
    for second in range(3600):
        runs.now = float(second)
        nudge.give([drain_of(TODAY)], runs.now)
    times = [at for _, at in runs.started]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[:4] == [PAUSE_SECONDS, 2 * PAUSE_SECONDS, 4 * PAUSE_SECONDS, 8 * PAUSE_SECONDS]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    runs.fail = False
    runs.now += LONGEST_PAUSE_SECONDS
    nudge.give([drain_of(TODAY)], runs.now)
    runs.now += PAUSE_SECONDS
    assert nudge.give([drain_of(TODAY)], runs.now), "after a run that went well it is quick again"


@given(
    st.lists(
        st.tuples(
            st.floats(0, 20),
            st.booleans(),
            st.booleans(),
            st.sampled_from([TODAY, TODAY + timedelta(days=1)]),
        )
    )
)
def test_however_it_is_given_there_is_one_at_a_time(
    gives: list[tuple[float, bool, bool, date]],
) -> None:
    runs = Runs()
    nudge = Nudge(runs)
    for wait, fail, working, day in gives:
        runs.now += wait
        runs.fail, start = fail, drain_of(day)
        runs.working = {start.key} if working else set()
        before = len(runs.started)
        nudge.give([start, start], runs.now)
        assert len(runs.started) - before <= (0 if working else 1)
    for key in {key for key, _ in runs.started}:
        times = [at for started, at in runs.started if started == key]
        assert all(b - a >= PAUSE_SECONDS for a, b in pairwise(times))
