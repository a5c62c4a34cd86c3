"""kill -9 of a real process at every step of the batch protocol and of a replacement: nothing lost, nothing doubled."""

from __future__ import annotations

import signal

import pytest

from tasks_pipeline.storage.ledger.drains import end_drains_of_run
from tests.support.crash import (
    BAD,
    DRAIN_MOMENTS,
    KILLER,
    LAKE_REPLACED,
    RECOMPUTE_MOMENTS,
    RUN,
    drain_and_die,
    drain_with_killer,
    drain_with_killer_of_settling,
    event_step,
    kill_if_killer,
    recompute_and_die,
    refuse_if_bad,
    run_in_process,
)
from tests.support.day import Day
from tests.support.events import event, item
from tests.support.facts import types

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("moment", DRAIN_MOMENTS)
def test_a_drain_killed_at_any_step_leaves_every_event_stored_once(day: Day, moment: str) -> None:
    again = event("A", user={"id": "1"})
    sent = [event("B"), again, event("A", user={"id": "2"}), again, event("C")]
    ids = sorted({e["event_id"] for e in sent})
    day.send(*sent)

    assert run_in_process(drain_and_die, day.stores.home, day.date, moment) == -signal.SIGKILL
    day.assert_balanced()
    end_drains_of_run(day.stores.state, RUN)
    day.configured(batch_envelopes=3).drain()

    day.assert_stored_once(ids)
    assert day.outcomes() == {("stored", ""): 4, ("duplicate", "event_id"): 1}
    assert [(g["times_seen"], g["users"]) for g in day.groups()] == [(1, 0), (2, 2), (1, 0)]
    told = types(day.stores, day.project)
    assert told == {"group.created": 3, "project.first": 2}
    lake, state = day.lake(), day.state()
    day.recompute()
    assert (day.lake(), day.state()) == (lake, state)
    assert types(day.stores, day.project) == told


@pytest.mark.parametrize("moment", RECOMPUTE_MOMENTS)
def test_a_recomputation_killed_at_any_step_leaves_one_state_or_the_other(day: Day, moment: str) -> None:
    good, bad = event("A"), event("A", logger=BAD)
    day.send(good, bad)
    day.drain()

    assert run_in_process(recompute_and_die, day.stores.home, day.date, moment) == -signal.SIGKILL
    day.drain()  # the next who holds the lock heals what is open

    replaced = moment in LAKE_REPLACED
    expected = [good["event_id"]] if replaced else [good["event_id"], bad["event_id"]]
    day.assert_stored_once(expected)
    assert day.group()["times_seen"] == len(expected)
    with event_step(refuse_if_bad):
        day.recompute()
    day.assert_stored_once([good["event_id"]])


def test_an_envelope_that_kills_the_process_costs_one_dead_letter(day: Day) -> None:
    before, killer, after = event(), event(logger=KILLER), event()
    day.spool(
        day.receipt(before),
        day.receipt(killer, item("attachment", b"core dump", filename="core")),
        day.receipt(after),
    )
    exits: list[int] = []
    while not exits or exits[-1]:
        assert len(exits) < 6, "it is killed again and again"
        exits.append(run_in_process(drain_with_killer, day.stores.home, day.date))
        end_drains_of_run(day.stores.state, RUN)
        day.assert_balanced()

    assert exits == [-signal.SIGKILL] * 3 + [0]
    day.assert_stored_once([before["event_id"], after["event_id"]])
    (letter,) = day.rows("dead_letters")
    assert (letter["position"], letter["event_id"]) == (2, killer["event_id"])
    assert letter["reason"] == "killed_the_process"
    assert "died 3 times" in letter["detail"]
    assert day.outcomes() == {("stored", ""): 2, ("invalid", "killed_the_process"): 2}
    lake = day.lake()
    with event_step(kill_if_killer):
        day.recompute()
    assert day.lake() == lake


def test_an_envelope_that_kills_while_it_is_settled_is_found_among_others(day: Day) -> None:
    killer, others = event(logger=KILLER), [event(f"P{n % 3}") for n in range(70)]
    day.send(*others[:60], killer, *others[60:])
    exits: list[int] = []
    while not exits or exits[-1]:
        assert len(exits) < 8, "it is killed again and again"
        exits.append(run_in_process(drain_with_killer_of_settling, day.stores.home, day.date))
        end_drains_of_run(day.stores.state, RUN)
        day.assert_balanced()

    # twice by chance, once in a piece of many, once alone
    assert exits == [-signal.SIGKILL] * 4 + [0]
    day.assert_stored_once([e["event_id"] for e in others])
    (letter,) = day.rows("dead_letters")
    assert (letter["event_id"], letter["reason"]) == (killer["event_id"], "killed_the_process")
