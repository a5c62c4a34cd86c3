"""Whether the figures of days hold, by what was counted of them (proofs.py): said by name, and remembered, so that nothing is built on
days that are known to be wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import date, datetime
from typing import Any

from tasks_pipeline.analytics.statistics.proofs import Proof, prove
from tasks_pipeline.analytics.statistics.work import SLOTS
from tasks_pipeline.storage.state.proofs import failed_days, note_check, of_day
from tasks_pipeline.stores import Stores

Verdict = tuple[bool, str, dict[str, Any]]
"""Whether it holds, in a line, and figures."""


def _all_events(proof: Proof) -> Verdict:
    figures = {"events": proof.events, "rows": proof.rows, "stored": proof.stored}
    if proof.due:  # the next run counts them
        return True, "something happened to its rows since it was computed", figures
    if proof.gone:
        return True, "rows that it was computed from were removed", figures
    taken = proof.stored - proof.rows
    holds = proof.events == proof.rows and (taken == 0 or (proof.taken and taken > 0))
    removed = f", {taken:,} of them removed since" if taken else ""
    return holds, f"{proof.events:,} events in the tables, {proof.stored:,} stored{removed}", figures


def _add_up(proof: Proof) -> Verdict:
    uneven = (
        {}
        if proof.due or proof.gone
        else {name: pair for name, pair in proof.sums.items() if pair[0] != pair[1]}
    )
    holds = not uneven and not proof.astray and proof.most_slots <= SLOTS
    said = f"{', '.join(sorted(uneven)) or 'nothing'} is not what it is made of; {proof.astray or 'no'} rows lie in no slot of the day"
    figures = {"slots": proof.most_slots, "astray": proof.astray}
    return holds, said, figures | {name: pair[0] for name, pair in proof.sums.items()}


def _balanced(proof: Proof) -> Verdict:
    b = proof.balance
    said = f"{b.start:,} open at its begin + {b.entered:,} - {b.left:,} = {b.end:,} at its end, {b.level:,} by the levels"
    figures = {
        "open_at_start": b.start, "entered": b.entered, "left": b.left, "open_at_end": b.end, "level": b.level,
    }  # fmt: skip
    return proof.due or proof.gone or b.holds, said, figures


CHECKS: dict[str, tuple[str, bool, Callable[[Proof], Verdict]]] = {
    "all_events_counted": (
        "Events of the figures = rows of events = stored by the outcomes, less what was removed on purpose since.",
        True,
        _all_events,
    ),
    "figures_add_up": (
        "Tables of the same rows say the same; each row lies in one of the 96 slots of its day.",
        True,
        _add_up,
    ),
    "groups_balance": (
        "Open groups at the end = open at the begin + entered - left, by the log, the moves and the levels.",
        True,
        _balanced,
    ),
}
"""By name: what must hold, whether it blocks what is built on the day, and who says so."""


def judge(
    stores: Stores, days: Sequence[date], now: datetime, names: Collection[str] = CHECKS.keys()
) -> dict[str, list[tuple[date, Verdict]]]:
    """Look at the figures of days, and remember how it came out: the verdicts of each day by the name of the check."""
    proofs = [prove(stores, day) for day in days]
    found = {
        name: [(proof.day, look(proof)) for proof in proofs]
        for name, (_, _, look) in CHECKS.items()
        if name in names
    }
    with stores.state.write() as connection:
        for name, verdicts in found.items():
            for day, (holds, said, _) in verdicts:
                note_check(stores.state, connection, of_day(day), name, now, "" if holds else said)
    return found


def judge_again(stores: Stores, days: Collection[date], now: datetime) -> None:
    """Look again at those of some days that are known to be wrong: after they were computed."""
    with stores.state.read() as connection:
        wrong = failed_days(connection, days)
    judge(stores, sorted(wrong), now)
